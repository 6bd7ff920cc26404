"""``layers.csv``: every observed layer of a run, one a row, every figure in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.layer_table import lost_db
from parity.report.layers import by_tensor_of, layer_outcomes
from parity.report.tables import csv_text

if TYPE_CHECKING:
    from parity.layer_table import LayerError, LayerReport, LayerRow, Quantized
    from parity.results import Outcome, Run

_ERRORS = ("sqnr_db", "max_absolute", "max_relative", "cosine")
_GRID = ("scale", "saturation_share", "used_bin_share", "rmse_steps")
_TEXTS = ("nodes", "operators", "inputs")
_PLAIN = (
    *("position", "layer", "tensor", "precision", "gain_db", "floor_db", "distance_db", "reduction_depth"),
    *("nonfinite_reference", "nonfinite_candidate", "time_ms", "observed_by"),
)
LAYERS_COLUMNS = (
    *("case", "variant", "check_verdict", "validity", "position", "source_rank", "role", "layer", "nodes", "operators"),
    *("tensor", "inputs", "precision", "shape"),
    *(f"inherited_{name}" for name in _ERRORS),
    *(f"injected_{name}" for name in _ERRORS),
    *("gain_db", "lost_db", "floor_db", "distance_db", "reduction_depth"),
    *("nonfinite_reference", "nonfinite_candidate"),
    *("reference_minimum", "reference_maximum", "candidate_minimum", "candidate_maximum"),
    *(f"quantized_{name}" for name in _GRID),
    *("time_ms", "observed_by"),
)


def layers_csv(run: Run) -> str:
    """Return the observed layers of a run as CSV; empty where none were observed."""
    rows = [row for outcome, report in layer_outcomes(run) for row in _rows(outcome, report)]
    return csv_text(rows, LAYERS_COLUMNS) if rows else ""


def _rows(outcome: Outcome, report: LayerReport) -> list[dict[str, object]]:
    by_tensor = by_tensor_of(report)
    ranks = {position: rank for rank, position in enumerate(report.sources, start=1)}
    shared = {
        "case": outcome.case,
        "variant": outcome.variant,
        "check_verdict": str(outcome.verdict),
        "validity": str(report.validity),
    }
    return [
        {**shared, "source_rank": ranks.get(row.position), "lost_db": lost_db(row, by_tensor), **_cells(row)}
        for row in report.rows
    ]


def _cells(row: LayerRow) -> dict[str, object]:
    return {
        **{name: getattr(row, name) for name in _PLAIN},
        **{name: " ".join(getattr(row, name)) for name in _TEXTS},
        "role": str(row.role),
        "shape": "x".join(map(str, row.shape)),
        **_parts("inherited", row.inherited, _ERRORS),
        **_parts("injected", row.injected, _ERRORS),
        **_parts("quantized", row.quantized, _GRID),
        "reference_minimum": row.reference_range[0],
        "reference_maximum": row.reference_range[1],
        "candidate_minimum": row.candidate_range[0],
        "candidate_maximum": row.candidate_range[1],
    }


def _parts(prefix: str, record: LayerError | Quantized | None, names: tuple[str, ...]) -> dict[str, object]:
    return {} if record is None else {f"{prefix}_{name}": getattr(record, name) for name in names}
