"""The latency check: readings become figures, figures are held against budgets, and noise is told before a verdict.

Without a budget nothing is judged, and the headline says so.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from parity.case.regions import matches
from parity.errors import BackendError
from parity.latency_table import JudgedBudget, LayerLatency, Measurement
from parity.stats import LAUNCH_BOUND_SHARE, UNSTEADY_CV, block_medians, summarize, variation
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from parity.backends.engine import EngineTiming, LayerTime
    from parity.case.model import LatencyBudget
    from parity.inspector import EngineLayer
    from parity.latency_table import GpuConditions, LatencyRecord
    from parity.results import Outcome
    from parity.stats import LatencyStatistics

ON_CPU = "onnxruntime"
"""The backend whose times say nothing of an engine: a budget holds there only where it names it."""


class NothingTimed(BackendError):  # noqa: N818 - no error of a backend's, but what keeps a judgement from being made
    """Readings that say nothing of a latency: none, or some that no clock can give."""


def measurement_of(
    timing: EngineTiming, batch_size: int, row_count: int, conditions: GpuConditions | None = None
) -> Measurement:
    """Return what readings at one batch size come to.

    Parameters
    ----------
    row_count
        Rows that one inference answers.

    Raises
    ------
    NothingTimed
        There is no reading, or one is not a positive number, as where a clock was set back.
    """
    try:
        gpu = summarize(timing.gpu_ms) if timing.gpu_ms else None
        host = summarize(timing.host_ms)
        host_compute = summarize(timing.host_compute_ms) if timing.host_compute_ms else None
        enqueue = summarize(timing.enqueue_ms) if timing.enqueue_ms else None
        blocks = block_medians(timing.gpu_ms or timing.host_ms)
    except ValueError as error:
        said = "; ".join((str(error), *timing.notes))
        raise NothingTimed(f"batch {batch_size}: nothing was timed ({said}); run again, for longer") from error
    found = Measurement(
        batch_size=batch_size,
        gpu=gpu,
        host=host,
        enqueue=enqueue,
        rows_per_s=_rows_per_s(timing, row_count, host),
        blocks_ms=blocks,
        conditions=conditions,
        notes=(*timing.notes, *_hints(gpu, enqueue), *_outliers(gpu or host)),
        host_compute=host_compute,
    )
    return replace(found, disturbances=tuple(_disturbances(found)))


def _rows_per_s(timing: EngineTiming, row_count: int, host: LatencyStatistics) -> float:
    if timing.streams > 1 and timing.elapsed_s > 0:
        # Inferences overlap, so that their times add up to more than all of them took.
        return row_count * host.count / timing.elapsed_s
    return row_count * 1e3 / host.mean_ms


def _hints(gpu: LatencyStatistics | None, enqueue: LatencyStatistics | None) -> tuple[str, ...]:
    if gpu and enqueue and enqueue.median_ms > LAUNCH_BOUND_SHARE * gpu.median_ms:
        return (
            "the host takes almost as long to launch the work as the GPU to do it: launches are timed, not kernels",
        )
    return ()


def _outliers(judged: LatencyStatistics) -> tuple[str, ...]:
    if judged.is_steady:
        return ()
    return (f"single readings vary by {judged.cv:.1%} of their mean: look at the percentiles beside the median",)


def _disturbances(found: Measurement) -> Iterable[str]:
    # A few readings that take many times as long move neither the medians nor what later runs are compared with.
    drift = variation(found.blocks_ms)
    if drift > UNSTEADY_CV:
        yield (
            f"unsteady: {found.clock} times vary from block to block by {drift:.1%} of their mean, more than "
            f"{UNSTEADY_CV:.1%}"
        )
    seen = found.conditions
    if seen is not None and seen.throttle_reasons:
        yield f"throttled: the GPU slowed its clocks ({', '.join(seen.throttle_reasons)})"
    if seen is not None and seen.other_processes:
        yield f"shared: {seen.other_processes} other processes were on the GPU"


def layer_latencies(times: Sequence[LayerTime], layers: Sequence[EngineLayer] = ()) -> tuple[LayerLatency, ...]:
    """Return the median of each layer by its place, since names may occur twice.

    Parameters
    ----------
    layers
        What the inspector tells of them; of one name, in the order of execution.
    """
    known: defaultdict[str, deque[EngineLayer]] = defaultdict(deque)
    for layer in layers:
        known[layer.name].append(layer)
    shown = [known[time.name].popleft() if known[time.name] else None for time in times]
    return tuple(
        LayerLatency(
            position,
            time.name,
            median(time.times_ms),
            nodes=layer.nodes if layer else (),
            precision=layer.precision if layer else "",
        )
        for position, (time, layer) in enumerate(zip(times, shown, strict=True))
        if time.times_ms
    )


def latency_outcome(
    blank: Outcome,
    record: LatencyRecord,
    budgets: Sequence[LatencyBudget],
    measured: Mapping[str, LatencyRecord],
    next_command: str,
) -> Outcome:
    """Return the judgement of a variant's latency.

    Parameters
    ----------
    budgets
        The case's; those that do not name the variant are left out.
    measured
        What was measured in this run by label (``fp32@tensorrt-8.6``): what ratios count from.
    next_command
        Measures this variant again.
    """
    judge = _Judge(blank.variant, record, measured)
    judged = tuple(row for budget in budgets if applies(budget, blank.variant) for row in judge(budget))
    verdict, headline = _conclude(record, judged)
    filled = replace(blank, latency=replace(record, budgets=judged), verdict=verdict, headline=headline)
    return replace(filled, message=_message(filled, record, judged, next_command))


def ratio_labels(budgets: Iterable[LatencyBudget], label: str, known: Iterable[str]) -> list[str]:
    """Return the labels of what a variant's ratios count from, as far as they are known, without its own."""
    found = (resolved(b.to, label, known) for b in budgets if b.max_ratio is not None and applies(b, label))
    return list(dict.fromkeys(to for to in found if to != label))


