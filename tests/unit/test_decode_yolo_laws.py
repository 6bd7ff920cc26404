"""What holds for every YOLO family: the published formula, and laws of batches, places, dtypes and geometry."""

from __future__ import annotations

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parity.decode import decode
from parity.preprocess import Geometry
from tests import scalar_decoding as scalar
from tests.yolo_heads import HEADS

LETTERBOX = Geometry(original_height=90, original_width=128, scale_x=0.5, scale_y=0.5, left=0, top=9.5)
STRETCH = Geometry(original_height=120, original_width=40, scale_x=1.6, scale_y=64 / 120)
seeds = st.integers(0, 2**32 - 1)
heads = st.sampled_from(sorted(HEADS))


def run(head, outputs, geometry=LETTERBOX):
    batch = len(next(iter(outputs.values())))
    return decode(head.settings, outputs, [geometry] * batch)


def assert_same(found, other, tolerance=0.0):
    assert found.boxes == pytest.approx(other.boxes, abs=tolerance)
    assert found.scores == pytest.approx(other.scores, abs=tolerance)
    assert found.classes.tolist() == other.classes.tolist()
    assert found.flaws == other.flaws


@pytest.mark.parametrize("geometry", [LETTERBOX, STRETCH], ids=["letterbox", "stretch"])
@pytest.mark.parametrize("name", HEADS)
def test_it_finds_what_the_published_formula_finds_number_by_number(name, geometry) -> None:
    head = HEADS[name]
    outputs = head.make(np.random.default_rng(7), 2)
    for row, found in enumerate(run(head, outputs, geometry)):
        good = [one for one in head.candidates(outputs, row) if one.score >= 0.3]
        kept = scalar.thin_out(good, head.settings.nms_iou) if head.thins_out else good
        expected = sorted(scalar.to_image(kept, geometry, 0.3), key=lambda one: -one.score)
        assert len(expected) > 10
        assert found.classes.tolist() == [one.label for one in expected]
        assert found.scores == pytest.approx([one.score for one in expected], abs=1e-6)
        assert found.boxes == pytest.approx(np.array([one.box for one in expected]), abs=1e-3)


@given(heads, seeds)
def test_an_image_is_decoded_alike_alone_and_in_a_batch(name, seed) -> None:
    head = HEADS[name]
    outputs = head.make(np.random.default_rng(seed), 3)
    together = run(head, outputs)
    for row in range(3):
        [alone] = run(head, {key: array[row : row + 1] for key, array in outputs.items()})
        assert_same(alone, together[row])


@given(st.sampled_from(sorted(name for name, head in HEADS.items() if head.places_axis)), seeds)
def test_the_order_of_the_places_does_not_matter(name, seed) -> None:
    head, rng = HEADS[name], np.random.default_rng(seed)
    [(key, array)] = head.make(rng, 1).items()
    shuffled = rng.permuted(np.arange(array.shape[head.places_axis]))
    [found] = run(head, {key: array})
    [other] = run(head, {key: array.take(shuffled, axis=head.places_axis)})
    # Of equal scores the earlier place comes first: that is an order of places.
    assume(len(np.unique(found.scores)) == len(found.scores))
    assert_same(found, other)


@given(heads, seeds, st.floats(0.2, 3), st.floats(-30, 30))
def test_where_nothing_is_clipped_decoding_and_mapping_back_may_change_places(name, seed, scale, left) -> None:
    head = HEADS[name]
    outputs = head.make(np.random.default_rng(seed), 1)
    # Shifted far from the image's edges, so that no box is clipped.
    roomy = Geometry(10_000, 10_000, scale_x=1, scale_y=1, left=-5000, top=-5000)
    mapped = Geometry(100_000, 100_000, scale_x=scale, scale_y=1 / scale, left=left - 9000, top=-9000)
    [plain] = run(head, outputs, roomy)
    # Sizes are exponentials of what a head gives: now and then one is too large for any room.
    assume(((plain.boxes > 0) & (plain.boxes < 10_000)).all())
    [found] = run(head, outputs, mapped)
    assert found.boxes == pytest.approx(mapped.to_image(roomy.to_tensor(plain.boxes)), abs=1e-6)
    assert found.scores.tolist() == plain.scores.tolist()


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64], ids=["half", "bfloat16", "double"])
@pytest.mark.parametrize("name", HEADS)
def test_other_float_dtypes_are_decoded_as_their_numbers_in_float32(name, dtype) -> None:
    head = HEADS[name]
    given_ = {key: array.astype(dtype) for key, array in head.make(np.random.default_rng(3), 1).items()}
    widened = {key: array.astype(np.float32) for key, array in given_.items()}
    assert_same(run(head, given_)[0], run(head, widened)[0])


@pytest.mark.parametrize("name", HEADS)
def test_damage_at_any_place_is_counted_and_everything_else_found_all_the_same(name) -> None:
    head = HEADS[name]
    outputs = head.make(np.random.default_rng(5), 1)
    [before] = run(head, outputs)
    for array in outputs.values():
        array[...] = np.where(array == array.flat[0], np.nan, array)
    [after] = run(head, outputs)
    assert before.flaws == {}
    assert sum(after.flaws.values()) == len(outputs)


@pytest.mark.parametrize("name", HEADS)
def test_an_empty_batch_gives_nothing_and_zeros_give_no_detections(name) -> None:
    head = HEADS[name]
    outputs = head.make(np.random.default_rng(0), 1)
    assert run(head, {key: array[:0] for key, array in outputs.items()}) == ()
    strict = replace(head, settings=head.settings.model_copy(update={"ap_score_threshold": 0.6}))
    [found] = run(strict, {key: np.zeros_like(array) for key, array in outputs.items()})
    assert len(found) == 0
    assert found.flaws == {}
