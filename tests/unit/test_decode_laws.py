"""What holds for every decoder: laws of batches, dtypes, order of outputs, and outputs that are no numbers."""

from __future__ import annotations

from dataclasses import fields

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.decode import FAMILIES, decode, find_layouts
from parity.decoded import Detections
from parity.errors import DecodeError
from parity.preprocess import Geometry
from tests.decoder_outputs import CASES, ONE_IMAGE
from tests.yolo_heads import HEADS

STRETCHED = Geometry(original_height=100, original_width=200, scale_x=0.32, scale_y=0.64)
names = st.sampled_from(sorted(CASES))
batched = st.sampled_from(sorted(CASES.keys() - ONE_IMAGE))
seeds = st.integers(0, 2**32 - 1)
# Counts and labels are whole numbers whatever the precision; they have no NaN.
WHOLE = frozenset({"num_dets", "num_detections", "keep_count", "labels", "det_classes", "detection_classes"})


def run(name, outputs, images=1):
    return decode(CASES[name][0], outputs, [STRETCHED] * images)


def made(name, seed, images=1):
    return CASES[name][1](np.random.default_rng(seed), images)


def assert_same(found, other) -> None:
    assert type(found) is type(other)
    for part in fields(found):
        one, two = getattr(found, part.name), getattr(other, part.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, two, err_msg=part.name)
        else:
            assert one == two, part.name


def test_every_decoder_is_held_to_these_laws_or_to_those_of_yolo_heads() -> None:
    covered = CASES.keys() | {head.settings.name for head in HEADS.values()}
    assert covered == FAMILIES.keys()


@given(batched, seeds)
def test_an_image_is_decoded_alike_alone_and_in_a_batch(name, seed) -> None:
    outputs = made(name, seed, 3)
    together = run(name, outputs, 3)
    for row in range(3):
        [alone] = run(name, {key: array[row : row + 1] for key, array in outputs.items()})
        assert_same(alone, together[row])


@given(names, seeds, st.sampled_from([np.float16, ml_dtypes.bfloat16, np.float64]))
def test_a_number_means_the_same_in_every_float_dtype(name, seed, dtype) -> None:
    exact = {key: array.astype(ml_dtypes.bfloat16).astype(np.float32) for key, array in made(name, seed).items()}
    small = {key: array.astype(dtype) for key, array in exact.items()}
    if dtype == np.float16:
        # Halves lose what is too small for them.
        exact = {key: array.astype(np.float32) for key, array in small.items()}
    [wide], [other] = run(name, exact), run(name, small)
    assert_same(wide, other)


@given(names, seeds)
def test_the_order_of_the_outputs_does_not_matter(name, seed) -> None:
    outputs = made(name, seed)
    assert_same(run(name, outputs)[0], run(name, dict(reversed(outputs.items())))[0])


@pytest.mark.parametrize("name", CASES)
def test_scores_and_boxes_are_in_range_and_the_best_first(name) -> None:
    for found in run(name, made(name, 3)):
        if isinstance(found, Detections):
            assert 1 < len(found) <= 40
            assert (np.diff(found.scores) <= 0).all()
            assert (found.boxes >= 0).all()
            assert (found.boxes <= [200, 100, 200, 100]).all()
            assert set(found.classes.tolist()) <= {0, 1, 2, 3}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", CASES)
def test_outputs_of_nothing_but_no_numbers_give_flaws_and_no_finding(name, value) -> None:
    outputs = made(name, 3)
    broken = {key: array if key in WHOLE else np.full_like(array, value) for key, array in outputs.items()}
    if name == "ssd_rows":
        broken["detections"][..., :2] = outputs["detections"][..., :2]
    [found] = run(name, broken)
    assert sum(found.flaws.values()) > 0
    assert not isinstance(found, Detections) or len(found) == 0


@pytest.mark.parametrize("name", CASES)
def test_outputs_of_another_number_of_images_are_refused(name) -> None:
    with pytest.raises(DecodeError, match=r"2 were fed|for each of 2 images"):
        run(name, made(name, 3, 1), 2) if name != "ssd_rows" else run(name, made(name, 3, 3), 2)


@pytest.mark.parametrize("name", CASES)
def test_its_own_layout_is_among_those_found(name) -> None:
    assert name in dict(find_layouts({key: array.shape for key, array in made(name, 3).items()}))


@pytest.mark.parametrize("name", CASES)
def test_outputs_of_another_shape_are_refused_with_what_was_expected(name) -> None:
    with pytest.raises(DecodeError, match="expected") as caught:
        run(name, {"strange": np.zeros((1, 2, 3, 4, 5, 6), np.float32)})
    assert FAMILIES[name].expected in str(caught.value)
