"""Feeds drawn at random have the model's dtypes and shapes, and depend on their seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity.case.feeds import open_feeds
from parity.case.model import RandomSource, RandomTensor, ShapeProfile
from parity.errors import FeedError
from parity.graph import ModelInterface, TensorInfo
from tests.feed_examples import IMAGES, TOKENS, interface_of

PROFILES = {name: ShapeProfile((1, 1), (1, 4), (8, 8)) for name in ("ids", "mask")}


def test_random_feeds_have_the_models_dtypes_and_the_profiles_shapes() -> None:
    source = RandomSource(1, 3, {"ids": RandomTensor(0, 9)}, PROFILES)
    for feed in open_feeds(source, TOKENS, 2):
        assert {name: (tensor.dtype, tensor.shape) for name, tensor in feed.tensors.items()} == {
            "ids": (np.int64, (2, 4)),
            "mask": (np.bool_, (2, 4)),
        }


def test_a_random_feed_depends_on_seed_and_index_alone() -> None:
    few = [feed.sha256 for feed in open_feeds(RandomSource(1, 2), IMAGES, 2)]
    many = [feed.sha256 for feed in open_feeds(RandomSource(1, 5), IMAGES, 2)]
    other = [feed.sha256 for feed in open_feeds(RandomSource(2, 2), IMAGES, 2)]
    assert few == many[:2]
    assert not set(few) & set(other)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["int8", "uint8", "int32", "int64", "float16", "float32", "float64", "bfloat16"]),
    st.integers(-100, 100),
    st.integers(1, 100),
)
def test_random_values_keep_their_range_and_reach_the_ends_of_integers(dtype: str, low: int, width: int) -> None:
    low = abs(low) if dtype == "uint8" else min(low, 27)
    high = low + width
    interface = interface_of(TensorInfo("x", dtype, (4000,)))
    (feed,) = open_feeds(RandomSource(0, 1, {"x": RandomTensor(low, high)}), interface, 1)
    values = feed.tensors["x"]
    assert str(values.dtype) == dtype
    assert low <= values.astype(np.float64).min()
    assert values.astype(np.float64).max() <= high
    if "int" in dtype:
        assert set(np.unique(values)) == set(range(low, high + 1))


def test_unnamed_inputs_are_drawn_by_their_dtype() -> None:
    names = {"float32": (-1, 1), "uint8": (0, 255), "int64": (0, 1), "bool": (0, 1)}
    interface = interface_of(*(TensorInfo(name, name, (4000,)) for name in names))
    (feed,) = open_feeds(RandomSource(0, 1), interface, 1)
    for name, (low, high) in names.items():
        values = feed.tensors[name].astype(np.float64)
        assert low <= values.min() < low + 0.01
        assert high - 0.01 < values.max() <= high


def test_an_open_axis_without_a_profile_says_what_to_give() -> None:
    with pytest.raises(FeedError, match=r"axis 1 is dynamic and has no size; give \[shapes.ids\]"):
        list(open_feeds(RandomSource(0, 1), TOKENS, 1))


def test_text_cannot_be_drawn() -> None:
    with pytest.raises(FeedError, match="cannot be drawn at random"):
        list(open_feeds(RandomSource(0, 1), interface_of(TensorInfo("words", "object", (1,))), 1))


def test_random_inputs_beyond_memory_are_told() -> None:
    interface = ModelInterface((TensorInfo("x", "float32", (10**7, 10**9)),), ())
    with pytest.raises(FeedError, match=r"x: float32 \(10000000, 1000000000\): do not fit into memory"):
        next(iter(open_feeds(RandomSource(seed=1, count=1), interface, 1)))


@pytest.mark.parametrize(("least", "rows"), [(1, 2), (8, 8)], ids=["the batch", "a length that its profile fixes"])
def test_a_first_axis_that_its_profile_fixes_is_no_batch(least: int, rows: int) -> None:
    interface = interface_of(TensorInfo("x", "float32", ("length", 3)))
    source = RandomSource(0, 1, {}, {"x": ShapeProfile((least, 3), (8, 3), (8, 3))})
    (feed,) = open_feeds(source, interface, 2)
    assert feed.tensors["x"].shape == (rows, 3)