def resolved(to: str, label: str, known: Iterable[str]) -> str:
    """Return the label that ``to`` of a budget means for a variant: of its own backend, unless it names another one."""
    name, at, where = to.partition("@")
    if not at:
        return f"{name}@{label.partition('@')[2]}"
    labels = (other.partition("@") for other in known)
    return next((f"{n}@{b}" for n, _, b in labels if n == name and _runs_there(b, where)), to)


def applies(budget: LatencyBudget, label: str) -> bool:
    """Whether a budget is for a variant, by its label: on the CPU only where the budget says so."""
    name, _, backend = label.partition("@")
    wanted, at, where = budget.variant.partition("@")
    if not matches(name, wanted):
        return False
    return _runs_there(backend, where) if at else backend != ON_CPU


def may_apply(budget: LatencyBudget, label: str) -> bool:
    """Whether a budget is for a variant whose label may lack the release of TensorRT: ``fp16@tensorrt``."""
    name, _, backend = label.partition("@")
    wanted, _, where = budget.variant.partition("@")
    is_of_some_release = backend == "tensorrt" and where.startswith("tensorrt-") and matches(name, wanted)
    return is_of_some_release or applies(budget, label)


def _runs_there(backend: str, where: str) -> bool:
    return matches(backend, where) or (where == "tensorrt" and backend.startswith("tensorrt-"))


@dataclass(frozen=True, slots=True)
class _Judge:
    """Holds one variant's record against budgets."""

    label: str
    record: LatencyRecord
    measured: Mapping[str, LatencyRecord]

    def __call__(self, budget: LatencyBudget) -> Iterable[JudgedBudget]:
        found = self.record.at(budget.batch_size)
        limits = {"median_ms": budget.max_median_ms, "p99_ms": budget.max_p99_ms}
        for figure, limit in limits.items():
            if limit is not None:
                value = getattr(found.judged, figure) if found else None
                yield _row(budget, figure, limit, value, [found], clock=found.clock if found else "")
        if budget.max_ratio is not None:
            yield from self._ratio(budget, budget.max_ratio, found)

    def _ratio(self, budget: LatencyBudget, limit: float, found: Measurement | None) -> Iterable[JudgedBudget]:
        to = resolved(budget.to, self.label, self.measured)
        if to == self.label:
            return
        other = self.measured[to].at(budget.batch_size) if to in self.measured else None
        clock = "gpu" if found and other and found.gpu and other.gpu else "host"
        value = _median(found, clock) / _median(other, clock) if found and other else None
        yield _row(budget, "ratio", limit, value, [found, other], clock=clock, to=to)


def _median(found: Measurement, clock: str) -> float:
    return (found.gpu if found.gpu and clock == "gpu" else found.host).median_ms


