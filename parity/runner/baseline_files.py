"""The baselines of a case: the one of this machine, and those that belong to nothing any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.baseline.files import baseline_file, baseline_files, load
from parity.baseline.machine import variant_key
from parity.errors import BaselineError
from parity.runner.settings import relative_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.baseline.model import Baseline
    from parity.case import Case

UPDATE = ("parity", "baseline", "update")


def find_baseline(case: Case, machine: str) -> Baseline | str:
    """Return what was accepted of a case on a machine, or why there is nothing to compare with.

    Raises
    ------
    BaselineError
        There is a file that is damaged, of another format, or cannot be read.
    """
    file = baseline_file(case.folder, machine)
    if not file.exists():
        others = [other.stem for other in baseline_files(case.folder)]
        beside = f"; those of {', '.join(others)} are other machines' and say nothing here" if others else ""
        return f"there is no baseline for this machine, {machine}{beside}"
    found = load(file)
    if found.case != case.name:
        return f"{relative_path(file)}: was taken of case {found.case!r}, which is called {case.name!r} now"
    return found


def unused_parts(case: Case) -> Iterator[str]:
    """Yield what stands in a case's baselines, of whatever machine, and is judged no more: one sentence each.

    A file that cannot be read is told where it is needed.
    """
    names = {variant.name for variant in case.variants}
    for file in baseline_files(case.folder):
        try:
            found = load(file)
        except BaselineError:
            continue
        if found.case != case.name:
            yield f"{relative_path(file)}: was taken of case {found.case!r}, which is called {case.name!r} now"
            continue
        gone = [key for key in sorted(found.variants) if key.rpartition("@")[0] not in names]
        if gone:
            yield f"{relative_path(file)}: has {', '.join(gone)}, and the case has no such variant"
        if case.decoding is None and any("decoded" in figures.figures for figures in found.variants.values()):
            yield f"{relative_path(file)}: has figures of decoded results, and the case has no [decode]"


def accepted_batches(case: Case, machine: str, label: str) -> tuple[int, ...]:
    """Return the batch sizes whose latency was accepted of a variant; none where nothing usable was."""
    try:
        found = find_baseline(case, machine)
    except BaselineError:
        return ()
    known = None if isinstance(found, str) else found.variants.get(variant_key(label))
    return tuple(known.latency) if known else ()
