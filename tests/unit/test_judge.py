"""The judge before the judged: planted faults fail, degenerate data is never a pass."""

from __future__ import annotations

import subprocess
import sys
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import parity
from parity.assertions import assert_close
from parity.compare import TensorComparison, compare_tensors
from parity.errors import ParityError, StructureError, ToleranceError
from parity.judge import failure_message, judge
from parity.results import Verdict as VerdictOfResults
from parity.tolerance import DEFAULT_TOLERANCE, Precision, Tolerance, judged_by_decoding
from parity.verdict import Verdict

LOOSE = Tolerance(rtol=1e-3, atol=1e-3, reason="loose for a test")
ANYTHING = Tolerance(rtol=1e9, atol=1e9, reason="anything goes")


def reference():
    return np.random.default_rng(0).standard_normal((4, 100)).astype(np.float32)


def verdict_on(actual, expected, tolerance=LOOSE, **options):
    return judge(compare_tensors(actual, expected, tolerance=tolerance), tolerance, **options)


def planted(place, value):
    tensor = reference()
    tensor[place] = value
    return tensor


FAULTS = {
    "one element off": planted((2, 7), 9.0),
    "NaN on one side": planted((0, 0), np.nan),
    "infinity on one side": planted((3, 99), np.inf),
    "swapped sign": planted((1, 1), -reference()[1, 1]),
    "two elements swapped": planted((0, [3, 4]), reference()[0, [4, 3]]),
    "a bias": reference() + np.float32(0.01),
    "scaled, with a cosine of 1": reference() * 2,
    "all zero": np.zeros_like(reference()),
    "shifted by one": np.roll(reference(), 1, axis=1),
    "NaN everywhere": np.full_like(reference(), np.nan),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_fails(fault):
    judgement = verdict_on(FAULTS[fault], reference())
    assert judgement.verdict is Verdict.FAIL
    assert all(reason.endswith((".", ")")) for reason in judgement.reasons)


def test_a_close_output_passes_without_reasons():
    judgement = verdict_on(reference() + np.float32(1e-5), reference())
    assert (judgement.verdict, judgement.reasons, judgement.notes) == (Verdict.PASS, (), ())


@given(hnp.arrays(np.float32, 20, elements=st.floats(-9, 9, width=32)), st.floats(-0.5, 0.5))
def test_a_verdict_on_finite_varying_data_is_numpys(expected, shift):
    expected[:2] = (1, 2)
    actual = (expected + shift * np.linspace(0, 0.01, 20)).astype(np.float32)
    try:
        np.testing.assert_allclose(actual.astype(float), expected.astype(float), rtol=1e-3, atol=1e-3)
        numpys = Verdict.PASS
    except AssertionError:
        numpys = Verdict.FAIL
    assert verdict_on(actual, expected).verdict is numpys


def test_a_share_of_mismatches_is_excused_and_one_more_is_not():
    tolerance = Tolerance(1e-3, 1e-3, "one in a hundred", mismatch_fraction=0.01)
    actual = reference()
    actual[0, :4] += 1
    assert verdict_on(actual, reference(), tolerance).verdict is Verdict.PASS
    actual[0, 4] += 1
    judgement = verdict_on(actual, reference(), tolerance)
    assert judgement.verdict is Verdict.FAIL
    assert "5 elements of 400 beyond the bound; 0.01 of all may (one in a hundred)" in judgement.reasons[0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nonfinite_mismatch_is_never_excused(value):
    tolerance = Tolerance(1e9, 1e9, "anything", mismatch_fraction=1.0)
    judgement = verdict_on(planted((0, 0), value), reference(), tolerance)
    assert judgement.verdict is Verdict.FAIL
    assert len(judgement.reasons) == 1
    assert "NaN or infinity in different places" in judgement.reasons[0]


def test_infinities_of_opposite_sign_fail():
    assert verdict_on(planted(0, -np.inf), planted(0, np.inf), ANYTHING).verdict is Verdict.FAIL


def test_nan_in_the_same_places_is_noted_and_the_rest_judged():
    expected, actual = planted((1, 2), np.nan), planted((1, 2), np.nan)
    passed = verdict_on(actual, expected)
    assert (passed.verdict, passed.reasons) == (Verdict.PASS, ())
    assert "1 NaN and 0 infinite of 400 elements" in passed.notes[0]
    actual[3, 3] += 1
    failed = verdict_on(actual, expected)
    assert failed.verdict is Verdict.FAIL
    assert failed.notes == passed.notes


def test_an_sqnr_below_the_one_asked_fails_although_the_bound_holds():
    tolerance = Tolerance(0.0, 10.0, "a wide bound", min_sqnr_db=30.0)
    noise = np.random.default_rng(1).standard_normal((4, 100)).astype(np.float32)
    judgement = verdict_on(reference() + np.float32(0.1) * noise, reference(), tolerance)
    assert judgement.verdict is Verdict.FAIL
    assert "dB, at least 30.0 dB is asked (a wide bound)" in judgement.reasons[0]
    assert verdict_on(reference() + np.float32(0.01) * noise, reference(), tolerance).verdict is Verdict.PASS


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_agreement_with_a_constant_reference_is_inconclusive(value):
    constant = np.full(50, value)
    for actual in (constant, constant + np.linspace(0, 1e-6, 50)):
        judgement = verdict_on(actual, constant)
        assert judgement.verdict is Verdict.INCONCLUSIVE
        assert "shows nothing" in judgement.reasons[0]


def test_a_constant_reference_passes_only_where_it_is_said_to_be_right():
    ones = np.ones(50)
    assert verdict_on(ones, ones, allow_constant=True).verdict is Verdict.PASS
    assert verdict_on(ones + 1, ones, allow_constant=True).verdict is Verdict.FAIL


def test_a_mismatch_against_a_constant_reference_fails():
    assert verdict_on(np.linspace(0, 1, 50), np.zeros(50)).verdict is Verdict.FAIL


def test_a_constant_output_fails_however_loose_the_tolerance():
    judgement = verdict_on(np.zeros_like(reference()), reference(), ANYTHING)
    assert judgement.verdict is Verdict.FAIL
    assert "no tolerance excuses a constant output" in judgement.reasons[0]


def test_one_element_alone_is_inconclusive_and_two_feeds_of_it_are_not():
    comparison = TensorComparison(LOOSE, Precision.FP32)
    comparison.update(np.array([1.0]), np.array([1.0]))
    assert judge(comparison.result(), LOOSE).verdict is Verdict.INCONCLUSIVE
    comparison.update(np.array([2.0]), np.array([2.0]), feed=1)
    assert judge(comparison.result(), LOOSE).verdict is Verdict.PASS


def test_nothing_compared_is_inconclusive():
    judgement = judge(TensorComparison(LOOSE, Precision.FP32).result(), LOOSE, allow_constant=True)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.reasons == ("Nothing was compared.",)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nothing_finite_is_inconclusive(value):
    nothing = np.full(5, value)
    assert verdict_on(nothing, nothing, allow_constant=True).verdict is Verdict.INCONCLUSIVE


def test_an_sqnr_against_zeros_is_inconclusive_unless_nothing_differs():
    tolerance = Tolerance(0.0, 1.0, "a test", min_sqnr_db=15.0)
    noise, zeros = np.linspace(0, 0.1, 5), np.zeros(5)
    assert verdict_on(noise, zeros, tolerance, allow_constant=True).verdict is Verdict.INCONCLUSIVE
    assert verdict_on(zeros, zeros, tolerance, allow_constant=True).verdict is Verdict.PASS


def message(actual=None):
    expected = reference()
    if actual is None:
        actual = reference()
        actual[2, 7] = expected[2, 7] + 9
        actual[1, 5] = expected[1, 5] + 1
    difference = compare_tensors(actual, expected, tolerance=LOOSE)
    place = "shapes / fp16@onnxruntime / outputs / logits"
    told = failure_message(
        "logits is not what the model computes.", difference, LOOSE, place=place, next_command="parity run shapes"
    )
    return told.splitlines(), difference


def test_the_message_starts_with_what():
    assert message()[0][0] == "logits is not what the model computes."


def test_the_message_then_says_how_many():
    assert message()[0][1] == "mismatched: 2 / 400 (0.5 %)"


def test_the_message_then_says_the_worst_elements_with_index_values_and_bound():
    lines, difference = message()
    worst = difference.worst_absolute
    assert lines[2].startswith("worst absolute: 9 at [2, 7] of feed 0: actual ")
    assert f"actual {worst.actual:.9g}, expected {worst.expected:.9g}, allowed {worst.allowed:.6g}" in lines[2]
    assert lines[3].startswith(f"worst relative: {difference.worst_relative.difference:.6g} at [")
    assert lines[4] == "bound: 0.001 + 0.001 * |expected|"


def test_the_message_then_says_where():
    assert message()[0][5] == "in: shapes / fp16@onnxruntime / outputs / logits"


def test_the_message_ends_with_the_next_command():
    lines, _ = message()
    assert lines[6:] == ["next: parity run shapes"]


def test_the_message_names_the_first_nonfinite_element():
    lines, _ = message(planted((3, 1), np.nan))
    assert lines[1] == "mismatched: 1 / 400 (0.25 %), 1 of them non-finite"
    assert lines[2].startswith("first non-finite: at [3, 1] of feed 0: actual nan, expected ")


def test_the_message_says_that_no_finite_element_differs():
    expected = reference()
    told = failure_message(
        "x", compare_tensors(expected, expected, tolerance=LOOSE), LOOSE, place="y", next_command="z"
    )
    assert "no finite element differs" in told


def test_assert_close_passes_what_is_close_and_raises_the_message_for_what_is_not():
    assert_close(reference() + np.float32(1e-6), reference(), rtol=1e-3, atol=1e-5)
    with pytest.raises(ToleranceError) as caught:
        assert_close(planted((2, 7), 9.0), reference(), rtol=1e-3, atol=1e-5, name="logits")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("logits differs from its reference.")
    assert lines[1] == "mismatched: 1 / 400 (0.25 %)"
    assert lines[-2] == "in: assert_close / fp32 / logits"
    assert isinstance(caught.value, AssertionError)


def test_assert_close_hides_its_frame_from_the_traceback_of_pytest():
    with pytest.raises(ToleranceError) as caught:
        assert_close(planted((2, 7), 9.0), reference(), rtol=0, atol=0)
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert frames[-1].f_code.co_name == "assert_close"
    assert frames[-1].f_locals["__tracebackhide__"] is True


def test_assert_close_takes_the_default_of_the_precision_in_units_of_the_reference():
    small = reference() * np.float32(1e-3)
    step = np.float32(DEFAULT_TOLERANCE[Precision.FP16].atol * 1e-3)
    assert_close(small + step / 2, small, precision=Precision.FP16)
    with pytest.raises(ToleranceError):
        assert_close(small + step * 2, small, precision=Precision.FP16)
    with pytest.raises(ToleranceError):
        assert_close(small + step / 2, small)


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        (np.ones(3), np.ones(3)),
        (np.zeros(0), np.zeros(0)),
        (np.ones(3), np.ones(1)),
        (1.0, 1.0),
        (np.full(3, np.nan), np.full(3, np.nan)),
        (np.arange(3.0), np.arange(3)),
    ],
)
def test_assert_close_never_passes_what_shows_nothing(actual, expected):
    with pytest.raises(StructureError):
        assert_close(actual, expected)


