"""Faults where an operator is steep, leaves its domain, or jumps: few nodes each, and harmless numbers in the twin.

Every one takes and gives a tensor of ``(ROWS, WIDE)`` with values near 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from tests.planted.net import Net

ROWS, WIDE = 8, 8
SteepPlant = Callable[[Net, str, bool], str]


def _near(net: Net, x: str, spread: float, centre: float) -> str:
    """Return values within a spread of a centre, which nothing fuses with what reads them."""
    moved = net.op("Add", net.op("Mul", net.op("Tanh", x), net.constant(spread)), net.constant(centre))
    return net.scale(moved, WIDE, 1.0, rank=2)


def arc_cosine(net: Net, x: str, sick: bool) -> str:
    return net.op("Acos", net.op("Cos", net.op("Mul", x, net.constant(0.03 if sick else 1.0))))


def arc_cosine_past_one(net: Net, x: str, sick: bool) -> str:
    """Dot products of unit vectors that are nearly the same, which an error carries past 1."""
    near = net.scale(net.op("Mul", net.op("Tanh", x), net.constant(0.01 if sick else 0.3)), WIDE, 1.0, rank=2)
    square = net.scale(net.op("Mul", near, near), WIDE, 1.0, rank=2)
    cosine = net.scale(net.op("Sub", net.constant(0.5), square), WIDE, 1.0003, rank=2)
    dot = net.op("Add", cosine, net.constant(0.49984 if sick else 0.3))
    return net.op("Acos", dot)


def logarithm_near_one(net: Net, x: str, sick: bool) -> str:
    power = net.op("Exp", net.op("Mul", x, net.constant(2e-3 if sick else 0.5)))
    return net.op("Mul", net.op("Log", net.scale(power, WIDE, 1.0, rank=2)), net.constant(500.0 if sick else 2.0))


def division_by_almost_nothing(net: Net, x: str, sick: bool) -> str:
    small = net.scale(net.op("Add", x, net.constant(0.0003)), WIDE, 1.0, rank=2)
    divisor = small if sick else net.op("Add", net.op("Abs", small), net.constant(0.3))
    return net.op("Mul", net.op("Reciprocal", divisor), net.constant(0.1))


def nearly_constant_rows(net: Net, x: str, sick: bool) -> str:
    near = net.op("Add", net.op("Mul", x, net.constant(2e-3 if sick else 1.0)), net.constant(1.0))
    ones, zeros = net.constant(np.ones(WIDE)), net.constant(np.zeros(WIDE))
    return net.op("LayerNormalization", near, ones, zeros, axis=-1, epsilon=1e-12)


def chaotic_loop(net: Net, x: str, sick: bool) -> str:
    """The logistic map, whose errors grow at each turn for one factor, and vanish for another."""
    factor, one, make = net.constant(3.99 if sick else 1.5), net.constant(1.0), helper.make_node
    value = helper.make_tensor_value_info
    nodes = [
        make("Sub", [one, "before"], ["rest"], "take"),
        make("Mul", ["rest", "before"], ["product"], "product"),
        make("Mul", ["product", factor], ["after"], "grow"),
        make("Identity", ["going"], ["still"], "still"),
    ]
    inputs = [value("turn", TensorProto.INT64, []), value("going", TensorProto.BOOL, []),
              value("before", TensorProto.FLOAT, [ROWS, WIDE])]  # fmt: skip
    outputs = [value("still", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [ROWS, WIDE])]
    body = helper.make_graph(nodes, "turn", inputs, outputs)
    turned = net.op("Loop", net.constant(10, np.int64), "", net.op("Sigmoid", x), body=body)
    return net.op("Reshape", turned, net.constant([ROWS, WIDE], np.int64))


def threshold_inside_of_a_loop(net: Net, x: str, sick: bool) -> str:
    """A comparison that no observed tensor shows: what the body rounds falls on the other side of it."""
    constants = (net.constant(1e-3 if sick else 0.3), net.constant(0.9), net.constant(0.9003 if sick else -5.0))
    make, value = helper.make_node, helper.make_tensor_value_info
    nodes = [
        make("Mul", [x, constants[0]], ["small"], "shrink"),
        make("Add", ["small", constants[1]], ["near"], "move"),
        make("Greater", ["near", constants[2]], ["above"], "compare"),
        make("Neg", [x], ["negated"], "negate"),
        make("Where", ["above", x, "negated"], ["chosen"], "choose"),
        make("Add", ["before", "chosen"], ["after"], "sum"),
        make("Identity", ["going"], ["still"], "still"),
    ]
    inputs = [value("turn", TensorProto.INT64, []), value("going", TensorProto.BOOL, []),
              value("before", TensorProto.FLOAT, [ROWS, WIDE])]  # fmt: skip
    outputs = [value("still", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [ROWS, WIDE])]
    body = helper.make_graph(nodes, "turn", inputs, outputs)
    turned = net.op("Loop", net.constant(2, np.int64), "", net.op("Sigmoid", x), body=body)
    return net.op("Reshape", turned, net.constant([ROWS, WIDE], np.int64))


def rounding_at_halves(net: Net, x: str, sick: bool) -> str:
    return net.op("Round", _near(net, x, 1e-3 if sick else 0.2, 2.5002 if sick else 2.0))


def threshold_amid_values(net: Net, x: str, sick: bool) -> str:
    is_above = net.op("Greater", _near(net, x, 2e-3 if sick else 0.5, 1.7), net.constant(1.7003 if sick else 0.1))
    return net.op("Where", is_above, x, net.op("Neg", x))


def place_in_a_table(net: Net, x: str, sick: bool) -> str:
    place = net.op("Cast", _near(net, x, 2e-3 if sick else 0.2, 5.0 if sick else 5.5), to=TensorProto.INT64)
    return net.op("Gather", net.constant(net.draw.standard_normal(9)), place, axis=0)


def choice_among_near_ties(net: Net, x: str, sick: bool) -> str:
    best = net.op("ArgMax", _near(net, x, 1e-4 if sick else 1.0, 1.0 if sick else 0.0), axis=-1, keepdims=0)
    return net.op("Gather", net.constant(net.draw.standard_normal((WIDE, WIDE))), best, axis=0)


def sampling_between_pixels(net: Net, x: str, sick: bool) -> str:
    """The nearest pixel, at places that lie in the middle between two of them, or on one."""
    table = net.constant(net.draw.standard_normal((1, 1, 1, 64)))
    centre = 1 / 63 if sick else 1.0 / 63 + 1.0 / 63
    places = np.linspace(-0.5, 0.5, ROWS * WIDE).reshape(1, ROWS, WIDE, 1)
    places = np.round((places + 1) * 31.5) / 31.5 - 1 + centre
    flat = net.op(
        "Reshape", net.op("Mul", net.op("Tanh", x), net.constant(1e-4)), net.constant([1, ROWS, WIDE, 1], np.int64)
    )
    wide = net.op("Add", flat, net.constant(places))
    grid = net.op("Concat", wide, net.op("Mul", wide, net.constant(0.0)), axis=3)
    sampled = net.op("GridSample", table, grid, mode="nearest", align_corners=1)
    return net.op("Reshape", sampled, net.constant([ROWS, WIDE], np.int64))


STEEP_PLANTS: tuple[SteepPlant, ...] = (
    arc_cosine, arc_cosine_past_one, logarithm_near_one, division_by_almost_nothing, nearly_constant_rows, chaotic_loop,
    threshold_inside_of_a_loop,
)  # fmt: skip
JUMPING_PLANTS: tuple[SteepPlant, ...] = (
    rounding_at_halves, threshold_amid_values, place_in_a_table, choice_among_near_ties, sampling_between_pixels,
)  # fmt: skip


def gru(net: Net, plant: Callable[[Net, str], str]) -> str:
    """A recurrent cell, whose last state is planted in."""
    steps = net.input(6, ROWS, 6)
    weights = net.constant(net.weights(3 * WIDE, 6)[None]), net.constant(net.weights(3 * WIDE, WIDE)[None])
    states = net.op("GRU", steps, *weights, hidden_size=WIDE)
    last = net.op("Gather", net.op("Squeeze", states, net.constant([1], np.int64)), net.constant(5, np.int64), axis=0)
    return net.linear(plant(net, last), WIDE, 3)


def einsum_attention(net: Net, plant: Callable[[Net, str], str]) -> str:
    """Two heads of attention written as Einsum."""
    mixed = net.linear(net.input(2, ROWS // 2, 8), 8, 3 * WIDE)
    parts = net.op("Reshape", mixed, net.constant([2, ROWS // 2, 3, 2, WIDE // 2], np.int64))
    query, key, value = (net.op("Gather", parts, net.constant(place, np.int64), axis=2) for place in range(3))
    scores = net.op("Mul", net.op("Einsum", query, key, equation="bihd,bjhd->bhij"), net.constant(0.5))
    found = net.op("Einsum", net.op("Softmax", scores, axis=-1), value, equation="bhij,bjhd->bihd")
    flat = net.op("Tanh", net.op("Reshape", found, net.constant([ROWS, WIDE], np.int64)))
    return net.linear(plant(net, flat), WIDE, 4)


def message_passing(net: Net, plant: Callable[[Net, str], str]) -> str:
    """A graph network: gathered along its edges, added up at their ends."""
    held = net.op("Tanh", net.linear(net.input(ROWS, 6), 6, WIDE))
    source = net.constant(net.draw.integers(0, ROWS, 20), np.int64)
    target = net.constant(net.draw.integers(0, ROWS, (20, 1)).repeat(WIDE, 1), np.int64)
    messages = net.op("Relu", net.linear(net.op("Gather", held, source, axis=0), WIDE, WIDE))
    halved = net.op("Mul", held, net.constant(0.5))
    summed = net.op("ScatterElements", halved, target, messages, axis=0, reduction="add")
    return net.linear(plant(net, net.op("Tanh", summed)), WIDE, 3)


STRUCTURES = (gru, einsum_attention, message_passing)
