"""Which nodes compute in half, and what rounding does to constants."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto

from parity.errors import PrecisionError
from parity.precision.assignment import (
    RoundingLoss,
    assign,
    describe_losses,
    half_slots,
    round_array,
    rounding_loss,
)
from parity.precision.scope import open_scope
from parity.tolerance import Precision
from tests.tiny_graphs import (
    array,
    branches,
    graph_of,
    half_options,
    looped,
    model_of,
    node,
    pointwise,
    value,
)

FP16, BF16 = TensorProto.FLOAT16, TensorProto.BFLOAT16


def slots_of(model, place=0):
    slots = half_slots(model.graph.node[place], open_scope(model))
    return slots.inputs, slots.outputs


def test_scales_of_a_resize_stay_float32_and_its_image_does_not():
    resize = node("Resize", ["x", "", "scales"], ["y"], "resize")
    model = model_of([resize], [value("x", 4)], [value("y", 4)], {"scales": [1, 1, 2, 2]})
    assert slots_of(model) == ((0,), (0,))


def test_non_maximum_suppression_takes_no_half_at_all():
    nms = node("NonMaxSuppression", ["boxes", "scores"], ["y"], "nms")
    model = model_of([nms], [value("boxes", 3), value("scores", 3)], [value("y", 2, TensorProto.INT64)])
    assert slots_of(model) == ((), ())


def test_indices_of_a_gather_stay_what_they_are():
    gather = node("Gather", ["x", "i"], ["y"], "gather")
    assert slots_of(model_of([gather], ["x", value("i", 1, TensorProto.INT64)], ["y"])) == ((0,), (0,))


def test_missing_optional_inputs_are_passed_over():
    clip = node("Clip", ["x", "", "high"], ["y"], "clip")
    assert slots_of(model_of([clip], ["x"], ["y"], {"high": 1.0})) == ((0, 2), (0,))


def test_operators_of_other_domains_and_those_with_subgraphs_take_no_half():
    own = node("Relu", ["x"], ["y"], "own", domain="elsewhere")
    assert slots_of(model_of([own], ["x"], ["y"], domains=["elsewhere"])) == ((), ())
    branch = graph_of([node("Relu", ["x"], ["b"], "inside")], [], ["b"])
    assert slots_of(branches(branch, branch)) == ((), ())


def test_nodes_inside_of_branches_and_loops_are_assigned():
    then = graph_of([node("Relu", ["x"], ["b"], "then")], [], ["b"])
    other = graph_of([node("Neg", ["x"], ["b"], "other")], [], ["b"])
    assert assign(branches(then, other), half_options()) == {"then": FP16, "other": FP16}
    assert assign(looped([node("Add", ["before", "x"], ["after"], "add")], 2), half_options()) == {"add": FP16}


def test_casts_and_quantization_are_left_as_they_are():
    nodes = [
        node("Cast", ["x"], ["a"], "cast", to=TensorProto.FLOAT),
        node("QuantizeLinear", ["a", "s"], ["q"], "q"),
        node("DequantizeLinear", ["q", "s"], ["d"], "dq"),
        node("Relu", ["d"], ["y"], "relu"),
    ]
    model = model_of(nodes, ["x"], ["y"], {"s": np.array(0.5, np.float32)})
    assert assign(model, half_options()) == {"relu": FP16}


def test_kept_nodes_take_the_keep_precision():
    model = pointwise("Exp", "Neg", "Abs")
    assert assign(model, half_options(keep=("n1",))) == {"n0": FP16, "n2": FP16}
    kept = half_options(keep=("n1",), keep_precision=Precision.BF16)
    assert assign(model, kept) == {"n0": FP16, "n1": BF16, "n2": FP16}
    assert assign(model, half_options(Precision.BF16)) == {"n0": BF16, "n1": BF16, "n2": BF16}


@pytest.mark.parametrize("keep_precision", [Precision.FP32, Precision.BF16])
def test_keeping_every_node_is_a_mistake(keep_precision):
    with pytest.raises(PrecisionError, match=r"fp16: no node would compute in fp16.*shorten the keep-list"):
        assign(pointwise("Exp"), half_options(keep=("*",), keep_precision=keep_precision))


def test_a_keep_list_that_there_is_not_is_not_to_be_shortened():
    with pytest.raises(PrecisionError, match=r"not kept: drop the variant$"):
        assign(pointwise("Not"), half_options())


def test_a_float64_model_is_told_to_be_exported_in_float32():
    model = model_of([node("Exp", ["x"], ["y"])], [value("x", 1, 11)], [value("y", 1, 11)])
    with pytest.raises(PrecisionError, match="the model computes in float64, export it in float32"):
        assign(model, half_options())


@given(st.lists(st.floats(width=32, allow_nan=False), max_size=30))
def test_values_round_as_numpy_rounds_and_finite_ones_stay_finite(values):
    given_values = np.array(values, np.float32)
    for elem_type, dtype in ((FP16, np.float16), (BF16, ml_dtypes.bfloat16)):
        rounded = round_array(given_values, elem_type)
        with np.errstate(over="ignore"):
            plain = given_values.astype(dtype)
        largest = np.float32(ml_dtypes.finfo(dtype).max)
        overflowed = np.isinf(plain.astype(np.float32)) & np.isfinite(given_values)
        expected = np.where(overflowed, np.sign(given_values) * largest, plain.astype(np.float32))
        assert rounded.dtype == dtype
        np.testing.assert_array_equal(rounded.astype(np.float32), expected)


def test_masks_of_minus_infinity_stay_and_huge_finite_ones_are_clamped():
    rounded = round_array(array(-np.inf, -3e38, 3e38, np.inf, np.nan), FP16)
    np.testing.assert_array_equal(rounded.astype(np.float32), array(-np.inf, -65504, 65504, np.inf, np.nan))
    assert round_array(array(-3.4028235e38), BF16).astype(np.float32)[0] == -3.3895314e38


def loss(values, half):
    return rounding_loss("w", values, round_array(values, half), half)


def test_losses_count_what_is_clamped_and_what_becomes_zero():
    values = array(0.0, 1.0, 7e4, -7e4, np.inf, 1e-9, -2e-8, 6e-8, np.nan)
    assert loss(values, FP16) == RoundingLoss("w", 9, clamped=2, flushed=2)
    assert loss(values, BF16) == RoundingLoss("w", 9, clamped=0, flushed=0)


def test_losses_are_summed_up_and_the_worst_tensor_is_named():
    losses = [RoundingLoss("big", 100, 4, 0), RoundingLoss("small", 4, 2, 0), RoundingLoss("fine", 9, 0, 0)]
    assert describe_losses(losses) == (
        "6 constants in 2 tensors are beyond the format's range and clamped; worst: small, 2 of 4",
    )
    assert describe_losses([]) == ()


def test_an_empty_constant_loses_nothing():
    empty = loss(np.zeros(0, np.float32), FP16)
    notes = describe_losses([empty, RoundingLoss("w", 2, 0, 1)])
    assert notes == ("1 constants in 1 tensors are too small for the format and become 0; worst: w, 1 of 2",)
