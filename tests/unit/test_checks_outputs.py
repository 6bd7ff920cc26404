"""The outputs check: structure before values, nothing passes by omission, the worst feed is one that fails alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.case.regions import RegionTolerance
from parity.checks.outputs import OutputsCheck, OutputsResult, reference_scales
from parity.tolerance import NOISE_FLOOR_DB, Precision, Tolerance, judged_by_decoding
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Tensors = Mapping[str, np.ndarray]

DECODED = judged_by_decoding("rows are sorted by score")
BOUND = Tolerance(rtol=0.0, atol=0.1, reason="for this test")


def judge(
    actual: Sequence[Tensors],
    expected: Sequence[Tensors],
    tolerance: Tolerance = BOUND,
    dtypes: Mapping[str, str] | None = None,
    *,
    decodes: bool = False,
) -> OutputsResult:
    regions_of = lambda name, _shape: (RegionTolerance(name, None, tolerance),)  # noqa: E731 - as short as what it is
    check = OutputsCheck(regions_of, Precision.FP16, dtypes, decodes=decodes)
    for number, (left, right) in enumerate(zip(actual, expected, strict=True)):
        check.update(number, left, right)
    return check.result()


def feeds(count: int = 3) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(5)
    return [{"y": generator.normal(size=(2, 4)).astype(np.float32), "z": np.arange(6.0)} for _ in range(count)]


def test_equal_outputs_pass_with_every_output_told() -> None:
    result = judge(feeds(), feeds())
    assert result.verdict is Verdict.PASS
    assert [tensor.output for tensor in result.tensors] == ["y", "z"]
    assert (result.feed_count, result.worst_feed) == (3, None)
    assert result.tensors[0].noise_floor_db == NOISE_FLOOR_DB[Precision.FP16]
    assert (result.tensors[0].shape, result.tensors[0].dtype) == ((2, 4), "float32")
    assert result.headline == "worst headroom 0, SQNR infinite"


def test_one_element_beyond_the_bound_fails_and_the_headline_and_the_worst_feed_point_to_it() -> None:
    actual = feeds()
    actual[1]["y"][1, 2] += 0.5
    result = judge(actual, feeds())
    assert result.verdict is Verdict.FAIL
    assert result.headline.startswith("y: 1 / 24 (4.17 %) beyond the bound, SQNR ")
    assert result.worst_feed == 1
    difference = result.tensors[0].difference
    assert difference is not None
    assert difference.worst_absolute is not None
    assert (difference.worst_absolute.feed, difference.worst_absolute.index) == (1, (1, 2))


def test_a_wrong_dtype_fails_before_values_are_looked_at_and_the_other_output_is_judged() -> None:
    result = judge([{**feed, "y": feed["y"].astype(np.float64)} for feed in feeds()], feeds())
    assert result.verdict is Verdict.FAIL
    assert result.tensors[0].reasons == ("The variant gives float64, expected float32 (feed 0).",)
    assert result.tensors[0].difference is None
    assert result.tensors[1].verdict is Verdict.PASS
    assert result.worst_feed == 0


def test_a_wrong_shape_is_found_on_the_feed_that_has_it() -> None:
    actual = feeds()
    actual[2]["y"] = actual[2]["y"].reshape(4, 2)
    result = judge(actual, feeds())
    assert result.tensors[0].reasons == ("The variant gives shape (4, 2), the reference (2, 4) (feed 2).",)
    assert result.worst_feed == 2
    assert result.headline == f"y: {result.tensors[0].reasons[0]}"


def test_an_output_that_only_the_reference_has_fails() -> None:
    result = judge([{"y": feed["y"]} for feed in feeds()], feeds())
    assert [tensor.verdict for tensor in result.tensors] == [Verdict.PASS, Verdict.FAIL]
    assert "does not give this output" in result.headline


def test_an_output_that_only_the_variant_has_fails_and_comes_last() -> None:
    result = judge([{"extra": feed["y"], **feed} for feed in feeds()], feeds())
    assert [tensor.output for tensor in result.tensors] == ["y", "z", "extra"]
    assert result.tensors[2].reasons == ("Only the variant gives this output (feed 0).",)
    assert result.verdict is Verdict.FAIL


def test_no_feed_at_all_is_inconclusive() -> None:
    result = judge([], [])
    assert (result.verdict, result.feed_count) == (Verdict.INCONCLUSIVE, 0)
    assert "there is no feed" in result.headline


def test_an_output_that_is_empty_in_every_feed_is_inconclusive() -> None:
    empty = [{"boxes": np.zeros((0, 4), np.float32)}]
    result = judge(empty, empty)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "Nothing was compared" in result.headline


def test_an_output_that_is_empty_in_one_feed_is_judged_by_the_others() -> None:
    expected = [{"boxes": np.zeros((0, 4), np.float32)}, {"boxes": np.ones((2, 4), np.float32).cumsum(0)}]
    assert judge(expected, expected).verdict is Verdict.PASS
    actual = [expected[0], {"boxes": expected[1]["boxes"] + 1}]
    assert judge(actual, expected).worst_feed == 1


def test_constant_data_is_inconclusive_and_a_failure_elsewhere_outranks_it() -> None:
    constant = [{"y": np.ones((2, 2), np.float32), "z": np.arange(6.0)}]
    assert judge(constant, constant).verdict is Verdict.INCONCLUSIVE
    assert judge([{**constant[0], "z": np.arange(6.0) + 1}], constant).verdict is Verdict.FAIL


def test_nan_on_one_side_fails_and_makes_its_feed_the_worst() -> None:
    actual = feeds()
    actual[0]["y"][0, 0] += 100
    actual[2]["y"][1, 1] = np.nan
    result = judge(actual, feeds())
    assert result.worst_feed == 2
    difference = result.tensors[0].difference
    assert difference is not None
    assert difference.first_nonfinite is not None
    assert difference.first_nonfinite.index == (1, 1)


def test_non_finite_elements_on_both_sides_are_noted_on_a_pass() -> None:
    reference = {"y": np.array([1.0, 2.0, np.nan, np.inf], np.float32)}
    [tensor] = judge([reference], [reference]).tensors
    assert tensor.verdict == "pass"
    assert "1 NaN and 1 infinite of 4 elements" in tensor.notes[0]


def test_a_half_output_is_judged_where_it_is_meant_to_be_half() -> None:
    actual = [{**feed, "y": feed["y"].astype(np.float16)} for feed in feeds()]
    assert judge(actual, feeds()).verdict is Verdict.FAIL
    assert judge(actual, feeds(), dtypes={"y": "float16"}).verdict is Verdict.PASS
    assert judge(feeds(), feeds(), dtypes={"y": "float16"}).verdict is Verdict.FAIL


def regions(output: str, shape: tuple[int, ...]) -> tuple[RegionTolerance, ...]:
    """Column 1 loosely, the rest tightly."""
    middle = (*(slice(None) for _ in shape[:-1]), slice(1, 2))
    loose, tight = replace(BOUND, atol=10.0), replace(BOUND, atol=0.01)
    return (
        RegionTolerance(f"{output}[..., 1]", middle, loose),
        RegionTolerance(f"{output}[rest]", None, tight, (middle,)),
    )


def test_regions_are_judged_apart_and_their_worst_elements_are_told_in_the_whole_tensor() -> None:
    expected = [{"y": np.arange(12, dtype=np.float32).reshape(4, 3) + shift} for shift in (0, 50)]
    actual = [{"y": feed["y"].copy()} for feed in expected]
    actual[1]["y"][2, 1] += 5
    actual[1]["y"][3, 2] += 1
    check = OutputsCheck(regions, Precision.FP32)
    for number in range(2):
        check.update(number, actual[number], expected[number])
    loose, tight = check.result().tensors
    assert (loose.output, loose.verdict) == ("y[..., 1]", Verdict.PASS)
    assert (tight.output, tight.verdict) == ("y[rest]", Verdict.FAIL)
    for outcome, index in ((loose, (2, 1)), (tight, (3, 2))):
        assert outcome.difference is not None
        assert outcome.difference.worst_absolute is not None
        assert outcome.difference.worst_absolute.index == index


def in_rms(output: str, shape: tuple[int, ...]) -> tuple[RegionTolerance, ...]:
    return tuple(
        replace(region, tolerance=replace(region.tolerance, atol_unit="rms")) for region in regions(output, shape)
    )


def test_a_tolerance_in_the_outputs_own_unit_needs_no_scale() -> None:
    assert reference_scales(regions, [{"y": np.ones((4, 3), np.float32)}]) == {}


def test_the_scale_of_a_region_is_the_rms_of_its_reference_over_all_feeds() -> None:
    expected = [{"y": np.random.default_rng(i).normal(size=(4 + i, 3)).astype(np.float32)} for i in range(3)]
    scales = reference_scales(in_rms, expected)
    middle = np.concatenate([feed["y"][:, 1] for feed in expected]).astype(np.float64)
    rest = np.concatenate([feed["y"][:, [0, 2]].ravel() for feed in expected]).astype(np.float64)
    assert scales["y[..., 1]"] == pytest.approx(np.sqrt(np.mean(middle**2)), rel=1e-12)
    assert scales["y[rest]"] == pytest.approx(np.sqrt(np.mean(rest**2)), rel=1e-12)


@settings(max_examples=40)
@given(
    noise=st.lists(st.floats(0, 0.5, width=32), min_size=1, max_size=5),
    fraction=st.sampled_from([0.0, 0.3]),
    ratio=st.sampled_from([None, 20.0]),
)
def test_a_failure_over_all_feeds_always_has_a_feed_that_fails_alone(
    noise: list[float], fraction: float, ratio: float | None
) -> None:
    tolerance = replace(BOUND, mismatch_fraction=fraction, min_sqnr_db=ratio)
    expected = [{"y": np.linspace(-1, 1, 7, dtype=np.float32) + i} for i in range(len(noise))]
    actual = [
        {"y": feed["y"] + np.float32(level) * np.linspace(0, 1, 7, dtype=np.float32)}
        for feed, level in zip(expected, noise, strict=True)
    ]
    result = judge(actual, expected, tolerance)
    if result.verdict is Verdict.FAIL:
        assert result.worst_feed is not None
        worst = result.worst_feed
        assert judge([actual[worst]], [expected[worst]], tolerance).verdict is Verdict.FAIL
    else:
        assert result.worst_feed is None


def swapped() -> list[dict[str, np.ndarray]]:
    return [{name: array[::-1].copy() for name, array in feed.items()} for feed in feeds()]


def test_rows_that_changed_places_pass_where_what_they_decode_to_is_judged() -> None:
    assert judge(swapped(), feeds()).verdict is Verdict.FAIL
    result = judge(swapped(), feeds(), DECODED, decodes=True)
    assert result.verdict is Verdict.PASS
    assert result.worst_feed is None
    assert result.headline.startswith("judged by decoding, SQNR -")
    difference = result.tensors[0].difference
    assert difference is not None
    assert difference.sqnr_db < 10, "the figures are told all the same"
    assert (difference.mismatch_count, difference.headroom) == (0, 0)


def test_what_is_judged_by_decoding_is_inconclusive_where_nothing_decodes_it() -> None:
    result = judge(feeds(), feeds(), DECODED)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "nothing decodes it" in result.tensors[0].reasons[0]


def test_decoding_excuses_neither_structure_nor_finiteness() -> None:
    damaged = feeds()
    damaged[1]["y"][0, 1] = np.nan
    result = judge(damaged, feeds(), DECODED, decodes=True)
    assert (result.verdict, result.worst_feed) == (Verdict.FAIL, 1)
    assert "NaN or infinity in different places" in result.tensors[0].reasons[0]
    narrow = [{name: array.astype(np.float16) for name, array in feed.items()} for feed in feeds()]
    assert judge(narrow, feeds(), DECODED, decodes=True).verdict is Verdict.FAIL
    assert judge([{"y": feed["y"]} for feed in feeds()], feeds(), DECODED, decodes=True).verdict is Verdict.FAIL


def _longer(row: float) -> list[dict[str, np.ndarray]]:
    more = np.full((1, 4), row, np.float32)
    return [{**feed, "y": np.concatenate([feed["y"], more])} for feed in feeds()]


def test_the_number_of_rows_is_for_decoding_to_judge_where_decoding_judges() -> None:
    assert "gives shape (3, 4)" in judge(_longer(0.5), feeds()).tensors[0].reasons[0]
    for actual, expected in ((_longer(0.5), feeds()), (feeds(), _longer(0.5))):
        result = judge(actual, expected, DECODED, decodes=True)
        assert result.verdict is Verdict.PASS
        assert "The number of rows differs" in result.tensors[0].notes[0]


def test_a_row_beyond_the_references_may_hold_no_nan() -> None:
    result = judge(_longer(np.nan), feeds(), DECODED, decodes=True)
    assert (result.verdict, result.worst_feed) == (Verdict.FAIL, 0)
    assert "4 elements are NaN or infinite in rows" in result.tensors[0].reasons[0]


def test_a_constant_output_is_for_decoding_to_judge_where_decoding_judges() -> None:
    constant = [{name: np.ones_like(array) for name, array in feed.items()} for feed in feeds()]
    assert judge(constant, feeds()).verdict is Verdict.FAIL
    assert judge(constant, feeds(), DECODED, decodes=True).verdict is Verdict.PASS
    assert judge(feeds(), constant, DECODED, decodes=True).verdict is Verdict.PASS


def test_an_output_beside_one_that_is_judged_by_decoding_keeps_its_bound() -> None:
    check = OutputsCheck(
        lambda name, _shape: (RegionTolerance(name, None, DECODED if name == "y" else BOUND),),
        Precision.FP16,
        decodes=True,
    )
    expected = feeds(1)[0]
    check.update(0, {"y": expected["y"][::-1], "z": expected["z"] + 0.05}, expected)
    assert check.result().headline.startswith("worst headroom 0.5, SQNR ")
    check.update(1, {"y": expected["y"], "z": expected["z"] + 1.0}, expected)
    result = check.result()
    assert [tensor.verdict for tensor in result.tensors] == [Verdict.PASS, Verdict.FAIL]
    assert (result.verdict, result.worst_feed) == (Verdict.FAIL, 1)


def test_places_that_changed_are_no_reason_to_blame_an_engine() -> None:
    check = OutputsCheck(lambda name, _shape: (RegionTolerance(name, None, DECODED),), Precision.FP16, decodes=True)
    expected = feeds(1)[0]
    check.update(0, {name: array[::-1] for name, array in expected.items()}, expected, rounded=expected)
    assert [tensor.triangulation for tensor in check.result().tensors] == [None, None]
