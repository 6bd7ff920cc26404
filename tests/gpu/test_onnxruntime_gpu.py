"""ONNX Runtime's CUDA provider: as the reference, and as a candidate beside TensorRT's own engines."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

import pytest

from parity.backends import TensorRTSettings, get_backend
from parity.backends.engine import EngineRequest, OnnxSource
from parity.backends.provider import ProviderBackend
from parity.baseline.files import baseline_files
from parity.errors import BackendError
from parity.options import Provider, SessionOptions
from parity.report.latency_gain import gain_notes
from parity.runner import JudgeSettings, RunSettings
from parity.runner.baseline_judge import BaselineMode
from parity.runner.baseline_latency import BaselineLatency
from parity.runner.baseline_run import UpdateSettings, add_baselines
from parity.runner.latency_run import LatencySettings, run_latency
from parity.runner.progress import SilentProgress
from parity.runner.run import open_run
from parity.runner.settings import LatencyProtocol
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.gpu.models import conv_net, images
from tests.gpu.rig import case_text, share_of_range
from tests.tiny_graphs import run
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from parity.backends.tensorrt.interpreter import Interpreter
    from parity.results import Run

    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

# Large enough that transfers take their time, and kernels theirs.
_ROWS, _SIZE = 64, 128
_CASE = case_text(_ROWS, "fp32", "fp16")


@pytest.fixture(scope="module", autouse=True)
def cuda_provider() -> None:
    """Skip where ONNX Runtime has no CUDA provider, or has one that does not load."""
    options = SessionOptions(provider=Provider.CUDA)
    try:
        with get_backend("onnxruntime").open(conv_net(1, 8), options) as session:
            session.run(images(1, 8))
    except BackendError as missing:
        pytest.skip(f"ONNX Runtime on CUDA: {missing}")


def on_cuda(**options: str) -> np.ndarray:
    chosen = SessionOptions(provider=Provider.CUDA, provider_options=tuple(options.items()))
    with get_backend("onnxruntime").open(conv_net(), chosen) as session:
        return session.run(images())["y"]


def as_candidate(precision: Precision) -> np.ndarray:
    backend = ProviderBackend(Provider.CUDA)
    source = OnnxSource(conv_net(), conv_net())
    request = EngineRequest(source, precision, keep_precision=Precision.FP32)
    with backend.open_engine(request, 120.0) as session:
        assert f"use_tf32={int(precision is Precision.TF32)}" in session.record.flags
        return session.infer(images()).outputs["y"]


def test_a_reference_on_cuda_lies_as_close_as_float32_does(figure: Figure) -> None:
    error = share_of_range(on_cuda(), run(conv_net(), images())["y"])
    figure("CUDA reference to CPU, share of range", error)
    assert error <= 1e-4


def test_tf32_is_off_in_a_reference_unless_it_is_asked_for(figure: Figure) -> None:
    expected = run(conv_net(), images())["y"]
    off, on = (share_of_range(array, expected) for array in (on_cuda(), on_cuda(use_tf32="1")))
    figure("CUDA with TF32 to CPU, share of range", on)
    assert on > 10 * off, f"with TF32 {on:.3g} of the range, without {off:.3g}"


def test_a_candidate_on_cuda_rounds_to_tf32_in_a_tf32_variant_alone(figure: Figure) -> None:
    expected = run(conv_net(), images())["y"]
    plain, rounded = (share_of_range(as_candidate(p), expected) for p in (Precision.FP32, Precision.TF32))
    figure("CUDA candidate at fp32, share of range", plain)
    figure("CUDA candidate at tf32, share of range", rounded)
    assert math.isfinite(rounded)
    assert plain <= 1e-4
    assert 10 * plain < rounded < 1e-2, f"tf32 is {rounded:.3g} of the range off, fp32 {plain:.3g}"


def timed(folder: Path, *, backends: tuple[str, ...], interpreters: tuple[str, ...] = ()) -> Run:
    cache = folder.parent / "cache"
    settings = RunSettings(
        cases=(folder,),
        backends=backends,
        tensorrt=TensorRTSettings(interpreters, cache),
        out=folder.parent / "reports",
        judging=JudgeSettings(cache=cache),
    )
    run, _ = run_latency(LatencySettings(settings, LatencyProtocol(min_s=1.0)), SilentProgress())
    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_case(tmp_path / "timed", _CASE, conv_net(_ROWS, _SIZE))


def test_the_provider_is_timed_with_transfers_and_without(folder: Path, figure: Figure) -> None:
    for outcome in timed(folder, backends=("onnxruntime-cuda",)).outcomes:
        assert outcome.latency is not None, outcome.message
        [found] = outcome.latency.measurements
        assert found.host_compute is not None, found.notes
        figure(f"{outcome.variant}, host p50, ms", found.host.median_ms)
        figure(f"{outcome.variant}, host p50 without transfers, ms", found.host_compute.median_ms)
        figure(f"{outcome.variant}, disturbed by", "; ".join(found.disturbances) or "nothing")
        assert found.gpu is None
        # 12.6 MB and more travel to the GPU, which take 0.2 ms on the fastest bus that there is.
        assert found.host_compute.median_ms < found.host.median_ms - 0.1


def test_the_provider_does_not_outrun_the_gpu_without_transfers(figure: Figure) -> None:
    """A loop that did not wait for the GPU would be as fast at 8 times the rows."""
    medians = []
    for rows in (16, 128):
        request = EngineRequest(
            OnnxSource(conv_net(rows, _SIZE), conv_net(rows, _SIZE)), Precision.FP32, keep_precision=Precision.FP32
        )
        with ProviderBackend(Provider.CUDA).open_engine(request, 120.0) as session:
            how = {"warm_up_ms": 100.0, "min_iterations": 10, "min_s": 0.2, "transferless_s": 0.2}
            medians.append(median(session.time(images(rows, _SIZE), **how).host_compute_ms))
        figure(f"host p50 of {rows} rows without transfers, ms", medians[-1])
    assert medians[1] > 3 * medians[0]


def test_a_report_of_one_run_says_what_tensorrt_buys(interpreter: Interpreter, folder: Path, figure: Figure) -> None:
    run = timed(folder, backends=("tensorrt", "onnxruntime-cuda"), interpreters=(interpreter.label,))
    assert all(outcome.latency for outcome in run.outcomes), [outcome.message for outcome in run.outcomes]
    gains = dict(gain_notes(run.outcomes))
    for place, sentence in gains.items():
        figure(place, sentence)
    assert {place.partition(" / ")[2].partition("@")[0] for place in gains} == {"fp32", "fp16"}
    assert all("without transfers" in sentence for sentence in gains.values())


def test_a_baseline_of_the_provider_alone_is_made_and_kept(
    folder: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pynvml")
    monkeypatch.setenv("PARITY_CACHE_DIR", str(folder.parent / "cache"))
    for mode in (BaselineMode.UPDATE, BaselineMode.CHECK):
        settings = RunSettings(
            cases=(folder,),
            variants=("fp32",),
            backends=("onnxruntime-cuda",),
            out=folder.parent / "reports",
            judging=JudgeSettings(cache=folder.parent / "cache", diagnosis_s=0.0),
        )
        with open_run(settings) as opened:
            opened.judge_all()
        latency = BaselineLatency(opened.asked, LatencyProtocol(min_s=0.5))
        add_baselines(opened, mode, latency, UpdateSettings(wants_latency=True, measurement_count=3))
        [outcome] = [outcome for outcome in opened.run.outcomes if outcome.check == "baseline"]
        figure(f"baseline, {mode}", outcome.headline)
        assert outcome.verdict is Verdict.PASS, outcome.message
    [file] = baseline_files(folder)
    figure("machine of the provider", file.stem)
    assert "onnxruntime-cuda" in file.stem
