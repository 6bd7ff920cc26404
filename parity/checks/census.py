"""The ``census`` check: what an engine really runs, by precision, against what was asked.

A builder may leave a layer at float32 without a word, so an "fp16" engine may hold no half arithmetic at all. Whatever
the inspector does not show is counted for neither side, and never passes for what was asked.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from parity.inspector import parse_inspection
from parity.layer_precision import NONE
from parity.results import Census, CensusRow
from parity.tolerance import Precision
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.backends import Tensors
    from parity.backends.engine import EngineSession, LayerTime
    from parity.inspector import EngineLayer
    from parity.results import Outcome

DEFAULT_ITERATIONS = 20
"""Readings of each layer: their median stands still while the machine is quiet."""

_PRODUCTS = frozenset(
    {
        "Conv",
        "ConvTranspose",
        "ConvInteger",
        "QLinearConv",
        "Gemm",
        "MatMul",
        "MatMulInteger",
        "QLinearMatMul",
        "Einsum",
    }
    | {"Attention", "MultiHeadAttention", "LSTM", "GRU", "RNN", "DeformConv"}
)
_ORDER = {name: rank for rank, name in enumerate(("fp32", "tf32", "bf16", "fp16", "int8", "fp8"))}
# What an engine that was asked for fp32 must not compute in: all of these are coarser.
_COARSER = frozenset({"tf32", "bf16", "fp16", "int8", "fp8"})


@dataclass(frozen=True, slots=True)
class CensusJudgement:
    """A verdict on a census; ``reasons`` are empty for ``pass``, ``notes`` whatever the verdict."""

    verdict: Verdict
    headline: str
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def take_census(
    layers: Sequence[EngineLayer],
    times: Sequence[LayerTime],
    asked: Precision,
    minimum_share: float,
    operators: Mapping[str, str] | None = None,
    *,
    may_use_tf32: bool = False,
) -> Census:
    """Count layers and their time by precision.

    Parameters
    ----------
    layers
        Of one profile.
    times
        Readings in order of execution; empty where none were taken.
    minimum_share
        The share of arithmetic layers, and of their time, that must run at the asked precision, 0 to 1.
    operators
        ONNX operators by node name: tell whether a layer that was compiled as a whole holds products. Without them it
        is taken to.
    may_use_tf32
        Whether TF32 was allowed, or nobody knows: then a float32 product without a kernel's name counts as not seen.
    """
    layers = [_seen(layer) for layer in layers] if may_use_tf32 else layers
    medians = _medians(layers, times)
    is_product = [_is_product(layer, operators) for layer in layers]
    names = sorted({layer.precision for layer in layers}, key=lambda name: (_ORDER.get(name, len(_ORDER)), name))
    rows = tuple(_row(name, layers, medians, is_product) for name in names)
    arithmetic = sum(row.arithmetic_count for row in rows)
    own = next((row for row in rows if row.precision == asked), None)
    total_ms = sum(row.arithmetic_time_ms or 0.0 for row in rows)
    return Census(
        asked=str(asked),
        rows=rows,
        share=own.arithmetic_count / arithmetic if own and arithmetic else 0.0,
        time_share=(own.arithmetic_time_ms or 0.0 if own else 0.0) / total_ms if total_ms else None,
        minimum_share=minimum_share,
    )


def judge_census(census: Census) -> CensusJudgement:
    """Judge a census.

    It fails where the asked precision cannot reach ``minimum_share`` of the arithmetic layers, or of their time,
    even if every layer that cannot be seen into ran at it; and where ``fp32`` was asked and any arithmetic is coarser.
    It is inconclusive where the engine holds no arithmetic, and where what cannot be seen decides.
    """
    count = sum(row.arithmetic_count for row in census.rows)
    notes = _notes(census)
    if not count:
        return CensusJudgement(
            Verdict.INCONCLUSIVE,
            "the engine has no arithmetic layer",
            ("No convolution and no matrix product is in this engine: a precision shows in nothing.",),
            notes,
        )
    headline = _headline(census, count)
    failures = [reason for reason in (_coarser(census), *_short(census, with_unseen=True)) if reason]
    if failures:
        return CensusJudgement(Verdict.FAIL, headline, tuple(failures), notes)
    doubts = [f"{reason} What cannot be seen into decides." for reason in _short(census, with_unseen=False)]
    return CensusJudgement(Verdict.INCONCLUSIVE if doubts else Verdict.PASS, headline, tuple(doubts), notes)


def census_outcome(
    outcome: Outcome,
    session: EngineSession,
    feed: Tensors,
    *,
    asked: Precision,
    minimum_share: float,
    next_command: str,
    operators: Mapping[str, str] | None = None,
    profile: int = 0,
    iterations: int = DEFAULT_ITERATIONS,
) -> Outcome:
    """Return ``outcome`` with verdict, headline, message and census filled.

    Parameters
    ----------
    outcome
        Names the case, the variant and the check.
    feed
        What layers are timed on.
    next_command
        The last part of a failure's message.
    profile
        The optimization profile that ``feed`` runs in.

    Raises
    ------
    FeedError, BackendError
        The engine cannot be profiled or inspected.
    """
    times = session.layer_times(feed, iterations)
    layers = parse_inspection(session.inspector_json).of_profile(profile)
    record = session.record
    may_use_tf32 = record.source == "file" or "TF32" in record.flags
    census = take_census(layers, times, asked, minimum_share, operators, may_use_tf32=may_use_tf32)
    judgement = judge_census(census)
    filled = replace(
        outcome,
        verdict=judgement.verdict,
        headline=judgement.headline,
        census=census,
        feed_count=1,
        engine=record,
    )
    if judgement.verdict is Verdict.PASS:
        return filled
    return replace(filled, message=_message(filled, judgement, layers, next_command))


def _seen(layer: EngineLayer) -> EngineLayer:
    # TF32 shows in kernel names alone.
    is_hidden = layer.is_arithmetic and layer.precision == Precision.FP32 and not layer.tactic
    return replace(layer, precision=NONE) if is_hidden else layer


def _is_product(layer: EngineLayer, operators: Mapping[str, str] | None) -> bool:
    if not layer.is_opaque:
        return layer.is_arithmetic
    if operators is None or not layer.nodes or not layer.has_all_nodes:
        return True
    # A node that nobody knows by its name may be anything.
    return any(operators.get(node, "MatMul") in _PRODUCTS for node in layer.nodes)


def _medians(layers: Sequence[EngineLayer], times: Sequence[LayerTime]) -> list[float | None]:
    """Return the median time of each layer in ms; by position where both lists agree, as names may repeat."""
    medians = [statistics.median(time.times_ms) if time.times_ms else None for time in times]
    if [time.name for time in times] == [layer.name for layer in layers]:
        return medians
    waiting: defaultdict[str, list[float | None]] = defaultdict(list)
    for time, median in zip(times, medians, strict=True):
        waiting[time.name].append(median)
    return [waiting[layer.name].pop(0) if waiting[layer.name] else None for layer in layers]


def _row(
    precision: str, layers: Sequence[EngineLayer], medians: Sequence[float | None], is_product: Sequence[bool]
) -> CensusRow:
    own = [i for i, layer in enumerate(layers) if layer.precision == precision]
    products = [i for i in own if is_product[i]]
    return CensusRow(
        precision=precision,
        layer_count=len(own),
        time_ms=_sum([medians[i] for i in own]),
        arithmetic_count=len(products),
        arithmetic_time_ms=_sum([medians[i] for i in products]),
    )


def _sum(times: Sequence[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return sum(known) if known else None


def _coarser(census: Census) -> str:
    if census.asked != Precision.FP32:
        return ""
    counts = Counter({row.precision: row.arithmetic_count for row in census.rows if row.precision in _COARSER})
    found = ", ".join(f"{count} at {name}" for name, count in counts.items() if count)
    return f"fp32 was asked, and coarser arithmetic is in the engine: {found}." if found else ""


def _short(census: Census, *, with_unseen: bool) -> list[str]:
    """Return what falls short, where layers that cannot be seen into count for the asked precision or against it."""
    taken = {census.asked, NONE} if with_unseen else {census.asked}
    reasons = []
    count, total = _share([(row.precision, row.arithmetic_count) for row in census.rows], taken)
    if count < census.minimum_share * total:
        reasons.append(
            f"{census.asked} was asked and runs {count:.0f} of {total:.0f} arithmetic layers "
            f"({_percent(count, total)}); at least {100 * census.minimum_share:.3g} % is expected."
        )
    time, total_ms = _share([(row.precision, row.arithmetic_time_ms or 0.0) for row in census.rows], taken)
    if time < census.minimum_share * total_ms:
        reasons.append(
            f"{census.asked} was asked and runs {time:.4g} of {total_ms:.4g} ms of the arithmetic layers "
            f"({_percent(time, total_ms)}); at least {100 * census.minimum_share:.3g} % is expected."
        )
    return reasons


def _share(figures: Sequence[tuple[str, float]], taken: set[str]) -> tuple[float, float]:
    return sum(value for name, value in figures if name in taken), sum(value for _, value in figures)


def _percent(part: float, total: float) -> str:
    return f"{100 * part / total:.3g} %" if total else "0 %"


def _headline(census: Census, count: int) -> str:
    timed = "" if census.time_share is None else f", {100 * census.time_share:.3g} % of their time"
    own = round(census.share * count)
    return f"{census.asked} runs {own} of {count} arithmetic layers ({_percent(own, count)}){timed}"


def _notes(census: Census) -> tuple[str, ...]:
    unseen = sum(row.arithmetic_count for row in census.rows if row.precision == NONE)
    products = [row for row in census.rows if row.arithmetic_count]
    untimed = [_name(row) for row in products if row.arithmetic_time_ms is None]
    which = "any arithmetic layer" if len(untimed) == len(products) else f"arithmetic layers: {', '.join(untimed)}"
    notes = (
        f"{unseen} arithmetic layers cannot be seen into." if unseen else "",
        f"No time was measured of {which}." if untimed else "",
    )
    return tuple(note for note in notes if note)


def _message(outcome: Outcome, judgement: CensusJudgement, layers: Sequence[EngineLayer], next_command: str) -> str:
    assert outcome.census is not None
    others = [layer.name for layer in layers if layer.is_arithmetic and layer.precision != outcome.census.asked]
    shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return "\n".join(
        [
            " ".join((*judgement.reasons, *judgement.notes)),
            *(_row_line(row) for row in outcome.census.rows if row.arithmetic_count),
            *([f"not at {outcome.census.asked}: {shown}"] if others else []),
            f"in: {outcome.case} / {outcome.variant} / {outcome.check}",
            f"next: {next_command}",
        ]
    )


def _row_line(row: CensusRow) -> str:
    timed = "not timed" if row.arithmetic_time_ms is None else f"{row.arithmetic_time_ms:.4g} ms"
    return f"{_name(row)}: {row.arithmetic_count} arithmetic layers, {timed}"


def _name(row: CensusRow) -> str:
    return "not seen" if row.precision == NONE else row.precision
