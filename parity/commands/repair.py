"""What ``parity repair`` and ``parity sensitivity`` do, behind their options."""

from __future__ import annotations

import shlex
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.backends import TensorRTSettings, open_backends
from parity.case.loader import load_case
from parity.errors import RunError
from parity.repair.front import front_csv
from parity.repair.mend import EXIT_CODES, FORECAST, RepairOptions, Status, repair
from parity.repair.search import Budget
from parity.repair.sensitivity import measure_sensitivity, sensitivity_csv
from parity.repair.show import print_repair, print_sensitivity, reason_to_write
from parity.repair.workbench import open_workbench
from parity.report import write_text
from parity.runner import JudgeSettings, cache_folder
from parity.runner.selection import is_engine_backend, require_known, select_variants
from parity.runner.settings import DIAGNOSIS_S, Origin, relative_path
from parity.tolerance import Precision
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from parity.backends.engine import EngineBackend
    from parity.case import Case, Variant
    from parity.repair.mend import Repair
    from parity.repair.search import SearchProgress


@dataclass(frozen=True, slots=True)
class Asked:
    """What both commands are asked.

    Attributes
    ----------
    limit
        The first so many feeds only.
    minutes
        How long it may take.
    """

    case: Path
    variant: str
    tries: int | None
    minutes: float | None
    limit: int | None
    allow_python: bool
    keep_precision: str | None = None
    debug: bool = False

    @property
    def budget(self) -> Budget:
        """When to end."""
        return Budget(self.tries, None if self.minutes is None else 60.0 * self.minutes)

    @property
    def settings(self) -> JudgeSettings:
        """How trials are judged."""
        return JudgeSettings(limit=self.limit, cache=cache_folder(), debug=self.debug)

    @property
    def precision(self) -> Precision | None:
        """What nodes are kept at; the variant's own if None."""
        return Precision(self.keep_precision) if self.keep_precision else None

    def chosen(self) -> tuple[Case, Variant]:
        """Return the case and its variant.

        Raises
        ------
        CaseError
            The case has mistakes, or names code that was refused.
        RunError
            It has no such variant, or several.
        """
        case, name = load_case(self.case, allow_python=self.allow_python), self.variant.partition("@")[0]
        require_known([case], ["onnxruntime"], [name])
        found = [variant for variant, _ in select_variants(case, ["onnxruntime"], [name])]
        if len(found) != 1:
            names = ", ".join(variant.name for variant in found)
            raise RunError(f"variant {self.variant!r}: matches {names}; name one of them")
        return case, found[0]


def repair_case(
    asked: Asked, backend: str, interpreters: tuple[str, ...], out: Path | None = None, *, writes: bool
) -> int:
    """Repair a variant, tell what was found, and return the exit code.

    Parameters
    ----------
    backend
        ``onnxruntime``, or the engines that confirm what is found.
    out
        Where the Pareto front is written as CSV; nowhere if None.
    writes
        Whether the list is written into the case file.

    Raises
    ------
    ParityError
        It could not be tried.
    """
    case, variant = asked.chosen()
    _require_higher(asked, variant)
    with (
        _opened(backend, interpreters) as engine,
        open_workbench(case, variant, asked.settings, asked.precision) as bench,
        _line() as show,
    ):
        done = repair(
            bench, RepairOptions(asked.budget, engine, DIAGNOSIS_S), lambda progress: show(_progress_text(progress))
        )
    table = _written(out, front_csv(done))
    print_repair(done, table, _next_command(asked, done, variant, backend, interpreters, writes=writes), sys.stdout)
    if writes and done.status is Status.REPAIRED:
        from parity.repair.write import write_keep

        write_keep(case, variant.name, done.keep, str(done.keep_precision), reason_to_write(done))
        print(f"written into {relative_path(case.file)}")  # noqa: T201 - the command line's answer
    return EXIT_CODES[done.status]


