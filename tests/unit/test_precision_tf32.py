"""TF32: operands against rounding by bit masks."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from parity.errors import PrecisionError
from parity.precision.tf32 import insert_tf32_rounding
from tests.tiny_graphs import copy_of, model_of, node, pointwise, run, value

LARGEST = 2.0**128 / (2**13 + 1)


def by_bits(values):
    """Round float32 to 10 explicit mantissa bits, ties to even."""
    bits = values.view(np.uint32).astype(np.uint64)
    bits = bits + 0xFFF + ((bits >> 13) & 1)
    return (bits & 0xFFFFE000).astype(np.uint32).view(np.float32)


def is_tie(values):
    return (values.view(np.uint32) & 0x1FFF) == 0x1000


def rounded(model):
    made = copy_of(model)
    counts = insert_tf32_rounding(made)
    onnx.checker.check_model(made, full_check=True)
    return made, counts


def times_one():
    return model_of([node("MatMul", ["x", "one"], ["y"], "mm")], [value("x", 2)], [value("y", 2)], {"one": [[1.0]]})


def operand(values):
    return run(rounded(times_one())[0], {"x": values.reshape(-1, 1)})["y"].reshape(-1)


@given(arrays(np.float32, 8, elements=st.floats(-(2.0**113), 2.0**113, width=32)))
@settings(max_examples=100, deadline=None)
def test_operands_are_rounded_to_the_nearest_of_11_significant_bits(values):
    # A subnormal float32 keeps more digits than TF32 has for it; no activation of a network comes near.
    values = values[(values == 0) | (np.abs(values) > 1e-35)]
    found = operand(values)
    ties = is_tie(values)
    np.testing.assert_array_equal(found[~ties], by_bits(values)[~ties])
    np.testing.assert_array_equal(found, (found.view(np.uint32) & 0xFFFFE000).view(np.float32))
    assert np.all(np.abs(found - values) <= np.abs(by_bits(values) - values))


def test_a_tie_goes_to_one_of_its_two_neighbours():
    ties = (np.arange(64, dtype=np.uint32) * 0x2000 + 0x3F801000).view(np.float32)
    assert is_tie(ties).all()
    np.testing.assert_array_equal(np.abs(operand(ties) - ties), np.full(64, 2.0**-11, np.float32))


def test_infinities_and_operands_beyond_1_8193_of_the_range_become_nan():
    found = operand(np.array([0.99 * LARGEST, 1.01 * LARGEST, np.inf], np.float32))
    np.testing.assert_array_equal(np.isnan(found), [False, True, True])


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
    expected = by_bits(feed).astype(np.float64) @ by_bits(weight)
    found = run(made, {"x": feed})
    np.testing.assert_allclose(found["y"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found["z"], expected + bias, rtol=1e-5, atol=1e-6)


def test_a_model_without_products_has_no_tf32():
    with pytest.raises(PrecisionError, match="tf32: the model has no float32 Conv"):
        insert_tf32_rounding(pointwise("Exp"))
