"""Segmentation: labels and margins of scores, of one score, and of labels."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special

from parity.decode import decode, find_layouts
from parity.decode.segmentation import SegmentationSettings
from parity.errors import DecodeError
from parity.preprocess import Geometry

IMAGE = Geometry(100, 100)


def run(output, **settings):
    return decode(SegmentationSettings(**settings), {"out": output}, [IMAGE] * len(output))


def scores(*shape, dtype=np.float32):
    return np.random.default_rng(3).normal(scale=4, size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_labels_and_margins_are_those_of_scipys_softmax(dtype) -> None:
    values = scores(2, 5, 17, 18, dtype=dtype)
    chances = np.sort(scipy.special.softmax(values.astype(np.float64), axis=1), axis=1)
    for image, found in enumerate(run(values)):
        np.testing.assert_array_equal(found.labels, values[image].argmax(axis=0))
        np.testing.assert_allclose(found.margins, chances[image, -1] - chances[image, -2], atol=1e-6)


def test_scores_may_have_their_classes_last() -> None:
    values = scores(1, 5, 17, 18)
    [first], [last] = run(values), run(np.moveaxis(values, 1, -1), channels="last")
    np.testing.assert_array_equal(first.labels, last.labels)


def test_margins_of_probabilities_are_their_difference() -> None:
    [found] = run(np.array([0.2, 0.7, 0.1], np.float32).reshape(1, 3, 1, 1), scores="probability")
    assert found.margins == pytest.approx(np.array([[0.5]]))


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (1, 2, 2)])
def test_one_score_is_split_at_the_threshold(shape) -> None:
    values = np.array([-1, 0, 0.1, 3], np.float32).reshape(shape)
    [found] = run(values)
    assert found.labels.tolist() == [[0, 0], [1, 1]]
    two = scipy.special.softmax(np.stack([np.zeros((2, 2)), values.reshape(2, 2)]), axis=0)
    assert found.margins == pytest.approx(np.abs(two[0] - two[1]), abs=1e-6)


def test_the_threshold_is_a_probability() -> None:
    values = scipy.special.logit(np.array([0.6, 0.8])).astype(np.float32).reshape(1, 1, 1, 2)
    [found] = run(values, threshold=0.7)
    assert found.labels.tolist() == [[0, 1]]


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 1, 2, 3)])
def test_integers_are_labels(shape) -> None:
    [found] = run(np.arange(6).reshape(shape))
    assert found.labels.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.margins is None


def test_floats_are_labels_where_the_case_says_so() -> None:
    [found] = run(np.array([[[0, 2]]], np.float16), values="labels")
    assert found.labels.tolist() == [[0, 2]]


def test_labels_with_a_fraction_are_refused() -> None:
    with pytest.raises(DecodeError, match=r"map has 0\.5, which is no whole number"):
        run(np.array([[[0, 0.5]]], np.float32), values="labels")


def test_integer_scores_of_several_classes_are_not_taken_for_labels() -> None:
    with pytest.raises(DecodeError, match=r"set decode\.values to scores"):
        run(np.zeros((1, 3, 2, 2), np.int8))


def test_labels_of_no_class_are_counted() -> None:
    [found] = run(np.array([[[0, 1, 2, -1]]]), class_names=["a", "b"])
    assert found.flaws == {"no such class": 2}


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_without_a_number_have_no_class(channels) -> None:
    values = scores(1, channels, 4, 4)
    values[0, 0, 1, 2] = np.nan
    [found] = run(values)
    assert found.labels[1, 2] == -1
    assert found.margins[1, 2] == 0
    assert (found.labels >= 0).sum() == 15
    assert found.flaws == {"non-finite score": 1}


def test_class_names_have_to_be_as_many_as_classes() -> None:
    with pytest.raises(DecodeError, match="2 names"):
        run(scores(1, 3, 4, 4), class_names=["a", "b"])


@pytest.mark.parametrize(
    ("shape", "certain"),
    [((1, 21, 128, 256), 0.5), ((1, 1, 64, 64), 0.5), ((1, 1, 100, 7), 0.0), ((1, 84, 8400), 0.0)],
)
def test_it_is_sure_of_maps_only(shape, certain) -> None:
    fit = dict(find_layouts({"out": shape}))["segmentation"]
    assert fit.certainty > certain if certain else fit.certainty < 0.05


def test_classes_last_are_told_by_the_shape() -> None:
    assert dict(find_layouts({"out": (1, 128, 256, 21)}))["segmentation"].settings == {"channels": "last"}
