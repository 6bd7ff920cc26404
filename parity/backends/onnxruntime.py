"""ONNX Runtime behind the ``Backend`` protocol: the reference, and the forecast of a precision.

ONNX Runtime's exceptions end here: a model that it refuses becomes a ``ModelError``, all else a ``BackendError``.
"""

from __future__ import annotations

import ctypes
import re
import tempfile
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ml_dtypes  # noqa: F401 - teaches numpy.dtype() the names bfloat16 and float8_*
import numpy as np
import onnx
from google.protobuf.message import EncodeError

from parity.backends.engine import EngineTiming
from parity.backends.onnxruntime_provider import (
    MEND,
    PROVIDER_NAMES,
    load_libraries,
    provider_entry,
    require_loaded,
    require_provider,
)
from parity.backends.onnxruntime_timing import time_bound, time_transferless
from parity.backends.validation import check_feed
from parity.environment import onnxruntime_conflict, thread_limit
from parity.errors import BackendError, BackendTimeout, BackendUnavailable, ModelError, ParityError
from parity.graph import TensorInfo, model_interface
from parity.options import Provider, SessionOptions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from onnx import ModelProto

_FATAL_ONLY = 4  # What ONNX Runtime logs as an error it also raises, and the text of the exception is in the report.


class OnnxRuntimeBackend:
    """ONNX Runtime with its CPU or CUDA execution provider."""

    @property
    def name(self) -> str:
        """What stands behind the @ of a variant."""
        return "onnxruntime"

    @property
    def version(self) -> str:
        """ONNX Runtime's version.

        Raises
        ------
        BackendUnavailable
            ONNX Runtime is missing or broken.
        """
        return str(_runtime().__version__)

    def open(self, model: ModelProto, options: SessionOptions) -> OnnxRuntimeSession:
        """Make a session for a model.

        Raises
        ------
        ModelError
            ONNX Runtime refuses the model: unsupported opset or operator, broken graph.
        BackendUnavailable
            ONNX Runtime is missing, installed twice, or does not have the provider.
        BackendError
            The session cannot be made for another reason.
        """
        runtime = _runtime()
        require_provider(runtime, options.provider)
        complaint = load_libraries(runtime, options.provider)
        with _mapped_open_errors(runtime.__version__, options.provider, complaint), _loadable(model) as source:
            # With its fallback, a provider that fails, now or in a run, has the CPU answer in its place.
            session = runtime.InferenceSession(
                source, _session_options(runtime, options), providers=[provider_entry(options)], enable_fallback=0
            )
        # Older releases read no such argument.
        session.disable_fallback()
        require_loaded(session, options.provider, complaint)
        return OnnxRuntimeSession(session, model, options.timeout_s)


class OnnxRuntimeSession:
    """A model loaded by ONNX Runtime."""

    def __init__(self, session: Any, model: ModelProto, timeout_s: float) -> None:
        interface = model_interface(model)
        self._session = session
        self._inputs = interface.inputs
        self._outputs = interface.outputs
        self._element_types = {
            value.name: value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)
        }
        self._timeout_s = timeout_s

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's inputs, in its order."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's outputs, in its order."""
        return self._outputs

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one feed and return every output by name; bfloat16 and float8 come as their ml_dtypes.

        Raises
        ------
        FeedError
            The feed's names, ranks, dtypes or fixed dimensions are not the model's.
        BackendTimeout
            The feed took longer than the options allow.
        BackendError
            ONNX Runtime failed.
        """
        check_feed(self._inputs, feed)
        runtime = _runtime()
        # An OrtValue may point into the array it was made from: the arrays live until the run is over.
        arrays = {name: _native(array) for name, array in feed.items()}
        with _mapped_run_errors():
            values = {name: self._to_value(runtime, name, array) for name, array in arrays.items()}
            with _deadline(runtime, self._timeout_s) as run_options:
                results = self._session.run_with_ort_values([info.name for info in self._outputs], values, run_options)
            # Each value is freed as soon as it is copied: many large outputs are not held twice.
            outputs = {info.name: _to_array(info, results.pop(0)) for info in self._outputs}
        return {name: _detached(output, arrays.values()) for name, output in outputs.items()}

    def time(
        self, feed: Mapping[str, np.ndarray], *, warm_up_ms: float, min_iterations: int, min_s: float
    ) -> EngineTiming:
        """Run one feed again and again; the parameters are those of ``EngineSession.time``.

        Only the host's clock reads: ONNX Runtime records no CUDA events.

        Raises
        ------
        FeedError, BackendTimeout, BackendError
            As ``run``; the time allowed is that of one feed, beside what the readings are to take.
        """
        check_feed(self._inputs, feed)
        runtime = _runtime()
        arrays = {name: _native(array) for name, array in feed.items()}
        limit_s = self._timeout_s + min_s + warm_up_ms / 1e3
        with _mapped_run_errors(), _deadline(runtime, limit_s) as run_options:
            readings = time_bound(
                self._session,
                {name: self._to_value(runtime, name, array) for name, array in arrays.items()},
                [info.name for info in self._outputs],
                run_options,
                warm_up_ms=warm_up_ms,
                min_iterations=min_iterations,
                min_s=min_s,
            )
        return EngineTiming(host_ms=readings)

    def time_transferless(
        self, feed: Mapping[str, np.ndarray], *, device: tuple[str, int], min_s: float
    ) -> tuple[float, ...]:
        """Run one feed again and again with inputs and outputs on a device; return the host's times in ms.

        Raises
        ------
        FeedError, BackendTimeout, BackendError
            As ``time``.
        """
        check_feed(self._inputs, feed)
        runtime = _runtime()
        arrays = {name: _native(array) for name, array in feed.items()}
        with _mapped_run_errors(), _deadline(runtime, self._timeout_s + min_s) as run_options:
            values = {name: self._to_value(runtime, name, array) for name, array in arrays.items()}
            names = [info.name for info in self._outputs]
            return time_transferless(self._session, values, names, run_options, device=device, min_s=min_s)

    def _to_value(self, runtime: Any, name: str, array: np.ndarray) -> Any:
        if array.dtype.isbuiltin == 1:
            return runtime.OrtValue.ortvalue_from_numpy(array)
        return runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(array, self._element_types[name])

    def __enter__(self) -> OnnxRuntimeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None


