"""The project's own trained models, their metadata stripped: decoder and preprocessing are guessed right."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import onnx
import pytest

from parity.starting.draft import Asked, Draft, examine
from parity.starting.recipes import Recipe
from tests.sample_photos import Sample, write_sample

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = {"shapes_classifier": 48, "shapes_ssd": 8, "shapes_yolo": 8, "shapes_yolo_half": 8, "lanes": 8}
DECODERS = {
    "shapes_classifier": "classification",
    "shapes_ssd": "ssd_rows",
    "shapes_yolo": "yolov8",
    "shapes_yolo_half": "yolov8",
    "lanes": "lanes",
}
RECIPES = {
    "shapes_classifier": Recipe("resize", "rgb", "imagenet"),
    "shapes_ssd": Recipe("resize", "bgr", "0..255"),
    "shapes_yolo": Recipe("letterbox", "rgb", "0..1"),
    "shapes_yolo_half": Recipe("letterbox", "rgb", "0..1"),
    "lanes": Recipe("resize", "rgb", "imagenet"),
}
ANNOTATED = [name for name in COUNTS if name != "lanes"]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> functools._lru_cache_wrapper[Sample]:
    folder: Path = tmp_path_factory.mktemp("samples")
    return functools.lru_cache(lambda name: write_sample(name, folder / name, COUNTS[name]))


@functools.cache
def examined(sample: Sample, *, images: bool = True, annotations: bool = True) -> Draft:
    asked = Asked(
        sample.model, sample.images if images else None, sample.annotations if images and annotations else None
    )
    return examine(asked, lambda _what: None)


@pytest.mark.parametrize("name", COUNTS)
def test_without_images_the_decoder_is_guessed_right_and_preprocessing_is_unknown(name: str, samples) -> None:
    draft = examined(samples(name), images=False)
    assert draft.facts.metadata is None
    assert draft.decoder is not None
    assert draft.decoder.value.family == DECODERS[name]
    assert draft.decoder.certainty >= 0.6
    assert draft.recipe is None
    assert "random" in draft.warnings[0]


@pytest.mark.parametrize("name", ANNOTATED)
def test_with_annotations_decoder_and_preprocessing_are_guessed_right(name: str, samples) -> None:
    draft = examined(samples(name))
    assert draft.decoder is not None
    assert draft.recipe is not None
    assert (draft.decoder.value.family, draft.recipe.value) == (DECODERS[name], RECIPES[name])
    assert draft.decoder.certainty >= 0.95
    assert draft.recipe.certainty >= 0.6
    assert "held against the annotations" in draft.recipe.evidence[0]
    assert draft.questions == ()


@pytest.mark.parametrize("name", ["shapes_classifier", "shapes_ssd", "shapes_yolo"])
def test_with_images_alone_preprocessing_is_guessed_right_and_less_surely(name: str, samples) -> None:
    require_proxy(examined(samples(name), annotations=False), name)


def test_of_lanes_preprocessing_is_guessed_right_and_annotations_are_told_to_be_of_no_use(samples) -> None:
    lanes, boxes = samples("lanes"), samples("shapes_yolo")
    draft = examined(Sample(lanes.model, lanes.images, boxes.annotations))
    require_proxy(draft, "lanes")
    assert draft.annotations is None
    assert draft.warnings == ("photos.json is not used: of lanes there are no figures on annotations",)


def require_proxy(draft: Draft, name: str) -> None:
    assert draft.recipe is not None
    assert draft.recipe.value == RECIPES[name]
    assert draft.recipe.certainty <= 0.75
    assert "mirror images" in draft.recipe.evidence[0]


def test_classes_are_named_by_the_annotations_in_the_order_of_their_ids(samples) -> None:
    draft = examined(samples("shapes_classifier"))
    assert draft.class_names is not None
    assert draft.class_names.value[:3] == ("circle", "ellipse", "square")


def test_a_grid_of_lanes_asks_where_its_rows_lie(samples) -> None:
    draft = examined(samples("lanes"), images=False)
    assert draft.decoder is not None
    assert (draft.decoder.value.given["cells"], len(draft.decoder.value.given["row_anchors"])) == (200, 32)
    assert "where do its rows lie?" in draft.questions[0]


def test_metadata_of_an_export_names_the_classes_and_settles_the_decoder(samples, tmp_path: Path) -> None:
    model = onnx.load(str(samples("shapes_yolo").model))
    names = {number: f"shape {number}" for number in range(5)}
    onnx.helper.set_model_props(model, {"task": "detect", "names": str(names), "stride": "32"})
    onnx.save(model, str(tmp_path / "export.onnx"))
    draft = examine(Asked(tmp_path / "export.onnx"), lambda _what: None)
    assert draft.decoder is not None
    assert draft.class_names is not None
    assert draft.decoder.certainty > 0.99
    assert "its metadata names the task detect" in draft.decoder.evidence
    assert draft.class_names.value == tuple(names.values())
