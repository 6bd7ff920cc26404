"""``outputs.csv``: one row for each judged tensor, every figure in it, units in the column names.

Where engines were judged, ``census.csv`` and ``invariants.csv`` stand beside it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.report.figures import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.difference import Element, Side, TensorDifference
    from parity.results import Outcome, Run, TensorOutcome, Triangulation
    from parity.tolerance import Tolerance

    Row = Mapping[str, object]

OUTPUT_COLUMNS = (
    *("case", "variant", "precision", "check", "check_verdict", "output", "verdict", "reasons", "notes"),
    *("shape", "dtype", "feed_count", "element_count"),
    *("mismatch_count", "mismatch_fraction", "nonfinite_mismatch_count", "headroom"),
    *("sqnr_db", "noise_floor_db", "cosine", "max_ulp"),
    *("rtol", "atol", "allowed_mismatch_fraction", "min_sqnr_db", "tolerance_reason"),
    *("max_absolute", "max_absolute_feed", "max_absolute_index", "max_absolute_actual", "max_absolute_expected"),
    *("max_relative", "max_relative_feed", "max_relative_index", "max_relative_actual", "max_relative_expected"),
    *("first_nonfinite_feed", "first_nonfinite_index", "first_nonfinite_actual", "first_nonfinite_expected"),
    *("mean_absolute", "rms", "bias", "p50_absolute", "p99_absolute", "p999_absolute", "percentile_bin_error"),
    *("actual_minimum", "actual_maximum", "actual_rms", "actual_nan_count", "actual_inf_count"),
    *("expected_minimum", "expected_maximum", "expected_rms", "expected_nan_count", "expected_inf_count"),
    "check_duration_s",
)

ENGINE_COLUMNS = (
    *("conversion_sqnr_db", "conversion_max_absolute", "conversion_nonfinite_mismatch_count"),
    *("engine_sqnr_db", "engine_max_absolute", "engine_nonfinite_mismatch_count"),
    *("total_sqnr_db", "total_max_absolute", "total_nonfinite_mismatch_count"),
    *("blames_engine", "unwritten_count", "engine_sha256"),
)
"""What ``outputs.csv`` has beside the other columns where a run holds engines."""

_ENGINE_KEY = ("case", "variant", "check_verdict", "engine_sha256")
CENSUS_COLUMNS = (
    *(*_ENGINE_KEY, "asked", "share", "time_share", "minimum_share"),
    *("precision", "layer_count", "time_ms", "arithmetic_count", "arithmetic_time_ms"),
)
INVARIANTS_COLUMNS = (*_ENGINE_KEY, "name", "verdict", "detail", "max_absolute", "sqnr_db", "floor_db")

_PLAIN_FIGURES = (
    *("element_count", "mismatch_count", "nonfinite_mismatch_count", "headroom", "sqnr_db", "cosine", "max_ulp"),
    *("mean_absolute", "rms", "bias", "p50_absolute", "p99_absolute", "p999_absolute", "percentile_bin_error"),
)


def outputs_csv(run: Run) -> str:
    """Return the table as CSV.

    An outcome that judged no tensor (an error) keeps one row with its figures empty, so that no outcome goes missing.
    A figure that was measured and is not a number reads ``nan``.
    """
    # What was found of other checks has its own table; a check that could not be judged keeps its row here.
    outcomes = [outcome for outcome in run.outcomes if not _has_own_table(outcome)]
    rows = [row for outcome in outcomes for row in _outcome_rows(outcome)]
    has_engines = any(outcome.engine or tensor.triangulation for outcome in outcomes for tensor in outcome.tensors)
    return csv_text(rows, OUTPUT_COLUMNS + (ENGINE_COLUMNS if has_engines else ()))


def _has_own_table(outcome: Outcome) -> bool:
    return bool(outcome.census or outcome.invariants or outcome.decoded or outcome.layers or outcome.latency)


def census_csv(run: Run) -> str:
    """Return the censuses of a run as CSV, one row for each precision; empty where there are none."""
    rows = [
        {**_engine_key(outcome), **_fields(outcome.census, CENSUS_COLUMNS), **_fields(row, CENSUS_COLUMNS)}
        for outcome in run.outcomes
        if outcome.census
        for row in outcome.census.rows
    ]
    return csv_text(rows, CENSUS_COLUMNS) if rows else ""


def invariants_csv(run: Run) -> str:
    """Return the laws of a run as CSV, one row for each; empty where there are none."""
    rows = [
        {**_engine_key(outcome), **_fields(law, INVARIANTS_COLUMNS)}
        for outcome in run.outcomes
        for law in outcome.invariants
    ]
    return csv_text(rows, INVARIANTS_COLUMNS) if rows else ""


def csv_text(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Return rows as CSV that neither a reader nor a spreadsheet changes; what a row does not have stays empty."""
    import pandas as pd

    cells = [[csv_cell(row.get(name)) for name in columns] for row in rows]
    frame = pd.DataFrame(cells, columns=list(columns), dtype=object)
    csv: str = frame.to_csv(index=False, lineterminator="\n")
    return csv