def show_sensitivity(asked: Asked, out: Path | None) -> int:
    """Measure a variant's nodes one by one, tell the worst, and return the exit code.

    Parameters
    ----------
    out
        Where all of them are written as CSV; nowhere if None.

    Raises
    ------
    ParityError
        It could not be measured.
    """
    case, variant = asked.chosen()
    _require_higher(asked, variant)
    with open_workbench(case, variant, asked.settings, asked.precision) as bench, _line() as show:
        measured = measure_sensitivity(bench, asked.budget, lambda done, total: show(f"{done} of {total} nodes"))
    next_command = shlex.join(["parity", "repair", relative_path(asked.case), "--variant", variant.name])
    table = _written(out, sensitivity_csv(measured))
    print_sensitivity(measured, table, next_command if measured.plain.verdict is Verdict.FAIL else "", sys.stdout)
    is_judged = measured.plain.verdict in {Verdict.PASS, Verdict.FAIL}
    return 0 if is_judged and measured.is_complete and measured.rows else 2


def _written(out: Path | None, text: str) -> str:
    """Write a table, and return its name as it is told; empty where none is wanted."""
    if out is None:
        return ""
    write_text(out, text)
    return relative_path(out)


def _require_higher(asked: Asked, variant: Variant) -> None:
    lowest = variant.options.precision
    if asked.precision is not None and asked.precision is lowest:
        raise RunError(f"--keep-precision {asked.precision}: is the variant's own; expected a higher one, such as fp32")


@contextmanager
def _opened(backend: str, interpreters: tuple[str, ...]) -> Iterator[EngineBackend | None]:
    if backend == "onnxruntime":
        yield None
        return
    with open_backends([backend], TensorRTSettings(interpreters, cache_folder())) as backends:
        if len(backends) != 1 or not is_engine_backend(backends[0]):
            names = ", ".join(found.name for found in backends)
            raise RunError(f"--backend {backend}: means {names}; name one interpreter with --tensorrt-python")
        yield backends[0]


def _next_command(
    asked: Asked, done: Repair, variant: Variant, backend: str, interpreters: tuple[str, ...], *, writes: bool
) -> str:
    """Return the command that goes on from here; empty where there is nothing to do."""
    case = relative_path(asked.case)
    where = done.variant.rpartition("@")[2]
    again = shlex.join(["parity", "run", case, *Origin(interpreters).words(variant, where)])
    if done.status is Status.NOTHING_TO_REPAIR:
        return ""
    is_unfinished = done.search is not None and done.status is Status.NOT_TRIED
    if not is_unfinished and (writes or done.status is not Status.REPAIRED):
        return again
    engine = () if backend == FORECAST else ("--backend", backend)
    named = [word for name in interpreters for word in ("--tensorrt-python", name)]
    last = _more(asked) if is_unfinished else ["--write"]
    return shlex.join(["parity", "repair", case, "--variant", variant.name, *engine, *named, *_same(asked), *last])


def _same(asked: Asked) -> list[str]:
    """Return the options without which another list would be found."""
    precision = [] if asked.keep_precision is None else ["--keep-precision", asked.keep_precision]
    return [*precision, *([] if asked.limit is None else ["--limit", str(asked.limit)])]


def _more(asked: Asked) -> list[str]:
    """Return twice the budget: what was tried so far is known by then."""
    tries = [] if asked.tries is None else ["--tries", str(2 * asked.tries)]
    return [*tries, *([] if asked.minutes is None else ["--minutes", f"{2 * asked.minutes:g}"])]


def _progress_text(progress: SearchProgress) -> str:
    most = "" if progress.most_tries is None else f" of {progress.most_tries}"
    best = "none passes yet" if progress.best is None else f"{progress.best} nodes pass"
    left = "" if progress.seconds_left is None else f", {progress.seconds_left / 60:.1f} min left"
    return f"{progress.tries}{most} tries, {best}{left}"


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    """Show one line on standard error that is written over, where somebody looks at it."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
