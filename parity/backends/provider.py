"""ONNX Runtime's GPU providers as candidates: the same model where many ship it, judged like an engine.

Beside TensorRT's own engines, so that a report can say whether a difference is TensorRT's or the GPU's.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from parity.backends.engine import EngineAnswer, EngineTiming, OnnxSource
from parity.backends.nvml import describe_gpu
from parity.backends.onnxruntime import OnnxRuntimeBackend
from parity.errors import BackendError
from parity.graph import hash_model
from parity.options import Provider, SessionOptions
from parity.results import EngineRecord
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    import numpy as np
    from onnx import ModelProto

    from parity.backends import Tensors
    from parity.backends.engine import EngineRequest, LayerTime, Profile
    from parity.backends.onnxruntime import OnnxRuntimeSession
    from parity.graph import TensorInfo
    from parity.results import GpuRecord

NO_GRAPH = "ONNX Runtime was not asked for a CUDA graph; each inference was launched by itself"
ONE_STREAM = "ONNX Runtime ran one inference at a time; several streams are measured on TensorRT alone"

TF32_STAYS = (
    "the TensorRT provider has no switch for TF32, which TensorRT has on; "
    "NVIDIA_TF32_OVERRIDE=0 in the environment turns it off"
)

_TENSORRT_FLAGS = {
    Precision.FP16: "trt_fp16_enable",
    Precision.BF16: "trt_bf16_enable",
    Precision.INT8: "trt_int8_enable",
}


class ProviderBackend:
    """ONNX Runtime with its CUDA or TensorRT provider, under all graph optimisations, as it ships."""

    worker = None
    """It runs in this process; the environment's packages tell its version."""

    def __init__(self, provider: Provider, device: int = 0) -> None:
        self._provider = provider
        self._device = device
        self._runtime = OnnxRuntimeBackend()

    @property
    def name(self) -> str:
        """What stands behind the @ of a variant: ``onnxruntime-cuda``, ``onnxruntime-tensorrt``."""
        return f"onnxruntime-{self._provider}"

    @property
    def cuda_device(self) -> tuple[str, int]:
        """Where the provider computes, as ONNX Runtime names it."""
        return "cuda", self._device

    @property
    def gpu(self) -> GpuRecord | None:
        """The GPU that the provider computes on; None where NVML does not tell."""
        return describe_gpu(self._device)

    @property
    def version(self) -> str:
        """ONNX Runtime's version.

        Raises
        ------
        BackendUnavailable
            ONNX Runtime is missing, or does not have the provider.
        """
        return self._runtime.version

    def open(self, model: ModelProto, options: SessionOptions) -> OnnxRuntimeSession:
        """Make a session for a model, on the provider.

        Raises
        ------
        ModelError, BackendError
            As ``OnnxRuntimeBackend.open``.
        """
        return self._runtime.open(model, replace(options, provider=self._provider))

    def open_engine(self, request: EngineRequest, timeout_s: float) -> ProviderSession:
        """Load a variant's model.

        Raises
        ------
        BackendError
            The variant is no ONNX model, or the runtime is missing or fails.
        ModelError
            The runtime refuses the model.
        """
        if not isinstance(request.source, OnnxSource):
            raise BackendError(
                f"{self.name}: executes ONNX models only; judge engine files and networks with --backend tensorrt"
            )
        options = SessionOptions(
            provider=self._provider,
            provider_options=(("device_id", str(self._device)), *provider_options(self._provider, request)),
            graph_optimizations=True,
            timeout_s=timeout_s,
        )
        model = model_of(self._provider, request.precision, request.source)
        return ProviderSession(self, model, options, notes_on(self._provider, request))

    def close(self) -> None:
        """Do nothing: sessions close themselves."""


