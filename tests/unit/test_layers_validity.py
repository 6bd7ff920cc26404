"""An engine that shows its tensors is the one that ships, or the difference is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.layers.validity import OutputPairs
from parity.tolerance import Precision, Tolerance

TOLERANCE = Tolerance(rtol=0.05, atol=1e-3, reason="for the test")
EXPECTED = np.random.default_rng(0).standard_normal(4000).astype(np.float32)


def reasons(plain: np.ndarray, observed: np.ndarray, expected: np.ndarray = EXPECTED) -> tuple[str, ...]:
    pairs = OutputPairs({"y": TOLERANCE}, Precision.FP16)
    pairs.update({"y": expected}, {"y": plain}, {"y": observed})
    return pairs.reasons()


def is_nearer(plain: np.ndarray, observed: np.ndarray) -> bool:
    pairs = OutputPairs({"y": TOLERANCE}, Precision.FP16)
    pairs.update({"y": EXPECTED}, {"y": plain}, {"y": observed})
    return pairs.are_nearer()


def off_by(share: float) -> np.ndarray:
    return (EXPECTED * (1 + share)).astype(np.float32)


def test_engines_that_are_equally_far_agree_although_no_bit_is_the_same() -> None:
    assert reasons(off_by(0.003), off_by(-0.0032)) == ()


@given(st.floats(0.001, 0.04), st.floats(-6, 6))
def test_three_db_is_what_is_allowed(share: float, apart_db: float) -> None:
    other = share * 10 ** (-apart_db / 20)
    differs = bool(reasons(off_by(share), off_by(other)))
    if other < 0.045 and abs(abs(apart_db) - 3.0) > 0.05:
        assert differs == (abs(apart_db) > 3.0)


def test_both_ratios_are_told() -> None:
    assert reasons(off_by(0.04), off_by(0.001)) == ("y: SQNR 28.0 dB plain, 60.0 dB observed",)


def test_only_an_engine_that_is_better_by_more_than_two_builds_differ_is_nearer() -> None:
    assert is_nearer(off_by(0.04), off_by(0.001))
    assert not is_nearer(off_by(0.001), off_by(0.04))
    assert not is_nearer(off_by(0.003), off_by(-0.0032))
    sick = off_by(0.003)
    sick[:3] = math.nan
    assert (is_nearer(sick, off_by(0.003)), is_nearer(off_by(0.003), sick)) == (True, False)


def test_beyond_what_the_precision_shows_one_bit_does_not_count() -> None:
    assert reasons(EXPECTED, off_by(1e-5)) == ()


def test_another_verdict_is_told() -> None:
    [reason] = reasons(off_by(0.048), off_by(0.055))
    assert reason == "y: verdict pass plain, fail observed"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_another_mask_is_told_with_its_count(value: float) -> None:
    sick = off_by(0.003)
    sick[:3] = value
    [reason] = reasons(sick, off_by(0.003))
    assert "3 elements are finite in one of the two engines only" in reason
    assert reasons(sick, sick.copy()) == ()


def test_a_reference_of_zeros_or_of_nan_ends_in_no_exception() -> None:
    zeros, nan = np.zeros_like(EXPECTED), np.full_like(EXPECTED, np.nan)
    assert reasons(zeros, zeros, zeros) == ()
    assert reasons(nan, nan, nan) == ()


def test_whole_numbers_are_held_to_their_verdict() -> None:
    pairs = OutputPairs({"n": TOLERANCE}, Precision.FP16)
    classes = np.arange(10, dtype=np.int64)
    pairs.update({"n": classes}, {"n": classes}, {"n": classes + 5})
    assert pairs.reasons() == ("n: verdict pass plain, fail observed",)
