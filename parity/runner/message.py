"""What an outcome says: the five parts of a failure, or what kept a judgement from being made."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from parity.checks.outputs import severity
from parity.decoded import Task
from parity.detect.message import agreement_message, gate_sentence
from parity.errors import ParityError
from parity.judge import failure_message
from parity.runner.settings import without_current_folder
from parity.verdict import Verdict

if TYPE_CHECKING:
    from parity.agreement import DecodedRecord
    from parity.results import Outcome, TensorOutcome


def failure_text(outcome: Outcome, command: str) -> str:
    """Return the message of a judged outcome, empty for ``pass``.

    It has the five parts for the worst output, then one line for each other output that did not pass. ``command`` is
    the next one to run.
    """
    bad = [tensor for tensor in outcome.tensors if tensor.verdict is not Verdict.PASS]
    if outcome.verdict is Verdict.PASS:
        return ""
    if outcome.decoded:
        return _decoded_text(outcome, outcome.decoded, command)
    if not bad:
        return f"{outcome.headline}\nnext: {command}"
    worst = max((tensor for tensor in bad if tensor.verdict is outcome.verdict), key=severity)
    others = [f"also {tensor.output}: {' '.join(tensor.reasons)}" for tensor in bad if tensor is not worst]
    return "\n".join([_tensor_text(outcome, worst, command), *others])


def _tensor_text(outcome: Outcome, tensor: TensorOutcome, command: str) -> str:
    place = f"{outcome.case} / {outcome.variant} / {outcome.check} / {tensor.output}"
    finding = "differs from its reference" if tensor.verdict is Verdict.FAIL else "could not be judged"
    what = f"{tensor.output} {finding}. {' '.join(tensor.reasons)}"
    if tensor.difference is None or tensor.tolerance is None:
        return f"{what}\nin: {place}\nnext: {command}"
    return failure_message(what, tensor.difference, tensor.tolerance, place=place, next_command=command)


def _decoded_text(outcome: Outcome, record: DecodedRecord, command: str) -> str:
    """Return what the gates say in five parts, behind it what no gate stands on; that alone where no gate is missed."""
    place = f"{outcome.case} / {outcome.variant} / {outcome.check}"
    said = {gate_sentence(judged) for judged in record.figures if judged.verdict is Verdict.FAIL}
    others = [reason for reason in record.reasons if reason not in said]
    if not said:
        return "\n".join([*others, f"in: {place}", f"next: {command}"])
    task, figures, kinds = Task(record.task), record.figures, record.finding_counts
    text = agreement_message(task, figures, record.findings, kinds, place=place, next_command=command)
    return "\n".join([text, *(f"also {reason}" for reason in others)])


def with_error(outcome: Outcome, error: Exception) -> Outcome:
    """Return an outcome that tells an error: one of the tree by its message, any other by its class as well."""
    text = without_current_folder(str(error))
    if not isinstance(error, ParityError):
        text = f"unexpected {type(error).__name__}: {text}\nThis is a defect; run again with --debug for its traceback"
    return replace(outcome, verdict=Verdict.ERROR, headline=text.partition("\n")[0], message=text)


def not_judged(outcome: Outcome, first: Outcome) -> Outcome:
    """Return an outcome that hung on another one, which could not be made."""
    because = f"not judged, because {first.check} could not be"
    return replace(outcome, verdict=Verdict.ERROR, headline=because, message=because)
