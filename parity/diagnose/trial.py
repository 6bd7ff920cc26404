"""Trying a cause: the forecast's outputs without it, beside what they are now."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parity.errors import ParityError
from parity.tolerance import NOISE_FLOOR_DB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.diagnose.evidence import Evidence

_MENDS_DB = 6.0
"""Twice as near the reference is more than another order of the same sums brings."""
HEALTHY_DB = 20.0
"""So far below the floor of its precision a whole network may lie and still be sound."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What a probe showed: a sentence, and whether it confirms; None where it cannot tell."""

    result: str | None
    is_confirmed: bool | None


def try_keeping(evidence: Evidence, nodes: tuple[str, ...]) -> Trial:
    """Forecast the outputs with nodes kept at the higher precision."""
    if not nodes:
        return Trial(None, None)
    return _try(evidence, f"with {_count(len(nodes))} kept at {evidence.options.keep_precision}", {"keep": nodes})


def try_beside(evidence: Evidence, nodes: tuple[str, ...], others: tuple[str, ...]) -> Trial:
    """Forecast the outputs with nodes kept beside others, and hold them to those with the others alone."""
    precision = evidence.options.keep_precision
    what = f"with {_count(len(nodes))} kept at {precision} beside {len(others)} that other causes want kept"
    return _try(evidence, what, {"keep": (*others, *nodes)}, beside=others)


def try_options(evidence: Evidence, what: str, **options: object) -> Trial:
    """Forecast the outputs with other options; ``what`` names them: ``in bf16``."""
    return _try(evidence, what, options)


def _try(evidence: Evidence, what: str, asked: Mapping[str, object], beside: tuple[str, ...] = ()) -> Trial:
    try:
        before = worst_db(evidence.probes.outputs(keep=beside))
        after = worst_db(evidence.probes.outputs(**asked))  # type: ignore[arg-type] # keep is the only option by name
    except ParityError as error:
        return Trial(f"could not be tried {what}: {error}", None)
    sentence = f"the worst output goes from {decibels(before)} to {decibels(after)} {what}"
    return Trial(sentence, _judge(before, after, evidence))


def _judge(before: float, after: float, evidence: Evidence) -> bool | None:
    if math.isnan(before) or math.isnan(after):
        return None
    if is_sound(evidence, before):
        # The forecast is sound as it is, so it cannot show what mends the engine.
        return None
    return after > before and after - before > _MENDS_DB


def is_sound(evidence: Evidence, level_db: float) -> bool:
    """Whether outputs at an SQNR in dB are as near the reference as a sound network of the precision may be."""
    return level_db > NOISE_FLOOR_DB[evidence.options.precision] - HEALTHY_DB


def worst_db(outputs: Mapping[Any, float]) -> float:
    """Return the lowest SQNR of outputs; NaN where none has one."""
    return min((value for value in outputs.values() if not math.isnan(value)), default=math.nan)


def decibels(value: float) -> str:
    """Return an SQNR as text."""
    if math.isnan(value):
        return "an undefined SQNR"
    if math.isinf(value):
        return "no error" if value > 0 else "non-finite values"
    return f"{value:.1f} dB"


def percent(share: float) -> str:
    """Return a share as text, of two digits: ``0.013 %``."""
    return f"{rounded_number(100 * share)} %"


def rounded_number(value: float) -> str:
    """Return a positive number as text, of two digits: ``5,300``."""
    return f"{float(f'{value:.2g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def _count(count: int) -> str:
    return f"{count} node{'s' if count != 1 else ''}"
