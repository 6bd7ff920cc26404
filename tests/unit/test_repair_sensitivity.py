"""Sensitivity: a node alone lowered, a node alone kept, against the variants that mean the same."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING

from parity.repair.search import Budget
from parity.repair.sensitivity import SensitivityRow, measure_sensitivity, sensitivity_csv
from parity.verdict import Verdict
from tests.repair_cases import bench_of, three_products, write_products_case

if TYPE_CHECKING:
    from pathlib import Path

    from parity.repair.sensitivity import Sensitivity


def measured(folder: Path, budget: Budget | None = None, variant: str = "fp16") -> Sensitivity:
    with bench_of(folder, variant) as bench:
        return measure_sensitivity(bench, budget)


def by_node(sensitivity: Sensitivity) -> dict[str, SensitivityRow]:
    return {row.node: row for row in sensitivity.rows}


def test_each_node_of_an_overflow_is_shown_by_what_it_injects(tmp_path: Path) -> None:
    rows = by_node(measured(write_products_case(tmp_path / "case")))
    assert list(rows) == ["first", "second", "third"]
    # Either of the two makes the half that overflows; the third does no harm, and none alone can be kept to mend it.
    assert [row.lowered_verdict for row in rows.values()] == [Verdict.FAIL, Verdict.FAIL, Verdict.PASS]
    assert [row.kept_verdict for row in rows.values()] == [Verdict.FAIL] * 3
    assert math.isinf(rows["first"].lowered_headroom)


def test_a_node_alone_is_the_variant_with_all_others_kept(tmp_path: Path) -> None:
    folder = write_products_case(tmp_path / "case", three_products(scale=1.0))
    with bench_of(folder, "fp16") as bench:
        rows = by_node(measure_sensitivity(bench))
        others = bench.forecasts.measure(frozenset({"second", "third"}))
        alone = bench.forecasts.measure(frozenset({"first"}))
        plain = bench.forecasts.measure(frozenset())
    assert (rows["first"].lowered_db, rows["first"].kept_db) == (others.sqnr_db, alone.sqnr_db)
    assert rows["first"].removable_db == alone.sqnr_db - plain.sqnr_db
    # Independent roundings: what one node injects is less than what all do together.
    assert all(row.lowered_db > plain.sqnr_db for row in rows.values())


def test_a_budget_ends_after_whole_nodes(tmp_path: Path) -> None:
    found = measured(write_products_case(tmp_path / "case"), Budget(tries=5))
    assert ([row.node for row in found.rows], found.node_count) == (["first", "second"], 3)
    assert not found.is_complete
    assert measured(tmp_path / "case", Budget(seconds=0.0)).rows == ()


def test_a_variant_that_lowers_nothing_has_no_rows(tmp_path: Path) -> None:
    assert measured(write_products_case(tmp_path / "case"), variant="fp32").rows == ()


def test_the_table_has_every_row_and_is_no_formula(tmp_path: Path) -> None:
    found = measured(write_products_case(tmp_path / "case", three_products(names=("=1+1", "b", "c"))))
    rows = list(csv.DictReader(io.StringIO(sensitivity_csv(found))))
    assert [row["node"] for row in rows] == ["'=1+1", "b", "c"]
    assert [float(row["lowered_db"]) for row in rows[2:]] == [found.rows[2].lowered_db]
    assert [row["lowered_verdict"] for row in rows] == ["fail", "fail", "pass"]
