"""TF32: operands against rounding by bit masks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parity.errors import PrecisionError
from parity.options import PrecisionOptions
from parity.precision.forecast import forecast
from parity.precision.tf32 import insert_tf32_rounding
from parity.tolerance import NOISE_FLOOR_DB, Precision
from tests.tiny_graphs import copy_of, model_of, node, pointwise, run, value

LARGEST = 2.0**128 / (2**13 + 1)
SMALLEST_NORMAL = 2.0**-126
# A step of the 11 significant bits at 1.0, in units of float32's last place.
STEP = 0x2000


def toward_zero(values):
    """Leave the 13 lowest bits of float32 out."""
    return (values.view(np.uint32) & 0xFFFFE000).view(np.float32)


def to_nearest(values):
    """Round float32 to 11 significant bits, ties to even, by arithmetic in float64."""
    mantissa, exponent = np.frexp(values.astype(np.float64))
    return np.ldexp(np.rint(mantissa * 2**11) / 2**11, exponent).astype(np.float32)


def rounded(model):
    made = copy_of(model)
    counts = insert_tf32_rounding(made)
    onnx.checker.check_model(made, full_check=True)
    return made, counts


def times_one():
    return model_of([node("MatMul", ["x", "one"], ["y"], "mm")], [value("x", 2)], [value("y", 2)], {"one": [[1.0]]})


@pytest.fixture(scope="module")
def times_one_rounded():
    return rounded(times_one())[0]


def operand(model, values):
    return run(model, {"x": values.reshape(-1, 1)})["y"].reshape(-1)


def bits_of(*patterns):
    return np.array(patterns, np.uint32).view(np.float32)


def normal_floats():
    signs, exponents = st.sampled_from([1.0, -1.0]), st.integers(-126, 113)
    mantissas = st.integers(2**23, 2**24 - 1)
    return st.builds(lambda s, m, e: np.float32(s * np.ldexp(m / 2**23, e)), signs, mantissas, exponents)


@given(st.lists(normal_floats(), min_size=1, max_size=8).map(lambda found: np.array(found, np.float32)))
@example(np.array([0.0, -0.0, 1.0, -2.0, SMALLEST_NORMAL, -SMALLEST_NORMAL, 2.0**114], np.float32))
@example(bits_of(0x3F7FFFFF, 0x3F800001, 0x3F801000, 0x3F801FFF, 0x3FFFFFFF, 0xBF7FFFFF, 0x00FFFFFF, 0x80801FFF))
@settings(max_examples=200, deadline=None)
def test_activations_lose_their_13_lowest_bits(times_one_rounded, values):
    np.testing.assert_array_equal(operand(times_one_rounded, values), toward_zero(values))


@pytest.mark.parametrize("sign", [0, 0x80000000])
@pytest.mark.parametrize("exponent", [1, 127, 240])
def test_every_place_between_neighbours_goes_toward_zero(times_one_rounded, exponent, sign):
    # All 8192 places above the first, a middle and the last of the 1024 numbers of an exponent.
    start = sign + (exponent << 23)
    places = [np.arange(STEP, dtype=np.uint32) + np.uint32(start + k * STEP) for k in (0, 1, 511, 1022, 1023)]
    values = np.concatenate(places).view(np.float32)
    np.testing.assert_array_equal(operand(times_one_rounded, values), toward_zero(values))


def test_rounding_activations_to_nearest_is_found(times_one_rounded):
    planted = copy_of(times_one_rounded)
    (factor,) = (tensor for tensor in planted.graph.initializer if tensor.name == "tf32_next_below")
    factor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(1, np.float32), factor.name))
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    found = operand(planted, values)
    np.testing.assert_array_equal(found, to_nearest(values))
    assert 400 < np.count_nonzero(found != toward_zero(values)) < 600


def test_subnormal_activations_keep_more_digits_than_the_mask_leaves(times_one_rounded):
    values = np.array([2.0**-127 + 2.0**-149, 3 * 2.0**-149, -(2.0**-127)], np.float32)
    found = operand(times_one_rounded, values)
    np.testing.assert_array_equal(found, np.array([2.0**-127, 3 * 2.0**-149, -(2.0**-127)], np.float32))
    assert np.count_nonzero(toward_zero(values) == found) == 2


def test_infinities_and_activations_beyond_1_8193_of_the_range_become_nan(times_one_rounded):
    found = operand(times_one_rounded, np.array([0.99 * LARGEST, 1.01 * LARGEST, np.inf], np.float32))
    np.testing.assert_array_equal(np.isnan(found), [False, True, True])


@given(arrays(np.float32, 8, elements=st.floats(-(2.0**127), 2.0**127, width=32, allow_subnormal=False)))
@example(bits_of(0x3F801000, 0x3F803000, 0xBF801000, 0x3F7FFFFF, 0x3F801001, 0x3F800FFF, 0x80000000, 0))
@settings(max_examples=100, deadline=None)
def test_constants_are_rounded_to_nearest_and_ties_to_even(values):
    np.testing.assert_array_equal(constant(values), to_nearest(values))


def constant(values):
    model = model_of(
        [node("MatMul", ["x", "w"], ["y"], "mm")], [value("x", 2)], [value("y", 2)], {"w": values.reshape(1, -1)}
    )
    made, _ = rounded(model)
    (tensor,) = (tensor for tensor in made.graph.initializer if tensor.name == "w_tf32")
    return onnx.numpy_helper.to_array(tensor).reshape(-1)


def test_a_constant_that_is_not_finite_stays():
    given_bits = [0x7F800000, 0xFF800000, 0x7F800001, 0xFFFFFFFF]
    assert constant(bits_of(*given_bits)).view(np.uint32).tolist() == given_bits


def test_both_operands_are_rounded_once_and_the_sum_is_float32():
    rng = np.random.default_rng(0)
    weight, feed = (rng.standard_normal((4, 4)).astype(np.float32) for _ in range(2))
    nodes = [
        node("MatMul", ["x", "w"], ["y"], "one"),
        node("Gemm", ["x", "w", "b"], ["z"], "two"),
    ]
    bias = rng.standard_normal(4).astype(np.float32)
    model = model_of(nodes, [value("x", 2)], [value("y", 2), value("z", 2)], {"w": weight, "b": bias})
    made, counts = rounded(model)
    assert counts == (2, 2)
    expected = toward_zero(feed).astype(np.float64) @ to_nearest(weight)
    found = run(made, {"x": feed})
    np.testing.assert_allclose(found["y"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["z"], expected + bias, rtol=1e-5, atol=1e-6)


def test_constants_cost_no_node_and_leave_no_copy_that_nothing_reads():
    made, _ = rounded(times_one())
    assert not any("one" in name for added in made.graph.node for name in added.output)
    assert [tensor.name for tensor in made.graph.initializer if tensor.name.startswith("one")] == ["one_tf32"]


def test_names_that_the_model_has_are_left_to_it():
    nodes = [node("MatMul", ["x", "tf32_split"], ["x_tf32"], "mm"), node("Neg", ["x_tf32"], ["x_tf32_nearest"], "neg")]
    model = model_of(nodes, [value("x", 2)], [value("x_tf32_nearest", 2)], {"tf32_split": [[3.0]]})
    made, _ = rounded(model)
    feed = np.full((1, 1), 1 + 2.0**-11, np.float32)
    assert run(made, {"x": feed})["x_tf32_nearest"].item() == -3.0


def tf32_of(model):
    return forecast(model, PrecisionOptions(Precision.TF32))


def test_an_expression_of_constants_is_a_constant():
    weight = bits_of(0x3F801FFF, 0xBF801FFF).reshape(1, 2)
    nodes = [node("Transpose", ["w"], ["t"], "turn"), node("MatMul", ["x", "t"], ["y"], "mm")]
    model = model_of(nodes, [value("x", 2)], [value("y", 2)], {"w": weight})
    made = tf32_of(model)
    assert (made.folded_node_count, made.rounded_tensor_count) == (1, 2)
    one = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    np.testing.assert_array_equal(run(made.rounded, {"x": one})["y"], to_nearest(weight.T))


def test_a_model_older_than_the_operators_of_rounding_is_raised():
    model = model_of(
        [node("MatMul", ["x", "w"], ["y"], "mm")],
        [value("x", 2)],
        [value("y", 2)],
        {"w": [[1.0]]},
        opset=7,
        ir_version=4,
    )
    made = tf32_of(model)
    assert made.typed is model
    assert made.rounded.opset_import[0].version == 9
    assert operand(made.rounded, bits_of(0x3F801FFF)).item() == 1.0


@pytest.mark.parametrize("terms", [64, 4096])
def test_one_product_of_normal_data_is_at_the_floor(terms):
    rng = np.random.default_rng(0)
    feed, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((64, terms), (terms, 64)))
    exact = feed.astype(np.float64) @ weight
    error = toward_zero(feed).astype(np.float64) @ to_nearest(weight) - exact
    sqnr = 20 * np.log10(np.linalg.norm(exact) / np.linalg.norm(error))
    assert sqnr == pytest.approx(NOISE_FLOOR_DB[Precision.TF32], abs=0.3)


def test_a_model_without_products_has_no_tf32():
    with pytest.raises(PrecisionError, match="tf32: the model has no float32 Conv"):
        insert_tf32_rounding(pointwise("Exp"))
