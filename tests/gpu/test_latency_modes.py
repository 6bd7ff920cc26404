"""CUDA graphs, several streams, time without transfers and rebuilds on a real TensorRT."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from parity.backends import TensorRTSettings
from parity.runner import JudgeSettings, RunSettings, run_cases
from parity.runner.latency_run import LatencySettings, run_latency
from parity.runner.progress import SilentProgress
from parity.runner.settings import LatencyProtocol
from parity.verdict import Verdict
from tests.gpu.models import choosing, conv_net, images, places
from tests.gpu.rig import Rig, case_text, require_close, rows_of
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from parity.backends.engine import EngineTiming
    from parity.backends.tensorrt.interpreter import Interpreter
    from parity.backends.tensorrt.session import TensorRTSession

    Build = Callable[..., TensorRTSession]
    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

_SIZE = 64
_CASE = f"""\
{case_text(4, "fp32", "tf32")}\
[[latency.budgets]]
variant = "fp32"
max_ratio = 100
to = "tf32"
reason = "so lax that it is kept"
"""


def timed(session: TensorRTSession, feed: Any, **how: Any) -> EngineTiming:
    return session.time(feed, warm_up_ms=100.0, min_iterations=50, min_s=0.3, **how)


def test_a_graph_is_captured_and_launched_and_the_engine_answers_as_before(build: Build, figure: Figure) -> None:
    # Of one row, 0.03 ms, the events' own noise is a fifth.
    session, feed = build(conv_net(32, _SIZE)), images(32, _SIZE)
    before = session.run(feed)
    plain, graph = timed(session, feed), timed(session, feed, cuda_graph=True)
    figure("GPU p50 enqueued, ms", median(plain.gpu_ms))
    figure("GPU p50 of a graph, ms", median(graph.gpu_ms))
    figure("enqueue p50, ms", median(plain.enqueue_ms))
    figure("launch p50 of a graph, ms", median(graph.enqueue_ms))
    assert (graph.cuda_graph, graph.notes) == (True, ())
    # One launch in place of one for each kernel: never slower by more than the events' noise.
    assert median(graph.enqueue_ms) < median(plain.enqueue_ms)
    assert median(graph.gpu_ms) < 1.1 * median(plain.gpu_ms)
    after = session.run(feed)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_what_cannot_be_captured_is_enqueued_and_told(build: Build) -> None:
    session = build(places())
    feed = {"x": np.ones((3, 5), np.float32)}
    found = timed(session, feed, cuda_graph=True)
    assert found.cuda_graph is False
    assert "depends on data" in found.notes[0]
    assert len(found.gpu_ms) >= 50
    assert session.run(feed)


def test_a_capture_that_fails_leaves_an_engine_that_runs(build: Build, figure: Figure) -> None:
    model = choosing()
    session, feed = build(model), {"x": np.random.default_rng(2).standard_normal((4, 4)).astype(np.float32)}
    found = timed(session, feed, cuda_graph=True)
    figure("a choice under capture", "captured" if found.cuda_graph else found.notes[0])
    assert found.cuda_graph or "no CUDA graph was captured" in found.notes[0]
    assert len(found.gpu_ms) >= 50
    require_close(session, model, feed)
    assert timed(session, feed).notes == ()


_READINGS = 3


@pytest.mark.parametrize("streams", [2, 4])
def test_streams_answer_more_rows_and_leave_no_memory_behind(
    rig: Rig, build: Build, figure: Figure, streams: int
) -> None:
    session, feed = build(conv_net(1, _SIZE)), images(1, _SIZE)
    timed(session, feed, streams=streams)
    free = rig.free_bytes()
    gains = []
    # The host starts an inference every 0.07 ms here, and is now and then slow for as long as a reading takes.
    for _ in range(_READINGS):
        one, found = timed(session, feed), timed(session, feed, streams=streams)
        rates = [len(timing.host_ms) / timing.elapsed_s for timing in (one, found)]
        gains.append(rates[1] / rates[0])
    figure(f"inferences a second with {streams} streams over those with one", max(gains))
    figure(f"notes with {streams} streams", "; ".join(found.notes) or "none")
    assert found.streams == streams
    assert max(gains) > 0.9
    assert abs(rig.free_bytes() - free) <= 64 << 20


def test_streams_of_an_engine_with_a_profile_share_it_or_have_copies(build: Build, figure: Figure) -> None:
    profile = rows_of("x", (3, _SIZE, _SIZE), best=2, most=4)
    session = build(conv_net("n", _SIZE), profiles=(profile,))
    feed = images(2, _SIZE)
    expected = session.run(feed)
    found = timed(session, feed, streams=2, cuda_graph=True)
    figure("two streams of an engine with a profile", "; ".join(found.notes) or "share it")
    assert found.cuda_graph is True
    answered = session.run(feed)
    assert all(np.array_equal(expected[name], answered[name]) for name in expected)


def test_the_host_is_faster_without_transfers_and_no_faster_than_the_gpu(build: Build, figure: Figure) -> None:
    found = timed(build(conv_net(64, 128)), images(64, 128), transferless_s=0.3)
    gpu, host, bare = (median(ms) for ms in (found.gpu_ms, found.host_ms, found.host_compute_ms))
    for name, value in (("GPU", gpu), ("host", host), ("host without transfers", bare)):
        figure(f"{name} p50, ms", value)
    assert 0.95 * gpu <= bare < host


@pytest.fixture
def settings(interpreter: Interpreter, rig: Rig, tmp_path: Path) -> RunSettings:
    folder = write_case(tmp_path / "timed", _CASE, conv_net(4, _SIZE))
    return RunSettings(
        cases=(folder,),
        backends=("tensorrt",),
        tensorrt=TensorRTSettings((interpreter.label,), tmp_path / "cache"),
        out=tmp_path / "reports",
        judging=JudgeSettings(cache=tmp_path / "cache", latency=LatencyProtocol(min_s=0.5)),
    )


def test_a_run_judges_latency_beside_the_rest(settings: RunSettings, figure: Figure) -> None:
    found = [outcome for outcome in run_cases(settings).outcomes if outcome.check == "latency"]
    assert [outcome.variant.partition("@")[0] for outcome in found] == ["fp32", "tf32"]
    record = found[0].latency
    assert record is not None, found[0].message
    [ratio] = record.budgets
    figure("fp32 over tf32", ratio.value or 0.0)
    figure("verdict", f"{found[0].verdict}: {found[0].headline}")
    # A GPU that others use as well, or that slows its clocks, is inconclusive and says so.
    assert found[0].verdict in {Verdict.PASS, Verdict.INCONCLUSIVE}
    assert any(layer.nodes for layer in record.layers)
    assert any(layer.precision == "fp32" for layer in record.layers)


def test_rebuilt_engines_are_measured_one_by_one(settings: RunSettings, figure: Figure) -> None:
    one = replace(settings, variants=("fp32",))
    protocol = LatencyProtocol(min_s=0.3, profiles_layers=False, rebuilds=3)
    run, _ = run_latency(LatencySettings(one, protocol), SilentProgress())
    record = run.outcomes[0].latency
    assert record is not None, run.outcomes[0].message
    assert len(record.rebuilds) == 3, record.unmeasured
    spread = record.rebuild_spread(4)
    assert spread is not None
    figure("largest over smallest median of three builds", spread)
    assert 1 <= spread < 2
