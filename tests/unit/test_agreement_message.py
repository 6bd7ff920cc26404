"""The message of a failure of decoded results."""

from __future__ import annotations

from collections import Counter

import pytest

from parity.agreement import BoxRecord, Figure, Finding, JudgedFigure
from parity.decoded import Task
from parity.detect.message import agreement_message, gate_sentence
from parity.verdict import Verdict

CAT = BoxRecord((1.0, 2.0, 30.25, 40.0), 0.912, "cat")
DOG = BoxRecord((1.5, 2.0, 30.0, 40.0), 0.875, "dog")


def figure(name: str, value: float | None, unit: str = "share") -> JudgedFigure:
    return JudgedFigure(Figure(name, value, unit))


def failing(name: str, value: float, unit: str = "share") -> JudgedFigure:
    return JudgedFigure(Figure(name, value, unit), None, 0.01, Verdict.FAIL, "default for fp16")


def message(task: Task, judged, findings=(), counts: dict[str, int] | None = None) -> list[str]:
    kinds = Counter(finding.kind for finding in findings) if counts is None else counts
    return agreement_message(task, judged, findings, kinds, place="yolo / fp16", next_command="parity run").splitlines()


def test_a_message_has_its_five_parts_in_order_with_image_class_and_both_boxes() -> None:
    judged = [
        figure("reference_count", 4, "count"),
        figure("candidate_count", 5, "count"),
        figure("f1", 2 * 3 / 9),
        failing("class_flip_share", 0.25),
    ]
    flip = Finding("class flip", "a.png", "a.png: 'cat' became 'dog'", 2.0, CAT, DOG)
    missed = Finding("missed", "b.png", "b.png: 'cat' is missed", 1.0, CAT)
    assert message(Task.DETECTION, judged, [flip, missed], {"class flip": 1, "missed": 1, "moved": 5}) == [
        (
            "The detections differ from the reference's. "
            "class_flip_share is 0.25, allowed is at most 0.01 (default for fp16)."
        ),
        "mismatched: 2 / 5 detections (40 %); 7 findings (5 moved, 1 class flip, 1 missed)",
        "worst: a.png: 'cat' became 'dog'",
        "  reference: 'cat' 0.912 at [1.0, 2.0, 30.2, 40.0]",
        "  candidate: 'dog' 0.875 at [1.5, 2.0, 30.0, 40.0]",
        "worst: b.png: 'cat' is missed",
        "  reference: 'cat' 0.912 at [1.0, 2.0, 30.2, 40.0]",
        "  candidate: no box",
        "in: yolo / fp16",
        "next: parity run",
    ]


@pytest.mark.parametrize(
    ("task", "judged", "line"),
    [
        (
            Task.CLASSIFICATION,
            [figure("image_count", 8, "count"), figure("top1_agreement", 0.75)],
            "mismatched: 2 / 8 images (25 %); 1 finding (1 x)",
        ),
        (
            Task.LANES,
            [
                figure("reference_point_count", 20, "count"),
                figure("candidate_point_count", 20, "count"),
                figure("missed_point_share", 0.25),
                figure("extra_point_share", 0.25),
            ],
            "mismatched: 10 / 25 points (40 %); 1 finding (1 x)",
        ),
        (
            Task.SEGMENTATION,
            [figure("image_count", 3, "count"), figure("pixel_agreement", 0.98765)],
            "mismatched: 1.235% of the pixels of 3 images; 1 finding (1 x)",
        ),
        (
            Task.DETECTION,
            [figure("reference_count", 0, "count")],
            "mismatched: 0 / 0 detections (0 %); 1 finding (1 x)",
        ),
    ],
)
def test_what_is_mismatched_is_counted_in_what_the_task_gives(task, judged, line) -> None:
    assert message(task, judged, [Finding("x", "a.png", "a.png: x", 1.0)])[1] == line


def test_three_findings_are_shown_and_all_are_counted() -> None:
    findings = [Finding("x", "a.png", f"finding {number}", 1.0) for number in range(5)]
    lines = message(Task.LANES, [], findings)
    assert [line for line in lines if line.startswith("worst")] == [f"worst: finding {number}" for number in range(3)]
    assert lines[1].endswith("5 findings (5 x)")


def test_a_box_is_shown_where_the_worst_findings_have_none() -> None:
    whole = [Finding("lost class", "all images", f"class {number} is lost", 5.0) for number in range(4)]
    flips = [Finding("class flip", "a.png", f"a.png: flip {number}", 2.0, CAT, DOG) for number in range(2)]
    lines = message(Task.DETECTION, [failing("lost_class_count", 4, "count")], [*whole, *flips])
    assert lines[2:7] == [
        *(f"worst: class {number} is lost" for number in range(3)),
        "worst: a.png: flip 0",
        "  reference: 'cat' 0.912 at [1.0, 2.0, 30.2, 40.0]",
    ]


def test_a_failure_without_findings_says_so() -> None:
    assert "worst: no single image stands out" in message(Task.DETECTION, [failing("score_bias", -0.1, "score")])


def test_a_gates_sentence_names_both_limits_the_unit_and_the_reason() -> None:
    both = JudgedFigure(Figure("corner_shift_max", 3.5, "px"), 0.0, 2.0, Verdict.FAIL, "boxes are cropped")
    assert gate_sentence(both) == "corner_shift_max is 3.5 px, allowed is at least 0 and at most 2 (boxes are cropped)."
    nothing = JudgedFigure(Figure("ap", None, "ap"), 0.9, None, Verdict.INCONCLUSIVE)
    assert gate_sentence(nothing) == "ap could not be measured, and a gate asks for at least 0.9."
