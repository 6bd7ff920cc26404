"""What every report shares: order, signs, and how a number reads. Nothing is measured here, only chosen and formatted.

Names in a run come from models and case files, which anybody may have written, so text for a terminal or a plain file
goes through ``printable`` first.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parity.results import ModelRecord, Outcome, Run, TensorOutcome

SIGNS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.ERROR: "!",
    Verdict.SKIPPED: "–",  # noqa: RUF001 - an en dash is wider than a hyphen, as a sign should be
}

# A disagreement is a finding, an error is a missing one; both stand before what is merely undecided.
_SEVERITY = {
    verdict: rank
    for rank, verdict in enumerate((Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS, Verdict.SKIPPED))
}

_OUTPUT_CHECKS = frozenset({"outputs", "case"})

_VERDICT_LINES = {
    0: "everything agrees",
    1: "a disagreement was found",
    2: "not everything could be judged",
}

_UNDECIDED = 2

_ROUNDING_WORDS = {
    "fused": "folded as TensorRT folds, rounded at the boundaries of what it fuses",
    "every-node": "rounded behind every node, nothing folded",
    "qdq": "quantize/dequantize pairs, executed without optimisations",
}

FORECAST_NOTE = (
    "A forecast in ONNX Runtime shows what the precision itself costs, overflow included. It does not show what an "
    "engine adds: its kernels, its fusions and its order of summation."
)

# Whatever moves a cursor, sets a colour or reorders text: C0, C1, line separators, bidirectional controls, surrogates.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """Return text with control characters spelled out; newlines and tabs stay."""
    return _UNPRINTABLE.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Return printable text with every run of white space made one space."""
    return " ".join(printable(text).split())


def failed_title(run: Run) -> str:
    """Return the title of what keeps a run from passing: a failure only where there is one."""
    verdicts = {outcome.verdict for outcome in failed(run)}
    undecided = "What could not be judged, and why"
    if Verdict.FAIL not in verdicts:
        return undecided
    return "What failed, and why" if verdicts == {Verdict.FAIL} else "What failed or could not be judged, and why"


def failed(run: Run) -> list[Outcome]:
    """Return the outcomes that keep a run from passing, worst first."""
    return [outcome for outcome in worst_first(run) if outcome.verdict not in (Verdict.PASS, Verdict.SKIPPED)]


def worst_first(run: Run) -> list[Outcome]:
    """Return the outcomes by severity, then by the headroom of their worst output; equals keep the run's order."""
    return sorted(run.outcomes, key=lambda outcome: (_SEVERITY[outcome.verdict], -_outcome_headroom(outcome)))


def worst_tensors(outcome: Outcome) -> list[TensorOutcome]:
    """Return the judged tensors of an outcome by severity, then by headroom."""
    return sorted(outcome.tensors, key=lambda tensor: (_SEVERITY[tensor.verdict], -_headroom(tensor)))


def verdict_line(run: Run) -> str:
    """Return the run's verdict in words, such as ``a disagreement was found: 1 fail, 3 pass``."""
    counts = ", ".join(f"{count} {verdict}" for verdict, count in verdict_counts(run).items())
    incomplete = "" if run.is_complete else "; the run was interrupted, so more may be missing"
    return f"{verdict_words(run)}: {counts}{incomplete}" if counts else verdict_words(run)


def verdict_words(run: Run) -> str:
    """Return the run's verdict without its counts."""
    if not run.outcomes:
        return "nothing was judged"
    undecided = run.exit_code == _UNDECIDED and any(outcome.verdict is Verdict.FAIL for outcome in run.outcomes)
    # What failed is not hidden behind what could not be judged.
    found = f"{_VERDICT_LINES[1]}, and " if undecided else ""
    return found + (_latency_words(run) or _layers_words(run) or _VERDICT_LINES[run.exit_code])


def verdict_counts(run: Run) -> dict[Verdict, int]:
    """Return how many outcomes came to each verdict, worst first; those that none came to are left out."""
    counts = Counter(outcome.verdict for outcome in run.outcomes)
    return {verdict: counts[verdict] for verdict in _SEVERITY if counts[verdict]}


def _latency_words(run: Run) -> str:
    """Return the verdict of a run that measured latency alone; empty for any other."""
    if any(outcome.check != "latency" for outcome in run.outcomes):
        return ""
    has_budget = any(outcome.latency and outcome.latency.budgets for outcome in run.outcomes)
    words = ("every budget is kept" if has_budget else "measured; no budget judges it", "a budget is exceeded")
    return words[run.exit_code] if run.exit_code < len(words) else ""


