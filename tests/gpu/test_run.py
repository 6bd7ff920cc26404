"""The whole way: a case folder, TensorRT in a process of its own, three checks a variant, a run on disk."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from parity.backends import TensorRTSettings
from parity.backends.tensorrt.opening import converse
from parity.runner import JudgeSettings, RunSettings, run_cases
from parity.verdict import Verdict
from tests.gpu.models import conv_net
from tests.gpu.rig import TACTIC_SOURCES, Killer, told
from tests.tiny_cases import two_matmuls
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from parity.backends import Backend
    from parity.backends.tensorrt.interpreter import Interpreter
    from parity.results import Run
    from tests.gpu.rig import Rig

    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

CHECKS = ("outputs", "census", "invariants")
VARIANTS = ("fp32", "fp16", "int8")
_BUILD = f"build = {{ optimization_level = 2, tactic_sources = {json.dumps(list(TACTIC_SOURCES))}"

CASE = """\
model = "model.onnx"
batch_size = 8
[inputs]
kind = "random"
seed = 1
count = 24
[calibration]
kind = "random"
seed = 2
count = 32
[shapes.x]
min = [1, 3, 32, 32]
opt = [8, 3, 32, 32]
max = [8, 3, 32, 32]
""" + "".join(f'[variants.{name}]\nprecision = "{name}"\n{_BUILD} }}\n' for name in VARIANTS)

OVERFLOWING = f"""\
model = "model.onnx"
[inputs]
kind = "random"
seed = 1
count = 2
[variants.fp32]
precision = "fp32"
{_BUILD} }}
[variants.fp16]
precision = "fp16"
{_BUILD}, typing = "strong" }}
"""


@dataclass(frozen=True, slots=True)
class Timed:
    """A run and how long it took, in seconds."""

    run: Run
    took_s: float


def settings_for(case: Path, backends: tuple[str, ...] = ("tensorrt",)) -> RunSettings:
    folder = case.parent
    return RunSettings(
        cases=(case,),
        backends=backends,
        out=folder / "reports",
        tensorrt=TensorRTSettings(cache=folder / "cache"),
        judging=JudgeSettings(cache=folder / "cache", debug=True),
    )


def judge(settings: RunSettings) -> Timed:
    started = time.perf_counter()
    return Timed(run_cases(settings), time.perf_counter() - started)


@pytest.fixture(scope="module")
def case(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a sound case; without a GPU there is none."""
    assert rig.backend.name.startswith("tensorrt")
    return write_case(tmp_path_factory.mktemp("run") / "sound", CASE, conv_net("rows", 32))


@pytest.fixture(scope="module")
def first(case: Path) -> Timed:
    return judge(settings_for(case))


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_census_and_invariants_pass(first: Timed, figure: Figure, variant: str) -> None:
    outcomes = [outcome for outcome in first.run.outcomes if outcome.precision == variant]
    assert [(o.check, o.verdict) for o in outcomes] == [(check, Verdict.PASS) for check in CHECKS], told(outcomes)
    for outcome in outcomes:
        figure(f"{variant} {outcome.check}", outcome.headline)
    assert outcomes[1].census is not None
    laws = {law.name: law.verdict for law in outcomes[2].invariants}
    assert Verdict.PASS in laws.values(), laws


def test_outputs_carry_conversion_and_engine_error_apart(first: Timed, figure: Figure) -> None:
    tensors = [t for outcome in first.run.outcomes if outcome.check == "outputs" for t in outcome.tensors]
    assert len(tensors) == len(VARIANTS)
    for variant, tensor in zip(VARIANTS, tensors, strict=True):
        assert tensor.triangulation is not None, variant
        for name in ("conversion", "engine", "total"):
            figure(f"{variant} {name} error, dB", getattr(tensor.triangulation, name).sqnr_db)
        assert not tensor.triangulation.blames_engine, tensor.triangulation


def test_a_second_run_builds_nothing(first: Timed, case: Path, figure: Figure) -> None:
    second = judge(settings_for(case))
    figure("first run, s", first.took_s)
    figure("second run, s", second.took_s)
    sources = [{o.variant: o.engine.source for o in timed.run.outcomes if o.engine} for timed in (first, second)]
    assert [set(found.values()) for found in sources] == [{"built"}, {"cache"}], sources
    hashes = [[o.engine.sha256 for o in timed.run.outcomes if o.engine] for timed in (first, second)]
    assert hashes[0] == hashes[1]
    assert [o.verdict for o in second.run.outcomes] == [o.verdict for o in first.run.outcomes], told(
        second.run.outcomes
    )


def test_an_fp16_overflow_fails_in_the_engine_as_forecast(rig: Rig, tmp_path: Path, figure: Figure) -> None:
    case = write_case(tmp_path / "hot", OVERFLOWING, two_matmuls(1e6))
    run = run_cases(settings_for(case, ("onnxruntime", "tensorrt")))
    outputs = {o.variant: o for o in run.outcomes if o.check == "outputs"}
    for outcome in outputs.values():
        figure(outcome.variant, outcome.headline)
    verdicts = {name: outcome.verdict for name, outcome in outputs.items()}
    expected = {"fp32": Verdict.PASS, "fp16": Verdict.FAIL}
    places = ("onnxruntime", rig.backend.name)
    assert verdicts == {f"{name}@{place}": verdict for name, verdict in expected.items() for place in places}, told(
        list(outputs.values())
    )


def test_a_worker_killed_in_the_middle_of_a_run_costs_one_outcome(
    first: Timed, case: Path, interpreter: Interpreter
) -> None:
    from parity.backends.tensorrt.process import LiveConversation

    killer = Killer()

    @contextmanager
    def opened(_names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        killer.conversation = LiveConversation(interpreter)
        with converse([killer.conversation], tensorrt) as backends:
            yield backends

    settings = replace(settings_for(case), variants=("fp32", "fp16"))
    run = run_cases(settings, killer, opened)
    verdicts = [(o.precision, o.check, o.verdict) for o in run.outcomes]
    expected = [(name, check, Verdict.PASS) for name in ("fp32", "fp16") for check in CHECKS]
    expected[1] = ("fp32", "census", Verdict.ERROR)
    assert verdicts == expected, told(run.outcomes)
    assert "SIGKILL" in run.outcomes[1].message
    assert first.run.outcomes[0].headline == run.outcomes[0].headline
