"""The assertion on detections: every planted fault is found and told, and nothing passes by emptiness."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import parity
from parity import assert_detections_agree, compare_detections
from parity.decoded import Detections
from parity.errors import AgreementError, ParityError, StructureError

NAMES = ("cat", "dog", "cow")
IMAGE: dict[str, Any] = {
    "boxes": [[10, 10, 60, 60], [100, 20, 180, 90], [30, 120, 90, 200]],
    "scores": [0.95, 0.85, 0.75],
    "classes": [0, 1, 0],
}


def altered(**parts: Any) -> dict[str, Any]:
    return {**IMAGE, **parts}


def failure(candidate: Any, reference: Any = IMAGE, **options: Any) -> str:
    with pytest.raises(AgreementError) as caught:
        assert_detections_agree(reference, candidate, class_names=NAMES, **options)
    return str(caught.value)


def test_equal_sides_agree_as_mappings_as_detections_and_as_sequences() -> None:
    assert_detections_agree(IMAGE, IMAGE)
    assert_detections_agree([IMAGE, altered(classes=[2, 2, 1])], [IMAGE, altered(classes=[2, 2, 1])])
    decoded = Detections(np.array(IMAGE["boxes"], float), np.array(IMAGE["scores"]), np.array(IMAGE["classes"]))
    assert_detections_agree(decoded, IMAGE)


@given(st.permutations(range(3)))
def test_the_order_of_the_rows_means_nothing(order: list[int]) -> None:
    assert_detections_agree(IMAGE, {key: [rows[i] for i in order] for key, rows in IMAGE.items()})


def test_a_flipped_class_is_told_with_image_classes_and_both_boxes_in_five_parts() -> None:
    lines = failure([IMAGE, altered(classes=[0, 2, 0])], [IMAGE, IMAGE], name="front camera").splitlines()
    assert lines[0].startswith("The detections differ from the reference's. class_flip_share is 0.1667, allowed is")
    assert lines[1].startswith("mismatched: 1 / 6 detections (16.7 %); ")
    assert lines[2].startswith("worst: image 1: ")
    assert "dog" in lines[2]
    assert "cow" in lines[2]
    assert lines[3:5] == [
        "  reference: 'dog' 0.850 at [100.0, 20.0, 180.0, 90.0]",
        "  candidate: 'cow' 0.850 at [100.0, 20.0, 180.0, 90.0]",
    ]
    assert lines[-2] == "in: assert_detections_agree / fp32 / front camera"
    assert lines[-1].startswith("next: parity.compare_detections(")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"boxes": [[14, 10, 64, 60], *IMAGE["boxes"][1:]]}, ("iou_p5 is", "'cat' 0.950 at [14.0, 10.0, 64.0, 60.0]")),
        ({"scores": [0.855, 0.765, 0.675]}, ("score_bias is -0.085", "'cat'")),
        ({"classes": [0, 1, 2]}, ("class_flip_share is 0.3333", "absent_class_count is 1", "'cow' 0.750")),
        ({key: rows[:2] for key, rows in IMAGE.items()}, ("missed_share is 0.3333", "candidate: no box")),
        (
            {
                "boxes": [*IMAGE["boxes"], [200, 200, 240, 240]],
                "scores": [0.95, 0.85, 0.75, 0.9],
                "classes": [0, 1, 0, 2],
            },
            ("extra_share is 0.25", "absent_class_count is 1", "reference: no box", "'cow' 0.900 at [200.0"),
        ),
        (
            {"boxes": [*IMAGE["boxes"], [10, 10, 60, 60]], "scores": [0.95, 0.85, 0.75, 0.5], "classes": [0, 1, 0, 0]},
            ("duplicate_share is 0.25",),
        ),
        ({"scores": [np.nan, 0.85, 0.75]}, ("alone has rows left out for: nan score (1)", "missed_share")),
        ({"boxes": [*IMAGE["boxes"][:2], [90, 120, 30, 200]]}, ("left out for: inverted box (1)",)),
        ({"boxes": [*IMAGE["boxes"][:2], [30, 120, np.inf, 200]]}, ("left out for: non-finite box (1)",)),
        ({"boxes": [], "scores": [], "classes": []}, ("missed_share is 1",)),
    ],
    ids=["shift", "scale", "flip", "miss", "hallucination", "duplicate", "nan", "inverted", "infinite", "nothing"],
)
def test_a_planted_fault_fails_with_a_message_that_names_it(fault: dict[str, Any], words: tuple[str, ...]) -> None:
    message = failure(altered(**fault))
    assert [word for word in words if word not in message] == []
    assert "image 0" in message


def test_rows_that_make_no_sense_fail_though_all_others_agree() -> None:
    weak = altered(boxes=[*IMAGE["boxes"], [5, 5, 1, 1]], scores=[0.95, 0.85, 0.75, 0.01], classes=[0, 1, 0, 0])
    assert "inverted box (1)" in failure(weak)
    with pytest.raises(StructureError, match="The reference itself has rows left out for: inverted box"):
        assert_detections_agree(weak, weak)


def test_a_gate_of_the_caller_stands_in_place_of_the_default_one() -> None:
    missed = {key: rows[:2] for key, rows in IMAGE.items()}
    assert_detections_agree(IMAGE, missed, gates={"missed_share": (None, 0.5)})
    assert "f1 is 0.8, allowed is at least 0.9 (given by the caller)" in failure(missed, gates={"f1": (0.9, None)})


def test_the_precision_chooses_the_gates() -> None:
    shaken = altered(scores=[0.97, 0.83, 0.75])
    failure(shaken)
    assert_detections_agree(IMAGE, shaken, precision="fp16")


def test_weak_detections_explain_what_lies_at_the_threshold() -> None:
    def at(score: float, drift: float = 0.0) -> dict[str, Any]:
        rows = [[20 * i, 0, 20 * i + 15, 15] for i in range(100)]
        return {"boxes": rows, "scores": [score, *(np.linspace(0.5, 0.9, 99) + drift)], "classes": [0] * 100}

    assert_detections_agree(at(0.251), at(0.248, drift=-0.003), score_threshold=0.25, precision="fp16")
    cut = {key: rows[1:] for key, rows in at(0.248, drift=-0.003).items()}
    assert "missed_share is 0.01" in failure(cut, at(0.4))


def test_an_unknown_gate_is_named_with_the_figures_there_are() -> None:
    with pytest.raises(ParityError, match=r"gates: mised_share is no figure; expected one of .*missed_share"):
        assert_detections_agree(IMAGE, IMAGE, gates={"mised_share": (None, 0.1)})


NOTHING = {"boxes": [], "scores": [], "classes": []}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gates": {"missed_share": 0.1}}, r"gates: missed_share: found 0.1; expected the least and the most"),
        ({"gates": {"missed_share": (None, None)}}, "expected the least and the most"),
        ({"gates": {"missed_share": ("0", None)}}, "expected the least and the most"),
        ({"precision": "half"}, "precision is 'half'; expected one of fp32, tf32"),
        ({"score_threshold": 1.5}, "score_threshold is 1.5; expected 0 to 1"),
        ({"match_iou": -1}, "match_iou is -1; expected 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_though_both_sides_are_equal(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ParityError, match=words):
        assert_detections_agree(IMAGE, IMAGE, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": [0, 1.5, 0]}, "image 0 of the candidate: classes: found 1.5; expected whole numbers"),
        ({"classes": [0, np.nan, 0]}, "classes: found nan; expected whole numbers"),
        ({"classes": ["cat", "dog", "cat"]}, "candidate: classes: found what is no array of numbers .*'cat'"),
        ({"boxes": [[1, 2, 3, 4], [1, 2], [3]]}, "candidate: boxes: found what is no array of numbers"),
        ({"scores": None}, "expected"),
    ],
)
def test_values_that_are_no_numbers_or_classes_with_a_fraction_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(StructureError, match=words):
        assert_detections_agree(IMAGE, altered(**change))


@pytest.mark.parametrize(
    ("reference", "candidate", "words"),
    [
        (NOTHING, NOTHING, "Neither side shows anything"),
        ([], [], "No image was compared"),
        ([IMAGE, IMAGE], [IMAGE], "the reference has 2 images and the candidate 1"),
        (altered(scores=[0.1] * 3), altered(scores=[0.1] * 3), "Neither side shows anything"),
        (altered(scores=[0.9] * 3), altered(scores=[0.9] * 3), "All 3 scores of the reference are 0.9"),
        ({"boxes": []}, IMAGE, "image 0 of the reference: found boxes; expected Detections, or boxes, scores, classes"),
        (IMAGE, [np.zeros((3, 6))], "image 0 of the candidate: found ndarray"),
        (IMAGE, altered(scores=[0.9]), r"image 0 of the candidate: boxes \(3, 4\), scores \(1,\)"),
        (IMAGE, altered(boxes=[[1, 2, 3]] * 3), r"boxes \(3, 3\)"),
    ],
)
def test_where_nothing_can_be_compared_nothing_passes(reference: Any, candidate: Any, words: str) -> None:
    with pytest.raises(StructureError, match=words):
        assert_detections_agree(reference, candidate)


def test_all_figures_are_there_for_the_asking() -> None:
    measured = compare_detections(IMAGE, altered(classes=[0, 2, 0]), class_names=NAMES)
    assert {figure.name: figure.value for figure in measured.figures}["class_flip_share"] == pytest.approx(1 / 3)
    assert measured.findings[0].image == "image 0"


def test_decoded_detections_keep_their_flaws() -> None:
    decoded = Detections(np.array(IMAGE["boxes"], float), np.array(IMAGE["scores"]), np.array(IMAGE["classes"]))
    assert "nan score (4)" in failure(replace(decoded, flaws={"nan score": 4}))


def test_every_public_name_is_there() -> None:
    assert [name for name in parity.__all__ if not hasattr(parity, name)] == []