class ProviderSession:
    """A model on a GPU provider; it has no plan, no profiles and no inspector."""

    inspector_json = ""

    def __init__(
        self, backend: ProviderBackend, model: ModelProto, options: SessionOptions, notes: tuple[str, ...] = ()
    ) -> None:
        self._backend = backend
        self._model = model
        self._options = options
        self._notes = notes
        self._session = backend.open(model, options)

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's inputs, in its order."""
        return self._session.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's outputs, in its order."""
        return self._session.outputs

    @property
    def record(self) -> EngineRecord:
        """What is executed: the model itself, with the provider's options as flags."""
        return EngineRecord(
            sha256=hash_model(self._model),
            size_bytes=self._model.ByteSize(),
            source="onnxruntime",
            flags=tuple(f"{key}={value}" for key, value in self._options.provider_options),
            bindings=tuple(str(info) for info in (*self.inputs, *self.outputs)),
            profile_count=0,
            notes=self._notes,
        )

    def run(self, feed: Tensors) -> dict[str, np.ndarray]:
        """Run one feed and return every output by name.

        Raises
        ------
        FeedError, BackendError
            As ``OnnxRuntimeSession.run``.
        """
        return self._session.run(feed)

    def infer(
        self,
        feed: Tensors,
        *,
        profile: int | None = None,  # noqa: ARG002 - the protocol's; there are no profiles
        fresh_context: bool = False,
        find_unwritten: bool = False,  # noqa: ARG002 - the protocol's; the runtime allocates outputs itself
    ) -> EngineAnswer:
        """Run one feed; in a session of its own where a fresh context is asked for.

        Raises
        ------
        FeedError, BackendError
            As ``run``.
        """
        if not fresh_context:
            return EngineAnswer(self.run(feed))
        with self.reload() as fresh:
            return EngineAnswer(fresh.run(feed))

    def infer_all(self, feeds: Iterable[Tensors]) -> Iterator[EngineAnswer]:
        """Run feeds one after the other.

        Raises
        ------
        FeedError, BackendError
            As ``run``.
        """
        return map(self.infer, feeds)

    def layer_times(self, feed: Tensors, iterations: int) -> tuple[LayerTime, ...]:  # noqa: ARG002 - the protocol's
        """Return nothing: the provider does not tell."""
        return ()

    def time(
        self,
        feed: Tensors,
        *,
        warm_up_ms: float,
        min_iterations: int,
        min_s: float,
        cuda_graph: bool = False,
        streams: int = 1,
        transferless_s: float = 0.0,
    ) -> EngineTiming:
        """Run one feed again and again, by the host's clock: the provider records no events.

        Raises
        ------
        FeedError, BackendError
            As ``run``.
        """
        timing = self._session.time(feed, warm_up_ms=warm_up_ms, min_iterations=min_iterations, min_s=min_s)
        without, failures = self._transferless(feed, transferless_s) if transferless_s else ((), ())
        notes = (*((NO_GRAPH,) if cuda_graph else ()), *((ONE_STREAM,) if streams > 1 else ()), *failures)
        return replace(timing, host_compute_ms=without, notes=notes)

    def _transferless(self, feed: Tensors, min_s: float) -> tuple[tuple[float, ...], tuple[str, ...]]:
        """Return the host's times without transfers; a loop that fails costs a note, not the latency."""
        try:
            return self._session.time_transferless(feed, device=self._backend.cuda_device, min_s=min_s), ()
        except BackendError as error:
            return (), (f"the host was not timed without transfers: {error}",)

    def reload(self) -> ProviderSession:
        """Load the same model once more.

        Raises
        ------
        BackendError
            The runtime fails.
        """
        return ProviderSession(self._backend, self._model, self._options, self._notes)

    def __enter__(self) -> ProviderSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.__exit__(kind, error, trace)


def model_of(provider: Provider, precision: Precision, source: OnnxSource) -> ModelProto:
    """Return what a provider is given: the typed model, but where the TensorRT provider lowers a float32 one itself."""
    lowers_itself = provider is Provider.TENSORRT and precision in {Precision.FP16, Precision.BF16}
    return source.model if lowers_itself and not source.keep else source.typed


def provider_options(provider: Provider, request: EngineRequest) -> tuple[tuple[str, str], ...]:
    """Return a provider's options for a request, by ONNX Runtime's names.

    On CUDA, TF32 is on for tf32 alone. The TensorRT provider has no switch for TF32 and takes its profile as text.
    """
    if provider is Provider.CUDA:
        return (("use_tf32", "1" if request.precision is Precision.TF32 else "0"),)
    options: list[tuple[str, str]] = []
    flag = _TENSORRT_FLAGS.get(request.precision)
    if flag:
        options.append((flag, "True"))
    if request.options.optimization_level is not None:
        options.append(("trt_builder_optimization_level", str(request.options.optimization_level)))
    for profile in request.profiles[:1]:
        options += [(f"trt_profile_{kind}_shapes", _shapes(profile, kind)) for kind in ("min", "opt", "max")]
    return tuple(options)


def notes_on(provider: Provider, request: EngineRequest) -> tuple[str, ...]:
    """Return what a variant asks for and a provider does not do, as sentences for the report."""
    is_tensorrt = provider is Provider.TENSORRT
    taken = {"optimization_level"} if is_tensorrt else set()
    untouched = type(request.options)()
    names = [item.name for item in fields(untouched) if item.name not in taken]
    left_out = [name for name in names if getattr(request.options, name) != getattr(untouched, name)]
    notes = [f"ONNX Runtime's provider does not take {', '.join(left_out)} of the engine options"] if left_out else []
    if is_tensorrt and len(request.profiles) > 1:
        notes.append(f"of {len(request.profiles)} profiles it is given the first alone")
    if is_tensorrt and request.precision is Precision.FP32 and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0":
        notes.append(TF32_STAYS)
    return tuple(notes)


def _shapes(profile: Profile, kind: str) -> str:
    return ",".join(
        f"{name}:{'x'.join(str(size) for size in getattr(shapes, kind))}" for name, shapes in profile.items()
    )
