from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.case.model import Case, RandomSource, Reference, ToleranceRule, Variant
from parity.case.regions import (
    expand_region,
    matches,
    parse_region,
    split_output,
    tolerances_for,
)
from parity.errors import CaseError
from parity.options import PrecisionOptions
from parity.tolerance import DEFAULT_TOLERANCE, Precision, Tolerance

if TYPE_CHECKING:
    from types import EllipsisType

FP16 = Variant("fp16", PrecisionOptions(Precision.FP16))


def case_of(*rules: ToleranceRule) -> Case:
    return Case(
        name="case",
        description="",
        folder=Path(),
        file=Path("case.toml"),
        model=Path("model.onnx"),
        reference=Reference(),
        evaluation=RandomSource(0, 1),
        calibration=None,
        batch_size=1,
        shapes={},
        variants=(FP16,),
        tolerances=rules,
    )


def rule(region: str = "", name: str = "", variant: str = "*", output: str = "*") -> ToleranceRule:
    return ToleranceRule(variant, output, region, Tolerance(0.0, 0.0, name or region))


@pytest.mark.parametrize(
    ("text", "region"),
    [
        ("[:, 4:]", (slice(None), slice(4, None))),
        ("[...,0]", (Ellipsis, 0)),
        ("[ -1 , ::2 ]", (-1, slice(None, None, 2))),
        ("[1:-1:3]", (slice(1, -1, 3),)),
        ("[...]", (Ellipsis,)),
    ],
)
def test_slices_are_read_as_numpy_writes_them(text: str, region: tuple) -> None:
    assert parse_region(text) == region


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4:",
        "[]",
        "[:,]",
        "[a]",
        "[1:2:3:4]",
        "[::0]",
        "[::-1]",
        "[..., ...]",
        "[1.5]",
        "[__import__('os')]",
        "[1_0]",
        "[\u0663:\u0664x]",
    ],
)
def test_what_is_no_slice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_region(text)


ENDS = st.none() | st.integers(-5, 5)
AXES = st.builds(slice, ENDS, ENDS, st.none() | st.integers(1, 3)) | st.integers(-5, 4)
REGIONS = st.lists(AXES, min_size=1, max_size=3).flatmap(
    lambda axes: st.integers(0, len(axes)).map(lambda at: (*axes[:at], ..., *axes[at:])) | st.just(tuple(axes))
)


def as_text(region: tuple) -> str:
    return f"[{', '.join(map(axis_text, region))}]"


def axis_text(axis: object) -> str:
    if isinstance(axis, slice):
        ends = ["" if end is None else str(end) for end in (axis.start, axis.stop)]
        return ":".join(ends if axis.step is None else [*ends, str(axis.step)])
    return "..." if axis is Ellipsis else str(axis)


@given(REGIONS)
def test_a_region_is_read_back_as_it_was_written(region: tuple) -> None:
    assert parse_region(as_text(region)) == region


@given(REGIONS, st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_an_expanded_region_selects_what_numpy_selects(region: tuple, shape: list[int]) -> None:
    array = np.arange(np.prod(shape)).reshape(shape)
    try:
        expected = array[region].ravel()
    except IndexError:
        expected = np.empty(0)
    if expected.size == 0:
        with pytest.raises(ValueError, match=r"axes; the output has|selects nothing"):
            expand_region(region, shape)
    else:
        np.testing.assert_array_equal(array[expand_region(region, shape)].ravel(), expected)


def test_open_axes_are_taken_on_trust() -> None:
    assert expand_region((0, slice(4, None)), ("batch", None, 3)) == (slice(0, 1), slice(4, None), slice(None))


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("output0[:, 4:]", ["output0"], ("output0", "[:, 4:]")),
        ("output0", ["output0"], ("output0", "")),
        ("a[0]", ["a[0]"], ("a[0]", "")),
        ("a[0][1:]", ["a[0]"], ("a[0]", "[1:]")),
        ("odd]", [], ("odd]", "")),
    ],
)
def test_a_name_is_told_from_its_slice(text: str, names: list[str], expected: tuple[str, str]) -> None:
    assert split_output(text, names) == expected


def test_brackets_in_a_name_stand_for_themselves() -> None:
    assert matches("a[0]", "a[0]")
    assert matches("a[0]", "a[?]")
    assert not matches("a0", "a[0]")


