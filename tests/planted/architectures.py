"""Small networks with a spot each, where a fault may be planted: ``spot(net, tensor, channels, rank)``.

``KNOWN`` were looked at while the rules were written, ``UNSEEN`` were not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.planted.net import Net, normal_in_parts

Spot = Callable[[Net, str, int, int], str]
Architecture = Callable[[Net, Spot], str]

_TOKENS, _WIDE = 12, 16


def cnn(net: Net, spot: Spot) -> str:
    x = net.op("Relu", net.conv(net.input(2, 3, 12, 12), 3, 16))
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = spot(net, net.op("Relu", net.conv(x, 16, 16)), 16, 4)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, 16, 16)))
    return net.gemm(x, 16, 5)


def residual(net: Net, spot: Spot) -> str:
    x = net.op("Relu", net.conv(net.input(2, 3, 8, 8), 3, 12))
    inner = net.conv(net.op("Relu", net.conv(x, 12, 12)), 12, 12)
    x = spot(net, net.op("Relu", net.op("Add", x, inner)), 12, 4)
    inner = net.conv(net.op("Relu", net.conv(x, 12, 12)), 12, 12)
    x = net.op("Relu", net.op("Add", x, inner))
    return net.gemm(net.op("Flatten", net.op("GlobalAveragePool", x)), 12, 6)


def _heads(net: Net, x: str, perm: list[int]) -> str:
    split = net.op("Reshape", net.linear(x, _WIDE, _WIDE), net.constant([2, _TOKENS, 2, _WIDE // 2], np.int64))
    return net.op("Transpose", split, perm=perm)


def attention(net: Net, x: str, masks: tuple[str, ...] = ()) -> str:
    scores = net.op("MatMul", _heads(net, x, [0, 2, 1, 3]), _heads(net, x, [0, 2, 3, 1]))
    scores = net.op("Mul", scores, net.constant(np.sqrt(2 / _WIDE)))
    for mask in masks:
        scores = net.op("Add", scores, mask)
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), _heads(net, x, [0, 2, 1, 3]))
    joined = net.op("Transpose", mixed, perm=[0, 2, 1, 3])
    return net.op("Reshape", joined, net.constant([2, _TOKENS, _WIDE], np.int64))


def layer_norm(net: Net, x: str, channels: int) -> str:
    if net.opset < 17:
        return normal_in_parts(net, x, -1)
    return net.op("LayerNormalization", x, net.constant(np.ones(channels)), net.constant(np.zeros(channels)), axis=-1)


def transformer(net: Net, spot: Spot) -> str:
    x = net.linear(net.input(2, _TOKENS, 8), 8, _WIDE)
    x = net.op("Add", x, attention(net, layer_norm(net, x, _WIDE)))
    x = spot(net, x, _WIDE, 3)
    inner = net.linear(layer_norm(net, x, _WIDE), _WIDE, 32)
    inner = net.op("Mul", inner, net.op("Sigmoid", inner))
    return net.linear(net.op("Add", x, net.linear(inner, 32, _WIDE)), _WIDE, 4)


def mlp(net: Net, spot: Spot) -> str:
    x = net.op("Relu", net.gemm(net.input(8, 10), 10, 24))
    x = spot(net, net.op("Tanh", net.gemm(x, 24, 16)), 16, 2)
    return net.gemm(net.op("Relu", net.gemm(x, 16, 16)), 16, 3)


def unet(net: Net, spot: Spot) -> str:
    high = net.op("Relu", net.conv(net.input(1, 3, 16, 16), 3, 8))
    low = net.op("Relu", net.conv(net.op("MaxPool", high, kernel_shape=[2, 2], strides=[2, 2]), 8, 12))
    low = spot(net, low, 12, 4)
    up = net.op("Resize", low, "", net.constant([1, 1, 2, 2]), mode="linear")
    x = net.conv(net.op("Concat", up, high, axis=1), 20, 8)
    return net.conv(net.op("Relu", x), 8, 2, 1)


def recurrent(net: Net, spot: Spot) -> str:
    steps = net.input(5, 2, 8)
    weights = {"wx": net.weights(8, 8), "wh": net.weights(8, 8) * 0.5}
    state = net.op(
        "Loop", net.constant(5, np.int64), "", net.constant(np.zeros((2, 8))),
        body=_step(steps, {name: net.constant(values) for name, values in weights.items()}),
    )  # fmt: skip
    # What a Loop gives has no shape that could be inferred.
    state = net.op("Reshape", state, net.constant([2, 8], np.int64))
    return net.linear(spot(net, net.op("Tanh", net.linear(state, 8, 16)), 16, 2), 16, 3)


def _step(steps: str, weights: dict[str, str]) -> onnx.GraphProto:
    make = helper.make_node
    nodes = [
        make("Gather", [steps, "turn"], ["now"], "take", axis=0),
        make("MatMul", ["now", weights["wx"]], ["from_x"], "from_x"),
        make("MatMul", ["before", weights["wh"]], ["from_h"], "from_h"),
        make("Add", ["from_x", "from_h"], ["summed"], "sum"),
        make("Tanh", ["summed"], ["after"], "squash"),
        make("Identity", ["going"], ["still"], "still"),
    ]
    value = helper.make_tensor_value_info
    inputs = [value("turn", TensorProto.INT64, []), value("going", TensorProto.BOOL, []),
              value("before", TensorProto.FLOAT, [2, 8])]  # fmt: skip
    outputs = [value("still", TensorProto.BOOL, []), value("after", TensorProto.FLOAT, [2, 8])]
    return helper.make_graph(nodes, "step", inputs, outputs)


def depthwise(net: Net, spot: Spot) -> str:
    x = net.conv(net.input(2, 3, 10, 10), 3, 16)
    x = net.op("HardSwish", net.conv(x, 16, 16, group=16))
    x = spot(net, net.conv(x, 16, 16, 1), 16, 4)
    gate = net.op("Sigmoid", net.conv(net.op("GlobalAveragePool", x), 16, 16, 1))
    x = net.op("HardSwish", net.conv(net.op("Mul", x, gate), 16, 24, 1))
    return net.conv(x, 24, 4, 1)


def dense(net: Net, spot: Spot) -> str:
    first = net.op("Relu", net.conv(net.input(2, 3, 8, 8), 3, 8))
    second = net.op("Relu", net.conv(first, 8, 8))
    third = spot(net, net.op("Relu", net.conv(net.op("Concat", first, second, axis=1), 16, 8)), 8, 4)
    x = net.conv(net.op("Concat", first, second, third, axis=1), 24, 12, 1)
    x = net.op("AveragePool", net.op("LeakyRelu", x), kernel_shape=[2, 2], strides=[2, 2])
    return net.conv(x, 12, 3)


def mixer(net: Net, spot: Spot) -> str:
    x = net.linear(net.input(2, 10, 6), 6, 16)
    across = net.op("Transpose", layer_norm(net, x, 16), perm=[0, 2, 1])
    across = net.linear(net.op("Relu", net.linear(across, 10, 20)), 20, 10)
    x = net.op("Add", x, net.op("Transpose", across, perm=[0, 2, 1]))
    x = spot(net, x, 16, 3)
    inner = net.op("Elu", net.linear(layer_norm(net, x, 16), 16, 32))
    return net.linear(net.op("Add", x, net.linear(inner, 32, 16)), 16, 4)


def autoencoder(net: Net, spot: Spot) -> str:
    x = net.op("LeakyRelu", net.conv(net.input(1, 3, 8, 8), 3, 10))
    x = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = spot(net, net.op("Softplus", net.conv(x, 10, 10)), 10, 4)
    up = net.op("ConvTranspose", x, net.constant(net.weights(10, 6, 2, 2)), kernel_shape=[2, 2], strides=[2, 2])
    return net.conv(net.op("Tanh", up), 6, 3)


KNOWN: tuple[Architecture, ...] = (cnn, residual, transformer, mlp, unet, recurrent, depthwise)
UNSEEN: tuple[Architecture, ...] = (autoencoder, dense, mixer)
