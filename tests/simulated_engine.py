"""An engine without a GPU: ONNX Runtime on the CPU, with the precision's rounding and a little noise of its own."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import ml_dtypes  # noqa: F401 - teaches numpy.dtype() the names bfloat16 and float8_*
import numpy as np
import onnx
from onnx import helper, numpy_helper

from parity.backends import get_backend
from parity.errors import BackendError, ModelError
from parity.graph import model_interface
from parity.layers.points import float_outputs
from parity.options import PrecisionOptions, SessionOptions
from parity.precision import forecast
from parity.precision.scope import open_scope
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
    observe: dict[str, Any] | None = None
    wrong_node: str = ""
    wrong_by: float = 0.0
    is_shifted: bool = False

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
            *(Binding(name, "output", self._shown_dtype(name), [], []) for name in self._shown("output")),
        ]
        self._step = noise_step(plan)
        self._session = _open(plan)

    def _binding(self, info: TensorInfo, mode: str) -> Binding:
        dtype = "int32" if info.dtype == "int64" and not self._has_int64 else info.dtype
        ranges = [profile[info.name] for profile in self.plan.profiles if info.name in profile]
        shape = [dim if isinstance(dim, int) else -1 for dim in info.shape]
        profiles = ranges or [{"min": shape, "opt": shape, "max": shape}]
        return Binding(info.name, mode, dtype, shape, profiles if mode == "input" else [])

    def _shown(self, *ways: str) -> list[str]:
        return shown_tensors(self.plan) if self.plan.observe and self.plan.observe["how"] in ways else []

    def _shown_dtype(self, name: str) -> str:
        assert self.plan.observe is not None
        return "float16" if name in self.plan.observe["half"] else "float32"

    def debug(self, tensors: Mapping[str, np.ndarray], wanted: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the debug tensors that are asked for and that the engine shows."""
        shown = set(self._shown("debug", "unfused"))
        arrays = self._compute(tensors)
        return {name: array.astype(np.float32) for name, array in arrays.items() if name in shown.intersection(wanted)}

    def run(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs in the bindings' dtypes."""
        arrays = self._compute(tensors)
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = (binding for binding in self.bindings if binding.mode == "output")
            return {binding.name: arrays[binding.name].astype(np.dtype(binding.dtype)) for binding in outputs}

    def _compute(self, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feed = {info.name: np.asarray(tensors[info.name]).astype(info.dtype) for info in self._session.inputs}
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self._session.run(feed)
            shift = 1.05 if self.plan.is_shifted else 1.0
            return {name: _with_noise(array, self._step) * shift for name, array in outputs.items()}


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


def shown_tensors(plan: Plan) -> list[str]:
    """Return the tensors that an engine shows beside its outputs: those asked for, or all that survive fusion."""
    if plan.observe is None:
        return []
    outputs = {value.name for value in plan.model.graph.output}
    inner = [name for name in float_outputs(plan.model) if name not in outputs]
    return inner if plan.observe["how"] == "unfused" else [name for name in plan.observe["tensors"] if name in inner]


def _showing(plan: Plan) -> Plan:
    """Return a plan whose model has what it shows as outputs: fusion ends there."""
    model = onnx.ModelProto()
    model.CopyFrom(plan.model)
    scope = open_scope(model)
    names = shown_tensors(plan)
    model.graph.output.extend(helper.make_tensor_value_info(name, scope.type_of(name), None) for name in names)
    return replace(plan, model=model)


def _with_fault(model: onnx.ModelProto, plan: Plan) -> onnx.ModelProto:
    """Return what is executed with the faulty node's output scaled."""
    wrong = [node.output[0] for node in plan.model.graph.node if node.name == plan.wrong_node]
    made = [place for place, node in enumerate(model.graph.node) if set(wrong) & set(node.output)]
    if not made:
        return model
    spoiled = onnx.ModelProto()
    spoiled.CopyFrom(model)
    [name], place = wrong, made[0]
    maker = spoiled.graph.node[place]
    maker.output[:] = [f"{one}_sound" if one == name else one for one in maker.output]
    dtype = helper.tensor_dtype_to_np_dtype(open_scope(model).type_of(name))
    spoiled.graph.initializer.append(numpy_helper.from_array(np.asarray(1 + plan.wrong_by, dtype), "wrong_by"))
    spoiled.graph.node.insert(place + 1, helper.make_node("Mul", [f"{name}_sound", "wrong_by"], [name]))
    return spoiled


def _open(plan: Plan) -> Session:
    model, is_optimized = _executable(_showing(plan))
    model = _with_fault(model, plan)
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
    types = {tensor.data_type for tensor in model.graph.initializer}
    return not halves.isdisjoint(types | {value.type.tensor_type.elem_type for value in model.graph.input})


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