def test_without_rules_the_precisions_default_judges_the_whole_output() -> None:
    (region,) = tolerances_for(case_of(), FP16, "out", (2, 3))
    assert (region.label, region.slices, region.mask_rest) == ("out", None, False)
    assert region.tolerance is DEFAULT_TOLERANCE[Precision.FP16]


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_without_rules_what_names_or_counts_must_be_equal(precision: Precision, dtype: str) -> None:
    variant = Variant("any", PrecisionOptions(precision))
    (region,) = tolerances_for(case_of(), variant, "labels", (2,), dtype)
    assert (region.tolerance.rtol, region.tolerance.atol, region.tolerance.mismatch_fraction) == (0, 0.5, 0)
    (ruled,) = tolerances_for(case_of(rule(name="mine")), variant, "labels", (2,), dtype)
    assert ruled.tolerance.reason == "mine"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "uint8", "int8", "bool"])
def test_values_that_a_rounding_moves_keep_the_precisions_default(dtype: str) -> None:
    (region,) = tolerances_for(case_of(), FP16, "pixels", (2,), dtype)
    assert region.tolerance is DEFAULT_TOLERANCE[Precision.FP16]


def test_of_several_rules_for_one_region_the_last_wins() -> None:
    case = case_of(rule(name="first"), rule("[1:]", "slice"), rule("[:]", "second"), rule("[-3:]", "same slice"))
    regions = tolerances_for(case, FP16, "out", (4,))
    assert [(region.label, region.tolerance.reason) for region in regions] == [
        ("out[-3:]", "same slice"),
        ("out[rest]", "second"),
    ]


def test_rules_for_others_do_not_count() -> None:
    case = case_of(rule("[0]", output="other"), rule("[0]", variant="int8"), rule(name="mine", variant="fp*"))
    (region,) = tolerances_for(case, FP16, "out", (4,))
    assert region.tolerance.reason == "mine"


def test_slices_that_leave_something_over_get_a_rest() -> None:
    boxes, rest = tolerances_for(case_of(rule("[:, :4]")), FP16, "output0", (1, 7, 5))
    array = np.arange(35).reshape(1, 7, 5)
    np.testing.assert_array_equal(boxes.select(array), array[:, :4])
    np.testing.assert_array_equal(rest.select(array), array[:, 4:].ravel())
    assert (boxes.label, rest.label, rest.mask_rest) == ("output0[:, :4]", "output0[rest]", True)
    assert rest.tolerance is DEFAULT_TOLERANCE[Precision.FP16]


def test_slices_that_cover_everything_leave_no_rest() -> None:
    regions = tolerances_for(case_of(rule("[:, :4]"), rule("[:, 4:]")), FP16, "output0", (1, 7, 5))
    assert [region.label for region in regions] == ["output0[:, :4]", "output0[:, 4:]"]


def test_a_slice_that_the_real_shape_does_not_have_is_told_with_its_place() -> None:
    with pytest.raises(CaseError, match=r"tolerances\[1\]\.output: \[:, 4:\] selects nothing on axis 1"):
        tolerances_for(case_of(rule(), rule("[:, 4:]")), FP16, "out", (1, 3))


def test_an_output_without_rows_needs_no_rows_to_be_judged() -> None:
    regions = tolerances_for(case_of(rule("[:, 4:]")), FP16, "out", (0, 6))
    assert all(region.select(np.empty((0, 6))).size == 0 for region in regions)


SHAPES = st.lists(st.integers(1, 5), min_size=0, max_size=3).map(tuple)


@settings(deadline=None)
@given(SHAPES, st.lists(REGIONS, max_size=4))
def test_every_element_is_judged_at_least_once_and_the_rest_exactly_once(
    shape: tuple[int, ...], written: list[tuple[slice | int | EllipsisType, ...]]
) -> None:
    rules = []
    for region in written:
        try:
            expand_region(region, shape)
        except ValueError:
            continue
        rules.append(rule(as_text(region)))
    regions = tolerances_for(case_of(*rules), FP16, "out", shape)
    counts = np.sum([region.mask(shape) for region in regions], axis=0)
    assert counts.min() >= 1
    array = np.arange(counts.size).reshape(shape)
    for region in regions:
        picked = region.select(array)
        np.testing.assert_array_equal(np.sort(picked, axis=None), array[region.mask(shape)])
        assert picked.size > 0
        for index in np.ndindex(picked.shape):
            assert array[region.whole_index(shape, index)] == picked[index]
        if region.mask_rest:
            assert counts[region.mask(shape)].max() == 1


def test_the_rest_is_judged_by_the_rule_for_the_whole_output() -> None:
    case = case_of(rule(name="whole", output="out"), rule("[0]"))
    assert tolerances_for(case, FP16, "out", (4,))[-1].tolerance.reason == "whole"
    other = replace(FP16, name="bf16", options=PrecisionOptions(Precision.BF16))
    assert tolerances_for(case_of(rule("[0]")), other, "out", (4,))[-1].tolerance is DEFAULT_TOLERANCE[Precision.BF16]
