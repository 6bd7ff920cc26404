"""Small graphs, each of one pattern with an extreme value planted in it, that were built and run on a real TensorRT.

``PATTERNS`` maps a name to a function that returns the model and its feed. What TensorRT made of each stands in
``tests/data/forecast_truth.toml``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable

CHANNELS, WIDTH = 32, 64
IMAGE, TOKENS = (2, CHANNELS, 16, 16), (2, 64, WIDTH)
BIG = 3e4
"""The spread of a product whose extremes lie beyond 65504."""


class Pattern:
    """A graph under construction; operators return the name of what they give."""

    def __init__(self) -> None:
        self.draw = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.constants: list[TensorProto] = []
        self.feed: dict[str, np.ndarray] = {}

    def input(self, name: str, values: np.ndarray) -> str:
        self.feed[name] = values.astype(np.float32)
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape))
        return name

    def image(self, name: str = "x", spread: float = 1.0) -> str:
        return self.input(name, self.draw.standard_normal(IMAGE) * spread)

    def tokens(self, name: str = "x", spread: float = 1.0) -> str:
        return self.input(name, self.draw.standard_normal(TOKENS) * spread)

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def channels(self, value: float) -> str:
        return self.constant(np.full((1, CHANNELS, 1, 1), value))

    def op(self, op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def conv(self, x: str, spread: float = 1.0, bias: object = None) -> str:
        weights = self.draw.standard_normal((CHANNELS, CHANNELS, 3, 3)) * spread / np.sqrt(CHANNELS * 9)
        more = [] if bias is None else [self.constant(np.broadcast_to(np.asarray(bias), (CHANNELS,)))]
        return self.op("Conv", x, self.constant(weights), *more, kernel_shape=[3, 3], pads=[1] * 4)

    def matmul(self, x: str, spread: float = 1.0) -> str:
        return self.op("MatMul", x, self.constant(self.draw.standard_normal((WIDTH, WIDTH)) * spread / np.sqrt(WIDTH)))

    def model(self, output: str, opset: int) -> ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["y"], name="out"))
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "pattern", self.inputs, [y], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)


PATTERNS: dict[str, Callable[[], tuple[ModelProto, dict[str, np.ndarray]]]] = {}


def pattern(build: Callable[[Pattern], str], name: str, opset: int = 17) -> None:
    def make() -> tuple[ModelProto, dict[str, np.ndarray]]:
        p = Pattern()
        return p.model(build(p), opset), p.feed

    PATTERNS[name] = make


def between_convs(name: str, middle: Callable[[Pattern, str], str], spread: float = BIG, after: float = 1.0,
                  bias: object = None) -> None:  # fmt: skip
    """A convolution of a spread, something behind it, and a convolution that reads it."""
    pattern(lambda p: p.conv(middle(p, p.conv(p.image(), spread, bias)), after), name)


def behind_matmul(name: str, middle: Callable[[Pattern, str], str], spread: float = BIG, after: float = 1.0) -> None:
    pattern(lambda p: p.matmul(middle(p, p.matmul(p.tokens(), spread)), after), name)


def _silu(p: Pattern, x: str) -> str:
    return p.op("Mul", x, p.op("Sigmoid", x))


def _hard_swish(p: Pattern, x: str) -> str:
    clipped = p.op("Clip", p.op("Add", x, p.constant(3.0)), p.constant(0.0), p.constant(6.0))
    return p.op("Mul", x, p.op("Div", clipped, p.constant(6.0)))


def _gelu(p: Pattern, x: str) -> str:
    inner = p.op("Add", p.op("Erf", p.op("Div", x, p.constant(np.sqrt(2)))), p.constant(1.0))
    return p.op("Mul", p.op("Mul", x, inner), p.constant(0.5))


def _large_gelu(p: Pattern, x: str) -> str:
    return _gelu(p, p.op("Add", x, p.constant(np.where(np.arange(WIDTH) % 2, 4e4, 0.0))))


def _normalized(p: Pattern, x: str, square: str) -> str:
    squares = p.op("Pow", x, p.constant(2.0)) if square == "Pow" else p.op("Mul", x, x)
    return p.op("Div", x, p.op("Sqrt", p.op("ReduceMean", squares, axes=[-1], keepdims=1)))


def _layer_norm(p: Pattern, x: str) -> str:
    centred = p.op("Sub", x, p.op("ReduceMean", x, axes=[-1], keepdims=1))
    variance = p.op("ReduceMean", p.op("Pow", centred, p.constant(2.0)), axes=[-1], keepdims=1)
    return p.op("Div", centred, p.op("Sqrt", p.op("Add", variance, p.constant(1e-5))))


def _depthwise(p: Pattern, x: str, factor: float) -> str:
    return p.op("Conv", x, p.constant(np.full((CHANNELS, 1, 1, 1), factor)), kernel_shape=[1, 1], group=CHANNELS)


def _attention(spread: float, scale: str, mask: object = None) -> Callable[[Pattern], str]:
    def build(p: Pattern) -> str:
        x = p.tokens()
        split = p.constant([2, 64, 4, 16], np.int64)

        def heads(size: float, perm: list[int]) -> str:
            return p.op("Transpose", p.op("Reshape", p.matmul(x, size), split), perm=perm)

        scores = p.op("MatMul", heads(spread, [0, 2, 1, 3]), heads(spread, [0, 2, 3, 1]))
        factor = 4.0 * spread**2
        scaled = p.op(scale, scores, p.constant(factor if scale == "Div" else 1 / factor))
        masked = scaled if mask is None else p.op("Add", scaled, p.constant(mask))
        mixed = p.op("MatMul", p.op("Softmax", masked, axis=-1), heads(1.0, [0, 2, 1, 3]))
        joined = p.op("Reshape", p.op("Transpose", mixed, perm=[0, 2, 1, 3]), p.constant([2, 64, 64], np.int64))
        return p.matmul(joined)

    return build


def _mask(value: float, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((1, 1, 64, 64))
    mask[:, :, rows, columns] = value
    return mask


ALL = slice(None)
ODD = np.arange(CHANNELS) % 2
SMALL = 1 / BIG

between_convs("conv", lambda p, x: p.op("Relu", x), 1.0)
between_convs(
    "conv, batch normalization",
    lambda p, x: p.op("BatchNormalization", x, *(p.constant(np.full(CHANNELS, v)) for v in (1.0, 0.0, 0.0, BIG**2))),
)
between_convs("conv, constant Mul", lambda p, x: p.op("Mul", x, p.constant(SMALL)))
between_convs("conv, constant Mul by channel", lambda p, x: p.op("Mul", x, p.channels(SMALL)))
between_convs("conv, constant Mul by pixel", lambda p, x: p.op("Mul", x, p.constant(np.full((1, 1, 16, 16), SMALL))))
between_convs(
    "conv, constant Add, constant Mul", lambda p, x: p.op("Mul", p.op("Add", x, p.channels(5e3)), p.constant(SMALL))
)
between_convs("conv, constant Div", lambda p, x: p.op("Div", x, p.constant(BIG)))
between_convs("conv with bias, constant Add", lambda p, x: p.op("Add", x, p.channels(-6e4)), 2e3, 1e-4, 6.4e4)
between_convs("conv with bias, constant Sub", lambda p, x: p.op("Sub", x, p.channels(6e4)), 2e3, 1e-4, 6.4e4)
between_convs("conv with large bias, constant Sub", lambda p, x: p.op("Sub", x, p.channels(4096.0)), 1.0, 1.0, 4096.0)
between_convs("conv, bias back into range, Relu", lambda p, x: p.op("Relu", x), 2e4, 1e-4, -6e4)
between_convs("conv, Relu, constant Mul", lambda p, x: p.op("Mul", p.op("Relu", x), p.constant(SMALL)))
between_convs("conv, Relu, conv", lambda p, x: p.op("Relu", x), BIG, SMALL)
between_convs("conv, MaxPool, conv", lambda p, x: p.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), BIG, SMALL)
between_convs(
    "conv, Resize, conv",
    lambda p, x: p.op(
        "Resize", x, "", p.constant([1, 1, 2, 2]), mode="nearest", coordinate_transformation_mode="asymmetric"
    ),
    BIG,
    SMALL,
)
between_convs(
    "conv, InstanceNormalization",
    lambda p, x: p.op("InstanceNormalization", x, p.constant(np.ones(CHANNELS)), p.constant(np.zeros(CHANNELS))),
)
between_convs("conv, SiLU", _silu, 1e4, 1e-3, np.where(ODD, -7e4, 0.0))
between_convs("conv, hard swish", _hard_swish, 1.0)
between_convs(
    "conv, gate of another tensor",
    lambda p, x: p.op("Mul", x, p.input("g", p.draw.uniform(0.1, 1, (2, CHANNELS, 1, 1)) * SMALL)),
)
between_convs(
    "conv, residual Add, Relu", lambda p, x: p.op("Relu", p.op("Add", x, p.input("r", np.full(IMAGE, -6e4)))), BIG, 1e-4
)
between_convs(
    "conv with bias, residual Add", lambda p, x: p.op("Add", x, p.input("r", np.full(IMAGE, -6e4))), 2e3, 1e-4, 6.5e4
)
between_convs("conv, Exp, Add, Log", lambda p, x: p.op("Log", p.op("Add", p.op("Exp", x), p.constant(1.0))), 8.0)
between_convs(
    "conv, Pow, Add, Sqrt",
    lambda p, x: p.op("Sqrt", p.op("Add", p.op("Pow", x, p.constant(2.0)), p.constant(1.0))),
    300.0,
)
between_convs(
    "conv, Tanh, Add, Sub",
    lambda p, x: p.op("Sub", p.op("Add", p.op("Tanh", x), p.constant(4096.0)), p.constant(4096.0)),
    1.0,
)
between_convs("two depthwise convs", lambda p, x: _depthwise(p, _depthwise(p, x, 2.0**17), 2.0**-17), 1.0)
between_convs(
    "four depthwise convs, underflow",
    lambda p, x: _depthwise(p, _depthwise(p, _depthwise(p, _depthwise(p, x, 2.0**-14), 2.0**-14), 2.0**14), 2.0**14),
    1.0,
)
between_convs("conv with tiny weights, conv", lambda p, x: p.op("Relu", x), 1e-7, 1e7 / BIG)
pattern(
    lambda p: p.op("Mul", p.op("Transpose", p.conv(p.image(), BIG), perm=[0, 2, 3, 1]), p.constant(SMALL)),
    "conv, Transpose, constant Mul",
)
pattern(
    lambda p: p.op("Mul", p.op("GlobalAveragePool", p.conv(p.image(), BIG)), p.constant(SMALL)),
    "conv, GlobalAveragePool, constant Mul",
)
pattern(lambda p: p.op("Mul", p.op("Mul", p.tokens("x", 1e3), p.tokens("a", 1e3)), p.tokens("b", 1e-4)), "Mul, Mul")
behind_matmul("matmul, matmul", lambda _, x: x, BIG, SMALL)
behind_matmul("matmul, constant Mul", lambda p, x: p.op("Mul", x, p.constant(SMALL)))
behind_matmul(
    "matmul, bias back into range, Relu",
    lambda p, x: p.op("Relu", p.op("Add", x, p.constant(np.full(WIDTH, -6e4)))),
    2.5e4,
    1e-4,
)
behind_matmul(
    "matmul, residual Add, Relu",
    lambda p, x: p.op("Relu", p.op("Add", x, p.input("r", np.full(TOKENS, -6e4)))),
    2.5e4,
    1e-4,
)
behind_matmul("matmul, Softmax of large logits", lambda p, x: p.op("Softmax", x, axis=-1), 2e4)
behind_matmul("matmul, GELU", _gelu, 3.0)
behind_matmul("matmul, GELU of large values", _large_gelu, 3.0, 1e-3)
behind_matmul(
    "matmul, LayerNormalization",
    lambda p, x: p.op("LayerNormalization", x, p.constant(np.ones(WIDTH)), p.constant(np.zeros(WIDTH)), axis=-1),
    1e3,
)
behind_matmul("matmul, layer norm in parts", _layer_norm, 1e3)
behind_matmul("matmul, root mean square by Pow", lambda p, x: _normalized(p, x, "Pow"), 1e3)
behind_matmul("matmul, root mean square by Mul", lambda p, x: _normalized(p, x, "Mul"), 1e3)
behind_matmul("matmul, ReduceL2", lambda p, x: p.op("Div", x, p.op("ReduceL2", x, axes=[-1], keepdims=1)), 1e3)
behind_matmul(
    "matmul, ReduceMean", lambda p, x: p.op("Div", x, p.op("ReduceMean", p.op("Abs", x), axes=[-1], keepdims=1)), 1e4
)
behind_matmul(
    "matmul, ReduceSum",
    lambda p, x: p.op(
        "Div",
        x,
        p.op("Div", p.op("ReduceSum", p.op("Abs", x), p.constant([-1], np.int64), keepdims=1), p.constant(64.0)),
    ),
    4e3,
)
pattern(_attention(1.0, "Div"), "attention")
pattern(_attention(160.0, "Div"), "attention, large scores, Div")
pattern(_attention(160.0, "Mul"), "attention, large scores, Mul")
pattern(_attention(1.0, "Div", _mask(-3e38, ALL, slice(32, None))), "attention, columns masked by -3e38")
pattern(_attention(1.0, "Div", _mask(-3e38, slice(5, 6), ALL)), "attention, a row masked by -3e38")
pattern(_attention(1.0, "Div", _mask(-np.inf, ALL, slice(32, None))), "attention, columns masked by -inf")


def _scores_without_attention(p: Pattern) -> str:
    scores = p.op("MatMul", p.matmul(p.tokens(), 1e3), p.op("Transpose", p.matmul(p.tokens("z"), 1e3), perm=[0, 2, 1]))
    return p.op("Softmax", p.op("Mul", scores, p.constant(1e-6)), axis=-1)


def _concatenated(p: Pattern) -> str:
    x = p.image()
    both = p.op("Mul", p.op("Concat", p.conv(x, BIG), p.conv(x, BIG), axis=1), p.constant(SMALL))
    weights = p.draw.standard_normal((CHANNELS, 2 * CHANNELS, 3, 3)) / np.sqrt(CHANNELS * 18)
    return p.op("Conv", both, p.constant(weights), kernel_shape=[3, 3], pads=[1] * 4)


pattern(_scores_without_attention, "scaled scores, Softmax, no attention")
pattern(_concatenated, "two convs, Concat, constant Mul")
