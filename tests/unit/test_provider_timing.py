"""How ONNX Runtime is timed: what is copied in which loop, on the CPU and by a session that writes down its calls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends import onnxruntime as runtime_module
from parity.backends import provider as provider_module
from parity.backends.engine import EngineRequest, OnnxSource
from parity.backends.onnxruntime_provider import PROVIDER_NAMES
from parity.backends.onnxruntime_timing import time_bound, time_transferless
from parity.backends.provider import ProviderBackend
from parity.errors import BackendError
from parity.options import Provider
from parity.results import GpuRecord
from parity.runner.selection import environment_of
from parity.tolerance import Precision
from tests.tiny_graphs import affine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.backends.provider import ProviderSession

FEED = {"x": np.ones((2, 2), np.float32)}
GPU = GpuRecord("NVIDIA H200", "9.0", "580.1")


class Binding:
    """Writes down what is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def __getattr__(self, name: str):
        return lambda *words: self.calls.append((name, *words))

    def names(self) -> list[object]:
        return [call[0] for call in self.calls]


def session_of(binding: Binding) -> SimpleNamespace:
    return SimpleNamespace(
        io_binding=lambda: binding, run_with_iobinding=lambda _bound, _options: binding.calls.append(("run",))
    )


def test_a_reading_with_transfers_copies_its_inputs_anew() -> None:
    binding = Binding()
    how = {"warm_up_ms": 0.0, "min_iterations": 3, "min_s": 0.0}
    readings = time_bound(session_of(binding), {"x": 1}, ["y"], None, **how)
    assert len(readings) == 3
    assert binding.names() == ["bind_output", *["bind_ortvalue_input", "run"] * 4]
    assert binding.calls[0] == ("bind_output", "y")


def test_a_reading_without_transfers_copies_nothing_and_waits_for_the_provider() -> None:
    binding = Binding()
    readings = time_transferless(session_of(binding), {"x": 1}, ["y"], None, device=("cuda", 1), min_s=0.0)
    assert len(readings) == 1
    assert binding.names() == [
        *("bind_ortvalue_input", "bind_output", "synchronize_inputs"),
        *("run", "synchronize_outputs") * 2,
    ]
    assert ("bind_output", "y", "cuda", 1) in binding.calls


@pytest.fixture
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderSession]:
    """Yield a provider's session whose provider is the CPU's."""
    monkeypatch.setitem(PROVIDER_NAMES, Provider.CUDA, "CPUExecutionProvider")
    monkeypatch.setattr(runtime_module, "provider_entry", lambda _options: "CPUExecutionProvider")
    monkeypatch.setattr(ProviderBackend, "cuda_device", ("cpu", 0))
    model = affine()
    request = EngineRequest(OnnxSource(model, model), Precision.FP32, keep_precision=Precision.FP32)
    with ProviderBackend(Provider.CUDA).open_engine(request, 10.0) as session:
        yield session


def timed(session: ProviderSession, **more):
    return session.time(FEED, warm_up_ms=0.0, min_iterations=3, min_s=0.0, **more)


def test_a_provider_is_timed_with_transfers_and_without(on_the_cpu: ProviderSession) -> None:
    found = timed(on_the_cpu, transferless_s=0.002)
    assert len(found.host_ms) == 3
    assert len(found.host_compute_ms) >= 1
    assert all(reading > 0 for reading in found.host_compute_ms)
    assert (found.gpu_ms, found.notes) == ((), ())


def test_without_being_asked_no_second_loop_runs(on_the_cpu: ProviderSession) -> None:
    assert timed(on_the_cpu).host_compute_ms == ()


def test_a_second_loop_that_fails_costs_a_note_and_not_the_latency(
    on_the_cpu: ProviderSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_words: object, **_options: object) -> None:
        raise BackendError("no memory")

    monkeypatch.setattr(runtime_module.OnnxRuntimeSession, "time_transferless", fail)
    found = timed(on_the_cpu, transferless_s=0.002)
    assert len(found.host_ms) == 3
    assert (found.host_compute_ms, found.notes) == (
        (),
        ("the host was not timed without transfers: no memory",),
    )


def test_a_run_keeps_the_gpu_of_a_provider_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_module, "describe_gpu", lambda number: GPU if number == 0 else None)
    backends = (ProviderBackend(Provider.CUDA), ProviderBackend(Provider.TENSORRT), ProviderBackend(Provider.CUDA, 1))
    found = environment_of(backends)
    assert (found.gpus, found.workers) == ((GPU,), ())
