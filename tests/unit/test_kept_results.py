"""Results that are kept come back as they were, wherever they lay in between."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.decoded import Classification, Detections, LabelMap, Lanes
from parity.runner.kept_results import packed, set_aside
from parity.runner.store import TensorStore

if TYPE_CHECKING:
    from parity.decoded import Decoded

GENERATOR = np.random.default_rng(3)


def detections(count: int, size: int = 0) -> Detections:
    """Return detections with scores from 1 down to 0, with masks of a size where it is not 0."""
    masks = GENERATOR.random((count, size, size)) > 0.5 if size else None
    scores = np.linspace(1, 0, count)
    return Detections(GENERATOR.random((count, 4)), scores, np.arange(count), masks=masks, flaws={"nan score": 2})


RESULTS = {
    "boxes": detections(5),
    "nothing": detections(0),
    "masks": detections(5, 200),
    "classes": Classification(GENERATOR.random(10)),
    "lanes": Lanes(GENERATOR.random((2, 3, 2)), np.zeros((1, 2), np.int64), GENERATOR.random((2, 3))),
    "labels": LabelMap(GENERATOR.integers(0, 5, (200, 200)), GENERATOR.random((200, 200))),
    "labels alone": LabelMap(GENERATOR.integers(0, 5, (200, 200))),
}


def assert_same(found: Decoded, expected: Decoded) -> None:
    assert type(found) is type(expected)
    for field in fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        assert isinstance(one, np.ndarray) == isinstance(other, np.ndarray)
        if isinstance(other, np.ndarray):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            np.testing.assert_array_equal(one, other)
        else:
            assert one == other


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_comes_back_as_it_was(name: str) -> None:
    with TensorStore() as store:
        assert_same(set_aside(RESULTS[name], store)(), RESULTS[name])
    assert_same(packed(RESULTS[name], 0.0)(), RESULTS[name])


def test_a_large_result_lies_on_disk_and_a_small_one_does_not() -> None:
    with TensorStore() as store:
        assert set_aside(RESULTS["boxes"], store)() is RESULTS["boxes"]
        found = set_aside(RESULTS["labels"], store)()
        assert isinstance(found, LabelMap)
        assert isinstance(found.labels, np.memmap)


def test_a_picture_needs_no_detection_below_the_threshold() -> None:
    found = packed(detections(11), 0.25)()
    assert isinstance(found, Detections)
    np.testing.assert_allclose(found.scores, np.linspace(1, 0, 11)[:8])