def _runtime() -> Any:
    """Import ONNX Runtime once its installation is known to be sound."""
    _require_sound_installation()
    try:
        import onnxruntime
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            f"onnxruntime: is installed but does not load ({error}); run: pip install --force-reinstall onnxruntime"
        ) from error
    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    return onnxruntime


@cache
def _require_sound_installation() -> None:
    conflict = onnxruntime_conflict()
    if conflict:
        raise BackendUnavailable(conflict)


def _session_options(runtime: Any, options: SessionOptions) -> Any:
    levels = runtime.GraphOptimizationLevel
    made = runtime.SessionOptions()
    made.graph_optimization_level = levels.ORT_ENABLE_ALL if options.graph_optimizations else levels.ORT_DISABLE_ALL
    made.intra_op_num_threads = options.thread_count or thread_limit()
    made.inter_op_num_threads = 1
    made.use_deterministic_compute = True
    made.enable_cpu_mem_arena = options.keeps_memory
    made.enable_mem_pattern = options.keeps_memory
    made.log_severity_level = _FATAL_ONLY
    return made


@contextmanager
def _loadable(model: ModelProto) -> Iterator[bytes | str]:
    """Yield a model as bytes or, above protobuf's limit, as a file with its weights beside it."""
    content = _serialize(model)
    if content is not None:
        yield content
        return
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        separate = onnx.ModelProto()
        separate.CopyFrom(model)  # Saving with external data rewrites the model that it is given.
        path = Path(folder) / "model.onnx"
        onnx.save_model(separate, path, save_as_external_data=True, location="weights.bin")
        yield str(path)


def _serialize(model: ModelProto) -> bytes | None:
    """Return a model as bytes, None above the 2 GiB that a protobuf message may have."""
    try:
        return bytes(model.SerializeToString())
    except (EncodeError, ValueError):
        # Which of the two depends on protobuf's release; even the size cannot be asked for without raising.
        return None


@contextmanager
def _deadline(runtime: Any, timeout_s: float) -> Iterator[Any]:
    """Yield run options that end the run at the next node after ``timeout_s``."""
    options = runtime.RunOptions()
    options.log_severity_level = _FATAL_ONLY
    late = threading.Event()

    def end() -> None:
        late.set()
        options.terminate = True

    timer = threading.Timer(timeout_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield options
    except foreign_errors() as error:
        if late.is_set():
            raise BackendTimeout(
                f"onnxruntime: gave no answer within {timeout_s:g} s; allow more time or use a smaller batch"
            ) from error
        raise
    finally:
        timer.cancel()


def _detached(output: np.ndarray, inputs: Iterable[np.ndarray]) -> np.ndarray:
    """Return an output in memory of its own: an input that is an output as well comes back as the caller's memory."""
    return output.copy() if any(np.may_share_memory(output, array) for array in inputs) else output


def _native(array: np.ndarray) -> np.ndarray:
    """Return an array as ONNX Runtime reads memory: C order and this machine's byte order."""
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape)


