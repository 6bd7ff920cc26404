"""The message of a failure of decoded results, in the five parts that all failures have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.decoded import Task
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.agreement import BoxRecord, Finding, JudgedFigure

    Values = Mapping[str, float]

_SHOWN_FINDINGS = 3
_THINGS = {
    Task.DETECTION: "detections",
    Task.CLASSIFICATION: "classes",
    Task.LANES: "lanes",
    Task.SEGMENTATION: "label maps",
}


def agreement_message(
    task: Task,
    judged: Sequence[JudgedFigure],
    findings: Sequence[Finding],
    finding_counts: Mapping[str, int],
    *,
    reasons: Sequence[str] = (),
    place: str,
    next_command: str,
) -> str:
    """Return the five parts of a failure message, in their order.

    Parameters
    ----------
    judged
        All figures; those that fail make the first part, counts and shares the second.
    findings
        The worst ones, worst first; the first three make the third part, and one with a box if none of them has.
    finding_counts
        How many there were of each kind.
    reasons
        Sentences on what is wrong besides the figures, such as rows that make no sense.
    place
        Where: ``case / variant / check``.
    next_command
        What to run next.
    """
    values = {one.figure.name: one.figure.value for one in judged if one.figure.value is not None}
    lines = [_what(task, judged, reasons), f"{_mismatch(task, values)}; {_kinds(finding_counts)}"]
    for finding in _shown(findings):
        lines += _finding_lines(finding)
    if not findings:
        lines.append("worst: no single image stands out")
    return "\n".join([*lines, f"in: {place}", f"next: {next_command}"])


def gate_sentence(judged: JudgedFigure) -> str:
    """Return what a gate that did not pass says of its figure, what it allows and why."""
    figure = judged.figure
    limits = [(judged.minimum, "at least"), (judged.maximum, "at most")]
    allowed = " and ".join(f"{words} {limit:.4g}" for limit, words in limits if limit is not None)
    reason = f" ({judged.reason})" if judged.reason else ""
    if figure.value is None:
        return f"{figure.name} could not be measured, and a gate asks for {allowed}{reason}."
    unit = " px" if figure.unit == "px" else ""
    return f"{figure.name} is {figure.value:.4g}{unit}, allowed is {allowed}{reason}."


def _what(task: Task, judged: Sequence[JudgedFigure], reasons: Sequence[str]) -> str:
    failures = [gate_sentence(one) for one in judged if one.verdict is Verdict.FAIL]
    return " ".join([f"The {_THINGS[task]} differ from the reference's.", *reasons, *failures])


def _kinds(counts: Mapping[str, int]) -> str:
    """Return how many findings there are and of which kinds, such as ``155 findings (153 moved, 2 missed)``."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))
    return _many(sum(counts.values()), "finding") + (f" ({kinds})" if kinds else "")


def _mismatch(task: Task, values: Values) -> str:
    """Return ``mismatched: n / total (p %)`` in what the task counts."""
    if task is Task.SEGMENTATION:
        share = 1.0 - values.get("pixel_agreement", 0.0)
        return f"mismatched: {share:.3%} of the pixels of {_many(round(values.get('image_count', 0)), 'image')}"
    count, total, noun = _COUNTS[task](values)
    percent = 100.0 * count / total if total else 0.0
    return f"mismatched: {round(count)} / {round(total)} {noun} ({percent:.3g} %)"


def _detections(values: Values) -> tuple[float, float, str]:
    """Count what has no partner of its class on either side, of all that either side has."""
    reference, candidate = values.get("reference_count", 0), values.get("candidate_count", 0)
    # A detection of another class is one of the reference's and one of the candidate's: it counts once.
    common = values.get("f1", 0.0) * (reference + candidate) / 2
    flipped = values.get("class_flip_share", 0.0) * reference
    total = reference + candidate - common - flipped
    return total - common, total, "detections"


def _images(values: Values) -> tuple[float, float, str]:
    count = values.get("image_count", 0)
    return count * (1.0 - values.get("top1_agreement", 0.0)), count, "images"


def _points(values: Values) -> tuple[float, float, str]:
    extra = values.get("extra_point_share", 0.0) * values.get("candidate_point_count", 0)
    reference = values.get("reference_point_count", 0)
    return values.get("missed_point_share", 0.0) * reference + extra, reference + extra, "points"


_COUNTS = {Task.DETECTION: _detections, Task.CLASSIFICATION: _images, Task.LANES: _points}


def _shown(findings: Sequence[Finding]) -> list[Finding]:
    """Return the first findings; where what is lost whole takes all places, one that shows a box as well."""
    first, rest = findings[:_SHOWN_FINDINGS], findings[_SHOWN_FINDINGS:]
    if any(_has_box(finding) for finding in first):
        return [*first]
    return [*first, *[finding for finding in rest if _has_box(finding)][:1]]


def _has_box(finding: Finding) -> bool:
    return finding.reference is not None or finding.candidate is not None


def _finding_lines(finding: Finding) -> list[str]:
    lines = [f"worst: {finding.text}"]
    if not _has_box(finding):
        return lines
    return [*lines, _box_line("reference", finding.reference), _box_line("candidate", finding.candidate)]


def _box_line(side: str, record: BoxRecord | None) -> str:
    if record is None:
        return f"  {side}: no box"
    corners = ", ".join(f"{corner:.1f}" for corner in record.box)
    return f"  {side}: {record.class_name!r} {record.score:.3f} at [{corners}]"


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
