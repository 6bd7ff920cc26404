"""How far two lane detectors agree, against counting by hand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.decoded import Lanes, Task
from parity.detect.gates import Gate, default_gates, judge_figures, told_point_shift
from parity.detect.lanes import LaneAgreement
from parity.detect.protocol import ImageKey, Measured
from parity.errors import StructureError
from parity.tolerance import Precision
from parity.verdict import Verdict

LANES, ANCHORS, KINDS = 4, 6, 2


def lanes(shift: float = 0.0) -> Lanes:
    """Return two lanes of full length, 0 and 1, and two that are not there."""
    points = np.full((LANES, ANCHORS, 2), np.nan)
    for lane in (0, 1):
        points[lane] = np.column_stack([np.arange(ANCHORS) * 3.0 + 100 * lane + shift, np.arange(ANCHORS) * 10.0])
    return Lanes(points, np.zeros((KINDS, LANES), np.int64), np.full((LANES, ANCHORS), 0.9))


def without(side: Lanes, *rows) -> Lanes:
    points = side.points.copy()
    points[rows] = np.nan
    return replace(side, points=points)


def measure(*pairs: tuple[Lanes, Lanes]) -> Measured:
    agreement = LaneAgreement()
    for number, (reference, candidate) in enumerate(pairs):
        agreement.update(ImageKey(f"road_{number}.png", 0, number, 60, 300), reference, candidate)
    return agreement.result()


def values(measured: Measured) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in measured.figures}


def texts(measured: Measured) -> list[str]:
    return [finding.text for finding in measured.findings]


SAME = (lanes(), lanes())


def test_equal_sides_agree_and_have_no_findings() -> None:
    measured = measure(SAME, (lanes(5), lanes(5)))
    found = values(measured)
    assert (found["point_agreement"], found["lane_agreement"], found["attribute_agreement"]) == (1.0, 1.0, 1.0)
    assert (found["point_shift_max"], found["missed_point_share"], measured.findings) == (0.0, 0.0, ())
    assert [image.agreement for image in measured.images] == [1.0, 1.0]
    assert measured.degenerate == ""


def test_a_lane_that_is_missed_is_told_with_its_points() -> None:
    measured = measure(SAME, (lanes(), without(lanes(), 1)))
    assert texts(measured) == ["road_1.png: lane 1 is missed, with 6 points"]
    found = values(measured)
    assert found["missed_point_share"] == 6 / 24
    assert found["lane_agreement"] == 3 / 4
    assert measured.images[0].image == "road_1.png"


def test_a_lane_out_of_nothing_is_told_as_extra() -> None:
    measured = measure((without(lanes(), 0), lanes()))
    assert texts(measured) == ["road_0.png: lane 0 is extra, with 6 points"]
    assert values(measured)["extra_point_share"] == 6 / 12


def test_single_points_are_told_as_missed_and_extra() -> None:
    measured = measure((without(lanes(), 0, 5), without(lanes(), 0, slice(0, 2))))
    assert texts(measured) == ["road_0.png: lane 0 has 2 of 5 points missed and 1 extra"]
    assert values(measured)["point_agreement"] == 21 / 24


def test_a_lane_that_moved_is_told_with_both_places() -> None:
    points = lanes().points.copy()
    points[1, 2] += [3.0, 4.0]
    measured = measure((lanes(), replace(lanes(), points=points)))
    assert texts(measured) == [
        "road_0.png: lane 1 moved by up to 5.00 px, at anchor 2 from (106.0, 20.0) to (109.0, 24.0)"
    ]
    assert values(measured)["point_shift_max"] == 5.0
    assert values(measured)["point_shift_p50"] == 0.0


def test_an_attribute_that_changed_is_told_on_lanes_of_both_sides_alone() -> None:
    attributes = np.zeros((KINDS, LANES), np.int64)
    attributes[1, 0], attributes[0, 3] = 7, 9
    measured = measure((lanes(), replace(lanes(), attributes=attributes)))
    assert texts(measured) == ["road_0.png: lane 0 has attribute 1 of class 0 on the reference and 7 now"]
    assert values(measured)["attribute_agreement"] == 3 / 4


coordinates = st.one_of(st.just(np.nan), st.floats(0, 100))


@given(
    hnp.arrays(np.float64, (2, 3, 2, 4), elements=coordinates),
    hnp.arrays(np.int64, (2, 3, 1, 2), elements=st.integers(0, 2)),
)
def test_the_figures_are_those_of_counting_point_by_point(xs: np.ndarray, kinds: np.ndarray) -> None:
    sides = [
        [Lanes(np.stack([x, x * 0 + 1], -1), kind, x * 0) for x, kind in zip(side, kind_side, strict=True)]
        for side, kind_side in zip(xs, kinds, strict=True)
    ]
    found = values(measure(*zip(*sides, strict=True)))
    first, second = ~np.isnan(xs)
    cells = list(np.ndindex(first.shape))
    shifts = [abs(xs[0][c] - xs[1][c]) for c in cells if first[c] and second[c]]
    rows = [(i, lane) for i in range(3) for lane in range(2)]
    both = [r for r in rows if first[r].any() and second[r].any()]
    either = [r for r in rows if first[r].any() or second[r].any()]
    assert found["point_agreement"] == sum(first[c] == second[c] for c in cells) / len(cells)
    expected = sum(first[c] and not second[c] for c in cells) / first.sum() if first.any() else None
    assert found["missed_point_share"] == expected
    expected = sum(second[c] and not first[c] for c in cells) / second.sum() if second.any() else None
    assert found["extra_point_share"] == expected
    assert found["point_shift_max"] == (pytest.approx(max(shifts)) if shifts else None)
    assert found["point_shift_p99"] == (pytest.approx(np.quantile(shifts, 0.99)) if shifts else None)
    assert found["lane_agreement"] == (len(both) / len(either) if either else None)
    same = [kinds[0][i, 0, lane] == kinds[1][i, 0, lane] for i, lane in both]
    assert found["attribute_agreement"] == (np.mean(same) if both else None)


def test_each_lane_has_a_row() -> None:
    rows = {row.class_name: row.figures for row in measure(SAME, (lanes(), lanes(2))).classes}
    assert list(rows) == ["lane 0", "lane 1", "lane 2", "lane 3"]
    assert (rows["lane 0"]["reference_point_count"], rows["lane 0"]["point_shift_max"]) == (12, 2.0)
    assert rows["lane 3"]["point_shift_max"] is None


def test_data_that_shows_nothing_is_told() -> None:
    nothing = without(lanes(), slice(None))
    assert "No image" in measure().degenerate
    assert "No lane is in any image" in measure((nothing, nothing), (nothing, nothing)).degenerate
    assert "same lanes for every image" in measure(SAME, SAME).degenerate
    assert measure(SAME).degenerate == ""


def test_a_candidate_that_invents_lanes_where_the_reference_has_none_is_no_empty_data() -> None:
    measured = measure((without(lanes(), slice(None)), lanes()))
    assert measured.degenerate == ""
    assert values(measured)["lane_agreement"] == 0.0


def test_flaws_are_summed_by_side_and_reason() -> None:
    flawed = replace(lanes(), flaws={"nan score": 3})
    assert measure((lanes(), flawed), (flawed, flawed)).flaws == {
        "candidate: nan score": 6,
        "reference: nan score": 3,
    }


def test_sides_of_different_shapes_are_refused() -> None:
    short = replace(lanes(), points=lanes().points[:3])
    with pytest.raises(StructureError, match=r"road_0.png: the reference has points \(4, 6, 2\)"):
        measure((lanes(), short))


@cache
def with_one_empty(*, empties_the_candidate: bool) -> Measured:
    pair = lanes(), without(lanes(), [0, 1])
    return measure(pair if empties_the_candidate else pair[::-1], *[SAME] * 500, (lanes(5), lanes(5)))


@pytest.mark.parametrize("precision", Precision)
def test_an_image_that_loses_all_its_lanes_fails_however_many_others_agree(precision: Precision) -> None:
    empty = without(lanes(), [0, 1])
    for is_the_candidate in (True, False):
        measured = with_one_empty(empties_the_candidate=is_the_candidate)
        assert values(measured)["lane_agreement"] > 0.995
        judged = judge_figures(measured.figures, default_gates(Task.LANES, precision))
        assert "one_sided_image_count" in {one.figure.name for one in judged if one.verdict is Verdict.FAIL}
        assert measured.findings[0].text.startswith("road_0.png: lane 0 is ")
    one = without(lanes(), 0)
    assert values(measure((one, empty), SAME))["one_sided_image_count"] == 0


def test_a_lane_is_told_from_what_a_strict_gate_does_not_allow() -> None:
    gate = Gate("point_shift_p99", None, 0.1, "strict")
    assert (told_point_shift(default_gates(Task.LANES, Precision.FP8)), told_point_shift([gate])) == (1.0, 0.1)
    agreement = LaneAgreement(moved=told_point_shift([gate]))
    agreement.update(ImageKey("road.png", 0, 0, 60, 300), lanes(), lanes(0.3))
    assert "lane 0 moved by up to 0.30 px" in texts(agreement.result())[0]
    none = LaneAgreement(moved=0.0)
    none.update(ImageKey("road.png", 0, 0, 60, 300), lanes(), lanes())
    assert not none.result().findings