def _layers_words(run: Run) -> str:
    """Return the verdict of a passing run that looked at layers alone; empty for any other.

    Outputs may fail where no layer stands out, so nothing is said of them.
    """
    of_layers = all(outcome.check == "layers" for outcome in run.outcomes)
    return "no layer stands out" if of_layers and run.exit_code == 0 else ""


def run_verdict(run: Run) -> Verdict:
    """Return the verdict that stands for the whole run."""
    return {0: Verdict.PASS, 1: Verdict.FAIL}.get(run.exit_code, Verdict.ERROR)


def has_forecast(run: Run) -> bool:
    """Whether a variant was judged by executing its rounded graph in ONNX Runtime."""
    forecasts = (outcome for outcome in run.outcomes if outcome.check != "latency")
    return any(outcome.variant.endswith("@onnxruntime") for outcome in forecasts)


def is_of_outputs(outcome: Outcome) -> bool:
    """Whether an outcome judged outputs, or stands for a whole case."""
    return outcome.check in _OUTPUT_CHECKS


def place(outcome: Outcome) -> str:
    """Return ``case / variant / check``; an outcome that stands for a whole case has no variant."""
    return " / ".join(part for part in (outcome.case, outcome.variant, outcome.check) if part)


def moment(created: str) -> str:
    """Return a run's time to the minute, in UTC; what is no time stays as it is."""
    try:
        at = datetime.fromisoformat(created)
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at.tzinfo else created
    except (ValueError, OverflowError):
        return created


def variant_notes(outcomes: Iterable[Outcome]) -> list[tuple[str, str]]:
    """Return (``case / variant``, note) for all that a reader should know of how variants were made, each once."""
    notes = (
        (f"{outcome.case} / {outcome.variant}", note)
        for outcome in outcomes
        if outcome.model is not None
        for note in (_rounding_note(outcome.model), *outcome.model.notes)
        if note
    )
    return list(dict.fromkeys(notes))


def output_notes(outcomes: Iterable[Outcome]) -> list[tuple[str, str]]:
    """Return (``case / variant / output``, note) for what a reader should know of outputs whatever their verdict."""
    return [
        (f"{outcome.case} / {outcome.variant} / {tensor.output}", note)
        for outcome in outcomes
        for tensor in outcome.tensors
        for note in tensor.notes
    ]


def _rounding_note(model: ModelRecord) -> str:
    if model.rounding not in _ROUNDING_WORDS:
        return ""
    folded = f", {model.folded_node_count} folded" if model.folded_node_count else ""
    return (
        f"rounding {model.rounding}: {_ROUNDING_WORDS[model.rounding]}; "
        f"{model.nodes_changed} of {model.node_count} nodes at the precision{folded}"
    )


def mismatches(tensor: TensorOutcome) -> str:
    """Return the mismatches of a tensor as ``n / total (p %)``, or ``n/a`` where nothing was compared."""
    if tensor.difference is None:
        return "n/a"
    count, total = tensor.difference.mismatch_count, tensor.difference.element_count
    return f"{count:,} / {total:,} ({percent(count, total)})"


def mismatch_share(tensor: TensorOutcome) -> str:
    """Return the mismatches of a tensor as ``n (p %)``, for narrow tables."""
    if tensor.difference is None:
        return "n/a"
    count, total = tensor.difference.mismatch_count, tensor.difference.element_count
    return f"{count:,} ({percent(count, total)})"


def headroom(tensor: TensorOutcome) -> str:
    """Return the headroom of a tensor, ``decoded`` where it is judged by what it decodes to."""
    if tensor.difference is None:
        return "n/a"
    return ratio(tensor.difference.headroom) if tensor.is_bound else "decoded"


def percent(count: int, total: int) -> str:
    """Return a share as a percentage that is never rounded to 0 or to 100 % unless it is."""
    share = 100 * count / total if total else 0.0
    if 0 < share < 0.01:
        return "<0.01 %"
    if 99.99 < share < 100:
        return ">99.99 %"
    return f"{share:.3g} %" if share < 1 else f"{share:.2f} %"


def decibel(value: float | None) -> str:
    """Return a level in dB with one decimal, without its unit."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.1f}"


def ratio(value: float | None) -> str:
    """Return a ratio (headroom: measured / allowed) with three digits."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.3g}"


def number(value: float | None) -> str:
    """Return a figure of a tensor with five digits."""
    return "n/a" if value is None else f"{value:.5g}"


def _outcome_headroom(outcome: Outcome) -> float:
    return max((_headroom(tensor) for tensor in outcome.tensors), default=0.0)


def _headroom(tensor: TensorOutcome) -> float:
    value = 0.0 if tensor.difference is None else tensor.difference.headroom
    return 0.0 if math.isnan(value) else value