def _to_array(info: TensorInfo, value: Any) -> np.ndarray:
    """Copy an output out of ONNX Runtime, whose own conversion knows no bfloat16 and calls float8 uint8."""
    if not value.is_tensor():
        raise BackendError(f"output {info.name!r}: is {value.data_type()}; expected a tensor, expose its parts instead")
    kind = re.sub(r"tensor\((.+)\)", r"\1", value.data_type())
    if kind.startswith("float8"):
        dtype = np.dtype(kind.replace("float8", "float8_"))
    elif kind == "bfloat16":
        dtype = np.dtype(kind)
    elif kind in {"int4", "uint4"}:
        raise BackendError(f"output {info.name!r}: is {kind}, which cannot be read; cast it to int8 in the model")
    else:
        return np.asarray(value.numpy())
    size = value.tensor_size_in_bytes()
    content = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(content, dtype).reshape(value.shape()).copy()


@cache
def foreign_errors() -> tuple[type[Exception], ...]:
    """Return every exception that ONNX Runtime raises: its own classes, and what pybind11 makes of C++ ones."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = (value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception))
    return (*own, RuntimeError, ValueError, MemoryError)


@contextmanager
def _mapped_open_errors(version: str, provider: Provider, complaint: str) -> Iterator[None]:
    try:
        yield
    except foreign_errors() as error:
        # ONNX Runtime's own classes tell of the model; what CUDA says in a provider's constructor comes as this one.
        if provider is not Provider.CPU and type(error) is RuntimeError:
            reasons = "; ".join(filter(None, (_own_words(error), complaint)))
            raise BackendUnavailable(
                f"onnxruntime {version}: {PROVIDER_NAMES[provider]} does not start ({reasons}); {MEND[provider]}"
            ) from error
        raise explain_refusal(error, version) from error


@contextmanager
def _mapped_run_errors() -> Iterator[None]:
    try:
        yield
    except foreign_errors() as error:
        raise BackendError(
            f"onnxruntime: failed while it ran the model: {_own_words(error)}; look at that node and at the feed"
        ) from error


_REFUSALS = (
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        "the model has IR version {0}, it reads up to {1}; upgrade onnxruntime or export with an older onnx",
    ),
    (
        r"\*guarantees\* support .*?Opset (\d+) is under .*?support for domain (\S+) is till opset (\d+)",
        "the model uses opset {0} of domain {1}, it supports up to {2}; upgrade onnxruntime or export with opset {2}",
    ),
    (
        r"(\S+?):(\w+)\(-?\d+\) is not a registered function/op",
        "does not know the operator {1} of domain {0}; replace the custom operator by ONNX operators",
    ),
    (
        r"No Op registered for (\w+) with domain_version of (\d+)",
        "there is no operator {0} in opset {1}; export with the opset that has it",
    ),
    (
        r"Could not find an implementation for (\w+)\((\d+)\) node with name '(.*?)'",
        "has no implementation of {0} (opset {1}) for the dtype of node {2!r}; keep this node at fp32",
    ),
    (
        r"two nodes with same node name \((.*?)\)",
        "refuses a model in which several nodes are called {0!r}; give each a name of its own, or none",
    ),
)
"""What ONNX Runtime says when it refuses a model, and the sentence made of it."""


def explain_refusal(error: Exception, version: str) -> ParityError:
    """Return the error of the tree for an exception that ONNX Runtime raised when it was given a model."""
    text = str(error)
    heading = f"onnxruntime {version}:"
    for pattern, sentence in _REFUSALS:
        match = re.search(pattern, text, re.DOTALL)
        if match:
            return ModelError(f"{heading} {sentence.format(*match.groups())}")
    if type(error).__name__ in {"EPFail", "EngineError", "DeviceReset", "MemoryError", "RuntimeException"}:
        return BackendError(f"{heading} cannot load the model: {_own_words(error)}")
    return ModelError(f"{heading} refuses the model: {_own_words(error)}; check it with onnx.checker")


def _own_words(error: Exception) -> str:
    """Return an exception's text as one line, without codes and source places of ONNX Runtime's own build."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    text = re.sub(r"\S+\.(?:h|cc|cpp):\d+ [\w:<>&* ]*onnxruntime::.*?\) ", "", text, flags=re.DOTALL)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
