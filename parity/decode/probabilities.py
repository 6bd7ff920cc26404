"""Probabilities of logits, so that scores and margins mean the same for every model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from parity.decoded import Floats


def softmax(logits: ArrayLike, axis: int) -> Floats:
    """Return exp(x) over its sum along an axis, in float64; all NaN where one is NaN or positive infinity."""
    values = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, which callers count
        powers = np.exp(values - values.max(axis=axis, keepdims=True))
        shares: Floats = powers / powers.sum(axis=axis, keepdims=True)
    return shares


def unusable(scores: np.ndarray) -> NDArray[np.bool_]:
    """Return where scores are NaN or positive infinity; negative infinity is the logit of something impossible."""
    with np.errstate(invalid="ignore"):
        usable: NDArray[np.bool_] = scores < np.inf
    return ~usable


def any_unusable(scores: np.ndarray, axis: int) -> NDArray[np.bool_]:
    """Return where one of the scores along an axis is unusable, or all of them say impossible."""
    with np.errstate(invalid="ignore"):
        best = scores.max(axis=axis)
    broken: NDArray[np.bool_] = unusable(best) | np.isneginf(best)
    return broken
