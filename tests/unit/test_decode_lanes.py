"""Lanes: the published formula in plain Python, and what the settings have to multiply to."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from parity.decode import decode, find_layouts
from parity.decode.lanes import LanesSettings
from parity.errors import DecodeError
from parity.preprocess import Geometry

IMAGE = Geometry(original_height=590, original_width=1640, scale_x=800 / 1640, scale_y=288 / 590)
CELLS, ANCHORS, LANES = 20, (0.5, 0.7, 0.9), 4
SETTINGS = LanesSettings(cells=CELLS, row_anchors=list(ANCHORS), lanes=LANES)


def grid(images=2, seed=0, dtype=np.float32):
    """Return logits that choose each cell, the last one for none included, about as often as any other."""
    values = np.random.default_rng(seed).normal(scale=3, size=(images, CELLS + 1, len(ANCHORS), LANES))
    values[:, -1] += 4
    return values.astype(dtype)


def run(values, settings=SETTINGS, geometry=IMAGE, **others):
    return decode(settings, {"grid": values, **others}, [geometry] * len(values))


def published(column: list[float], width: float) -> float:
    """Return x of one anchor and lane, NaN for none, as Ultra-Fast-Lane-Detection evaluates it on TuSimple."""
    if max(range(len(column)), key=lambda cell: (column[cell], -cell)) == CELLS:
        return math.nan
    powers = [math.exp(value) for value in column[:CELLS]]
    location = sum(cell * power for cell, power in enumerate(powers)) / sum(powers)
    return (location + 0.5) * width / (CELLS - 1)


def test_points_are_those_of_the_published_formula() -> None:
    values = grid()
    found_none = 0
    for image, found in enumerate(run(values)):
        for lane in range(LANES):
            for anchor, height in enumerate(ANCHORS):
                x = published(values[image, :, anchor, lane].astype(float).tolist(), 1640)
                found_none += math.isnan(x)
                y = math.nan if math.isnan(x) else height * 590
                assert found.points[lane, anchor] == pytest.approx([x, y], abs=1e-6, nan_ok=True)
    assert 2 < found_none < 20


def test_a_flattened_grid_is_the_same_grid() -> None:
    values = grid()
    for one, other in zip(run(values), run(values.reshape(len(values), -1)), strict=True):
        np.testing.assert_array_equal(one.points, other.points)


def one_hot(cell):
    values = np.zeros((1, CELLS + 1, len(ANCHORS), LANES), np.float32)
    values[0, cell] = 50
    return values


@pytest.mark.parametrize("location", ["expectation", "argmax"])
def test_the_middle_of_a_sure_cell_is_the_point(location) -> None:
    settings = SETTINGS.model_copy(update={"location": location, "spacing": "equal"})
    [found] = run(one_hot(4), settings)
    assert found.points[..., 0] == pytest.approx(np.full((LANES, 3), 4.5 / CELLS * 1640))
    assert found.scores == pytest.approx(np.ones((LANES, 3)))


def test_the_best_cell_ignores_the_others() -> None:
    values = one_hot(4)
    values[0, 12] = 49
    near, far = SETTINGS.model_copy(update={"location": "argmax"}), SETTINGS
    assert run(values, near)[0].points[0, 0, 0] < run(values, far)[0].points[0, 0, 0]


def test_the_last_cell_is_no_lane_and_its_probability_the_score() -> None:
    [found] = run(one_hot(CELLS))
    assert np.isnan(found.points).all()
    assert found.scores == pytest.approx(np.ones((LANES, 3)))


def test_padding_needs_the_size_of_the_tensor() -> None:
    padded = Geometry(original_height=100, original_width=200, left=20, top=10)
    with pytest.raises(DecodeError, match=r"set decode\.input_size"):
        run(one_hot(4), geometry=padded)
    settings = SETTINGS.model_copy(update={"input_size": [120, 240], "spacing": "equal"})
    [found] = run(one_hot(4), settings, padded)
    assert found.points[0, 0] == pytest.approx([4.5 / CELLS * 240 - 20, 0.5 * 120 - 10])


@pytest.mark.parametrize("flat", [True, False])
def test_attributes_are_kinds_by_lanes_by_classes(flat) -> None:
    values = np.zeros((1, 2, LANES * 4), ml_dtypes.bfloat16)
    chosen = [[0, 1, 2, 3], [3, 3, 0, 1]]
    for kind, classes in enumerate(chosen):
        for lane, number in enumerate(classes):
            values[0, kind, lane * 4 + number] = 1
    [found] = run(grid(1), attributes=values.reshape(1, -1) if flat else values)
    assert found.attributes.tolist() == chosen


def test_without_attributes_there_are_none() -> None:
    assert run(grid(1))[0].attributes.shape == (0, LANES)


def test_scores_that_are_no_numbers_leave_no_point_and_are_counted() -> None:
    values, attributes = one_hot(4), np.zeros((1, 32), np.float32)
    values[0, 3, 1, 2] = np.nan
    attributes[0, 0] = np.inf
    [found] = run(values, attributes=attributes)
    assert np.isnan(found.points[2, 1]).all()
    assert np.isfinite(np.delete(found.points.reshape(-1, 2), 2 * 3 + 1, axis=0)).all()
    assert found.attributes[0, 0] == -1
    assert found.flaws == {"non-finite score": 1, "non-finite attribute": 1}


@pytest.mark.parametrize("shape", [(1, 252), (1, CELLS + 1, 4, 3), (1, CELLS, 3, LANES)])
def test_a_grid_of_other_numbers_than_the_settings_multiply_to_is_refused(shape) -> None:
    settings = SETTINGS.model_copy(update={"cells": CELLS + 1}) if shape == (1, 252) else SETTINGS
    with pytest.raises(DecodeError, match=r"grid has shape .* expected \(2"):
        run(np.zeros(shape, np.float32), settings)


@pytest.mark.parametrize("shape", [(1, 30), (1, 3, 8)])
def test_attributes_of_other_numbers_are_refused(shape) -> None:
    with pytest.raises(DecodeError, match="attribute_kinds = 2"):
        run(grid(1), attributes=np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "shapes",
    [
        {"lanes": (1, 25728)},
        {"lanes": (1, 201, 18, 4)},
        {"lanes": (1, 25728), "kinds": (1, 32)},
        {"kinds": (1, 2, 16), "lanes": ("n", 25728)},
    ],
)
def test_its_layouts_lead_the_list(shapes) -> None:
    [(best, fit), *_] = find_layouts(shapes)
    assert best == "lanes"
    assert fit.outputs["grid"] == "lanes"
    assert fit.outputs.get("attributes") == ("kinds" if "kinds" in shapes else None)
