"""Where operators are steep, in a newcomer's words, and how such places are usually written otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Words:
    """What is told of an operator.

    Attributes
    ----------
    why
        How it comes to make errors larger: the end of a sentence that begins with the operator.
    rewrite
        What is usually done about it, as an instruction.
    position
        Of the input that decides it.
    edges, zeros
        The values of that input where it goes to infinity, or infinitely steeply; and where it gives zero of an input
        that is not. None where there is no such value.
    """

    why: str
    rewrite: str
    position: int = 0
    edges: tuple[float, ...] = ()
    zeros: tuple[float, ...] = ()


_ARC = (
    "take the angle as atan2 of sine and cosine (of the cross product's length and the dot product), and clip what an "
    "arc cosine or sine reads to -1 … 1"
)
_POLE = "add an epsilon to the divisor, or clip it, well above the rounding of what it is made of"
_SPREAD = "subtract what is constant before it is rounded, or raise the epsilon above the square of those errors"
_LENGTH = "raise the epsilon above the rounding error of what it reads, so that what is nearly zero stays so"
_EXPONENT = "scale or clip what it reads, or subtract the largest before it is rounded"
_PLACES = "sample a smoother or a smaller map"
_TERMS = "take the large part of the terms away before it is rounded, or sum in another order"
_TURNS = "take fewer turns, or bring what goes round back to where it came from now and then"
_SPREADS = Words("divides by the spread of what it reads, which is hardly larger than its rounding errors", _SPREAD)
_LENGTHS = Words("divides by the length of what it reads, which is hardly larger than its rounding errors", _LENGTH)
_EXPONENTS = Words("turns what its exponents err by into a share of what it gives", _EXPONENT)
_SAMPLES = Words("reads a map at places, and an error of a place counts as often as the map changes there", _PLACES)
_CANCELLING = Words("adds up terms that cancel, and their errors do not", _TERMS)
_AGAIN = Words("runs its body again and again, each time on the errors of the time before", _TURNS)

STEEP: dict[str, Words] = {
    "Acos": Words("is infinitely steep at -1 and 1", _ARC, edges=(-1.0, 1.0)),
    "Asin": Words("is infinitely steep at -1 and 1", _ARC, edges=(-1.0, 1.0)),
    "Acosh": Words(
        "is infinitely steep at 1", "carry d = x - 1 in place of x: acosh(1 + d) is 2 asinh(sqrt(d / 2))", edges=(1.0,)
    ),
    "Atanh": Words("goes to infinity at -1 and 1", "carry what the tanh before it read, or 1 - x", edges=(-1.0, 1.0)),
    "Log": Words(
        "goes to minus infinity at 0, and gives hardly more than the error of what it reads near 1",
        "take LogSoftmax, or -Softplus(-x), in place of the logarithm of a softmax or sigmoid; carry x - 1 near 1",
        edges=(0.0,),
        zeros=(1.0,),
    ),
    "Sqrt": Words("is infinitely steep at 0", "compare squares, or add an epsilon before the root", edges=(0.0,)),
    "Reciprocal": Words("grows without bound where it divides by almost nothing", _POLE, edges=(0.0,)),
    "Div": Words("grows without bound where it divides by almost nothing", _POLE, position=1, edges=(0.0,)),
    "Pow": Words(
        "makes a relative error as many times as large as its exponent, and is steep at 0 for exponents below 1",
        "carry the logarithm, or multiply before the values spread",
    ),
    "Tan": Words("goes to infinity at odd multiples of pi / 2", "carry sine and cosine in place of their ratio"),
    "Sin": Words("needs an absolute precision of its angle", "take whole turns off the angle before it is rounded"),
    "Cos": Words("needs an absolute precision of its angle", "take whole turns off the angle before it is rounded"),
    **dict.fromkeys(("Exp", "Softmax", "LogSoftmax", "ReduceLogSumExp", "ReduceLogSum"), _EXPONENTS),
    **dict.fromkeys(
        ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization"), _SPREADS
    ),
    **dict.fromkeys(("LpNormalization", "ReduceL2", "RMSNormalization"), _LENGTHS),
    **dict.fromkeys(("GridSample", "Resize", "RoiAlign", "AffineGrid"), _SAMPLES),
    **dict.fromkeys(
        (
            "Add", "AveragePool", "Conv", "ConvTranspose", "CumSum", "DFT", "Det", "Einsum", "Gemm",
            "GlobalAveragePool", "MatMul", "Mean", "ReduceMean", "ReduceSum", "STFT", "Sub", "Sum",
        ),
        _CANCELLING,
    ),
    **dict.fromkeys(("GRU", "LSTM", "Loop", "RNN", "Scan"), _AGAIN),
    "If": Words("chooses a body, which rounds on its way", "move what it reads to where it changes less"),
}  # fmt: skip
_UNKNOWN = Words("changes much where what it reads changes little", "move what it reads to where it changes less")


def words_of(operator: str) -> Words:
    """Return what is told of an operator; of one without words of its own, what holds of every steep place."""
    return STEEP.get(operator, _UNKNOWN)


def nearest(places: Sequence[float], tensors: Iterable[np.ndarray]) -> str:
    """Return how near values come to one of some places: ``within 3.1e-05 of 1``; empty where there is neither."""
    arrays = [values[np.isfinite(values)].astype(np.float64) for values in tensors]
    found = [(float(np.abs(values - place).min()), place) for values in arrays if values.size for place in places]
    distance, place = min(found, default=(np.nan, 0.0))
    return f"within {distance:.2g} of {place:g}" if found else ""
