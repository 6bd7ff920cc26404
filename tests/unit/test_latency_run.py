"""``parity latency`` from a case folder to a run on disk: on ONNX Runtime, and on a simulated worker of TensorRT."""

from __future__ import annotations

import itertools
import sys
import time as clock
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends.engine import EngineTiming
from parity.backends.nvml import Blind, Sampling
from parity.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeSession
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.backends.tensorrt.session import TensorRTSession
from parity.errors import BackendError, BackendTimeout, RunError
from parity.options import SessionOptions
from parity.run_file import load_run
from parity.runner import JudgeSettings, RunSettings
from parity.runner.latency_run import OTHER_MODE, LatencySettings, run_latency
from parity.runner.latency_trial import NOT_REBUILT
from parity.runner.progress import SilentProgress
from parity.runner.run import open_run
from parity.runner.settings import LatencyProtocol
from parity.verdict import Verdict
from tests.scripted_worker import path_of
from tests.simulated_worker import SimulatedWorker
from tests.unit.tiny_case import CASE_FILE, make_model, write_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from parity.backends import Backend, TensorRTSettings
    from parity.results import Outcome, Run

QUICK = LatencyProtocol(warm_up_ms=0.0, min_iterations=3, min_s=0.0)
ENGINE = "tensorrt-10.16"


