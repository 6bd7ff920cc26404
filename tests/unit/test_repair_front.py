"""The Pareto front of a repair as CSV, and the causes that stand beside it."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from parity.repair.confirm import Confirmation, Latency
from parity.repair.front import COLUMNS, front_csv
from parity.repair.mend import Repair, Status
from parity.repair.search import NOTHING, Ending, SearchResult, Trial, Tried
from parity.repair.show import print_repair
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.layer_examples import DIAGNOSIS

PLAIN = Trial(Verdict.FAIL, 7.0, 12.5, is_whole=False)
ONE, BOTH = frozenset({"=first"}), frozenset({"second", "=first"})
FRONT = (Tried(NOTHING, PLAIN), Tried(ONE, Trial(Verdict.FAIL, 3.0)), Tried(BOTH, Trial(Verdict.PASS, 0.5, 60.0)))
REPAIR = Repair(
    case="shapes",
    variant="fp16@onnxruntime",
    precision=Precision.FP16,
    keep_precision=Precision.FP32,
    status=Status.REPAIRED,
    reason="2 of 9 nodes kept at fp32",
    before=PLAIN,
    lowered_count=9,
    search=SearchResult(Ending.MENDED, FRONT[-1], True, False, FRONT, 4, 0, 1.0),
)


def rows_of(repair: Repair) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(front_csv(repair))))


def test_every_set_of_the_front_has_a_row_with_all_its_nodes() -> None:
    rows = rows_of(REPAIR)
    assert tuple(rows[0]) == COLUMNS
    assert [(row["kept_count"], row["headroom"], row["is_whole"]) for row in rows] == [
        ("0", "7.0", "False"), ("1", "3.0", "True"), ("2", "0.5", "True"),
    ]  # fmt: skip
    # A name that a spreadsheet would run as a formula is text.
    assert [row["nodes"] for row in rows] == ["", "'=first", "'=first second"]
    assert rows[1]["sqnr_db"] == "nan"


def test_times_stand_beside_the_sets_that_an_engine_was_built_of() -> None:
    plain, kept = Latency(2.0, 1.9, 2.1, 3), Latency(2.5, 2.4, 2.6, 3)
    confirmation = Confirmation("tensorrt-8.6", PLAIN, FRONT[-1].trial, plain, kept)
    assert [row["median_ms"] for row in rows_of(replace(REPAIR, confirmation=confirmation))] == ["2.0", "", "2.5"]
    untimed = replace(confirmation, plain_latency=None, kept_latency=None)
    assert {row["median_ms"] for row in rows_of(replace(REPAIR, confirmation=untimed))} == {""}


def test_a_repair_that_tried_nothing_has_a_heading_alone() -> None:
    assert front_csv(replace(REPAIR, search=None)) == ",".join(COLUMNS) + "\n"


@pytest.mark.parametrize(
    ("confirmed", "shown"), [((True, True), ["a", "b"]), ((True, False), ["a"]), ((None, None), ["a"])]
)
def test_every_confirmed_cause_is_told_and_else_the_likeliest(
    confirmed: tuple[bool | None, ...], shown: list[str]
) -> None:
    causes = tuple(replace(DIAGNOSIS, cause=name, is_confirmed=one) for name, one in zip("ab", confirmed, strict=True))
    stream = io.StringIO()
    print_repair(replace(REPAIR, causes=causes), "", "", stream)
    told = " ".join(stream.getvalue().split())
    assert [name for name in "ab" if f"({name}, certainty" in told] == shown
