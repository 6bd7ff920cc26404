"""The drawn images of the cases: repeatable, apart from each other, and a fair task."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from parity.backends import get_backend
from parity.case import load_case
from parity.case.decoder import open_decoder
from parity.case.feeds import open_feeds
from parity.graph import load_model, model_interface
from parity.options import SessionOptions

CASES = Path(__file__).resolve().parents[2] / "cases"
NAMES = ("shapes_classifier", "shapes_yolo", "shapes_ssd", "lanes")
EVALUATION, CALIBRATION = 256, 64


@cache
def load(name):
    spec = importlib.util.spec_from_file_location(f"data_of_{name}", CASES / name / "data.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def drawn(name):
    data = load(name)
    return tuple(data.evaluation(evaluation_count(name))), tuple(data.calibration(CALIBRATION))


def evaluation_count(name):
    """As many images as the case draws."""
    return tomllib.loads((CASES / name / "case.toml").read_text(encoding="utf-8"))["inputs"]["count"]


@cache
def boxes_of_shapes():
    return load("shapes_yolo").evaluation_boxes(EVALUATION)


def digest(image):
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_how_many_are_drawn(name):
    evaluation, calibration = drawn(name)
    again = tuple(load(name).evaluation(3)), tuple(load(name).calibration(3))

    assert [digest(image) for image in again[0]] == [digest(image) for image in evaluation[:3]]
    assert [digest(image) for image in again[1]] == [digest(image) for image in calibration[:3]]


@pytest.mark.parametrize("name", NAMES)
def test_another_process_draws_the_same_images(name):
    script = "import sys, hashlib, data; [print(hashlib.sha256(i.tobytes()).hexdigest()) for i in data.evaluation(4)]"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=CASES / name, env={"PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )

    assert done.stdout.decode().split() == [hashlib.sha256(image.tobytes()).hexdigest() for image in drawn(name)[0][:4]]


@pytest.mark.parametrize("name", NAMES)
def test_no_image_is_drawn_twice_within_or_across_splits(name):
    data = load(name)
    training = (first_of(data.draw(data.TRAINING, index)) for index in range(32))
    digests = [digest(image) for split in (*drawn(name), training) for image in split]

    assert len(set(digests)) == evaluation_count(name) + CALIBRATION + 32


def first_of(sample):
    return sample[0] if isinstance(sample, tuple) else sample.image


@pytest.mark.parametrize("name", NAMES)
def test_images_are_what_opencv_would_read(name):
    for image in (*drawn(name)[0], *drawn(name)[1]):
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert image.flags.c_contiguous


def test_the_half_detector_sees_the_images_of_the_detector_that_it_was_made_from():
    half, whole = load("shapes_yolo_half"), load("shapes_yolo")
    for split in ("evaluation", "calibration"):
        pairs = zip(getattr(half, split)(4), getattr(whole, split)(4), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs)
    assert half.CLASSES == whole.CLASSES


def test_the_two_detectors_of_shapes_share_no_image():
    digests = [{digest(image) for split in drawn(name) for image in split} for name in ("shapes_yolo", "shapes_ssd")]
    assert not digests[0] & digests[1]


def test_lanes_are_decoded_to_where_the_markings_were_drawn():
    case = load_case(CASES / "lanes")
    model = load_model(case.model)
    feed = next(iter(open_feeds(case.evaluation, model_interface(model), 4)))
    with get_backend("onnxruntime").open(model, SessionOptions()) as session:
        decoded = open_decoder(case)(session.run(feed.tensors), feed.geometry)
    data = load("lanes")
    for index, found in enumerate(decoded):
        scene = data.draw(data.EVALUATION, index)
        columns, rows = np.moveaxis(found.points, 2, 0)
        crossed = np.isfinite(rows).any(axis=0)
        apart = np.abs(columns[:, crossed] - scene.road.columns(np.nanmax(rows[:, crossed], axis=0)))
        assert np.nanmedian(apart) < 0.5
        assert np.nanmax(apart) < 10
        np.testing.assert_array_equal(found.attributes[:, scene.road.present], scene.attributes[:, scene.road.present])


def test_classifier_images_have_one_size_and_every_class_has_its_share():
    data = load("shapes_classifier")
    labels = data.evaluation_labels(EVALUATION)
    counts = Counter(labels)

    assert {image.shape for image in drawn("shapes_classifier")[0]} == {(data.SIDE, data.SIDE, 3)}
    assert len(labels) == EVALUATION
    assert set(counts) == set(range(len(data.CLASSES)))
    assert min(counts.values()) >= EVALUATION / len(data.CLASSES) / 2


def test_detector_images_vary_in_size_and_every_class_has_its_share():
    data = load("shapes_yolo")
    shapes = {image.shape for image in drawn("shapes_yolo")[0]}
    truth = boxes_of_shapes()
    counts = Counter(np.concatenate([labels for _, labels in truth]).tolist())

    assert len(shapes) > EVALUATION / 2
    assert all(240 <= side <= 420 for shape in shapes for side in shape[:2])
    assert set(counts) == set(range(len(data.CLASSES)))
    assert min(counts.values()) >= counts.total() / len(data.CLASSES) / 2
    assert {len(boxes) for boxes, _ in truth} == set(range(1, data.MAX_SHAPES + 1))


def test_every_box_lies_in_its_image_and_is_large_enough_to_see():
    for image, (boxes, labels) in zip(drawn("shapes_yolo")[0], boxes_of_shapes(), strict=True):
        height, width = image.shape[:2]
        assert boxes.shape == (len(labels), 4)
        assert boxes.min() >= 0
        assert (boxes[:, 2:] <= [width, height]).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 12).all()


def test_a_box_is_where_its_shape_is():
    data = load("shapes_yolo")
    rng = np.random.default_rng(0)
    contour = data._free_place(rng, "star", (300, 260), [])
    canvas = np.zeros((260, 300, 3), np.uint8)
    cv2.fillPoly(canvas, [contour], (255, 255, 255), shift=data._SHIFT)
    rows, columns = np.nonzero(canvas[..., 0])
    painted = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]

    np.testing.assert_allclose(data._box(contour), painted, atol=1.0)


@pytest.mark.parametrize("name", ["circle", "square", "triangle", "star", "cross"])
def test_outlines_reach_exactly_as_far_as_their_radius(name):
    outline = load("shapes_yolo")._contour(np.random.default_rng(0), name)

    assert np.hypot(*outline.T).max() == pytest.approx(1.0)
