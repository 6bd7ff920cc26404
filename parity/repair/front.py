"""The Pareto front of a repair as CSV: what each number of kept nodes buys, and what an engine takes with them."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from parity.report.tables import csv_cell

if TYPE_CHECKING:
    from parity.repair.mend import Repair
    from parity.repair.search import Tried

COLUMNS = (
    *("case", "variant", "keep_precision", "kept_count", "lowered_count", "verdict", "headroom", "is_whole"),
    *("sqnr_db", "median_ms", "nodes"),
)


def front_csv(repair: Repair) -> str:
    """Return a row for each set of the front, the smallest first; the heading alone where none was tried.

    ``median_ms`` is the GPU time that an engine took, of the sets that one was built of.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for one in repair.search.front if repair.search else ():
        writer.writerow({name: csv_cell(value) for name, value in _cells(repair, one).items()})
    return stream.getvalue()


def _cells(repair: Repair, one: Tried) -> dict[str, object]:
    return {
        "case": repair.case,
        "variant": repair.variant,
        "keep_precision": str(repair.keep_precision),
        "kept_count": len(one.kept),
        "lowered_count": repair.lowered_count,
        "verdict": str(one.trial.verdict),
        "headroom": one.trial.severity,
        "is_whole": one.trial.is_whole,
        "sqnr_db": one.trial.sqnr_db,
        "median_ms": _median_ms(repair, one),
        "nodes": " ".join(sorted(one.kept)),
    }


def _median_ms(repair: Repair, one: Tried) -> float | None:
    if repair.confirmation is None or repair.search is None:
        return None
    if one == repair.search.found:
        latency = repair.confirmation.kept_latency
    else:
        latency = None if one.kept else repair.confirmation.plain_latency
    return None if latency is None else latency.median_ms
