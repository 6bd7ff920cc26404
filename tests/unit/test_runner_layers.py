"""Layers judged by the runner, and causes looked for, on a case whose fp16 overflows in one tensor."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends import get_backend
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.case.loader import load_case
from parity.diagnose import engine
from parity.errors import BackendTimeout, ModelError, PrecisionError
from parity.precision.names import with_names
from parity.runner import JudgeSettings, LayerSettings, RunSettings, open_case_judge, open_run, run_cases
from parity.runner.deadline import Deadline
from parity.runner.layer_judge import choose_feeds
from parity.runner.planned import plan_variant
from parity.runner.probes import RunnerProbes
from parity.runner.rebuilding import JudgedEngine
from parity.runner.reference import prepare_case
from parity.runner.store import TensorStore
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.layer_examples import DIAGNOSIS
from tests.simulated_worker import Faults, SimulatedWorker
from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from parity.case import Case
    from parity.diagnose.evidence import Evidence
    from parity.diagnosis import Diagnosis
    from parity.results import Outcome


@pytest.fixture
def hot(tmp_path: Path) -> Case:
    return load_case(write_matmul_case(tmp_path / "hot", scale=1e6) / "case.toml")


@pytest.fixture
def probes(hot: Case) -> Iterator[RunnerProbes]:
    settings = JudgeSettings()
    with TensorStore() as store:
        prepared = prepare_case(hot, settings, store)
        planned = plan_variant(hot, hot.variants[1], prepared, settings)
        yield RunnerProbes(
            planned,
            with_names(prepared.model),
            prepared.feeds,
            settings,
            budget_bytes=2**20,
            deadline=Deadline.within(60),
        )


def judged(case: Case, variant: int, **settings: object) -> Outcome:
    with open_case_judge(case, JudgeSettings(layers=LayerSettings(), **settings)) as judge:
        [outcome] = judge.judge_variant(case.variants[variant], get_backend("onnxruntime"))
        return judge.diagnose(case.variants[variant], [outcome]) or outcome


def test_the_layer_that_overflows_is_named_with_the_command_that_repairs_it(hot: Case) -> None:
    outcome = judged(hot, 1)
    assert (outcome.check, outcome.verdict, outcome.feed_count) == ("layers", Verdict.FAIL, 2)
    assert outcome.headline.startswith("first makes ")
    assert "next: parity repair" in outcome.message
    assert outcome.diagnoses[0].cause == "fp16-overflow"
    assert f"cause: {outcome.diagnoses[0].title}" in outcome.message
    assert outcome.layers is not None
    assert outcome.layers.notes == ("observed on feeds 0, 1; the forecast fails most on feed 0",)


def test_a_variant_whose_layers_agree_passes(hot: Case) -> None:
    outcome = judged(hot, 0)
    assert (outcome.verdict, outcome.message, outcome.diagnoses) == (Verdict.PASS, "", ())


def test_layers_are_told_without_causes_where_nobody_wants_them(hot: Case) -> None:
    outcome = judged(hot, 1, diagnosis_s=0.0)
    assert (outcome.verdict, outcome.diagnoses) == (Verdict.FAIL, ())


def test_the_layers_that_were_observed_are_the_evidence_of_their_causes(
    hot: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Evidence] = []
    monkeypatch.setattr(engine, "RULES", (lambda evidence: given.append(evidence) or (),))
    outcome = judged(hot, 1)
    [evidence] = given
    assert evidence.layers is not None
    assert outcome.layers is not None
    assert evidence.layers.rows == outcome.layers.rows
    assert evidence.outcomes["outputs"].verdict is Verdict.FAIL


def test_outputs_that_fail_though_no_layer_stands_out_are_told(tmp_path: Path) -> None:
    tolerance = '[[tolerances]]\nrtol = 0.0\natol = 0.0\nreason = "no rounding"\n'
    strict = tolerance + '[variants.fp16]\nprecision = "fp16"\n'
    case = load_case(write_matmul_case(tmp_path / "strict", variants=strict) / "case.toml")
    outcome = judged(case, 0)
    assert outcome.verdict is Verdict.PASS
    assert outcome.headline.startswith("the forecast's outputs fail, and none of ")
    assert outcome.layers is not None
    assert any("the outputs of the forecast fail, and no layer stands out" in note for note in outcome.layers.notes)


def test_causes_of_outputs_that_fail_without_a_source_are_notes_of_the_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RULES", (lambda _evidence: (DIAGNOSIS,),))
    tolerance = '[[tolerances]]\nrtol = 0.0\natol = 0.0\nreason = "no rounding"\n'
    strict = tolerance + '[variants.fp16]\nprecision = "fp16"\n'
    case = load_case(write_matmul_case(tmp_path / "strict", variants=strict) / "case.toml")
    outcome = judged(case, 0)
    assert (outcome.verdict, outcome.message, outcome.diagnoses) == (Verdict.PASS, "", (DIAGNOSIS,))
    assert outcome.duration_s > 0
    assert outcome.layers is not None
    assert sum(note.startswith("cause: ") for note in outcome.layers.notes) == 1


def test_layers_of_an_engine_have_the_causes_of_its_own_outputs(hot: Case, tmp_path: Path) -> None:
    sound = load_case(write_matmul_case(tmp_path / "sound") / "case.toml")
    backend = TensorRTBackend(SimulatedWorker(faults=Faults(wrong_node="first", wrong_by=0.25)), None)
    with open_case_judge(sound, JudgeSettings(layers=LayerSettings())) as judge:
        [outcome] = judge.judge_variant(sound.variants[1], backend)
        told = judge.diagnose(sound.variants[1], [outcome])
    backend.close()
    assert told is not None
    assert "fusion-or-tactic" in {one.cause for one in told.diagnoses}


def test_where_layers_of_an_engine_show_no_cause_those_of_its_forecast_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Evidence] = []
    experiments: list[tuple[object, ...]] = []

    def second_time(evidence: Evidence) -> tuple[Diagnosis, ...]:
        given.append(evidence)
        ask = evidence.probes
        experiments.append((ask.outputs(keep=("first",)), ask.rebuilt(), ask.ranges(["hidden"])["hidden"]))
        return (DIAGNOSIS,) if len(given) > 1 else ()

    monkeypatch.setattr(engine, "RULES", (second_time,))
    case = load_case(write_matmul_case(tmp_path / "case") / "case.toml")
    backend = TensorRTBackend(SimulatedWorker(faults=Faults(wrong_node="first", wrong_by=0.25)), None)
    with open_case_judge(case, JudgeSettings(layers=LayerSettings())) as judge:
        [outcome] = judge.judge_variant(case.variants[1], backend)
        told = judge.diagnose(case.variants[1], [outcome])
    backend.close()
    assert told is not None
    assert outcome.layers is not None
    assert told.diagnoses == (DIAGNOSIS,)
    own, forecast = (evidence.layers for evidence in given)
    assert own == outcome.layers
    assert forecast is not None
    assert forecast.rows != own.rows
    first, second = experiments
    assert all(one is again for one, again in zip(first, second, strict=True)), "made twice"


def test_a_saved_feed_is_observed_alone(hot: Case, tmp_path: Path) -> None:
    with open_run(RunSettings((hot.folder,), ("fp16",), out=tmp_path / "reports")) as opened:
        opened.judge_all()
    [failed] = opened.run.outcomes
    outcome = judged(hot, 1, feed=opened.folder.path / failed.failing_feed)
    assert outcome.feed_count == 1
    assert outcome.layers is not None
    assert outcome.layers.notes[0].startswith("observed on feed 0; ")


class Numbered:
    def __init__(self, number: int) -> None:
        self.number = number


def test_the_first_feeds_and_the_worst_one_are_observed_in_their_order() -> None:
    feeds = [Numbered(number) for number in range(9)]
    assert [feed.number for feed in choose_feeds(feeds, 7)] == [0, 1, 7]  # type: ignore[arg-type] # numbers are enough
    assert [feed.number for feed in choose_feeds(feeds, 1)] == [0, 1]  # type: ignore[arg-type] # as above
    assert [feed.number for feed in choose_feeds(feeds, None)] == [0, 1]  # type: ignore[arg-type] # as above


def test_another_precision_mends_the_output_and_an_overflow_is_minus_infinity(probes: RunnerProbes) -> None:
    assert probes.outputs() == {"y": -math.inf}
    assert probes.outputs(precision=Precision.FP32)["y"] > 100
    assert 40 < probes.outputs(precision=Precision.BF16)["y"] < 60
    assert probes.outputs(keep=("second",)) == {"y": -math.inf}
    assert probes.outputs() is probes.outputs()


def test_a_probe_with_an_unknown_option_is_told(probes: RunnerProbes) -> None:
    with pytest.raises(PrecisionError, match="colour is no precision option"):
        probes.outputs(colour="red")


def test_ranges_and_values_are_the_references_over_all_feeds(probes: RunnerProbes) -> None:
    hidden = np.concatenate(list(probes.values("hidden")))
    assert hidden.shape == (8, 16)
    ranges = probes.ranges(["hidden", "x"])
    assert ranges["hidden"] == (hidden.min(), hidden.max())
    inputs = np.concatenate(list(probes.values("x")))
    assert ranges["x"] == (inputs.min(), inputs.max())


def test_a_tensor_that_the_model_does_not_compute_is_told(probes: RunnerProbes) -> None:
    with pytest.raises(ModelError, match="computes no tensor 'nowhere'"):
        probes.ranges(["nowhere"])
    with pytest.raises(ModelError, match="computes no tensor 'nowhere'"):
        list(probes.values("nowhere"))


def test_no_experiment_begins_behind_the_deadline(probes: RunnerProbes) -> None:
    probes._deadline = Deadline.within(0)
    with pytest.raises(BackendTimeout, match="the 0 s for looking for causes are over"):
        probes.outputs()


def seen(evidence: Evidence) -> tuple[Diagnosis, ...]:
    assert evidence.layers is not None
    [source] = evidence.layers.sources
    assert evidence.variant == "fp16@onnxruntime"
    assert set(evidence.outcomes) == {"outputs"}
    assert evidence.calibration is None
    assert len(list(evidence.feeds())) == 1
    mended = evidence.probes.outputs(keep=evidence.layers.rows[source].nodes)
    return (replace(DIAGNOSIS, nodes=evidence.layers.rows[source].nodes, probe_result=str(mended)),)


def broken(evidence: Evidence) -> tuple[Diagnosis, ...]:
    raise KeyError("a defect")


def run_hot(hot: Case, tmp_path: Path, **settings: object) -> Outcome:
    asked = RunSettings((hot.folder,), ("fp16",), out=tmp_path / "reports", judging=JudgeSettings(**settings))
    [outcome] = run_cases(asked).outcomes
    return outcome


def test_a_failed_run_has_the_causes_behind_its_message(
    hot: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RULES", (seen,))
    outcome = run_hot(hot, tmp_path)
    assert outcome.diagnoses[0].nodes == ("first",)
    assert outcome.diagnosis_notes == ()
    assert outcome.message.splitlines()[-1] == "remedy: keep /block/conv2 at fp32"


def test_causes_are_not_looked_for_where_nobody_wants_them(
    hot: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RULES", (seen,))
    outcome = run_hot(hot, tmp_path, diagnosis_s=0.0)
    assert (outcome.diagnoses, outcome.diagnosis_notes) == ((), ())


def test_no_time_to_look_for_causes_is_told(hot: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "RULES", (seen,))
    outcome = run_hot(hot, tmp_path, diagnosis_s=1e-9)
    assert outcome.diagnoses == ()
    assert "without the layers" in outcome.diagnosis_notes[0]
    assert "before these rules were asked: test_runner_layers" in outcome.diagnosis_notes[1]


def test_a_defect_of_a_rule_costs_the_causes_and_not_the_verdict(
    hot: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RULES", (broken,))
    outcome = run_hot(hot, tmp_path)
    assert outcome.verdict is Verdict.FAIL
    assert "unexpected KeyError" in outcome.diagnosis_notes[0]
    with pytest.raises(KeyError, match="a defect"):
        run_hot(hot, tmp_path, debug=True)


def test_answers_are_the_forecasts_own_or_the_engines_beside_it(probes: RunnerProbes) -> None:
    assert probes.rebuilt() == ()
    first, second = probes.answers()
    assert first.rounded is None
    assert not np.isfinite(second.candidate["y"]).all()
    answers = {1: {"y": np.zeros((4, 5), np.float32)}}
    probes._engine = JudgedEngine(get_backend("fake"), answers, None)  # type: ignore[arg-type] # is not asked for one
    [kept] = probes.answers()
    assert (kept.candidate["y"].any(), kept.rounded is None) == (False, False)
    assert (kept.number, kept.previous) == (1, None)
    probes._engine = JudgedEngine(get_backend("fake"), {0: first.candidate, **answers}, None)  # type: ignore[arg-type]
    assert [(one.number, one.previous) for one in probes.answers()] == [(0, None), (1, 0)]
