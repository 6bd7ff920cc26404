"""Runs with engines, on a simulated worker: three checks a variant, faults found, a crash costs one outcome."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tiny_case import CASE_FILE, write_case
from typer.testing import CliRunner

from parity import cli
from parity.backends import TensorRTSettings, get_backend
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.backends.tensorrt.session import TensorRTSession
from parity.errors import RunError
from parity.run_file import load_run
from parity.runner import RunSettings, open_run, run_cases
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.simulated_worker import Faults, SimulatedWorker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parity.backends import Backend
    from parity.diagnosis import Diagnosis
    from parity.results import Outcome, Run
    from parity.runner.run import OpenBackends

CHECKS = ("outputs", "census", "invariants")


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own that has the tiny case."""
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path / "cases" / "tiny")
    return tmp_path


SETTINGS = RunSettings(cases=(Path("cases/tiny"),), backends=("tensorrt",))


def on(*workers: SimulatedWorker, cache: Path | None = None) -> OpenBackends:
    """Open backends on simulated workers."""

    @contextmanager
    def open_backends(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        engines = [TensorRTBackend(worker, cache) for worker in workers]
        yield tuple(backend for name in names for backend in (engines if name == "tensorrt" else [get_backend(name)]))
        for backend in engines:
            backend.close()

    return open_backends


def judge(faults: Faults | None = None, settings: RunSettings = SETTINGS, release: str = "8.6.0") -> Run:
    return run_cases(settings, open_backends=on(SimulatedWorker(release, faults)))


def by_check(run: Run, variant: str) -> dict[str, Outcome]:
    return {outcome.check: outcome for outcome in run.outcomes if outcome.variant.startswith(f"{variant}@")}


def only(variant: str) -> RunSettings:
    return replace(SETTINGS, variants=(variant,))


def test_a_sound_engine_passes_every_check_and_the_run_tells_where_it_ran() -> None:
    with open_run(SETTINGS, on(SimulatedWorker())) as opened:
        opened.judge_all()
    run = opened.run
    assert [(o.variant, o.check, o.verdict) for o in run.outcomes] == [
        (f"{variant}@tensorrt-8.6", check, Verdict.PASS) for variant in ("fp32", "fp16") for check in CHECKS
    ]
    assert run.exit_code == 0
    (worker,) = run.environment.workers
    assert worker.name == "tensorrt-8.6"
    assert load_run(opened.folder.path) == run


def test_outputs_of_an_engine_carry_all_three_distances() -> None:
    tensors = by_check(judge(settings=only("fp16")), "fp16")["outputs"].tensors
    assert [tensor.output for tensor in tensors] == ["logits", "boxes"]
    for tensor in tensors:
        assert tensor.triangulation is not None
        assert tensor.triangulation.total.sqnr_db < float("inf")
        assert not tensor.triangulation.blames_engine


def test_every_outcome_carries_the_engine_that_was_judged() -> None:
    outcomes = by_check(judge(settings=only("fp16")), "fp16")
    hashes = {outcome.engine.sha256 if outcome.engine else "" for outcome in outcomes.values()}
    assert len(hashes) == 1
    assert "" not in hashes


@pytest.mark.parametrize(
    ("faults", "check"),
    [
        (Faults(rolls_rows=True), "outputs"),
        (Faults(unwritten_count=1), "outputs"),
        (Faults(is_silent_fp32=True), "census"),
        (Faults(drift=1e-3), "invariants"),
        (Faults(leak=0.5), "invariants"),
    ],
    ids=["rows rolled", "unwritten", "silently float32", "no two answers equal", "rows mixed"],
)
def test_a_planted_fault_fails_its_check(faults: Faults, check: str) -> None:
    outcome = by_check(judge(faults, only("fp16")), "fp16")[check]
    assert outcome.verdict is Verdict.FAIL
    assert "parity run cases/tiny --variant fp16@tensorrt-8.6 --backend tensorrt" in outcome.message


@pytest.mark.parametrize("fault", [Faults(crash_at=1), Faults(hang_at=1)], ids=["crash", "hang"])
def test_a_worker_that_dies_costs_one_outcome_and_the_rest_is_judged(fault: Faults) -> None:
    run = judge(fault)
    verdicts = [outcome.verdict for outcome in run.outcomes]
    assert verdicts.count(Verdict.ERROR) == 1
    assert verdicts.count(Verdict.PASS) == 5
    assert by_check(run, "fp32")["outputs"].verdict is Verdict.ERROR
    assert run.exit_code == 2


def test_an_engine_that_cannot_be_built_is_told_once_and_passes_nothing() -> None:
    outcomes = by_check(judge(Faults(refusal="no kernel for node first"), only("fp16")), "fp16")
    assert {outcome.verdict for outcome in outcomes.values()} == {Verdict.ERROR}
    assert "no kernel for node first" in outcomes["outputs"].message
    assert outcomes["census"].headline == "not judged, because outputs could not be"


@pytest.mark.parametrize(
    ("faults", "cause"),
    [
        (Faults(is_stale=True), "stale-buffer"),
        (Faults(unwritten_count=2), "stale-buffer"),
        (Faults(drift=1.0), "unstable-run"),
        (Faults(leak=0.5), "batch-or-profile"),
        (Faults(rolls_rows=True), "batch-or-profile"),
        (Faults(is_silent_fp32=True), "precision-not-applied"),
    ],
    ids=["stale", "unwritten", "unstable", "rows mixed", "rows rolled", "silently float32"],
)
def test_the_first_cause_of_a_failed_engine_is_what_its_script_does(faults: Faults, cause: str) -> None:
    found = [one for outcome in judge(faults, only("fp16")).outcomes for one in outcome.diagnoses]
    assert [(one.cause, one.is_confirmed) for one in found[:1]] == [(cause, True)]
    assert ("unstable-build", True) not in {(one.cause, one.is_confirmed) for one in found}


def test_a_sound_engine_that_fails_by_its_tolerance_alone_has_no_cause(in_folder: Path) -> None:
    strict = '[[tolerances]]\nvariant = "fp16"\nrtol = 0.0\natol = 1e-9\nreason = "nothing reaches it"\n'
    write_case(in_folder / "cases" / "tiny", CASE_FILE + strict)
    run = judge(None, only("fp16"))
    assert by_check(run, "fp16")["outputs"].verdict is Verdict.FAIL
    assert [one.cause for outcome in run.outcomes for one in outcome.diagnoses] == []


WRONG = Faults(wrong_node="MatMul_0", wrong_by=0.25)


def unstable_build_of(run: Run) -> Diagnosis:
    return next(one for one in by_check(run, "fp16")["outputs"].diagnoses if one.cause == "unstable-build")


def test_an_engine_that_other_builds_do_not_repeat_is_built_again_and_confirmed() -> None:
    worker = SimulatedWorker(faults=replace(WRONG, is_unsteady=True))
    found = unstable_build_of(run_cases(only("fp16"), open_backends=on(worker)))
    assert (found.is_confirmed, found.certainty) == (True, 0.9)
    # The judged one and three more.
    assert worker.build_count == 4


def test_an_engine_that_every_build_repeats_refutes_an_unstable_build() -> None:
    found = unstable_build_of(judge(WRONG, only("fp16")))
    assert (found.is_confirmed, found.certainty) == (False, 0.1)
    assert "3 other builds came out alike" in str(found.probe_result)


def test_where_a_build_takes_longer_than_there_is_time_none_is_begun() -> None:
    worker = SimulatedWorker(faults=WRONG)
    build = worker.answers["build"]
    worker.answers["build"] = lambda fields: {**build(fields), "build_s": 1e6}
    found = unstable_build_of(run_cases(only("fp16"), open_backends=on(worker)))
    assert (found.is_confirmed, worker.build_count) == (None, 1)
    assert "no other build was made: a build takes 1000000 s and more" in str(found.probe_result)


def test_what_fails_behind_the_last_check_costs_no_outcome(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[object] = []

    def fail_the_second_time(session: TensorRTSession, *_: object) -> None:
        # The first session that is left is the one that the invariants load again.
        left.append(session)
        if len(left) == 2:
            raise ZeroDivisionError("oops")

    monkeypatch.setattr(TensorRTSession, "__exit__", fail_the_second_time)
    outcomes = by_check(judge(settings=only("fp16")), "fp16")
    assert [outcome.verdict for outcome in outcomes.values()] == [Verdict.PASS] * 3
    assert "clearing up behind it failed: oops" in caplog.text


def test_several_interpreters_judge_every_variant_side_by_side() -> None:
    opener = on(SimulatedWorker("8.6.0"), SimulatedWorker("10.16.1.11"))
    run = run_cases(replace(SETTINGS, variants=("fp16",)), open_backends=opener)
    assert {outcome.variant for outcome in run.outcomes} == {"fp16@tensorrt-8.6", "fp16@tensorrt-10.16"}
    assert [worker.name for worker in run.environment.workers] == ["tensorrt-8.6", "tensorrt-10.16"]


def test_a_label_without_a_version_chooses_every_tensorrt() -> None:
    opener = on(SimulatedWorker("8.6.0"), SimulatedWorker("10.16.1.11"))
    run = run_cases(replace(SETTINGS, variants=("fp16@tensorrt",)), open_backends=opener)
    assert {outcome.variant for outcome in run.outcomes} == {"fp16@tensorrt-8.6", "fp16@tensorrt-10.16"}


def test_a_precision_that_the_release_lacks_is_an_error_that_names_what_has_it(in_folder: Path) -> None:
    text = CASE_FILE + '\n[variants.bf16]\nprecision = "bf16"\n'
    (in_folder / "cases" / "tiny" / "case.toml").write_text(text)
    outcome = by_check(judge(settings=only("bf16")), "bf16")["outputs"]
    assert outcome.verdict is Verdict.ERROR
    assert "9.1" in outcome.message


def test_a_second_run_takes_engines_from_the_cache(tmp_path: Path) -> None:
    first, second = SimulatedWorker(), SimulatedWorker()
    for worker in (first, second):
        run_cases(SETTINGS, open_backends=on(worker, cache=tmp_path / "cache"))
    assert [asked.operation for asked in first.asked].count("build") == 2
    assert [asked.operation for asked in second.asked].count("build") == 0


def test_a_variant_of_tensorrt_alone_is_skipped_with_its_reason_elsewhere(in_folder: Path) -> None:
    folder = in_folder / "cases" / "tiny"
    (folder / "shipped.engine").write_bytes(b"ftrt" + bytes(64))
    (folder / "case.toml").write_text(
        CASE_FILE + '\n[variants.shipped]\nprecision = "fp16"\nengine = "shipped.engine"\n'
    )
    run = run_cases(replace(SETTINGS, backends=("onnxruntime",)))
    outcome = by_check(run, "shipped")["outputs"]
    assert outcome.verdict is Verdict.SKIPPED
    assert "--backend tensorrt" in outcome.headline


def test_a_given_engine_takes_the_place_of_the_variants(tmp_path: Path) -> None:
    worker = SimulatedWorker()
    run_cases(replace(SETTINGS, variants=("fp16",)), open_backends=on(worker, cache=tmp_path / "cache"))
    (plan,) = (tmp_path / "cache").rglob("engine.plan")
    settings = replace(SETTINGS, engines=(plan,), engine_precision=Precision.FP16)
    run = run_cases(settings, open_backends=on(SimulatedWorker()))
    assert {outcome.variant for outcome in run.outcomes} == {"engine@tensorrt-8.6"}
    assert {outcome.verdict for outcome in run.outcomes} == {Verdict.PASS}
    assert all(outcome.engine and outcome.engine.source == "file" for outcome in run.outcomes)


def test_without_code_of_cases_a_given_engine_is_judged_and_one_of_a_case_is_refused(in_folder: Path) -> None:
    plan = in_folder / "cases" / "tiny" / "shipped.engine"
    run_cases(replace(SETTINGS, variants=("fp16",)), open_backends=on(SimulatedWorker(), cache=in_folder / "cache"))
    plan.write_bytes(next((in_folder / "cache").rglob("engine.plan")).read_bytes())
    settings = replace(SETTINGS, allow_python=False, engines=(plan,), engine_precision=Precision.FP16)
    assert {outcome.verdict for outcome in judge(settings=settings).outcomes} == {Verdict.PASS}

    case_file = plan.with_name("case.toml")
    case_file.write_text(CASE_FILE + '\n[variants.shipped]\nprecision = "fp16"\nengine = "shipped.engine"\n')
    [refused] = judge(settings=settings).outcomes
    assert (refused.check, refused.verdict) == ("case", Verdict.ERROR)
    assert "variants.shipped.engine: is machine code of the case, which --no-python forbids" in refused.message


def test_a_given_engine_that_does_not_say_its_precision_is_asked_for_it(tmp_path: Path) -> None:
    plan = tmp_path / "model.engine"
    plan.write_bytes(b"ftrt" + bytes(64))
    with pytest.raises(RunError, match="--precision"):
        run_cases(replace(SETTINGS, engines=(plan,)), open_backends=on(SimulatedWorker()))


def settings_of(command: str, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    """Return what a printed command asks for, as the command line reads it."""
    read: list[RunSettings] = []
    monkeypatch.setattr(cli, "_judge", lambda settings, *_, **__: read.append(settings))
    told = CliRunner().invoke(cli.app, shlex.split(command)[1:])
    assert told.exit_code == 0, told.output
    return read[0]


def replayed(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> RunSettings:
    assert outcome.replay is not None
    assert f"next: {outcome.replay}" in outcome.message.splitlines()
    return settings_of(outcome.replay, monkeypatch)


def test_the_command_of_a_given_engine_judges_that_engine_again(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cases(only("fp16"), open_backends=on(SimulatedWorker(), cache=in_folder / "cache"))
    (plan,) = (in_folder / "cache").rglob("engine.plan")
    (in_folder / "my cut.plan").write_bytes(plan.read_bytes())
    given = replace(SETTINGS, engines=(in_folder / "my cut.plan",), engine_precision=Precision.FP16)
    failed = by_check(judge(Faults(rolls_rows=True), given), "my-cut")["outputs"]
    again = replayed(failed, monkeypatch)
    assert (again.engines, again.engine_precision) == ((Path("my cut.plan"),), Precision.FP16)
    outcome = by_check(judge(Faults(rolls_rows=True), again), "my-cut")["outputs"]
    assert (outcome.variant, outcome.verdict) == (failed.variant, Verdict.FAIL)


def test_the_command_names_the_interpreters_that_options_named(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = (str(in_folder / "trt86" / "bin" / "python"), "/opt/trt/bin/python", "ssh=jetson//python=python3")
    settings = replace(only("fp16"), tensorrt=TensorRTSettings(named))
    again = replayed(by_check(judge(Faults(rolls_rows=True), settings), "fp16")["outputs"], monkeypatch)
    assert again.tensorrt.interpreters == ("trt86/bin/python", *named[1:])
    assert (again.backends, again.variants) == (("tensorrt",), ("fp16@tensorrt-8.6",))


def test_the_command_of_census_and_invariants_names_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(only("fp16"), tensorrt=TensorRTSettings(("recording=recordings/1",)))
    outcome = by_check(judge(Faults(is_silent_fp32=True), settings), "fp16")["census"]
    [command] = [line.removeprefix("next: ") for line in outcome.message.splitlines() if line.startswith("next: ")]
    assert settings_of(command, monkeypatch).tensorrt.interpreters == ("recording=recordings/1",)
