"""What fails is told by name, and what comes after it works."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends.engine import EngineFile, NetworkSource
from parity.errors import BackendCrash, BackendError, BackendTimeout, FeedError, ModelError, ParityError
from tests.gpu.models import linear, tensor, vectors
from tests.gpu.rig import request_for, require_close, rows_of
from tests.tiny_graphs import model_of, node, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from onnx import ModelProto

    from parity.backends.tensorrt.session import TensorRTSession
    from tests.gpu.rig import Rig

    Build = Callable[..., TensorRTSession]
    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

_GIB = 2**30


@pytest.fixture(autouse=True)
def still_works(build: Build) -> Iterator[None]:
    """Judge a sound engine behind each test, in the same worker or in the one that replaced it."""
    yield
    require_close(build(linear()), linear(), vectors())


@pytest.fixture
def plan(rig: Rig, build: Build) -> bytes:
    return rig.plan_of(build(linear())).read_bytes()


def load(build: Build, path: Path, content: bytes) -> TensorRTSession:
    path.write_bytes(content)
    return build(EngineFile(path))


@pytest.mark.parametrize("percent", [10, 50, 99])
def test_a_truncated_plan_is_refused(build: Build, plan: bytes, tmp_path: Path, figure: Figure, percent: int) -> None:
    with pytest.raises((ModelError, BackendError), match=r"cut\.plan.*(truncated|damaged)") as refused:
        load(build, tmp_path / "cut.plan", plan[: len(plan) * percent // 100])
    figure(f"{percent} % of a plan", f"{refused.type.__name__}: {refused.value}")
    assert not isinstance(refused.value, BackendCrash), "TensorRT died of it"


def test_bytes_that_are_no_plan_are_refused(build: Build, tmp_path: Path, figure: Figure) -> None:
    noise = np.random.default_rng(5).integers(0, 256, 4096, np.uint8).tobytes()
    with pytest.raises((ModelError, BackendError), match=r"noise\.plan.*(is no|damaged|another)") as refused:
        load(build, tmp_path / "noise.plan", noise)
    figure("noise", f"{refused.type.__name__}: {refused.value}")
    assert not isinstance(refused.value, BackendCrash), "TensorRT died of it"


# Where a plan of 8.6.0 tells what wrote it, found by changing one byte after the other.
@pytest.mark.parametrize(
    ("offset", "byte", "said"),
    [(64, 0xEE, "serializationVersion"), (84, 82, r"expecting library version 8\.6\.0\.12 got 82\.6\.0\.12")],
    ids=["serialization", "library"],
)
def test_a_plan_of_another_tensorrt_is_refused_with_what_to_do(  # noqa: PLR0917 - pytest gives fixtures by name
    rig: Rig, build: Build, plan: bytes, tmp_path: Path, figure: Figure, offset: int, byte: int, said: str
) -> None:
    if not rig.backend.version.startswith("8.6.0"):
        pytest.skip(f"where plans of TensorRT {rig.backend.version} tell what wrote them is not known")
    foreign = plan[:offset] + bytes([byte]) + plan[offset + 1 :]
    with pytest.raises((ModelError, BackendError), match=rf"foreign\.plan.*another TensorRT.*{said}") as refused:
        load(build, tmp_path / "foreign.plan", foreign)
    figure("plan of another TensorRT", str(refused.value))
    assert "--tensorrt-python" in str(refused.value) or "interpreter" in str(refused.value)


def test_a_plan_for_another_gpu_is_refused_with_what_to_do(
    rig: Rig, build: Build, plan: bytes, tmp_path: Path, figure: Figure
) -> None:
    if not rig.backend.version.startswith("8.6.0"):
        pytest.skip(f"where plans of TensorRT {rig.backend.version} tell their GPU is not known")
    told = {}
    # Behind TensorRT's own version: one of the numbers there is the GPU's compute capability.
    for offset in range(88, 160, 4):
        changed = plan[:offset] + bytes([plan[offset] ^ 1]) + plan[offset + 1 :]
        try:
            load(build, tmp_path / f"at{offset}.plan", changed)
        except (ModelError, BackendError) as refused:
            told[offset] = f"{type(refused).__name__}: {refused}"
        if "was built for another GPU" in told.get(offset, ""):
            break
    for offset, message in told.items():
        figure(f"plan with another number at byte {offset}", message)
    assert any("was built for another GPU; build it with this one" in message for message in told.values()), told


def test_what_tensorrt_makes_of_another_release_in_a_plans_head_is_told(
    build: Build, plan: bytes, tmp_path: Path, figure: Figure
) -> None:
    # 8.6 was seen to load such a plan: the number is for people, and the serialization's own version decides.
    told = "loads, and answers right"
    try:
        session = load(build, tmp_path / "renamed.plan", plan[:24] + bytes([10, 3, 0, 7]) + plan[28:])
        np.testing.assert_allclose(session.run(vectors())["y"], run(linear(), vectors())["y"], atol=1e-4)
    except (ModelError, BackendError) as refused:
        told = f"{type(refused).__name__}: {refused}"
        assert "10.3.0.7" in told
    figure("plan with another release in its head", told)


def test_a_plan_with_flipped_bytes_is_refused_or_answers_and_harms_nothing_else(
    build: Build, plan: bytes, tmp_path: Path, figure: Figure
) -> None:
    middle = len(plan) // 2
    flipped = bytes(byte ^ 0xFF for byte in plan[middle : middle + 64])
    problem = ""
    try:
        session = load(build, tmp_path / "flipped.plan", plan[:middle] + flipped + plan[middle + 64 :])
        answer = session.run(vectors())["y"]
    except BackendCrash as crashed:
        # TensorRT checks no sum over a plan: it may read what is there as addresses.
        figure("flipped bytes", f"crash: {crashed}")
    except (ModelError, BackendError) as refused:
        figure("flipped bytes", f"{type(refused).__name__}: {refused}")
        problem = "" if "TensorRT: " in str(refused) else f"does not quote TensorRT: {refused}"
    else:
        is_right = np.allclose(answer, run(linear(), vectors())["y"], atol=1e-4)
        figure("flipped bytes", "loads, and answers right" if is_right else "loads, and answers wrong")
        problem = "" if answer.shape == (4, 5) else f"answers in shape {answer.shape}"
    assert not problem


def wide(output_count: int) -> ModelProto:
    """Return x (rows, 1) -> as many outputs of (rows, 65536)."""
    row = np.random.default_rng(6).standard_normal((1, 2**16)).astype(np.float32)
    names = [f"y{number}" for number in range(output_count)]
    nodes = [node("Mul", ["x", f"w{name}"], [name], f"mul_{name}") for name in names]
    weights = {f"w{name}": row * np.float32(number + 1) for number, name in enumerate(names)}
    return model_of(nodes, [tensor("x", ["rows", 1])], [tensor(name, ["rows", 2**16]) for name in names], weights)


def test_outputs_that_the_gpu_has_no_room_for_are_told_and_smaller_ones_run(rig: Rig, figure: Figure) -> None:
    # Just below the 2**31 elements that a tensor of TensorRT may have.
    rows, bytes_each = 2**15 - 1, 8 * _GIB
    model = wide(rig.backend.worker.memory_bytes // bytes_each + 2)
    request = request_for(model, profiles=(rows_of("x", (1,), best=1, most=rows),), optimization_level=0)
    with rig.backend.open_engine(request, 240.0) as session:
        with pytest.raises(BackendError, match=r"out of memory|free memory") as told:
            session.run({"x": np.ones((rows, 1), np.float32)})
        figure("out of memory", f"{told.type.__name__}: {told.value}")
        assert not isinstance(told.value, BackendCrash), "the worker died of it"
        small = {"x": np.full((2, 1), 3, np.float32)}
        np.testing.assert_allclose(session.run(small)["y1"], run(model, small)["y1"], rtol=1e-6)
    free = rig.free_bytes()
    figure("free after out of memory, GiB", free / _GIB)
    assert free > rig.backend.worker.memory_bytes // 2, f"{free / _GIB:.1f} GiB are free after the engine was unloaded"


def end(process_id: int, number: signal.Signals) -> None:
    """Send a signal, and wait a moment so that it has come."""
    os.kill(process_id, number)
    time.sleep(0.5)


def test_a_worker_killed_between_two_requests_costs_one_of_them(rig: Rig, build: Build) -> None:
    session = build(linear())
    before, killed = session.run(vectors())["y"], rig.process_id
    end(killed, signal.SIGKILL)
    with pytest.raises(BackendCrash, match="SIGKILL"):
        session.run(vectors())
    np.testing.assert_array_equal(session.run(vectors())["y"], before)
    assert rig.process_id != killed
    assert any("the worker was replaced" in note for note in session.record.notes), session.record.notes


def test_a_worker_killed_in_the_middle_of_a_request_costs_that_request(rig: Rig, build: Build) -> None:
    session = build(linear())
    session.run(vectors())
    killer = threading.Timer(1.0, os.kill, (rig.process_id, signal.SIGKILL))
    killer.start()
    started = time.monotonic()
    with pytest.raises(BackendCrash, match='SIGKILL while it did "profile"'):
        # Long enough to be interrupted; a slow kill would end it as a timeout, which is not what is asked for.
        session.layer_times(vectors(), 2_000_000)
    took = time.monotonic() - started
    killer.join()
    assert took < 20, f"the end of the worker was noticed after {took:.1f} s"
    require_close(session, linear(), vectors())


def test_a_worker_that_hangs_is_given_up_and_replaced(rig: Rig, build: Build, figure: Figure) -> None:
    limit_s = 8.0
    session = build(linear(), timeout_s=limit_s)
    session.run(vectors())
    stopped = rig.process_id
    end(stopped, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(BackendTimeout, match='no answer within 8 s while it did "infer"'):
        session.run(vectors())
    took = time.monotonic() - started
    figure("a hang was given up after, s", took)
    assert took < limit_s + 12, f"{took:.1f} s"
    require_close(session, linear(), vectors())
    assert rig.process_id != stopped


@pytest.mark.parametrize(("operator", "domain"), [("Det", ""), ("Nothing", "com.example")])
def test_an_operator_that_tensorrt_does_not_know_is_refused_by_its_node(
    build: Build, figure: Figure, operator: str, domain: str
) -> None:
    domains = [domain] * bool(domain)
    nodes = [
        node("Neg", ["x"], ["n"], "before"),
        node(operator, ["n"], ["y"], "the_unknown", **({"domain": domain} if domain else {})),
    ]
    model = model_of(nodes, [tensor("x", [3, 3])], [tensor("y", [])], domains=domains)
    with pytest.raises(ModelError, match="the_unknown") as refused:
        build(model)
    figure(f"unknown operator {operator}", str(refused.value))


def test_a_network_function_that_raises_is_told_with_its_line(build: Build, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("def build(network, weights, trt):\n    raise ValueError('no such backbone')\n")
    with pytest.raises(ModelError, match=r"net\.py, line 2, in build: ValueError: no such backbone"):
        build(NetworkSource(tmp_path / "net.py", "build"))


@pytest.mark.parametrize(
    ("feed", "told"),
    [
        ({"x": np.zeros((4, 6), np.float64)}, "float64"),
        ({"x": np.zeros((4, 7), np.float32)}, r"\(4, 7\)"),
        ({"x": np.zeros(24, np.float32)}, r"\(24,\)"),
        ({"image": np.zeros((4, 6), np.float32)}, "image"),
        ({}, "expects x"),
    ],
    ids=["dtype", "shape", "rank", "name", "nothing"],
)
def test_a_feed_that_does_not_fit_is_refused(build: Build, feed: dict[str, np.ndarray], told: str) -> None:
    with pytest.raises(FeedError, match=told):
        build(linear()).run(feed)


def test_nothing_of_a_failure_is_left_for_the_next_model(build: Build) -> None:
    with pytest.raises(ParityError):
        build(model_of([node("Det", ["x"], ["y"], "det")], [tensor("x", [3, 3])], [tensor("y", [])]))
    require_close(build(linear(2)), linear(2), vectors(2))