def _row(
    budget: LatencyBudget,
    figure: str,
    limit: float,
    value: float | None,
    sides: Sequence[Measurement | None],
    *,
    clock: str,
    to: str = "",
) -> JudgedBudget:
    owners = ("", f"{to} ")
    disturbed = [
        f"{owner}{why}" for owner, side in zip(owners, sides, strict=False) if side for why in side.disturbances
    ]
    detail = "; ".join(disturbed)
    if value is None:
        what = f"{to} at batch {budget.batch_size}" if to and sides[0] else f"batch {budget.batch_size}"
        detail = f"{what} was not measured in this run, so {figure} is not judged"
    keeps = value is not None and value <= limit
    verdict = Verdict.INCONCLUSIVE if detail else Verdict.PASS if keeps else Verdict.FAIL
    return JudgedBudget(figure, budget.batch_size, value, limit, verdict, budget.reason, clock, to, detail)


def _conclude(record: LatencyRecord, judged: Sequence[JudgedBudget]) -> tuple[Verdict, str]:
    verdicts = {row.verdict for row in judged}
    figures = _figures(record)
    # A GPU's readings are what later runs are held against, budget or not; those of a CPU stand beside for comparison.
    noise = [reason for found in record.measurements if found.gpu for reason in found.disturbances]
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL, f"{budget_text(worst_budget(judged))}; {figures}"
    if Verdict.INCONCLUSIVE in verdicts:
        first = next(row for row in judged if row.verdict is Verdict.INCONCLUSIVE)
        return Verdict.INCONCLUSIVE, f"{first.detail}; {figures}"
    if record.unmeasured:
        return Verdict.INCONCLUSIVE, "; ".join((record.unmeasured[0], *([figures] if figures else [])))
    if noise:
        return Verdict.INCONCLUSIVE, f"{noise[0]}; {figures}"
    if not judged:
        return Verdict.PASS, f"measured, no budget: {figures}"
    return Verdict.PASS, f"{len(judged)} of {len(judged)} budgets kept: {figures}"


def _figures(record: LatencyRecord) -> str:
    return ", ".join(
        f"{found.judged.median_ms:.4g} ms median, {found.judged.p99_ms:.4g} ms p99 "
        f"at batch {found.batch_size} ({found.clock} time)"
        for found in record.measurements
    )


def worst_budget(judged: Sequence[JudgedBudget]) -> JudgedBudget:
    """Return the budget that is exceeded by the largest factor; there is one at least."""
    return max((row for row in judged if row.verdict is Verdict.FAIL), key=lambda row: (row.value or 0.0) / row.limit)


def budget_text(row: JudgedBudget) -> str:
    """Return a judged budget in words."""
    value = "n/a" if row.value is None else f"{row.value:.4g}"
    sign = ">" if row.value is not None and row.value > row.limit else "<="
    figure, unit = ("median", f" times that of {row.to}") if row.to else (row.figure.removesuffix("_ms"), " ms")
    return f"{figure} {value} {sign} {row.limit:g}{unit} at batch {row.batch_size} ({row.reason})"


def _message(outcome: Outcome, record: LatencyRecord, judged: Sequence[JudgedBudget], command: str) -> str:
    if outcome.verdict is Verdict.PASS:
        return ""
    place = f"in: {outcome.case} / {outcome.variant} / {outcome.check}\nnext: {command}"
    failing = [row for row in judged if row.verdict is Verdict.FAIL]
    if not failing:
        details = (*(row.detail for row in judged if row.detail), *record.unmeasured)
        noise = list(dict.fromkeys(details)) or [outcome.headline]
        return "\n".join([*noise, *_advice(noise), place])
    worst = worst_budget(failing)
    others = [f"also {budget_text(row)}" for row in failing if row is not worst]
    share = f"{len(failing)} / {len(judged)} budgets exceeded ({len(failing) / len(judged):.0%})"
    excess = (worst.value or 0.0) / worst.limit - 1
    by = f"worst: {worst.figure} {worst.value:.6g}, limit {worst.limit:g}, over by {excess:.1%} ({worst.clock} time)"
    return "\n".join([f"latency is over its budget: {budget_text(worst)}", share, by, place, *others])


_ADVICE = {
    "nothing was timed": "measure for longer with --seconds",
    "unsteady:": "steady the clocks (nvidia-smi --lock-gpu-clocks) or measure for longer with --seconds",
    "throttled:": "cool the GPU or raise its power limit",
    "shared:": "end the other processes or take another GPU",
    "was not measured": "measure what is missing in the same run: leave out --variant, or name it as well",
}


def _advice(reasons: Iterable[str]) -> list[str]:
    text = "\n".join(reasons)
    return [advice for sign, advice in _ADVICE.items() if sign in text]
