"""The check ``latency`` of a run: which variants have it, on which engine, and in which order ratios are measured."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from parity.backends.nvml import Blind, Sampling
from parity.backends.onnxruntime import OnnxRuntimeBackend
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.backends.tensorrt.session import TensorRTSession
from parity.case import load_case
from parity.errors import BackendError
from parity.run_file import load_run
from parity.runner import JudgeSettings, RunSettings, open_run
from parity.runner.case_judge import checks_made
from parity.runner.settings import LatencyProtocol
from parity.verdict import Verdict
from tests.simulated_worker import SimulatedWorker
from tests.unit.tiny_case import CASE_FILE, write_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from parity.backends import Backend, TensorRTSettings
    from parity.results import Outcome, Run

QUICK = LatencyProtocol(warm_up_ms=0.0, min_iterations=10, min_s=0.0)
ENGINE = "tensorrt-10.16"
BUDGET = '[[latency.budgets]]\nvariant = "{}"\n{}\nreason = "a frame"\n'
RATIO = BUDGET.format("fp16", 'max_ratio = {}\nto = "{}"')


class Bench:
    """Runs of one case on a simulated TensorRT and on ONNX Runtime."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worker = SimulatedWorker("10.16.1.11")
        self.held: list[int] = []

    @contextmanager
    def backends(self, names: Sequence[str], _settings: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        with closing(TensorRTBackend(self.worker, None)) as engines:
            known: dict[str, Backend] = {"tensorrt": engines, "onnxruntime": OnnxRuntimeBackend()}
            yield tuple(known[name] for name in names)

    def run(
        self, text: str, *, latency: LatencyProtocol | None = QUICK, others: int = 0, **more: Any
    ) -> tuple[Run, list[str]]:
        """Return a run and the operations that the worker was asked for."""
        case = write_case(self.folder / "tiny", f"{CASE_FILE}{text}")
        more = {"backends": ("tensorrt",), **more}
        judging = JudgeSettings(cache=self.folder / "cache", debug=True, latency=latency, diagnosis_s=0)
        settings = RunSettings(cases=(case,), out=self.folder / "reports", judging=judging, **more)

        class Watched(Blind):
            @contextmanager
            def watching(self) -> Iterator[Sampling]:
                yield Sampling("H200", [1980], count=1, present=set(range(others)))

        @contextmanager
        def watch(_number: int, _gpu: str) -> Iterator[Watched]:
            yield Watched("GPU-1")

        with open_run(settings, self.backends, watch) as opened:
            opened.judge_all()
            assert load_run(opened.folder.path) == opened.run
            return opened.run, [asked.operation for asked in self.worker.asked]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def timed(found: Run) -> dict[str, Outcome]:
    return {outcome.variant: outcome for outcome in found.outcomes if outcome.check == "latency"}


def test_a_case_without_budgets_is_not_timed(bench: Bench) -> None:
    found, asked = bench.run("[latency]\nbatch_sizes = [1]\n")
    assert timed(found) == {}
    assert "time" not in asked


def test_a_variant_with_a_budget_is_timed_on_the_engine_that_is_open(bench: Bench) -> None:
    found, asked = bench.run(BUDGET.format("fp16", "max_median_ms = 0.3"))
    outcome = timed(found)[f"fp16@{ENGINE}"]
    assert list(timed(found)) == [outcome.variant]
    assert (outcome.verdict, outcome.headline[:22]) == (Verdict.PASS, "1 of 1 budgets kept: 0")
    assert outcome.latency is not None
    assert outcome.latency.layers
    assert outcome.engine is not None
    # Of each of two variants one build, one load, and another load that a law asks for: none is for timing.
    assert (asked.count("build"), asked.count("load"), asked.count("time")) == (2, 4, 1)
    checks = [o.check for o in found.outcomes if o.variant == outcome.variant]
    assert checks == ["outputs", "census", "invariants", "latency"]


def test_a_budget_that_is_exceeded_fails_the_run_and_names_the_command(bench: Bench) -> None:
    found, _ = bench.run(BUDGET.format("fp16", "max_median_ms = 0.2"))
    outcome = timed(found)[f"fp16@{ENGINE}"]
    assert (outcome.verdict, found.exit_code) == (Verdict.FAIL, 1)
    assert "latency is over its budget: median 0.25 > 0.2 ms" in outcome.message
    assert "next: parity latency " in outcome.message
    assert f"--variant fp16@{ENGINE} --backend tensorrt" in outcome.message


@pytest.mark.parametrize(("first", "second"), [("fp32", "fp16"), ("fp16", "fp32")])
def test_a_ratio_is_judged_whichever_variant_comes_first_and_each_is_timed_once(
    bench: Bench, first: str, second: str
) -> None:
    text = BUDGET.format(first, f'max_ratio = 0.9\nto = "{second}"')
    found, asked = bench.run(text)
    outcome = timed(found)[f"{first}@{ENGINE}"]
    assert outcome.verdict is Verdict.FAIL
    assert f"median 1 > 0.9 times that of {second}@{ENGINE}" in outcome.message
    assert timed(found)[f"{second}@{ENGINE}"].verdict is Verdict.PASS
    assert asked.count("time") == 2


def test_a_ratio_counts_from_another_backend_of_the_run(bench: Bench) -> None:
    found, _ = bench.run(RATIO.format(1e6, "fp32@onnxruntime"), backends=("tensorrt", "onnxruntime"))
    assert list(timed(found)) == [f"fp16@{ENGINE}"]
    latency = timed(found)[f"fp16@{ENGINE}"].latency
    assert latency is not None
    [row] = latency.budgets
    assert (row.to, row.clock) == ("fp32@onnxruntime", "host")
    assert row.value is not None


def test_what_a_ratio_counts_from_and_was_not_selected_is_not_built_and_no_pass(bench: Bench) -> None:
    found, asked = bench.run(RATIO.format(9, "fp32"), variants=("fp16",))
    assert timed(found)[f"fp16@{ENGINE}"].verdict is Verdict.INCONCLUSIVE
    assert asked.count("build") == 1


def test_what_a_ratio_counts_from_and_cannot_be_measured_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = TensorRTSession.time, []

    def time(session: TensorRTSession, feed: Any, **how: Any) -> Any:
        calls.append(session)
        # fp32 for its own check, fp16, fp32 once more.
        if len(calls) != 2:
            raise BackendError("planted")
        return real(session, feed, **how)

    monkeypatch.setattr(TensorRTSession, "time", time)
    found = timed(bench.run(RATIO.format(9, "fp32"))[0])
    outcome = found[f"fp16@{ENGINE}"]
    assert (found[f"fp32@{ENGINE}"].verdict, outcome.verdict) == (Verdict.ERROR, Verdict.INCONCLUSIVE)
    assert outcome.latency is not None
    assert any("could not be measured: planted" in note for note in outcome.latency.notes)


def test_other_processes_make_it_inconclusive(bench: Bench) -> None:
    outcome = timed(bench.run(BUDGET.format("fp16", "max_median_ms = 9"), others=2)[0])[f"fp16@{ENGINE}"]
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert "shared: 2 other processes" in outcome.headline


def test_a_budget_of_the_cpu_times_the_typed_model_there(bench: Bench) -> None:
    text = BUDGET.format("fp32@onnxruntime", "max_median_ms = 1e6") + BUDGET.format("fp16", "max_median_ms = 1")
    found, _ = bench.run(text, backends=("onnxruntime",))
    assert list(timed(found)) == ["fp32@onnxruntime"]
    assert timed(found)["fp32@onnxruntime"].latency is not None


def test_it_is_left_out_where_that_is_asked_for_and_in_a_resumed_run_too(bench: Bench) -> None:
    text = BUDGET.format("fp16", "max_median_ms = 9")
    found, asked = bench.run(text, latency=None)
    assert (timed(found), "time" in asked) == ({}, False)
    [folder] = (bench.folder / "reports").iterdir()
    resumed = RunSettings(resume=folder, backends=("tensorrt",))
    with open_run(resumed, bench.backends) as opened:
        opened.judge_all()
        assert timed(opened.run) == {}


def test_a_saved_feed_is_not_timed_and_a_release_nobody_asked_for_yet_may_have_the_budget(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path / "tiny", CASE_FILE + BUDGET.format("fp16@tensorrt-8.6", "max_median_ms = 9")))
    fp32, fp16 = case.variants
    made = {
        (variant.name, backend): "latency" in checks_made(case, variant, backend, JudgeSettings())
        for variant in (fp32, fp16)
        for backend in ("tensorrt", "tensorrt-8.6", "tensorrt-10.16", "onnxruntime")
    }
    assert [key for key, is_timed in made.items() if is_timed] == [("fp16", "tensorrt"), ("fp16", "tensorrt-8.6")]
    feed = JudgeSettings(feed=tmp_path / "feed.npz")
    assert "latency" not in checks_made(case, fp16, "tensorrt-8.6", feed)
