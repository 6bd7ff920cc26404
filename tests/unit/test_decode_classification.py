"""Classification: probabilities of logits, and what is no logit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.decode import decode, find_layouts
from parity.decode.classification import ClassificationSettings
from parity.errors import DecodeError
from parity.preprocess import Geometry

IMAGE = Geometry(100, 100)
SETTINGS = ClassificationSettings()
logits = hnp.arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(3, 9)), elements=st.floats(5, 90, width=32))


def run(scores, settings=SETTINGS):
    return decode(settings, {"out": scores}, [IMAGE] * len(scores))


@given(logits)
def test_logits_become_scipys_softmax(scores) -> None:
    expected = scipy.special.softmax(scores.astype(np.float64), axis=1)
    found = np.stack([image.scores for image in run(scores)])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@given(logits, st.floats(-1000, 1000))
def test_a_constant_added_to_all_logits_changes_nothing(scores, constant) -> None:
    wide = scores.astype(np.float64)
    for one, other in zip(run(wide), run(wide + constant), strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-9)


def test_huge_logits_do_not_overflow() -> None:
    [found] = run(np.array([[60000, 59999, -60000]], np.float16))
    assert found.scores.sum() == pytest.approx(1)
    assert found.flaws == {}


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_every_float_dtype_is_read(dtype) -> None:
    [found] = run(np.array([[1, 3, 2]], dtype))
    np.testing.assert_allclose(found.scores, scipy.special.softmax([1.0, 3.0, 2.0]), atol=1e-12)


def test_probabilities_stay_as_they_are() -> None:
    [found] = run(np.array([[0.7, 0.2, 0.1]], np.float32), ClassificationSettings(scores="probability"))
    assert found.scores == pytest.approx([0.7, 0.2, 0.1])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_probabilities_that_are_called_logits_are_refused(dtype) -> None:
    chances = scipy.special.softmax(np.random.default_rng(1).normal(size=(4, 10)), axis=1).astype(dtype)
    with pytest.raises(DecodeError, match=r"set decode\.scores to probability"):
        run(chances)


def test_a_few_half_scores_that_add_up_to_1_are_still_logits() -> None:
    [found] = run(np.array([[0.25, 0.75]], np.float16))
    assert found.scores == pytest.approx(scipy.special.softmax([0.25, 0.75]))


def test_trailing_axes_of_one_are_taken_off() -> None:
    [found] = run(np.arange(5, dtype=np.float32).reshape(1, 5, 1, 1))
    assert found.scores.shape == (5,)


def test_scores_that_are_no_numbers_are_counted() -> None:
    [broken, whole] = run(np.array([[np.nan, np.inf, 0], [1, 2, -np.inf]], np.float32))
    assert broken.flaws == {"non-finite score": 2}
    assert whole.flaws == {}
    assert whole.scores[2] == 0


def test_probabilities_outside_0_to_1_are_counted() -> None:
    [found] = run(np.array([[1.5, -0.5, 1.004]], np.float32), ClassificationSettings(scores="probability"))
    assert found.flaws == {"score outside 0 to 1": 2}


def test_class_names_have_to_be_as_many_as_scores() -> None:
    with pytest.raises(DecodeError, match=r"2 names.* 3 classes"):
        run(np.zeros((1, 3), np.float32), ClassificationSettings(class_names=["a", "b"]))


def test_outputs_of_another_number_of_images_are_refused() -> None:
    with pytest.raises(DecodeError, match="outputs of 2 images, but 1 were fed"):
        decode(SETTINGS, {"out": np.zeros((2, 3), np.float32)}, [IMAGE])


def test_no_images_give_no_results() -> None:
    assert run(np.zeros((0, 3), np.float32)) == ()


@pytest.mark.parametrize("shape", [(1, 1000), (4, 10, 1, 1), ("batch", 2)])
def test_its_layouts_lead_the_list(shape) -> None:
    [(best, fit), *_] = find_layouts({"out": shape})
    assert best == "classification"
    assert fit.certainty < 1


def test_a_single_score_is_no_classification() -> None:
    assert "classification" not in dict(find_layouts({"out": (1, 1)}))
