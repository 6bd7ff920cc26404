"""``outputs.csv``: one row for each judged tensor, every figure in it, units in the column names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.report.figures import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.difference import Element, Side, TensorDifference
    from parity.results import Outcome, Run, TensorOutcome
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

_PLAIN_FIGURES = (
    *("element_count", "mismatch_count", "nonfinite_mismatch_count", "headroom", "sqnr_db", "cosine", "max_ulp"),
    *("mean_absolute", "rms", "bias", "p50_absolute", "p99_absolute", "p999_absolute", "percentile_bin_error"),
)


def outputs_csv(run: Run) -> str:
    """Return the table as CSV.

    An outcome that judged no tensor (an error) keeps one row with its figures empty, so that no outcome goes missing.
    A figure that was measured and is not a number reads ``nan``.
    """
    import pandas as pd

    rows = [row for outcome in run.outcomes for row in _outcome_rows(outcome)]
    cells = [[_cell(row.get(name)) for name in OUTPUT_COLUMNS] for row in rows]
    frame = pd.DataFrame(cells, columns=list(OUTPUT_COLUMNS), dtype=object)
    csv: str = frame.to_csv(index=False, lineterminator="\n")
    return csv


def _outcome_rows(outcome: Outcome) -> list[Row]:
    shared = {
        "case": outcome.case,
        "variant": outcome.variant,
        "precision": outcome.precision,
        "check": outcome.check,
        "check_verdict": str(outcome.verdict),
        "feed_count": outcome.feed_count,
        "check_duration_s": outcome.duration_s,
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
        **_tolerance_figures(tensor.tolerance),
        **_difference_figures(tensor.difference),
    }


def _tolerance_figures(tolerance: Tolerance | None) -> dict[str, object]:
    if tolerance is None:
        return {}
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


def _cell(value: object) -> object:
    """Spell out what CSV or a spreadsheet would change: NaN reads as missing, and a leading ``=`` runs as a formula."""
    if isinstance(value, float) and math.isnan(value):
        return "nan"
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
