"""Decoders are guessed by shapes and values, ranked, and told with what speaks for them."""

from __future__ import annotations

import numpy as np
import pytest

from parity.starting.classes import class_count, name_classes
from parity.starting.decoders import rank_decoders
from parity.starting.guess import Guess, Mark, updated
from parity.starting.ultralytics import Metadata
from tests import decoder_outputs, yolo_heads

SIZE = (64, 64)
MAKERS = {
    **{name: make for name, (_, make) in decoder_outputs.CASES.items()},
    "yolov8": yolo_heads.make_v8,
    "yolov5": yolo_heads.make_v5,
    "yolov10": yolo_heads.make_v10,
    "yolox": yolo_heads.make_yolox,
    "yolo_anchors": yolo_heads.make_maps,
}


def outputs_of(family: str) -> dict[str, np.ndarray]:
    return MAKERS[family](np.random.default_rng(0), 1 if family in decoder_outputs.ONE_IMAGE else 2)


@pytest.mark.parametrize("family", sorted(MAKERS))
def test_random_outputs_of_a_family_are_read_as_that_family(family: str) -> None:
    ranked = rank_decoders([outputs_of(family)], None, SIZE)
    assert ranked[0].value.family == family
    assert ranked[0].evidence
    assert [guess.certainty for guess in ranked] == sorted((guess.certainty for guess in ranked), reverse=True)
    assert sum(guess.certainty for guess in ranked) <= 1 + 1e-9


def test_logits_and_shares_are_seen_in_the_values() -> None:
    [first, *_] = rank_decoders([yolo_heads.make_v8_logits(np.random.default_rng(0), 2)], None, SIZE)
    assert first.value.given == {"normalized_to": [64, 64], "scores": "logit"}


def test_probabilities_of_a_classifier_are_seen_in_the_values() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], np.float32)
    [first, *_] = rank_decoders([{"y": scores}], None, SIZE)
    assert (first.value.family, first.value.given) == ("classification", {"scores": "probability"})
    assert "add up to 1" in first.evidence[-1]


def test_a_label_of_0_with_a_score_means_that_there_is_no_background() -> None:
    outputs = outputs_of("ssd_rows")
    assert rank_decoders([outputs], None, SIZE)[0].value.given == {}
    outputs["detections"][0, 0, 0, 1] = 0
    assert rank_decoders([outputs], None, SIZE)[0].value.given == {"background": False}


def test_outputs_beside_those_that_are_read_are_told_apart() -> None:
    outputs = outputs_of("tf_detections")
    beside = {**outputs, "raw_scores": np.zeros((2, 7))}
    for given, read in ((outputs, {"*"}), (beside, set(outputs))):
        ranked = rank_decoders([given], None, SIZE)
        assert next(set(one.value.read) for one in ranked if one.value.family == "tf_detections") == read


def test_rows_that_are_no_rows_of_an_ssd_speak_against_it() -> None:
    noise = np.random.default_rng(0).normal(size=(1, 1, 20, 7)).astype(np.float32)
    fair, unfair = (
        next(one.certainty for one in rank_decoders([outputs], None, SIZE) if one.value.family == "ssd_rows")
        for outputs in (outputs_of("ssd_rows"), {"detections": noise})
    )
    assert unfair < 0.2 < fair


def test_metadata_decides_where_shapes_and_values_leave_it_open() -> None:
    outputs = outputs_of("yolov8")
    task = Metadata(task="obb", names=("a", "b"))
    assert rank_decoders([outputs], None, SIZE)[0].value.family == "yolov8"
    [first, *_] = rank_decoders([outputs], task, SIZE)
    assert first.value.family == "yolov8_obb"
    assert "its metadata names the task obb" in first.evidence


def test_keypoints_come_from_the_metadata() -> None:
    metadata = Metadata(task="pose", names=("person",), keypoints=(2, 3))
    [first, *_] = rank_decoders([outputs_of("yolov8_pose")], metadata, SIZE)
    assert (first.value.family, first.value.given["keypoints"]) == ("yolov8_pose", 2)


def test_a_model_that_takes_no_images_is_hardly_a_classifier() -> None:
    scores = {"y": np.zeros((1, 16), np.float32)}
    assert rank_decoders([scores], None, None)[0].certainty < 0.3 < rank_decoders([scores], None, SIZE)[0].certainty


def test_anchors_are_asked_for_because_no_output_has_them() -> None:
    [first, *_] = rank_decoders([outputs_of("yolo_anchors")], None, SIZE)
    assert first.value.settings is None
    assert "which anchors" in first.question


def test_a_grid_of_unknown_size_is_asked_about() -> None:
    grid = {"grid": np.zeros((1, 66), np.float32), "attributes": np.zeros((1, 12), np.float32)}
    [first, *_] = rank_decoders([grid], None, SIZE)
    assert (first.value.family, first.value.settings) == ("lanes", None)
    assert "how is the grid divided?" in first.question


def test_non_finite_outputs_are_no_evidence_and_no_crash() -> None:
    ranked = rank_decoders([{"y": np.full((2, 8), np.nan, np.float32)}], None, SIZE)
    assert ranked[0].value.family == "classification"


