"""Who is to blame, the precision or the engine: planted errors of each, and the states in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from parity.case.regions import RegionTolerance
from parity.checks.outputs import OutputsCheck
from parity.tolerance import Precision, Tolerance
from parity.verdict import Verdict

if TYPE_CHECKING:
    from parity.results import TensorOutcome

GENERATOR = np.random.default_rng(11)
REFERENCE = GENERATOR.normal(size=(8, 500)).astype(np.float32)


def noisy(array: np.ndarray, decibels: float, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=array.shape)
    return (array + noise * array.std() * 10 ** (-decibels / 20)).astype(np.float32)


def judged(
    rounded: np.ndarray, actual: np.ndarray, atol: float = 0.01, precision: Precision = Precision.FP16
) -> TensorOutcome:
    tolerance = Tolerance(rtol=0.0, atol=atol, reason="for this test")
    check = OutputsCheck(lambda name, _shape: (RegionTolerance(name, None, tolerance),), precision)
    check.update(0, {"y": actual}, {"y": REFERENCE}, rounded={"y": rounded})
    return check.result().tensors[0]


def test_three_distances_are_told() -> None:
    outcome = judged(noisy(REFERENCE, 60), noisy(REFERENCE, 55, seed=2), atol=1.0)
    assert outcome.triangulation is not None
    distances = outcome.triangulation.conversion, outcome.triangulation.engine, outcome.triangulation.total
    assert [round(distance.sqnr_db) for distance in distances] == [60, 54, 55]
    assert distances[2].max_absolute == np.abs(noisy(REFERENCE, 55, seed=2).astype(np.float64) - REFERENCE).max()


@pytest.mark.parametrize("engine_db", [40, 33, 28])
def test_a_failure_that_the_precision_costs_is_not_put_on_an_engine_as_near_as_clean_ones_are(engine_db: int) -> None:
    outcome = judged(noisy(REFERENCE, 40), noisy(REFERENCE, engine_db, seed=2))
    assert outcome.verdict is Verdict.FAIL
    assert outcome.triangulation is not None
    assert not outcome.triangulation.blames_engine
    assert outcome.reasons[-1].startswith("The precision itself costs this: the rounded graph has 40.0 dB, the engine ")


def test_an_engine_far_below_its_forecast_is_blamed() -> None:
    outcome = judged(noisy(REFERENCE, 60), noisy(REFERENCE, 40, seed=2))
    assert outcome.triangulation is not None
    assert outcome.triangulation.blames_engine
    assert outcome.reasons[-1].startswith("The engine adds this: 40.0 dB, where the precision alone leaves 60.0 dB")


def test_a_few_wrong_elements_that_an_average_hides_are_the_engines() -> None:
    actual = noisy(REFERENCE, 60, seed=2)
    actual[3, 7] += 0.1
    outcome = judged(noisy(REFERENCE, 60), actual)
    assert outcome.triangulation is not None
    assert outcome.triangulation.total.sqnr_db > 47
    assert outcome.triangulation.blames_engine
    assert "headroom 9.99 after 0.375" in outcome.reasons[-1]


def test_a_bound_that_the_precision_nearly_misses_alone_is_not_the_engines() -> None:
    rounded = noisy(REFERENCE, 60)
    largest = float(np.abs(rounded.astype(np.float64) - REFERENCE).max())
    outcome = judged(rounded, noisy(REFERENCE, 58, seed=2), atol=largest * 1.05)
    assert outcome.verdict is Verdict.FAIL
    assert outcome.triangulation is not None
    assert not outcome.triangulation.blames_engine


def test_a_nan_that_the_rounded_graph_does_not_have_is_the_engines() -> None:
    actual = noisy(REFERENCE, 60, seed=2)
    actual[0, :3] = np.nan
    outcome = judged(noisy(REFERENCE, 60), actual)
    assert outcome.reasons[-1] == (
        "The engine adds this: 3 elements are non-finite on one side only, none in the rounded graph."
    )


def test_an_overflow_that_the_rounded_graph_has_too_is_the_precisions() -> None:
    rounded, actual = noisy(REFERENCE, 60), noisy(REFERENCE, 60, seed=2)
    rounded[0, :3], actual[0, :4] = np.inf, np.inf
    outcome = judged(rounded, actual)
    assert outcome.triangulation is not None
    assert not outcome.triangulation.blames_engine
    assert "3 elements are non-finite in the rounded graph, 4 in the engine" in outcome.reasons[-1]


def test_an_engine_that_passes_but_lies_far_below_its_forecast_is_noted() -> None:
    outcome = judged(noisy(REFERENCE, 60), noisy(REFERENCE, 40, seed=2), atol=1.0)
    assert outcome.verdict is Verdict.PASS
    assert outcome.reasons == ()
    assert outcome.notes[0].startswith("The engine adds this: 40.0 dB")


@pytest.mark.parametrize(("spoilt", "told"), [(np.inf, "1 non-finite element,"), (1e4, "has -")])
def test_an_engine_that_passes_where_its_forecast_fails_is_noted_as_a_choice_of_its_build(
    spoilt: float, told: str
) -> None:
    rounded = noisy(REFERENCE, 60)
    rounded[2, 3] = spoilt
    outcome = judged(rounded, noisy(REFERENCE, 60, seed=2))
    assert outcome.verdict is Verdict.PASS
    assert outcome.triangulation is not None
    assert not outcome.triangulation.blames_engine
    [note] = outcome.notes
    assert note.startswith("This build passes where fp16 fails: the rounded graph ")
    assert told in note


def test_an_engine_that_passes_where_its_forecast_just_fails_is_not_talked_about() -> None:
    rounded = noisy(REFERENCE, 60)
    rounded[2, 3] += 0.011
    outcome = judged(rounded, noisy(REFERENCE, 60, seed=2))
    assert outcome.verdict is Verdict.PASS
    assert outcome.notes == ()


def test_an_engine_that_passes_near_its_forecast_is_not_talked_about() -> None:
    assert judged(noisy(REFERENCE, 60), noisy(REFERENCE, 55, seed=2), atol=1.0).notes == ()


def test_an_exact_conversion_does_not_blame_a_float32_engine_for_its_order_of_sums() -> None:
    outcome = judged(REFERENCE, noisy(REFERENCE, 110), atol=1.0, precision=Precision.FP32)
    assert outcome.triangulation is not None
    assert not outcome.triangulation.blames_engine


def test_an_exact_conversion_blames_a_float32_engine_that_fails() -> None:
    outcome = judged(REFERENCE, noisy(REFERENCE, 40), precision=Precision.FP32)
    assert "The engine adds this: 40.0 dB, where the precision alone leaves no error" in outcome.reasons[-1]


@given(st.integers(30, 70), st.floats(8, 18))
def test_blame_follows_the_thirteen_decibels_alone_where_errors_are_noise(conversion: int, lower: float) -> None:
    assume(abs(lower - 13) > 0.5)
    outcome = judged(noisy(REFERENCE, conversion), noisy(REFERENCE, conversion - lower, seed=2), atol=100.0)
    assert outcome.triangulation is not None
    assert outcome.triangulation.blames_engine == (lower > 13)


def test_without_a_rounded_graph_there_is_no_triangulation() -> None:
    tolerance = Tolerance(rtol=0.0, atol=1.0, reason="for this test")
    check = OutputsCheck(lambda name, _shape: (RegionTolerance(name, None, tolerance),), Precision.FP16)
    check.update(0, {"y": REFERENCE}, {"y": REFERENCE})
    assert check.result().tensors[0].triangulation is None


@pytest.mark.parametrize(
    ("rounded", "found"), [({}, "does not give it"), ({"y": REFERENCE[:2]}, "gives shape (2, 500)")]
)
def test_a_rounded_graph_of_another_structure_is_told_and_not_compared(
    rounded: dict[str, np.ndarray], found: str
) -> None:
    tolerance = Tolerance(rtol=0.0, atol=1.0, reason="for this test")
    check = OutputsCheck(lambda name, _shape: (RegionTolerance(name, None, tolerance),), Precision.FP16)
    check.update(0, {"y": REFERENCE}, {"y": REFERENCE}, rounded={"y": REFERENCE})
    check.update(1, {"y": REFERENCE}, {"y": REFERENCE}, rounded=rounded)
    [outcome] = check.result().tensors
    assert outcome.triangulation is None
    assert outcome.notes == (f"Errors are not told apart here: the rounded graph {found}.",)


def test_elements_that_were_never_written_fail_an_output_that_agrees() -> None:
    tolerance = Tolerance(rtol=0.0, atol=1.0, reason="for this test")
    check = OutputsCheck(lambda name, _shape: (RegionTolerance(name, None, tolerance),), Precision.FP16)
    for feed in range(3):
        check.update(feed, {"y": REFERENCE}, {"y": REFERENCE}, unwritten={"y": feed})
    result = check.result()
    [outcome] = result.tensors
    assert (outcome.verdict, outcome.unwritten_count, result.worst_feed) == (Verdict.FAIL, 3, 1)
    assert outcome.reasons == ("3 elements never written: they kept what their buffer was filled with.",)
    assert result.headline == f"y: {outcome.reasons[0]}"
