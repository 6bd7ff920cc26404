"""A worker behind a true ssh on this machine: the same engine, the same answers, and what its death costs."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends import TensorRTSettings
from parity.backends.engine import EngineFile
from parity.backends.tensorrt.interpreter import parse_interpreter
from parity.backends.tensorrt.opening import converse
from parity.backends.tensorrt.process import LiveConversation
from parity.runner import JudgeSettings, RunSettings, run_cases
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.gpu.models import calibration_feeds, conv_net, images, linear, vectors
from tests.gpu.rig import TACTIC_SOURCES, Killer, Rig, request_for, require_close, sqnr_db, told
from tests.ssh_server import ssh_server
from tests.tiny_graphs import run
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from parity.backends import Backend
    from parity.backends.tensorrt.interpreter import Interpreter
    from parity.backends.tensorrt.session import TensorRTSession

    Build = Callable[..., TensorRTSession]
    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

_VARIANT = (
    f'precision = "fp32"\nbuild = {{ optimization_level = 1, tactic_sources = {list(TACTIC_SOURCES)} }}\n'
).replace("'", '"')
CASE = (
    'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 4\n'
    f"[variants.one]\n{_VARIANT}[variants.two]\n{_VARIANT}"
)


@pytest.fixture(scope="module")
def elsewhere(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interpreter]:
    """Return the same interpreter as this machine's ssh has it."""
    if "python=" not in interpreter.spec or not interpreter.is_local:
        pytest.skip(f"{interpreter.label} is no path, which ssh could start")
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield parse_interpreter(server.spec(interpreter.spec.partition("python=")[2]))


@pytest.fixture(scope="module")
def far(elsewhere: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    cache = tmp_path_factory.mktemp("far-engines")
    conversation = LiveConversation(elsewhere)
    with converse([conversation], TensorRTSettings(cache=cache)) as (backend,):
        yield Rig(conversation, backend, cache)


@pytest.fixture
def build_far(far: Rig) -> Iterator[Build]:
    with ExitStack() as stack:

        def open_engine(*words: object, **options: object) -> TensorRTSession:
            request = request_for(*words, **options)  # type: ignore[arg-type]  # the fixture's own words
            return stack.enter_context(far.backend.open_engine(request, 240.0))

        yield open_engine


def test_the_worker_there_describes_itself_as_the_one_here_does(rig: Rig, far: Rig) -> None:
    assert far.backend.worker == rig.backend.worker
    assert far.backend.version == rig.backend.version


def test_an_engine_built_there_answers_there_as_it_does_here(
    build: Build, build_far: Build, far: Rig, tmp_path: Path
) -> None:
    session = build_far(conv_net())
    require_close(session, conv_net(), images())
    plan = tmp_path / "from-there.plan"
    plan.write_bytes(far.plan_of(session).read_bytes())
    here = build(EngineFile(plan))
    for seed in range(3):
        np.testing.assert_array_equal(session.run(images(seed=seed))["y"], here.run(images(seed=seed))["y"])


def test_an_engine_built_here_answers_there(build: Build, build_far: Build, rig: Rig, tmp_path: Path) -> None:
    session = build(linear())
    plan = tmp_path / "from-here.plan"
    plan.write_bytes(rig.plan_of(session).read_bytes())
    np.testing.assert_array_equal(build_far(EngineFile(plan)).run(vectors())["y"], session.run(vectors())["y"])


def test_a_calibrator_there_reads_the_feeds_of_here(build_far: Build) -> None:
    from parity.build_options import Quantization

    options = {"quantization": Quantization.IMPLICIT, "calibration": calibration_feeds}
    session = build_far(conv_net(), Precision.INT8, **options)
    assert sqnr_db(session.run(images())["y"], run(conv_net(), images())["y"]) > 15


def test_many_feeds_go_through_the_channel(build: Build, build_far: Build, figure: Figure) -> None:
    feeds = [images(seed=seed) for seed in range(20)]
    took_s = {}
    for place, session in (("here", build(conv_net())), ("behind ssh", build_far(conv_net()))):
        session.run(feeds[0])
        started = time.perf_counter()
        answers = [answer.outputs["y"] for answer in session.infer_all(feeds)]
        took_s[place] = time.perf_counter() - started
        assert len({answer.tobytes() for answer in answers}) == len(feeds)
    moved = sum(array.nbytes for array in answers) + sum(feed["x"].nbytes for feed in feeds)
    for place, seconds in took_s.items():
        figure(f"feeds and answers {place}, MB/s", moved / seconds / 1e6)


def test_a_worker_killed_there_costs_one_outcome(elsewhere: Interpreter, rig: Rig, tmp_path: Path) -> None:
    killer = Killer()

    @contextmanager
    def opened(_names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        killer.conversation = LiveConversation(elsewhere)
        with converse([killer.conversation], tensorrt) as backends:
            yield backends

    case = write_case(tmp_path / "case", CASE, linear())
    settings = RunSettings(
        cases=(case,),
        backends=("tensorrt",),
        out=tmp_path / "reports",
        tensorrt=TensorRTSettings(cache=tmp_path / "cache"),
        judging=JudgeSettings(cache=tmp_path / "cache"),
    )
    found = run_cases(settings, killer, opened).outcomes
    lost = [outcome for outcome in found if outcome.verdict is Verdict.ERROR]
    assert len(found) == 6, told(found)
    assert [(o.variant, o.check) for o in lost] == [(f"one@{rig.backend.name}", "census")], told(found)
    assert "was killed over there, or the connection broke" in lost[0].message
    assert killer.conversation is not None
    assert killer.conversation.generation == 2