@contextmanager
def simulated(names: Sequence[str], _settings: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
    with closing(TensorRTBackend(SimulatedWorker("10.16.1.11"), None)) as engines:
        known = {"tensorrt": engines, "onnxruntime": OnnxRuntimeBackend()}
        yield tuple(known[name] for name in names)


@contextmanager
def nobody(_number: int, gpu: str) -> Iterator[Blind]:
    yield Blind(gpu, "nobody looked")


def settings(folder: Path, **more) -> RunSettings:
    judging = JudgeSettings(cache=folder.parent / "cache", debug=True)
    return RunSettings(cases=(folder,), out=folder.parent / "reports", judging=judging, **more)


def run(
    folder: Path,
    *,
    batches: tuple[int, ...] = (),
    protocol: LatencyProtocol = QUICK,
    watch=nobody,
    cuda_graph: bool | None = None,
    streams: int | None = None,
    backends_of=simulated,
    **more,
) -> Run:
    asked = LatencySettings(settings(folder, **more), protocol, batches, cuda_graph, streams)
    found, where = run_latency(asked, SilentProgress(), backends_of, watch)
    assert load_run(where) == found
    return found


def of(found: Run, variant: str) -> Outcome:
    [outcome] = [outcome for outcome in found.outcomes if outcome.variant == variant]
    return outcome


def test_onnxruntime_is_timed_on_this_machine(tmp_path: Path) -> None:
    found = run(write_case(tmp_path / "tiny"), batches=(1, 2, 5))
    assert [outcome.variant for outcome in found.outcomes] == ["fp32@onnxruntime", "fp16@onnxruntime"]
    record = of(found, "fp32@onnxruntime").latency
    assert record is not None
    assert [row.batch_size for row in record.measurements] == [2, 1, 5]
    assert all(row.clock == "host" and row.host.count >= 3 for row in record.measurements)
    assert found.is_complete
    assert found.cases[0].name == "tiny"


def test_an_engine_has_gpu_times_layers_and_its_own_record(tmp_path: Path) -> None:
    found = run(write_case(tmp_path / "tiny"), backends=("tensorrt",), variants=("fp16",))
    outcome = of(found, f"fp16@{ENGINE}")
    assert (outcome.verdict, outcome.engine is not None) == (Verdict.PASS, True)
    record = outcome.latency
    assert record is not None
    [measurement] = record.measurements
    assert measurement.gpu is not None
    assert measurement.gpu.median_ms == 0.25
    assert [layer.position for layer in record.layers] == list(range(len(record.layers)))
    assert len(record.layers) >= 2
    assert "nobody looked" in record.notes


def test_a_ratio_is_judged_whichever_variant_comes_first(tmp_path: Path) -> None:
    text = '[[latency.budgets]]\nvariant = "fp32"\nto = "fp16"\nmax_ratio = 0.9\nreason = "planted"\n'
    folder = write_case(tmp_path / "tiny", f"{CASE_FILE}{text}")
    found = run(folder, backends=("tensorrt",))
    outcome = of(found, f"fp32@{ENGINE}")
    assert (outcome.verdict, found.exit_code) == (Verdict.FAIL, 1)
    assert "median 1 > 0.9 times that of fp16@tensorrt-10.16" in outcome.message
    command = "--variant fp32@tensorrt-10.16 --backend tensorrt --variant fp16"
    assert command in outcome.message
    alone = of(run(folder, backends=("tensorrt",), variants=("fp32",)), f"fp32@{ENGINE}")
    assert alone.verdict is Verdict.INCONCLUSIVE


def test_a_cuda_graph_that_was_not_captured_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def time(_session: object, _feed: object, *, cuda_graph: bool, **_protocol: float) -> EngineTiming:
        asked.append(cuda_graph)
        return EngineTiming((1.0,), (2.0,), (0.1,), cuda_graph=False, notes=("no stream capture",))

    monkeypatch.setattr(TensorRTSession, "time", time)
    folder = write_case(tmp_path / "tiny", f"{CASE_FILE}[latency]\ncuda_graph = true\n")
    record = of(run(folder, backends=("tensorrt",), variants=("fp16",)), f"fp16@{ENGINE}").latency
    assert record is not None
    assert (asked, record.mode.cuda_graph_asked, record.mode.cuda_graph) == ([True], True, False)
    assert "no stream capture" in record.notes


BUDGETED = (
    f"{CASE_FILE}[latency]\nstreams = 2\n"
    '[[latency.budgets]]\nvariant = "fp16"\nmax_median_ms = 0.1\nreason = "planted"\n'
)


def test_the_mode_of_the_case_is_measured_and_judged(tmp_path: Path) -> None:
    found = run(write_case(tmp_path / "tiny", BUDGETED), backends=("tensorrt",), variants=("fp16",))
    record = of(found, f"fp16@{ENGINE}").latency
    assert record is not None
    assert (record.mode.streams, record.mode.cuda_graph, found.exit_code) == (2, False, 1)
    # The simulated worker takes 0.35 ms for two inferences that overlap, two rows each.
    assert record.measurements[0].rows_per_s == pytest.approx(2 * 2 / 0.35e-3)


@pytest.mark.parametrize("asked", [{"streams": 1}, {"cuda_graph": True}])
def test_budgets_of_another_mode_are_not_judged_and_a_note_says_so(tmp_path: Path, asked: dict[str, int]) -> None:
    folder = write_case(tmp_path / "tiny", BUDGETED)
    found = run(folder, backends=("tensorrt",), variants=("fp16",), **asked)
    outcome = of(found, f"fp16@{ENGINE}")
    assert outcome.latency is not None
    assert (outcome.verdict, outcome.latency.budgets) == (Verdict.PASS, ())
    assert OTHER_MODE in outcome.latency.notes
    assert outcome.latency.mode.streams == asked.get("streams", 2)
    assert outcome.latency.mode.cuda_graph is bool(asked.get("cuda_graph"))


def test_onnxruntime_runs_one_inference_at_a_time_and_the_record_says_so(tmp_path: Path) -> None:
    record = of(run(write_case(tmp_path / "tiny"), streams=3), "fp32@onnxruntime").latency
    assert record is not None
    assert record.mode.streams == 1


def test_the_host_is_timed_without_transfers_where_there_are_any(tmp_path: Path) -> None:
    protocol = LatencyProtocol(warm_up_ms=0.0, min_iterations=3, min_s=0.003)
    found = run(write_case(tmp_path / "tiny"), protocol=protocol, backends=("tensorrt",), variants=("fp16",))
    record = of(found, f"fp16@{ENGINE}").latency
    assert record is not None
    [measurement] = record.measurements
    assert measurement.host_compute is not None
    assert measurement.host_compute.median_ms < measurement.host.median_ms


def test_rebuilt_engines_are_built_without_any_cache_and_told_apart(tmp_path: Path) -> None:
    worker = SimulatedWorker("10.16.1.11")

    @contextmanager
    def backends(_names: Sequence[str], _settings: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        with closing(TensorRTBackend(worker, tmp_path / "cache")) as engines:
            yield (engines,)

    folder, more = write_case(tmp_path / "tiny"), {"backends": ("tensorrt",), "variants": ("fp16",)}
    run(folder, backends_of=backends, **more)
    protocol = LatencyProtocol(0.0, 3, 0.0, rebuilds=3)
    found = run(folder, batches=(1,), protocol=protocol, backends_of=backends, **more)
    record = of(found, f"fp16@{ENGINE}").latency
    assert record is not None
    assert [row.batch_size for row in record.rebuilds] == [2, 1] * 3
    assert all(row.blocks_ms for row in record.rebuilds)
    assert record.rebuild_spread(2) == 1.0
    # The engine itself was in the cache; what is built anew finds no tactics, and leaves none.
    builds = [asked.fields for asked in worker.asked if asked.operation == "build"]
    kept = tmp_path / "cache" / "timing"
    assert [path_of(build["timing_cache"]).is_relative_to(kept) for build in builds] == [True, False, False, False]
    assert len({path_of(build["timing_cache"]) for build in builds[1:]}) == 3
    assert len(list((tmp_path / "cache" / "engines").glob("*/engine.plan"))) == 1


def test_a_rebuild_that_fails_costs_the_pass_and_not_the_others(tmp_path: Path) -> None:
    worker = SimulatedWorker("10.16.1.11")
    real, builds = worker._build, []

    def build(fields: dict[str, object]) -> dict[str, object]:
        builds.append(fields)
        if len(builds) == 3:
            raise BackendError("planted")
        return real(fields)

    worker.answers["build"] = build

    @contextmanager
    def backends(_names: Sequence[str], _settings: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        with closing(TensorRTBackend(worker, None)) as engines:
            yield (engines,)

    protocol = LatencyProtocol(0.0, 3, 0.0, rebuilds=3)
    folder = write_case(tmp_path / "tiny")
    found = run(folder, protocol=protocol, backends_of=backends, backends=("tensorrt",), variants=("fp16",))
    outcome = of(found, f"fp16@{ENGINE}")
    assert outcome.latency is not None
    assert (outcome.verdict, len(outcome.latency.rebuilds)) == (Verdict.INCONCLUSIVE, 2)
    assert "rebuild 2 of 3: planted" in outcome.headline


def test_nothing_is_rebuilt_in_onnxruntime_and_a_note_says_so(tmp_path: Path) -> None:
    found = run(write_case(tmp_path / "tiny"), variants=("fp32",), protocol=LatencyProtocol(0.0, 3, 0.0, rebuilds=2))
    record = of(found, "fp32@onnxruntime").latency
    assert record is not None
    assert (record.rebuilds, NOT_REBUILT in record.notes) == ((), True)


@pytest.mark.parametrize(
    ("timing", "sentence"),
    [
        (EngineTiming(notes=("no events here",)), "there is no reading; expected at least one; no events here"),
        (EngineTiming(host_ms=(1.0, -3600e3)), "a reading of -3600000.0 ms; expected positive finite numbers"),
        (EngineTiming((0.0,), (1.0,)), "a reading of 0.0 ms"),
    ],
)
def test_a_run_without_a_usable_reading_is_inconclusive_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timing: EngineTiming, sentence: str
) -> None:
    monkeypatch.setattr(TensorRTSession, "time", lambda *_words, **_how: timing)
    found = run(write_case(tmp_path / "tiny", BUDGETED), backends=("tensorrt",), variants=("fp16",), streams=2)
    outcome = of(found, f"fp16@{ENGINE}")
    assert (outcome.verdict, found.exit_code) == (Verdict.INCONCLUSIVE, 2)
    assert "batch 2 was not measured in this run" in outcome.headline
    assert sentence in outcome.message
    assert "measure for longer with --seconds" in outcome.message
    bare = of(run(write_case(tmp_path / "bare"), backends=("tensorrt",), variants=("fp16",)), f"fp16@{ENGINE}")
    assert (bare.verdict, bare.headline.startswith("batch 2: nothing was timed")) == (Verdict.INCONCLUSIVE, True)


def test_no_clock_that_somebody_can_set_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = itertools.cycle((0.0, 1e9, -1e9))
    monkeypatch.setattr(clock, "time", lambda: next(jumps))
    outcome = of(run(write_case(tmp_path / "tiny"), variants=("fp32",)), "fp32@onnxruntime")
    assert outcome.latency is not None
    assert 0 < outcome.latency.measurements[0].host.maximum_ms < 1e4
    assert 0 <= outcome.duration_s < 60
    assert clock.get_clock_info("perf_counter").monotonic


def test_every_engine_that_is_timed_is_watched(tmp_path: Path) -> None:
    class Watched(Blind):
        @contextmanager
        def watching(self) -> Iterator[Sampling]:
            yield Sampling("H200", [1980], count=1, present={1, 2, 3})

    @contextmanager
    def watch(_number: int, _gpu: str) -> Iterator[Watched]:
        yield Watched("GPU-1")

    found = run(write_case(tmp_path / "tiny"), backends=("tensorrt", "onnxruntime"), variants=("fp16",), watch=watch)
    assert of(found, f"fp16@{ENGINE}").verdict is Verdict.INCONCLUSIVE
    assert of(found, f"fp16@{ENGINE}").headline.startswith("shared: 3 other processes")
    assert of(found, "fp16@onnxruntime").verdict is Verdict.PASS


def test_nvml_of_another_gpu_than_the_workers_is_not_believed(tmp_path: Path) -> None:
    @contextmanager
    def watch(_number: int, _gpu: str) -> Iterator[Blind]:
        yield Blind("GPU-1", gpu="another GPU")

    found = run(write_case(tmp_path / "tiny"), backends=("tensorrt",), variants=("fp16",), watch=watch)
    record = of(found, f"fp16@{ENGINE}").latency
    assert record is not None
    assert "NVML has another GPU there" in record.notes[0]


def test_a_variant_that_cannot_be_timed_costs_its_own_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = OnnxRuntimeSession.time

    def time(session: OnnxRuntimeSession, feed, **protocol: float) -> EngineTiming:
        if feed["x"].dtype == np.float16:
            raise BackendTimeout("planted")
        return real(session, feed, **protocol)

    monkeypatch.setattr(OnnxRuntimeSession, "time", time)
    text = CASE_FILE.replace('precision = "fp16"', 'precision = "fp16"\nio_precision = "fp16"')
    found = run(write_case(tmp_path / "tiny", text))
    assert [outcome.verdict for outcome in found.outcomes] == [Verdict.PASS, Verdict.ERROR]
    assert (found.outcomes[1].headline, found.exit_code) == ("planted", 2)


def test_a_saved_measurement_is_not_resumed_as_a_run(tmp_path: Path) -> None:
    folder = write_case(tmp_path / "tiny")
    _, where = run_latency(LatencySettings(settings(folder), QUICK), SilentProgress(), simulated, nobody)
    with pytest.raises(RunError, match="was saved by parity latency; run parity latency again"):
        open_run(RunSettings(resume=where))


def test_an_unknown_variant_leaves_nothing_on_disk(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="matches none"):
        run(write_case(tmp_path / "tiny"), variants=("fp61",))
    assert not (tmp_path / "reports").exists()


def test_the_loop_runs_as_often_and_as_long_as_asked() -> None:
    feed = {"x": np.zeros((2, 4), np.float32)}
    with OnnxRuntimeBackend().open(make_model(), SessionOptions(graph_optimizations=True)) as session:
        few = session.time(feed, warm_up_ms=0.0, min_iterations=7, min_s=0.0)
        long = session.time(feed, warm_up_ms=0.0, min_iterations=1, min_s=0.05)
    assert (len(few.host_ms), few.gpu_ms) == (7, ())
    assert sum(long.host_ms) <= 1e3
    assert len(long.host_ms) > 7


def test_no_run_imports_nvml_where_no_gpu_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    @contextmanager
    def refused(_number: int, _gpu: str) -> Iterator[Blind]:
        raise AssertionError("asked for")
        yield

    assert run(write_case(tmp_path / "tiny"), variants=("fp32",), watch=refused).exit_code == 0
