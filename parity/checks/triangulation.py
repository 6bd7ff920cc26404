"""Whose error it is: the precision's, which the rounded graph shows, or the engine's.

Three distances are measured over the same elements: reference to rounded graph, rounded graph to engine, reference to
engine. The verdict rests on the last one; who is to blame, on the last against the first.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.compare import TensorComparison
from parity.judge import judge
from parity.results import Distance, Triangulation
from parity.tolerance import NOISE_FLOOR_DB
from parity.verdict import Verdict

if TYPE_CHECKING:
    import numpy as np

    from parity.difference import TensorDifference
    from parity.tolerance import Precision, Tolerance

CLEAN_ENGINE_DB = 7.0
"""How far clean engines lie below their forecast: measured on a residual network in FP16, H200, TensorRT 8.6."""
MARGIN_DB = 6.0
"""What is allowed on top of it before an engine is blamed."""

_ALLOWED_DB = CLEAN_ENGINE_DB + MARGIN_DB
# The same allowance on the worst element, which an average over many sound ones would hide.
_ALLOWED_RATIO = 10 ** (_ALLOWED_DB / 20)


class Triangle:
    """Collects the distances of one region from the rounded graph, feed by feed.

    Parameters
    ----------
    tolerance
        The region's, with atol in the output's own unit.
    """

    def __init__(self, tolerance: Tolerance, precision: Precision) -> None:
        # The rounded graph may carry float32 where the engine's output is half.
        self._conversion = TensorComparison(tolerance, precision, same_dtype=False)
        self._engine = TensorComparison(tolerance, precision, same_dtype=False)
        self._tolerance = tolerance
        self._precision = precision
        self._feed_count = 0

    @property
    def feed_count(self) -> int:
        """Feeds added so far."""
        return self._feed_count

    def update(self, actual: np.ndarray, expected: np.ndarray, rounded: np.ndarray, feed: int) -> None:
        """Add a region of one feed: of the engine's output, the reference's, and the rounded graph's.

        Raises
        ------
        StructureError
            The arrays differ in shape or in kind.
        """
        self._conversion.update(rounded, expected, feed=feed)
        self._engine.update(actual, rounded, feed=feed)
        self._feed_count += 1

    def result(self, total: TensorDifference, verdict: Verdict) -> tuple[Triangulation, str]:
        """Return the three distances, and who is to blame in one sentence.

        Parameters
        ----------
        total
            Reference to engine, over the same feeds.
        verdict
            The region's.

        Returns
        -------
        triangulation, sentence
            The sentence is empty where nothing failed and engine and rounded graph are as near as clean engines are.
        """
        conversion = self._conversion.result()
        blames_engine = _blames_engine(conversion, total, NOISE_FLOOR_DB[self._precision], verdict)
        triangulation = Triangulation(
            distance(conversion), distance(self._engine.result()), distance(total), blames_engine
        )
        if blames_engine or verdict is Verdict.FAIL:
            return triangulation, _sentence(triangulation, conversion, total)
        is_spared = verdict is Verdict.PASS and self._is_spared(conversion, total)
        return triangulation, _spared_sentence(conversion, total, self._precision) if is_spared else ""

    def _is_spared(self, conversion: TensorDifference, total: TensorDifference) -> bool:
        """Tell whether an engine passes where its forecast fails, and not by a little."""
        if judge(conversion, self._tolerance).verdict is not Verdict.FAIL:
            return False
        return bool(conversion.nonfinite_mismatch_count) or total.sqnr_db - conversion.sqnr_db > _ALLOWED_DB


def distance(difference: TensorDifference) -> Distance:
    """Return a difference in short."""
    worst = difference.worst_absolute
    return Distance(difference.sqnr_db, worst.difference if worst else 0.0, difference.nonfinite_mismatch_count)


def _blames_engine(
    conversion: TensorDifference, total: TensorDifference, noise_floor_db: float, verdict: Verdict
) -> bool:
    if conversion.nonfinite_mismatch_count:
        # The precision itself overflows; which of the neighbours follow depends on the order of every sum.
        return False
    has_failed = verdict is Verdict.FAIL
    # An exact conversion (fp32) forecasts no error at all, so a distance from it is no finding by itself.
    if not has_failed and not math.isfinite(conversion.sqnr_db):
        return False
    if min(conversion.sqnr_db, noise_floor_db) - total.sqnr_db > _ALLOWED_DB:
        return True
    # One element that is non-finite on one side only makes the headroom infinite.
    return has_failed and total.headroom > 1.0 and total.headroom > _ALLOWED_RATIO * conversion.headroom


def _sentence(triangulation: Triangulation, conversion: TensorDifference, total: TensorDifference) -> str:
    if conversion.nonfinite_mismatch_count:
        return (
            f"The precision itself costs this: {conversion.nonfinite_mismatch_count} elements are non-finite in the "
            f"rounded graph, {total.nonfinite_mismatch_count} in the engine."
        )
    if not triangulation.blames_engine:
        return (
            f"The precision itself costs this: the rounded graph has {_decibels(conversion)}, the engine "
            f"{_decibels(total)} (clean engines lie up to {_ALLOWED_DB:.0f} dB lower)."
        )
    if total.nonfinite_mismatch_count:
        return (
            f"The engine adds this: {total.nonfinite_mismatch_count} elements are non-finite on one side only, none in "
            f"the rounded graph."
        )
    return (
        f"The engine adds this: {_decibels(total)}, where the precision alone leaves {_decibels(conversion)}; "
        f"headroom {total.headroom:.3g} after {conversion.headroom:.3g}."
    )


def _spared_sentence(conversion: TensorDifference, total: TensorDifference, precision: Precision) -> str:
    lost = conversion.nonfinite_mismatch_count
    forecast = f"{lost} non-finite element{'' if lost == 1 else 's'}" if lost else _decibels(conversion)
    return (
        f"This build passes where {precision} fails: the rounded graph has {forecast}, the engine {_decibels(total)}. "
        f"It fuses what would err, or runs it above {precision}; built again, with another timing cache, it may not. "
        "`parity run` with `--backend onnxruntime` says which nodes to keep."
    )


def _decibels(difference: TensorDifference) -> str:
    value = difference.sqnr_db
    if math.isnan(value):
        return "an undefined SQNR"
    return f"{value:.1f} dB" if math.isfinite(value) else "no error"