def _engine_key(outcome: Outcome) -> dict[str, object]:
    return {
        "case": outcome.case,
        "variant": outcome.variant,
        "check_verdict": str(outcome.verdict),
        "engine_sha256": outcome.engine.sha256 if outcome.engine else "",
    }


def _fields(record: object, names: Sequence[str]) -> dict[str, object]:
    return {name: getattr(record, name) for name in names if hasattr(record, name)}


def _outcome_rows(outcome: Outcome) -> list[Row]:
    shared = {
        "case": outcome.case,
        "variant": outcome.variant,
        "precision": outcome.precision,
        "check": outcome.check,
        "check_verdict": str(outcome.verdict),
        "feed_count": outcome.feed_count,
        "check_duration_s": outcome.duration_s,
        "engine_sha256": outcome.engine.sha256 if outcome.engine else "",
    }
    return [shared | _tensor_figures(tensor) for tensor in outcome.tensors] or [
        shared | {"verdict": str(outcome.verdict), "reasons": outcome.headline}
    ]


def _tensor_figures(tensor: TensorOutcome) -> dict[str, object]:
    return {
        "output": tensor.output,
        "verdict": str(tensor.verdict),
        "reasons": "; ".join(tensor.reasons),
        "notes": "; ".join(tensor.notes),
        "shape": "x".join(str(extent) for extent in tensor.shape),
        "dtype": tensor.dtype,
        "noise_floor_db": tensor.noise_floor_db,
        "unwritten_count": tensor.unwritten_count,
        **_triangulation_figures(tensor.triangulation),
        **_tolerance_figures(tensor.tolerance),
        **_difference_figures(tensor.difference),
    }


def _triangulation_figures(triangulation: Triangulation | None) -> dict[str, object]:
    if triangulation is None:
        return {}
    parts = {"conversion": triangulation.conversion, "engine": triangulation.engine, "total": triangulation.total}
    names = ("sqnr_db", "max_absolute", "nonfinite_mismatch_count")
    figures = {f"{part}_{name}": getattr(distance, name) for part, distance in parts.items() for name in names}
    return figures | {"blames_engine": triangulation.blames_engine}


def _tolerance_figures(tolerance: Tolerance | None) -> dict[str, object]:
    if tolerance is None:
        return {}
    if not tolerance.is_bound:
        return {"tolerance_reason": f"judged by decoding: {tolerance.reason}"}
    return {
        "rtol": tolerance.rtol,
        "atol": tolerance.atol,
        "allowed_mismatch_fraction": tolerance.mismatch_fraction,
        "min_sqnr_db": tolerance.min_sqnr_db,
        "tolerance_reason": tolerance.reason,
    }


def _difference_figures(difference: TensorDifference | None) -> dict[str, object]:
    if difference is None:
        return {}
    return {
        **{name: getattr(difference, name) for name in _PLAIN_FIGURES},
        "mismatch_fraction": difference.mismatch_count / max(difference.element_count, 1),
        **_worst_figures("max_absolute", difference.worst_absolute),
        **_worst_figures("max_relative", difference.worst_relative),
        **_element_figures("first_nonfinite", difference.first_nonfinite),
        **_side_figures("actual", difference.actual),
        **_side_figures("expected", difference.expected),
    }


def _worst_figures(name: str, element: Element | None) -> dict[str, object]:
    return {name: element.difference if element else 0.0, **_element_figures(name, element)}


def _element_figures(name: str, element: Element | None) -> dict[str, object]:
    if element is None:
        return {}
    return {
        f"{name}_feed": element.feed,
        f"{name}_index": " ".join(str(position) for position in element.index),
        f"{name}_actual": element.actual,
        f"{name}_expected": element.expected,
    }


def _side_figures(name: str, side: Side) -> dict[str, object]:
    figures = ("minimum", "maximum", "rms", "nan_count", "inf_count")
    return {f"{name}_{figure}": getattr(side, figure) for figure in figures}


def csv_cell(value: object) -> object:
    """Spell out what CSV or a spreadsheet would change: NaN reads as missing, and a leading ``=`` runs as a formula."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
