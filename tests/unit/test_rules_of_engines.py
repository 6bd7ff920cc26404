"""Rules on what engines do wrong: rows, repeats, builds, buffers, bindings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from onnx import TensorProto

from parity.checks.invariants import ALL_WRITTEN
from parity.diagnose.evidence import Answers
from parity.diagnose.rules import batch_or_profile, io_dtype_or_order, stale_buffer, unstable_build, unstable_run
from parity.diagnosis import diagnosis_lines
from parity.errors import BackendTimeout
from parity.results import EngineRecord
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.plant import rename_everything
from tests.rule_evidence import ScriptedProbes, blamed, judged, laws, noisy, outcome, run, scripted, told
from tests.rule_nets import SEEDS, Net, chain, fork, images

FAIL, PASS = Verdict.FAIL, Verdict.PASS
BUILT = EngineRecord("0" * 64, 1, "built")


def answers_of(model, feeds, seed):
    """Return what a sound FP16 variant answers."""
    rng = np.random.default_rng(seed)
    return [
        Answers(feed, expected, *(noisy(expected, Precision.FP16, rng) for _ in range(2)), number, number - 1)
        for number, (feed, expected) in enumerate(zip(feeds, run(model, feeds), strict=True))
    ]


def evidence_of(model, answers, **fields):
    feeds = [one.feed for one in answers]
    return scripted(model, outcomes=[judged(answers)], feeds=feeds, probes=ScriptedProbes(answers), **fields)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("law", ["identical_rows", "permuted_rows", "batch_1_against_row_k", "profile_corners"])
def test_a_broken_law_of_rows_is_a_bug_of_the_engine_where_the_model_keeps_rows_apart(seed, law):
    [found] = batch_or_profile.find(scripted(chain(seed), outcomes=[laws(**{law: FAIL})], feeds=images(seed)))
    assert (found.cause, found.is_confirmed) == ("batch-or-profile", True)
    assert ("corner" in found.title) is (law == "profile_corners")


def test_a_model_that_mixes_its_rows_is_told_from_an_engine_that_does():
    net = Net(3, ["batch", 3, 12, 12])
    mean = net.add("ReduceMean", "x", axes=[0], keepdims=1)
    model = net.done((net.add("Sub", "x", mean), TensorProto.FLOAT, ["batch", 3, 12, 12]))
    # Rows that are turned are turned on both sides of a mean; only a running sum shows that rows meet.
    assert batch_or_profile.find(scripted(model, outcomes=[laws(identical_rows=FAIL)], feeds=images(3)))[0].is_confirmed
    summed = Net(3, ["batch", 3, 12, 12])
    axis = summed.constant(np.array(0, np.int64))
    model = summed.done((summed.add("CumSum", "x", axis), TensorProto.FLOAT, ["batch", 3, 12, 12]))
    [found] = batch_or_profile.find(scripted(model, outcomes=[laws(identical_rows=FAIL)], feeds=images(3)))
    assert found.is_confirmed is False
    assert "itself" in found.title


def test_rows_of_an_engine_that_cannot_repeat_itself_are_less_certain():
    def certainty(**verdicts):
        return batch_or_profile.find(scripted(outcomes=[laws(permuted_rows=FAIL, **verdicts)]))[0].certainty

    assert certainty(same_feed_twice=FAIL) < certainty(same_feed_twice=PASS)


@pytest.mark.parametrize("law", ["same_feed_twice", "fresh_context", "fresh_load"])
def test_an_engine_that_answers_one_feed_in_two_ways_is_unstable(law):
    [found] = unstable_run.find(scripted(outcomes=[laws(**{law: FAIL})]))
    assert (found.cause, found.is_confirmed) == ("unstable-run", True)
    assert law.replace("_", " ") in found.evidence[0]


def test_buffers_that_nobody_writes_explain_an_unstable_engine_better():
    tensor = replace(judged(answers_of(chain(1), images(1), 1)).tensors[0], unwritten_count=7)
    evidence = scripted(outcomes=[laws(same_feed_twice=FAIL), outcome("outputs", tensors=(tensor,))])
    assert stale_buffer.find(evidence)[0].certainty > unstable_run.find(evidence)[0].certainty
    shaky = scripted(outcomes=[laws(same_feed_twice=FAIL, every_element_written=FAIL)])
    assert stale_buffer.find(shaky)[0].certainty < unstable_run.find(shaky)[0].certainty


def test_an_engine_that_differs_from_itself_shows_no_buffer_by_differing_with_a_pattern_in_it():
    outcome = laws(same_feed_twice=FAIL, every_element_written=FAIL)
    differing = tuple(replace(law, max_absolute=2.0, sqnr_db=14.0) for law in outcome.invariants)
    shaky = scripted(outcomes=[replace(outcome, invariants=differing)])
    assert stale_buffer.find(shaky) == ()
    assert [found.cause for found in unstable_run.find(shaky)] == ["unstable-run"]
    steady = tuple(law for law in differing if law.name == ALL_WRITTEN)
    assert stale_buffer.find(scripted(outcomes=[replace(outcome, invariants=steady)]))


def built(total_db: float, source: str = "built"):
    tensor = judged(answers_of(chain(1), images(1), 1)).tensors[0]
    record = replace(BUILT, source=source)
    return outcome("outputs", tensors=(blamed(tensor, total_db),), engine=record)


@pytest.mark.parametrize("seed", SEEDS)
def test_builds_that_differ_as_far_as_the_engine_does_are_an_unstable_build(seed):
    total = 20.0 + seed % 7
    steady = laws(same_feed_twice=PASS, fresh_context=PASS, fresh_load=PASS)
    apart = ScriptedProbes(builds=({"y": total + 30}, {"y": total + 2}))
    [found] = unstable_build.find(scripted(outcomes=[built(total), steady], probes=apart))
    assert (found.cause, found.is_confirmed, found.certainty >= 0.9) == ("unstable-build", True, True)
    alike = ScriptedProbes(builds=({"y": total + 30},))
    [refuted] = unstable_build.find(scripted(outcomes=[built(total), steady], probes=alike))
    assert (refuted.is_confirmed, refuted.certainty) == (False, 0.1)
    assert refuted.probe_result.startswith("1 other build came out alike: ")
    # An engine that is not sound in itself fails by something else, and is as far from every build.
    assert unstable_build.find(scripted(outcomes=[built(total)], probes=alike)) == ()
    shaky = laws(same_feed_twice=FAIL, fresh_context=PASS, fresh_load=PASS)
    assert unstable_build.find(scripted(outcomes=[built(total), shaky], probes=apart)) == ()


class NoTime(ScriptedProbes):
    def rebuilt(self):
        raise BackendTimeout("a build takes 90 s and more, and 20 s are left")


def test_where_no_other_build_can_be_made_it_is_a_guess_that_says_why():
    steady = laws(same_feed_twice=PASS, fresh_context=PASS, fresh_load=PASS)
    [found] = unstable_build.find(scripted(outcomes=[built(30.0), steady], probes=NoTime()))
    assert (found.is_confirmed, found.certainty) == (None, 0.3)
    assert "(undecided: no other build was made: a build takes 90 s and more" in "\n".join(diagnosis_lines(found))


def test_without_other_builds_an_unstable_build_is_a_guess_on_a_steady_engine_alone():
    steady = laws(same_feed_twice=PASS, fresh_context=PASS, fresh_load=PASS)
    [found] = unstable_build.find(scripted(outcomes=[built(30.0), steady]))
    assert (found.is_confirmed, found.certainty < 0.5) == (None, True)
    assert unstable_build.find(scripted(outcomes=[built(30.0)])) == ()
    assert unstable_build.find(scripted(outcomes=[built(2.0), steady])) == ()
    assert unstable_build.find(scripted(outcomes=[built(30.0, "file"), steady])) == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_answer_to_the_feed_before_is_a_stale_buffer(seed):
    answers = answers_of(chain(seed), images(seed, count=3), seed)
    late = [
        answers[0],
        *(replace(now, candidate=old.candidate) for old, now in pairwise(answers)),
    ]
    [found] = stale_buffer.find(evidence_of(chain(seed), late))
    assert (found.cause, found.is_confirmed) == ("stale-buffer", True)
    assert found.evidence[0].startswith("Feed 1, ")
    # A feed leaves nothing behind for one that others were between.
    apart = [replace(one, number=3 * one.number, previous=3 * one.number - 1) for one in late]
    assert stale_buffer.find(evidence_of(chain(seed), apart)) == ()


def test_elements_that_nobody_wrote_are_a_stale_buffer():
    tensor = replace(judged(answers_of(chain(1), images(1), 1)).tensors[0], unwritten_count=7)
    [found] = stale_buffer.find(scripted(outcomes=[outcome("outputs", tensors=(tensor,))]))
    assert "7 elements" in found.evidence[0]


def test_one_feed_given_twice_has_no_stale_answer():
    [feed] = images(4, count=1)
    answers = answers_of(chain(4), [feed, feed], 4)
    assert stale_buffer.find(evidence_of(chain(4), answers)) == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_exchanged_outputs_are_found(seed):
    model = fork(seed)
    [first, second] = [value.name for value in model.graph.output]
    [sound] = answers_of(model, images(seed, count=1), seed)
    swapped = {first: sound.candidate[second], second: sound.candidate[first]}
    [found] = io_dtype_or_order.find(evidence_of(model, [replace(sound, candidate=swapped)]))
    assert (found.cause, found.is_confirmed, len(found.evidence)) == ("io-dtype-or-order", True, 2)


CHANGES = {
    "channels reversed": lambda array: array[:, ::-1],
    "rows moved": lambda array: np.roll(array, 1, axis=0),
    "channels last, read": lambda array: array.swapaxes(1, -1).reshape(array.shape),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", SEEDS)
def test_outputs_in_another_layout_are_found(change, seed):
    [sound] = answers_of(chain(seed), images(seed, count=1), seed)
    wrong = {name: CHANGES[change](array) for name, array in sound.candidate.items()}
    [found] = io_dtype_or_order.find(evidence_of(chain(seed), [replace(sound, candidate=wrong)]))
    assert change in found.evidence[0]


INPUTS = {
    "not divided by 255": lambda x: x * 255,
    "divided by 255 once more": lambda x: x / 255,
    "channels reversed": lambda x: x[:, ::-1],
    "channels last in memory": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).reshape(x.shape),
    "channels first in memory": lambda x: x.reshape(3, 12, 12, 3).transpose(0, 3, 1, 2),
}


@pytest.mark.parametrize("mistake", INPUTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_an_input_that_is_handed_over_wrongly_is_found_and_named(mistake, seed):
    model, feeds = chain(seed), images(seed, count=1)
    [sound] = answers_of(model, feeds, seed)
    [wrong] = answers_of(model, [{"x": np.ascontiguousarray(INPUTS[mistake](feeds[0]["x"]))}], seed)
    evidence = evidence_of(model, [replace(sound, candidate=wrong.candidate)])
    found = io_dtype_or_order.find(evidence)
    assert [mistake in one.title for one in found] == [True]


def test_garbage_of_an_engine_whose_precision_is_sound_points_at_its_bindings():
    [sound] = answers_of(chain(5), images(5, count=1), 5)
    rng = np.random.default_rng(5)
    noise = {name: rng.standard_normal(array.shape).astype(np.float32) for name, array in sound.candidate.items()}
    [tensor] = judged([replace(sound, candidate=noise)]).tensors
    engine = scripted(outcomes=[outcome("outputs", tensors=(blamed(tensor, -1.0),))])
    assert [found.is_confirmed for found in io_dtype_or_order.find(engine)] == [None]
    forecast = scripted(outcomes=[outcome("outputs", tensors=(tensor,))])
    assert io_dtype_or_order.find(forecast) == ()


RULES = (batch_or_profile, io_dtype_or_order, stale_buffer, unstable_build, unstable_run)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rule", RULES)
def test_rules_of_engines_say_nothing_of_a_sound_one(rule, seed):
    evidence = evidence_of(fork(seed), answers_of(fork(seed), images(seed), seed))
    sound = laws(same_feed_twice=PASS, identical_rows=PASS, every_element_written=PASS, fresh_load=PASS)
    assert rule.find(replace(evidence, outcomes={**evidence.outcomes, "invariants": sound})) == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_other_names_change_nothing_that_rules_of_engines_say(seed):
    def say(model):
        [first, second] = [value.name for value in model.graph.output]
        [sound] = answers_of(model, images(seed, count=1), seed)
        swapped = {first: sound.candidate[second], second: sound.candidate[first]}
        evidence = evidence_of(model, [replace(sound, candidate=swapped)])
        broken = {**evidence.outcomes, "invariants": laws(permuted_rows=FAIL, same_feed_twice=FAIL)}
        return [told(rule.find(replace(evidence, outcomes=broken))) for rule in RULES]

    assert say(fork(seed)) == say(rename_everything(fork(seed)))
