"""An engine without a GPU: ONNX Runtime on the CPU, with the precision's rounding and a little noise of its own."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import ml_dtypes  # noqa: F401 - teaches numpy.dtype() the names bfloat16 and float8_*
import numpy as np
import onnx

from parity.backends import get_backend
from parity.errors import BackendError, ModelError
from parity.graph import model_interface
from parity.options import PrecisionOptions, SessionOptions
from parity.precision import forecast
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.backends import Session
    from parity.graph import TensorInfo

_TAG = b"ftrt"
_QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})
_IMPLICIT_INT8_STEP = 2.0**-6
_PLAIN_STEP = 2.0**-22


@dataclass(frozen=True, slots=True)
class Plan:
    """What a simulated plan file holds."""

    release: str
    precision: str
    typing: str
    keep: tuple[str, ...]
    keep_precision: str
    profiles: tuple[dict[str, dict[str, list[int]]], ...]
    model: onnx.ModelProto = field(repr=False)
    is_silent_fp32: bool = False

    def to_bytes(self) -> bytes:
        """Return the plan file: TensorRT's tag and version, then JSON, then the model."""
        head = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "model"}
        model = self.model.SerializeToString(deterministic=True)
        head["sha256"] = hashlib.sha256(model).hexdigest()
        text = json.dumps(head, sort_keys=True).encode()
        version = bytes(int(part) for part in (self.release.split(".") + ["0"] * 4)[:4])
        return _TAG + bytes(20) + version + struct.pack("<I", len(text)) + text + model


def plan_from_bytes(content: bytes, release: str) -> Plan:
    """Read a plan file as TensorRT of a release does.

    Raises
    ------
    BackendError
        It is damaged, or was built by another release.
    """
    refused = "cannot deserialize the engine"
    if content[:4] != _TAG or len(content) < 32:
        raise BackendError(f"{refused}: magic tag does not match")
    (length,) = struct.unpack("<I", content[28:32])
    try:
        head = json.loads(content[32 : 32 + length])
    except ValueError as error:
        raise BackendError(f"{refused}: its data is damaged") from error
    body = content[32 + length :]
    if hashlib.sha256(body).hexdigest() != head.pop("sha256"):
        raise BackendError(f"{refused}: its data is damaged")
    if head["release"] != release:
        raise BackendError(f"{refused}: was built by TensorRT {head['release']}, this is {release}; build it again")
    head |= {"keep": tuple(head["keep"]), "profiles": tuple(head["profiles"])}
    return Plan(model=onnx.load_model_from_string(body), **head)


@dataclass(frozen=True, slots=True)
class Binding:
    """A binding as a worker tells it."""

    name: str
    mode: str
    dtype: str
    shape: list[int]
    profiles: list[dict[str, list[int]]]
    location: str = "device"
    is_shape_io: bool = False
    format: str = "LINEAR"

    def to_plain(self) -> dict[str, Any]:
        """Return the binding's fields."""
        return asdict(self)


class SimulatedEngine:
    """A loaded plan."""

    def __init__(self, plan: Plan, *, has_int64: bool) -> None:
        self.plan = plan
        interface = model_interface(plan.model)
        self._has_int64 = has_int64
        self.bindings = [
            *(self._binding(info, "input") for info in interface.inputs),
            *(self._binding(info, "output") for info in interface.outputs),
        ]
        self._step = noise_step(plan)
        self._session = _open(plan)

    def _binding(self, info: TensorInfo, mode: str) -> Binding:
        dtype = "int32" if info.dtype == "int64" and not self._has_int64 else info.dtype
        ranges = [profile[info.name] for profile in self.plan.profiles if info.name in profile]
        shape = [dim if isinstance(dim, int) else -1 for dim in info.shape]
        profiles = ranges or [{"min": shape, "opt": shape, "max": shape}]
        return Binding(info.name, mode, dtype, shape, profiles if mode == "input" else [])

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs in the bindings' dtypes."""
        feed = {info.name: np.asarray(tensors[info.name]).astype(info.dtype) for info in self._session.inputs}
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self._session.run(feed)
            dtypes = {binding.name: np.dtype(binding.dtype) for binding in self.bindings}
            return {name: _with_noise(array, self._step).astype(dtypes[name]) for name, array in outputs.items()}


def noise_step(plan: Plan) -> float:
    """Return the relative size of what the engine adds to its precision."""
    if plan.is_silent_fp32:
        return _PLAIN_STEP
    if plan.precision == "int8" and not _is_quantized(plan.model):
        return _IMPLICIT_INT8_STEP
    return {"fp32": _PLAIN_STEP}.get(plan.precision, 2.0**-13)


def _with_noise(array: np.ndarray, step: float) -> np.ndarray:
    """Return each element off by a share of itself that depends on nothing but itself."""
    if array.dtype.kind not in "fV":
        return array
    values = array.astype(np.float64)
    return np.asarray(values * (1 + step * np.sin(values * 1000)))


def _open(plan: Plan) -> Session:
    model, is_optimized = _executable(plan)
    options = SessionOptions(graph_optimizations=is_optimized, thread_count=1)
    return get_backend("onnxruntime").open(model, options)


def _executable(plan: Plan) -> tuple[onnx.ModelProto, bool]:
    """Return what ONNX Runtime executes, and whether under graph optimisations."""
    precision = Precision(plan.precision)
    if _is_quantized(plan.model) or plan.is_silent_fp32 or precision in {Precision.FP32, Precision.INT8}:
        return plan.model, False
    options = PrecisionOptions(precision, plan.keep, Precision(plan.keep_precision))
    own = plan.model if _has_half(plan.model) else None
    made = forecast(plan.model, options, typed_model=own)
    return made.rounded, made.graph_optimizations


def _is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type in _QUANTIZING for node in model.graph.node)


def _has_half(model: onnx.ModelProto) -> bool:
    halves = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    return any(tensor.data_type in halves for tensor in model.graph.initializer)


def check_profile(bindings: Sequence[Binding], tensors: Mapping[str, np.ndarray], profile: int) -> None:
    """Check a feed against one profile, as TensorRT does when it is given the shapes.

    Raises
    ------
    BackendError
        The profile does not exist, or a shape lies outside of it.
    """
    for binding in (binding for binding in bindings if binding.mode == "input"):
        if not 0 <= profile < len(binding.profiles):
            raise BackendError(f"profile {profile}: the engine has {len(binding.profiles)}")
        bounds, shape = binding.profiles[profile], tensors[binding.name].shape
        if any(not low <= dim <= high for low, dim, high in zip(bounds["min"], shape, bounds["max"], strict=True)):
            raise BackendError(f"{binding.name}: shape {shape} lies outside profile {profile}")


def read_model(content: bytes) -> onnx.ModelProto:
    """Read a model as the parser does.

    Raises
    ------
    ModelError
        It holds an operator named Unsupported.
    """
    model = onnx.load_model_from_string(content)
    refused = next((node.name for node in model.graph.node if node.op_type == "Unsupported"), None)
    if refused is not None:
        raise ModelError(f"node {refused!r}: TensorRT has no importer for Unsupported")
    return model
