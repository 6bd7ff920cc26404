"""The ``baseline`` check from a case folder to an outcome: on ONNX Runtime, a simulated worker, and planted runs."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parity.backends.nvml import Blind
from parity.backends.onnxruntime import OnnxRuntimeBackend
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.baseline.files import baseline_file, baseline_files, load, save
from parity.baseline.model import VariantFigures
from parity.case.loader import load_case
from parity.errors import BackendError, BaselineError
from parity.runner import JudgeSettings, RunSettings
from parity.runner.baseline_judge import (
    BaselineMode,
    MeasuredCase,
    check_baseline,
    check_unused,
    require_measured,
    update_baselines,
)
from parity.runner.baseline_latency import BaselineLatency
from parity.runner.baseline_run import UpdateSettings, add_baselines
from parity.runner.run import open_run
from parity.runner.settings import LatencyProtocol
from parity.verdict import Verdict
from tests.accepted import (
    KEY,
    LABEL,
    MACHINE,
    baseline,
    gpu_run,
    latency_outcome,
    measurement,
    outputs_outcome,
    series,
    variant,
)
from tests.simulated_worker import SimulatedWorker
from tests.unit.tiny_case import CASE_FILE, write_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from parity.backends import Backend, TensorRTSettings
    from parity.baseline.model import Baseline
    from parity.case import Case
    from parity.results import Outcome, Run

QUICK = LatencyProtocol(warm_up_ms=0.0, min_iterations=3, min_s=0.0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARITY_CACHE_DIR", str(tmp_path / "cache"))


@contextmanager
def simulated(names: Sequence[str], _settings: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
    with closing(TensorRTBackend(SimulatedWorker("10.16.1.11"), None)) as engines:
        known = {"tensorrt": engines, "onnxruntime": OnnxRuntimeBackend()}
        yield tuple(known[name] for name in names)


@contextmanager
def nobody(_number: int, gpu: str) -> Iterator[Blind]:
    yield Blind(gpu, "nobody looked")


def judge(folder: Path, mode: BaselineMode, update: UpdateSettings | None = None, **more) -> Run:
    judging = JudgeSettings(cache=folder.parent / "cache", debug=True, diagnosis_s=0.0)
    settings = RunSettings(cases=(folder,), out=folder.parent / "reports", judging=judging, **more)
    with open_run(settings, simulated) as opened:
        opened.judge_all()
    latency = BaselineLatency(opened.asked, QUICK, open_backends=simulated, open_watch=nobody)
    add_baselines(opened, mode, latency, update or UpdateSettings())
    return opened.run


def of(run: Run, check: str = "baseline") -> dict[str, Outcome]:
    return {outcome.variant.partition("@")[0]: outcome for outcome in run.outcomes if outcome.check == check}


def verdicts(run: Run) -> dict[str, str]:
    return {name: str(outcome.verdict) for name, outcome in of(run).items()}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_case(tmp_path / "tiny")


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt"])
def test_a_baseline_is_missing_then_made_then_kept(tiny: Path, backend: str) -> None:
    missing = judge(tiny, BaselineMode.CHECK, backends=(backend,))
    assert verdicts(missing) == {"fp32": "fail", "fp16": "fail"}
    assert f"parity baseline update {tiny}" in of(missing)["fp16"].message
    assert missing.exit_code == 1
    made = judge(tiny, BaselineMode.UPDATE, backends=(backend,))
    assert verdicts(made) == {"fp32": "pass", "fp16": "pass"}
    [file] = baseline_files(tiny)
    assert set(load(file).variants) == {f"fp32@{backend}", f"fp16@{backend}"}
    kept = judge(tiny, BaselineMode.CHECK, backends=(backend,))
    assert verdicts(kept) == {"fp32": "pass", "fp16": "pass"}, of(kept)
    assert kept.exit_code == 0


def test_latency_is_measured_where_it_was_accepted_and_a_slow_one_three_times(tiny: Path) -> None:
    update = UpdateSettings(wants_latency=True, measurement_count=2)
    judge(tiny, BaselineMode.UPDATE, update, backends=("tensorrt",), variants=("fp16",))
    [file] = baseline_files(tiny)
    accepted = load(file)
    known = accepted.variants["fp16@tensorrt"]
    assert len(known.latency[2].measurements_ms) == 2
    assert known.layers
    slow = {2: replace(known.latency[2], measurements_ms=((1e-7, 1e-7), (1e-7, 1e-7)))}
    layers = tuple((name, ms / 2) for name, ms in known.layers)
    save(replace(accepted, variants={"fp16@tensorrt": replace(known, latency=slow, layers=layers)}), file)
    run = judge(tiny, BaselineMode.CHECK, backends=("tensorrt",), variants=("fp16",))
    assert of(run, "latency")["fp16"].latency is not None
    outcome = of(run)["fp16"]
    assert outcome.verdict is Verdict.FAIL
    assert "latency batch 2 median_ms" in outcome.headline
    slowest = known.layers[-1][0]
    assert f"slowed most: {slowest}" in outcome.headline
    assert f"slower layer: {slowest}: " in outcome.message


def test_variants_that_were_not_accepted_with_latency_are_not_timed(tiny: Path) -> None:
    judge(tiny, BaselineMode.UPDATE)
    assert of(judge(tiny, BaselineMode.CHECK), "latency") == {}


def only_file(folder: Path) -> Baseline:
    [file] = baseline_files(folder)
    return load(file)


def test_an_update_keeps_judging_a_latency_that_was_accepted_also_of_an_engine_that_changed(tiny: Path) -> None:
    where = {"backends": ("tensorrt",), "variants": ("fp16",)}
    judge(tiny, BaselineMode.UPDATE, UpdateSettings(wants_latency=True), **where)
    [file] = baseline_files(tiny)
    accepted = load(file)
    known = accepted.variants["fp16@tensorrt"]
    figures = known.figures | {"outputs": {"logits": {"sqnr_db": 1.0}}}
    sizes = {1: known.latency[2], 2: known.latency[2]}
    save(replace(accepted, variants={"fp16@tensorrt": replace(known, figures=figures, latency=sizes)}), file)
    run = judge(tiny, BaselineMode.UPDATE, **where)
    assert "replaced, because of" in of(run)["fp16"].headline
    assert set(only_file(tiny).variants["fp16@tensorrt"].latency) == {1, 2}


@pytest.mark.parametrize("update", [UpdateSettings(wants_latency=False), UpdateSettings(replaces=True)], ids=str)
def test_who_wants_no_latency_or_drops_all_is_not_made_to_measure_it(tiny: Path, update: UpdateSettings) -> None:
    where = {"backends": ("tensorrt",), "variants": ("fp16",)}
    judge(tiny, BaselineMode.UPDATE, UpdateSettings(wants_latency=True), **where)
    assert of(judge(tiny, BaselineMode.UPDATE, update, **where), "latency") == {}


def test_a_broken_variant_is_told_and_the_others_are_judged(tiny: Path) -> None:
    judge(tiny, BaselineMode.UPDATE)
    case_file = tiny / "case.toml"
    text = case_file.read_text(encoding="utf-8")
    case_file.write_text(text.replace('precision = "fp16"', 'precision = "fp16"\nkeep = ["nothing_*"]'), "utf-8")
    found = of(judge(tiny, BaselineMode.CHECK))
    assert (found["fp32"].verdict, found["fp16"].verdict) == (Verdict.PASS, Verdict.ERROR)
    assert found["fp16"].headline == "not judged, because outputs could not be"


@pytest.fixture
def shapes(tmp_path: Path) -> Case:
    return load_case(write_case(tmp_path / "shapes") / "case.toml")


def accepted(case: Case, /, **more) -> Path:
    file = baseline_file(case.folder, MACHINE)
    save(baseline(variant(latency=series(1.0, 1.0)), **more), file)
    return file


def checked(case: Case, *outcomes: Outcome, label: str = LABEL) -> Outcome:
    return check_baseline(MeasuredCase(case, (gpu_run(*outcomes),)), label)


def updated(case: Case, *runs: Run, replaces: bool = False) -> list[Outcome]:
    return list(update_baselines(MeasuredCase(case, runs), replaces=replaces))


def test_another_machines_baseline_is_refused_and_named(shapes: Case) -> None:
    save(baseline(machine="other-gpu"), baseline_file(shapes.folder, "other-gpu"))
    outcome = checked(shapes, outputs_outcome())
    assert outcome.verdict is Verdict.FAIL
    assert (
        f"there is no baseline for this machine, {MACHINE}; those of other-gpu are other machines'" in outcome.message
    )


@pytest.mark.parametrize("text", ['{"format_version": 7}', "{", '{"format_version": 1}'])
def test_a_newer_or_damaged_file_cannot_be_judged(shapes: Case, text: str) -> None:
    accepted(shapes).write_text(text, encoding="utf-8")
    outcome = checked(shapes, outputs_outcome())
    assert outcome.verdict is Verdict.ERROR
    assert "parity baseline update --replace" in outcome.message
    [failed] = updated(shapes, gpu_run(outputs_outcome()))
    assert failed.verdict is Verdict.ERROR
    [replaced] = updated(shapes, gpu_run(outputs_outcome()), replaces=True)
    assert replaced.verdict is Verdict.PASS


def test_a_case_renamed_since_fails_and_is_accepted_anew(shapes: Case) -> None:
    accepted(shapes, case="old_name")
    outcome = checked(shapes, outputs_outcome())
    assert outcome.verdict is Verdict.FAIL
    assert "was taken of case 'old_name', which is called 'shapes' now" in outcome.message
    stale = check_unused(shapes)
    assert stale is not None
    assert "'old_name'" in stale.message
    [again] = updated(shapes, gpu_run(outputs_outcome()))
    assert "because it was case 'old_name'" in again.headline
    assert check_unused(shapes) is None


def test_a_baseline_of_a_variant_that_is_gone_fails(shapes: Case) -> None:
    accepted(shapes, variants={KEY: variant(), "gone@tensorrt": variant()})
    stale = check_unused(shapes)
    assert stale is not None
    assert stale.verdict is Verdict.FAIL
    assert "has gone@tensorrt, and the case has no such variant" in stale.headline


def test_decoded_results_that_were_accepted_and_are_looked_at_no_more_fail(shapes: Case) -> None:
    decoded = VariantFigures({"decoded": {"": {"matched_share": 1.0}}})
    accepted(shapes, variants={KEY: decoded})
    stale = check_unused(replace(shapes, decoding=None))
    assert stale is not None
    assert "has figures of decoded results, and the case has no [decode]" in stale.headline


def test_a_run_without_a_figure_is_not_accepted(shapes: Case) -> None:
    [outcome] = updated(shapes, gpu_run(replace(outputs_outcome(), tensors=(), engine=None)))
    assert outcome.verdict is Verdict.ERROR
    assert "the run has no figure of it" in outcome.message
    assert baseline_files(shapes.folder) == ()


def test_a_disturbed_measurement_is_not_accepted(shapes: Case) -> None:
    [outcome] = updated(shapes, gpu_run(latency_outcome(measurement(1.0, 64, "shared: 2 others"))))
    assert outcome.verdict is Verdict.ERROR
    assert "its latency at batch 64 was disturbed (shared: 2 others)" in outcome.message


def test_two_releases_of_one_major_are_not_accepted_at_once(shapes: Case) -> None:
    both = gpu_run(outputs_outcome(), outputs_outcome(label="fp16@tensorrt-8.5"))
    older = replace(both.environment.workers[0], name="tensorrt-8.5")
    environment = replace(both.environment, workers=(*both.environment.workers, older))
    for outcome in updated(shapes, replace(both, environment=environment)):
        assert outcome.verdict is Verdict.ERROR
        assert "one release of TensorRT at a time" in outcome.message


def test_runs_of_two_machines_or_models_are_told_apart(shapes: Case) -> None:
    one = gpu_run(outputs_outcome())
    other = replace(one, environment=replace(one.environment, workers=(replace(one.environment.workers[0], gpu="B"),)))
    [outcome] = updated(shapes, one, other)
    assert "expected runs of one machine" in outcome.message
    other = replace(one, cases=(replace(one.cases[0], model_sha256="another"),))
    [outcome] = updated(shapes, one, other)
    assert "different models" in outcome.message


def test_runs_that_judged_other_feeds_are_told_and_not_mixed(shapes: Case) -> None:
    whole, limited = gpu_run(outputs_outcome(60.0)), gpu_run(outputs_outcome(70.0))
    limited = replace(limited, cases=(replace(limited.cases[0], feeds_sha256="ff", feed_count=1),))
    [outcome] = updated(shapes, whole, limited)
    assert (outcome.verdict, baseline_files(shapes.folder)) == (Verdict.ERROR, ())
    assert "the runs are of different feeds" in outcome.message
    # Latency is measured on the first feed, whatever the others are.
    timed = replace(limited, outcomes=(latency_outcome(measurement(1.0)),))
    assert updated(shapes, whole, timed)[0].verdict is Verdict.PASS


def test_a_saved_run_that_is_given_twice_is_no_second_measurement(shapes: Case) -> None:
    one, copied, other = (replace(gpu_run(latency_outcome(measurement(1.0))), id=name) for name in "aab")
    for runs in ((one, other), (replace(one, id=""), replace(other, id=""))):
        require_measured([MeasuredCase(shapes, runs)], ["x", "y"])
    with pytest.raises(BaselineError, match="x, y: are one run, given twice"):
        require_measured([MeasuredCase(shapes, (one, copied))], ["x", "y"])


def test_saved_runs_are_separately_started_measurements(shapes: Case) -> None:
    runs = [gpu_run(outputs_outcome(), latency_outcome(measurement(ms))) for ms in (1.0, 1.01, 1.02)]
    [outcome] = updated(shapes, *runs)
    assert outcome.verdict is Verdict.PASS
    found = load(baseline_file(shapes.folder, MACHINE))
    assert len(found.variants[KEY].latency[64].measurements_ms) == 3
    other = gpu_run(replace(outputs_outcome(), case="other"))
    with pytest.raises(BaselineError, match="judged no case 'shapes'; expected one of other"):
        require_measured([MeasuredCase(shapes, (other,))], ["reports/x"])


def test_a_full_disk_is_told(shapes: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    [outcome] = updated(shapes, gpu_run(outputs_outcome()))
    assert outcome.verdict is Verdict.ERROR
    assert "No space left on device" in outcome.message


def test_latency_that_cannot_be_measured_is_an_error_of_every_variant(tiny: Path) -> None:
    judge(tiny, BaselineMode.UPDATE, UpdateSettings(wants_latency=True))

    @contextmanager
    def nothing(_names: Sequence[str], _settings: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        raise BackendError("no runtime any more")
        yield ()

    judging = JudgeSettings(cache=tiny.parent / "cache", debug=True, diagnosis_s=0.0)
    with open_run(RunSettings(cases=(tiny,), out=tiny.parent / "reports", judging=judging), simulated) as opened:
        opened.judge_all()
    add_baselines(
        opened, BaselineMode.CHECK, BaselineLatency(opened.asked, QUICK, open_backends=nothing), UpdateSettings()
    )
    assert {outcome.headline for outcome in of(opened.run).values()} == {"no runtime any more"}
    assert verdicts(opened.run) == {"fp32": "error", "fp16": "error"}


BUDGET = '[[latency.budgets]]\nvariant = "fp16@onnxruntime"\nmax_median_ms = 1e6\nreason = "planted"\n'


def test_what_the_run_timed_for_a_budget_is_not_timed_again(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "tiny", CASE_FILE + BUDGET)
    judging = JudgeSettings(cache=tmp_path / "cache", debug=True, diagnosis_s=0.0, latency=QUICK)
    settings = RunSettings(cases=(folder,), variants=("fp16",), out=tmp_path / "reports", judging=judging)

    class Refusing(BaselineLatency):
        def measure(self, *_arguments: object) -> Run:
            raise AssertionError("was timed again")

    for mode in (BaselineMode.UPDATE, BaselineMode.CHECK):
        with open_run(settings, simulated) as opened:
            opened.judge_all()
        # However slow this machine is tonight, it is not another one: noise is not what this test is about.
        for file in baseline_files(folder):
            text = file.read_text(encoding="utf-8").replace('"measurements_ms": [', '"measurements_ms": [[1e9], ')
            file.write_text(text, encoding="utf-8")
        add_baselines(opened, mode, Refusing(opened.asked, QUICK), UpdateSettings(wants_latency=True))
        assert of(opened.run)["fp16"].verdict is Verdict.PASS
        assert list(of(opened.run, "latency")) == ["fp16"]


def test_another_selection_of_feeds_is_not_compared(tiny: Path) -> None:
    judge(tiny, BaselineMode.UPDATE)
    judging = JudgeSettings(cache=tiny.parent / "cache", debug=True, diagnosis_s=0.0, limit=1)
    with open_run(RunSettings(cases=(tiny,), out=tiny.parent / "reports", judging=judging), simulated) as opened:
        opened.judge_all()
    add_baselines(opened, BaselineMode.CHECK, BaselineLatency(opened.asked, QUICK), UpdateSettings())
    assert "the feeds are not the accepted ones (1 feeds" in of(opened.run)["fp32"].headline