def test_no_layout_no_decoder() -> None:
    assert rank_decoders([{"y": np.zeros((1, 2, 3, 4, 5), np.float32)}], None, SIZE) == ()


def test_class_names_come_from_metadata_only_if_they_are_as_many_as_the_outputs_have() -> None:
    count = class_count("yolov8", {"output0": (2, 7, 84)})
    assert count == 3
    named = name_classes(count, Metadata(names=("a", "b", "c")), None)
    assert named is not None
    assert named.value == ("a", "b", "c")
    assert name_classes(count, Metadata(names=("a", "b")), None) is None


def test_certainty_follows_bayes_rule_and_is_never_shown_as_whole() -> None:
    assert updated(0.5, (Mark(3.0, ""), Mark(1 / 3, ""))) == pytest.approx(0.5)
    assert updated(0.2, (Mark(4.0, ""),)) == pytest.approx(0.5)
    assert Guess(1, 0.9999, ()).sureness == "sure, 99%"
    assert Guess(1, 0.3, ()).sureness == "a guess, 30%"


def believed(array: np.ndarray, name: str = "y", size: tuple[int, int] = SIZE) -> dict[str, float]:
    """Return the families of one output that are likelier than not."""
    return {
        one.value.family: one.certainty for one in rank_decoders([{name: array}], None, size) if one.certainty > 0.5
    }


def test_labels_of_the_images_own_size_are_a_map_and_no_boxes() -> None:
    labels = np.random.default_rng(0).integers(0, 21, (2, *SIZE))
    found = believed(labels)
    assert list(found) == ["segmentation"]
    assert found["segmentation"] >= 0.9
    assert believed(labels.astype(np.float32)).keys() == {"segmentation"}
    [first, *_] = rank_decoders([{"y": labels}], None, SIZE)
    assert (first.value.is_chosen, first.value.is_sorted) == (True, False)


def test_fractions_for_each_pixel_of_the_image_are_nothing_that_is_known() -> None:
    depth = np.random.default_rng(0).uniform(0.5, 9, (2, *SIZE)).astype(np.float32)
    assert believed(depth) == {}
    assert any("the image's own size" in " ".join(one.evidence) for one in rank_decoders([{"y": depth}], None, SIZE))


def test_whole_numbers_of_32_bits_are_no_boxes_and_bytes_may_be_scores() -> None:
    numbers = np.random.default_rng(0).integers(0, 200, (4, 50))
    assert believed(numbers) == {}
    assert believed(numbers.astype(np.uint8)).keys() == {"classification"}


def test_rows_of_one_length_are_an_embedding_and_no_scores() -> None:
    rows = np.random.default_rng(0).standard_normal((4, 64))
    assert believed(rows).keys() == {"classification"}
    assert believed(rows / np.linalg.norm(rows, axis=1, keepdims=True)) == {}


def test_a_map_that_is_larger_than_its_image_is_an_image() -> None:
    pixels = np.random.default_rng(0).uniform(-3, 3, (1, 5, 64, 64))
    assert believed(pixels).keys() == {"segmentation"}
    assert believed(pixels, size=(32, 32)) == {}
    assert believed(pixels.transpose(0, 2, 3, 1), size=(32, 32)) == {}


def test_one_score_a_pixel_that_is_never_negative_is_no_logit() -> None:
    scores = np.random.default_rng(0).uniform(-3, 3, (1, 1, 64, 64))
    assert believed(scores).keys() == {"segmentation"}
    assert believed(np.abs(scores)) == {}


@pytest.mark.parametrize(
    ("name", "is_other"),
    [("heatmaps", True), ("predicted_depth", True), ("image_embeds", True), ("model/depthwise_7:0", False)],
)
def test_what_an_output_is_called_speaks_against_a_decoder(name: str, is_other: bool) -> None:
    maps = np.random.default_rng(0).uniform(-3, 3, (1, 17, 64, 48))
    assert (believed(maps, name) == {}) is is_other


def test_places_whose_numbers_add_up_to_1_are_no_boxes() -> None:
    letters = np.random.default_rng(0).uniform(0, 1, (1, 80, 97))
    assert "yolov8" in believed(letters)
    assert believed(letters / letters.sum(axis=2, keepdims=True)) == {}


def test_an_output_of_the_images_own_shape_is_an_image_but_for_a_distribution() -> None:
    pixels = np.random.default_rng(0).uniform(0, 1, (2, 3, *SIZE))
    assert believed(pixels) == {}
    assert believed(pixels.transpose(0, 2, 3, 1)) == {}
    assert believed(pixels / pixels.sum(axis=1, keepdims=True)).keys() == {"segmentation"}
    assert believed(pixels[:, :2]).keys() == {"segmentation"}


@pytest.mark.parametrize("shapes", [((1, 10), (1, 2)), ((1, 4, 14, 14),)], ids=["two heads", "a small map"])
def test_small_outputs_are_no_grid_of_lanes(shapes: tuple[tuple[int, ...], ...]) -> None:
    values = np.random.default_rng(0)
    outputs = {f"y{number}": values.standard_normal(shape) for number, shape in enumerate(shapes)}
    assert all(one.certainty < 0.1 for one in rank_decoders([outputs], None, SIZE))
