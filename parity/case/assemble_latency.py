"""``[latency]``: budgets held against the variants of the file, batch sizes against the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from parity.case.mistakes import expected_one_of, join_path, parse_table
from parity.case.model import LatencyBudget, LatencyOptions
from parity.case.regions import matches
from parity.case.schema_latency import BudgetTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.case.mistakes import Mistakes
    from parity.case.schema_latency import LatencyTable
    from parity.graph import ModelInterface

_BACKENDS = ("onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt")
_RELEASE = re.compile(r"tensorrt-(\d+\.\d+.*|.*[*?].*)")
_LIMITS = ("max_median_ms", "max_p99_ms", "max_ratio")


def parse_budgets(data: Mapping[str, Any], mistakes: Mistakes) -> list[BudgetTable | None] | None:
    """Return the budgets, validated one by one so that a mistake in one keeps no other from being checked.

    None where ``data``, the case file, has no list of them; None in the list for one that is no table.
    """
    latency = data.get("latency")
    raw = latency.get("budgets") if isinstance(latency, dict) else None
    if not isinstance(raw, list):
        return None
    return [parse_table(BudgetTable, item, mistakes, ("latency", "budgets", number)) for number, item in enumerate(raw)]


def build_latency(
    table: LatencyTable,
    budgets: Sequence[BudgetTable | None],
    variant_names: Sequence[str],
    mistakes: Mistakes,
    *,
    interface: ModelInterface | None,
    batch_size: int,
) -> LatencyOptions:
    """Return how a case's latency is measured and judged.

    Parameters
    ----------
    variant_names
        The names in the file, those of variants with mistakes included.
    interface
        None where the model cannot be read; then batch sizes are not looked at.
    batch_size
        The case's own.
    """
    _check_batch_sizes(table, interface, batch_size, mistakes)
    measured = (batch_size, *table.batch_sizes)
    for number, budget in enumerate(budgets):
        if budget is not None:
            path = join_path("latency", "budgets", number)
            _check_variants(path, budget, variant_names, mistakes)
            _check_limits(path, budget, mistakes)
            _check_batch(path, budget, measured, mistakes)
    return LatencyOptions(
        batch_sizes=tuple(dict.fromkeys(measured)),
        cuda_graph=table.cuda_graph,
        streams=table.streams,
        budgets=tuple(_budget(budget, batch_size) for budget in budgets if budget is not None),
    )


def _budget(table: BudgetTable, batch_size: int) -> LatencyBudget:
    return LatencyBudget(
        variant=table.variant,
        batch_size=table.batch or batch_size,
        max_median_ms=table.max_median_ms,
        max_p99_ms=table.max_p99_ms,
        max_ratio=table.max_ratio,
        to=table.to or "",
        reason=table.reason or "",
    )


def _check_variants(path: str, table: BudgetTable, variant_names: Sequence[str], mistakes: Mistakes) -> None:
    name, at, where = table.variant.partition("@")
    judged = [known for known in variant_names if matches(known, name)]
    if not judged:
        mistakes.add(f"{path}.variant", expected_one_of(table.variant, variant_names))
    elif at:
        _check_backend(f"{path}.variant", where, mistakes)
    if table.to is None:
        return
    to, at, to_where = table.to.partition("@")
    if to not in variant_names:
        mistakes.add(f"{path}.to", expected_one_of(table.to, variant_names))
    elif at:
        _check_backend(f"{path}.to", to_where, mistakes)
    if judged == [to] and (not at or to_where == where):
        mistakes.add(f"{path}.to", f"is the judged variant itself, {table.to!r}; name another one")


def _check_backend(path: str, where: str, mistakes: Mistakes) -> None:
    """Tell where nothing is ever called what stands behind an @: a budget for it would be judged in no run."""
    is_known = any(matches(known, where) for known in _BACKENDS)
    if not is_known and not _RELEASE.fullmatch(where):
        known = (*_BACKENDS, "tensorrt-10.16")
        mistakes.add(path, f"behind @ {expected_one_of(where, known)} (a release has two numbers)")


def _check_limits(path: str, table: BudgetTable, mistakes: Mistakes) -> None:
    if any(mistakes.has(f"{path}.{key}") for key in (*_LIMITS, "to")):
        return
    if not any(getattr(table, key) is not None for key in _LIMITS):
        mistakes.add(path, f"expected one of {', '.join(_LIMITS)}; a budget without a limit lets everything through")
    elif (table.max_ratio is None) != (table.to is None):
        mistakes.add(path, 'max_ratio and to go together, such as max_ratio = 0.6, to = "fp32"')


def _check_batch_sizes(
    table: LatencyTable, interface: ModelInterface | None, batch_size: int, mistakes: Mistakes
) -> None:
    others = [size for size in table.batch_sizes if size != batch_size]
    if others and interface is not None and not any(is_batch_free(info.shape) for info in interface.inputs):
        shapes = ", ".join(str(info) for info in interface.inputs)
        mistakes.add("latency.batch_sizes", f"the model's batch is fixed ({shapes}); leave out all but {batch_size}")


def is_batch_free(shape: Sequence[int | str | None]) -> bool:
    """Whether the first axis of an input takes any size."""
    return bool(shape) and not isinstance(shape[0], int)


def _check_batch(path: str, table: BudgetTable, measured: Sequence[int], mistakes: Mistakes) -> None:
    if table.batch is not None and table.batch not in measured:
        known = ", ".join(map(str, dict.fromkeys(measured)))
        mistakes.add(f"{path}.batch", f"batch {table.batch} is not measured; expected one of {known} (batch_sizes)")
