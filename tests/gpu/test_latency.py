"""What a session says of GPU time, against a loop that shares no code with it, in turn in one process."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import pytest

from parity.backends import TensorRTSettings
from parity.backends.tensorrt.conversation import SentFile
from parity.backends.tensorrt.opening import converse
from parity.backends.tensorrt.process import LiveConversation
from parity.runner import JudgeSettings, RunSettings
from parity.runner.latency_run import LatencySettings, run_latency
from parity.runner.progress import SilentProgress
from parity.runner.settings import LatencyProtocol
from tests.gpu.models import conv_net, images
from tests.gpu.rig import Rig, case_text, request_for
from tests.gpu.spread import ROUNDS, compare_spreads
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parity.backends.tensorrt.interpreter import Interpreter

    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

_BARE = {"bare.py": (Path(__file__).parent / "bare_loop.py").read_bytes()}
# Large enough that kernels are timed and not launches.
_ROWS, _SIZE = 64, 128
_REPEATS = 3
_SECONDS, _WARM_UP_S = 0.15, 0.1

_CASE = case_text(_ROWS, "fp32")


@pytest.fixture
def bare_rig(interpreter: Interpreter, rig: Rig, tmp_path: Path) -> Iterator[Rig]:
    """Return a worker that has the bare loop beside its own operations; where ``rig`` is missing, so is this."""
    conversation = LiveConversation(interpreter, handlers="parity_worker.bare", extra_sources=_BARE)
    with converse([conversation], TensorRTSettings(cache=tmp_path / "engines")) as (backend,):
        yield Rig(conversation, backend, tmp_path / "engines")


def test_the_median_is_that_of_a_bare_loop_and_its_spread_no_larger(bare_rig: Rig, figure: Figure) -> None:
    own, bare = _rounds(bare_rig)
    for repeat in range(_REPEATS):
        ours, theirs = (median(found[repeat::_REPEATS]) for found in (own, bare))
        figure(f"GPU p50 of repeat {repeat}, ms", ours)
        figure(f"GPU p50 of repeat {repeat} in a bare loop, ms", theirs)
        assert ours == pytest.approx(theirs, rel=0.01), f"repeat {repeat}: {ours:.4f} ms, {theirs:.4f} ms bare"
    spreads = compare_spreads(own, bare)
    figure("largest over smallest p50 of all rounds", max(own) / min(own) - 1)
    figure("largest over smallest p50 of all rounds in a bare loop", max(bare) / min(bare) - 1)
    figure("standard deviation of p50 over rounds", spreads.own)
    figure("standard deviation of p50 over rounds in a bare loop", spreads.other)
    figure("chance of that", spreads.chance)
    assert not spreads.is_noisier, spreads


def _rounds(rig: Rig) -> tuple[list[float], list[float]]:
    """Return the median of each round, of the worker's loop and of the bare one; the other one begins in turn."""
    feed = images(_ROWS, _SIZE)
    own: list[float] = []
    bare: list[float] = []
    with rig.backend.open_engine(request_for(conv_net(_ROWS, _SIZE)), 240.0) as session:
        plan = rig.plan_of(session)
        loops = (
            lambda: own.append(median(_own_ms(session, feed))),
            lambda: bare.append(median(_bare_ms(rig, plan, feed))),
        )
        for number in range(ROUNDS):
            for loop in loops if number % 2 else reversed(loops):
                loop()
    return own, bare


def _own_ms(session, feed) -> tuple[float, ...]:
    return session.time(feed, warm_up_ms=_WARM_UP_S * 1e3, min_iterations=10, min_s=_SECONDS).gpu_ms


def _bare_ms(rig: Rig, plan: Path, feed) -> list[float]:
    fields = {"plan": SentFile(plan), "tensors": feed, "warm_up_s": _WARM_UP_S, "min_s": _SECONDS}
    return list(map(float, rig.conversation.ask("bare", fields, 60.0)["gpu_ms"]))


def test_the_command_measures_an_engine_with_its_layers(
    interpreter: Interpreter, rig: Rig, tmp_path: Path, figure: Figure
) -> None:
    folder = write_case(tmp_path / "timed", _CASE, conv_net(_ROWS, _SIZE))
    settings = RunSettings(
        cases=(folder,),
        backends=("tensorrt",),
        tensorrt=TensorRTSettings((interpreter.label,), tmp_path / "cache"),
        out=tmp_path / "reports",
        judging=JudgeSettings(cache=tmp_path / "cache"),
    )
    run, _ = run_latency(LatencySettings(settings, LatencyProtocol(min_s=1.0)), SilentProgress())
    [outcome] = run.outcomes
    assert outcome.latency is not None, outcome.message
    [measured] = outcome.latency.measurements
    assert measured.gpu is not None
    assert measured.gpu.median_ms < measured.host.median_ms, "the host's time holds the transfers"
    total = sum(layer.median_ms for layer in outcome.latency.layers)
    for name, value in (
        ("GPU p50, ms", measured.gpu.median_ms),
        ("cv", measured.gpu.cv),
        ("host p50, ms", measured.host.median_ms),
        ("sum of layers over GPU p50", total / measured.gpu.median_ms),
        ("disturbed by", "; ".join(measured.disturbances) or "nothing"),
        ("clock, MHz", str(measured.conditions and measured.conditions.clock_median_mhz)),
    ):
        figure(name, value)
    assert total > 0.5 * measured.gpu.median_ms
