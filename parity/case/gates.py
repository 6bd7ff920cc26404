"""Gates on the figures of decoded results: names held against the task, limits against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.case.mistakes import expected_one_of, join_path
from parity.case.model import GateRule
from parity.case.regions import matches
from parity.detect.figures import FIGURES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.case.mistakes import Mistakes
    from parity.case.schema_decode import GateTable
    from parity.decoded import Task

_AGAINST_TRUTH = ("true_", "accuracy_")


def build_gates(
    tables: Sequence[GateTable | None],
    task: Task | None,
    variant_names: Sequence[str],
    mistakes: Mistakes,
    *,
    has_annotations: bool,
) -> tuple[GateRule, ...]:
    """Return the gates in the file's order.

    Parameters
    ----------
    tables
        None stands for one that is no table at all.
    task
        None where ``[decode]`` does not show it; then figures are not looked up.
    variant_names
        The names in the file, those of variants with mistakes included.
    """
    rules = []
    for index, table in enumerate(tables):
        if table is None:
            continue
        path = join_path("gates", index)
        if not any(matches(name, table.variant) for name in variant_names):
            mistakes.add(f"{path}.variant", expected_one_of(table.variant, variant_names))
        _check_limits(path, table, mistakes)
        if table.figure is not None and task is not None:
            _check_figure(f"{path}.figure", table.figure, task, mistakes, has_annotations=has_annotations)
        rules.append(GateRule(table.variant, table.figure or "", table.min, table.max, table.reason or ""))
    return tuple(rules)


def _check_limits(path: str, table: GateTable, mistakes: Mistakes) -> None:
    if table.min is None and table.max is None:
        if not any(mistakes.has(f"{path}.{key}") for key in ("min", "max")):
            mistakes.add(path, "expected min, max or both; a gate without a limit lets everything through")
    elif table.min is not None and table.max is not None and table.min > table.max:
        mistakes.add(f"{path}.min", f"expected at most max, {table.max:g}; got {table.min:g}")


def _check_figure(path: str, figure: str, task: Task, mistakes: Mistakes, *, has_annotations: bool) -> None:
    known = [spec.name for spec in FIGURES[task]]
    if figure not in known:
        mistakes.add(path, expected_one_of(figure, known))
    elif figure.startswith(_AGAINST_TRUTH) and not has_annotations:
        mistakes.add(path, f"{figure} is measured against what is really in the images; add [annotations]")