@pytest.mark.parametrize("precision", Precision)
def test_assert_close_takes_no_class_for_its_neighbour(precision):
    classes = np.array([3, 998, 17, 244])
    with pytest.raises(ToleranceError, match="whole numbers"):
        assert_close(np.array([3, 999, 17, 244]), classes, precision=precision)
    assert_close(np.array([3, 999, 17, 244]), classes, rtol=0.0, atol=1.0)


def test_assert_close_takes_a_constant_where_it_is_said_to_be_right():
    assert_close(np.ones(3), np.ones(3), allow_constant=True)
    assert_close(2.0, 2.0, allow_constant=True)


@pytest.mark.parametrize("options", [{"rtol": 1e-3}, {"atol": 1e-3}, {"rtol": 1, "atol": 1, "tolerance": LOOSE}])
def test_assert_close_takes_both_numbers_or_neither(options):
    with pytest.raises(ParityError, match=r"both|beside"):
        assert_close(reference(), reference(), **options)


def test_the_public_names_lead_to_their_modules():
    assert parity.assert_close is assert_close
    assert parity.compare_tensors is compare_tensors
    assert VerdictOfResults is Verdict


def test_asserting_imports_no_runtime_and_no_pandas():
    heavy = {"onnxruntime", "onnx", "pandas", "pydantic"}
    code = f"import sys, parity; parity.assert_close; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_tolerance_that_leaves_the_judgement_to_decoding_asserts_nothing_by_itself():
    with pytest.raises(ParityError, match="bounds nothing; give rtol and atol"):
        assert_close(np.zeros(3), np.ones(3), tolerance=judged_by_decoding("rows change places"))


def test_the_message_of_a_failure_says_that_there_was_no_bound():
    tolerance = judged_by_decoding("rows change places")
    difference = compare_tensors(np.array([1.0, np.nan]), np.array([1.0, 2.0]), tolerance=tolerance)
    assert judge(difference, tolerance).verdict is Verdict.FAIL
    message = failure_message("what", difference, tolerance, place="p", next_command="c")
    assert "bound: none, judged by decoding (rows change places)" in message
