"""A TensorRT worker without TensorRT and without a GPU, with faults to plant.

It answers every operation of ``parity.worker``: engines are ONNX models that ONNX Runtime executes with the rounding
of their precision, a plan file can be written, read and damaged, and 8.6, 10.16 and 11.4 have what they have.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.errors import BackendCrash, BackendError, BackendTimeout, FeedError, PrecisionError
from tests.scripted_worker import ScriptedConversation, path_of
from tests.simulated_engine import Plan, SimulatedEngine, check_profile, plan_from_bytes, read_model, shown_tensors
from tests.simulated_inspector import inspector_text

if TYPE_CHECKING:
    import onnx

    Fields = dict[str, Any]

CAPABILITIES: dict[str, dict[str, bool]] = {
    "8.6.0": {
        "strongly_typed": False,
        "strong_typing_recommended": False,
        "weakly_typed": True,
        "tf32": True,
        "fp16": True,
        "bf16": False,
        "int8": True,
        "fp8": False,
        "implicit_int8": True,
        "int64": False,
        "debug_tensors": False,
        "unfused_debug_tensors": False,
    },
    "10.16.1.11": {
        "strongly_typed": True,
        "strong_typing_recommended": True,
        "weakly_typed": True,
        "tf32": True,
        "fp16": True,
        "bf16": True,
        "int8": True,
        "fp8": True,
        "implicit_int8": True,
        "int64": True,
        "debug_tensors": True,
        "unfused_debug_tensors": True,
    },
    "11.4.0.106": {
        "strongly_typed": True,
        "strong_typing_recommended": True,
        "weakly_typed": False,
        "tf32": True,
        "fp16": True,
        "bf16": True,
        "int8": True,
        "fp8": True,
        "implicit_int8": False,
        "int64": True,
        "debug_tensors": True,
        "unfused_debug_tensors": True,
    },
}
"""What a release has on a GPU of compute capability 9.0."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong; nothing by default.

    Attributes
    ----------
    crash_at, hang_at
        The inference of this conversation, counting from 0, in which the worker dies or is given up; once.
    unwritten_count
        Elements at the end of the first output that are never written.
    rolls_rows
        Whether answers go to the wrong rows.
    drift
        What every inference adds to each element of the first output, times its number: no two answers are equal.
    is_stale
        Whether each answer is the one to the feed before: it is copied too early.
    leak
        The share of row 0 that every other row of the first output holds: rows are not independent.
    is_silent_fp32
        Whether a reduced precision is built as float32.
    refusal
        What every build is refused with, as a ``BackendError``.
    wrong_node, wrong_by
        The node whose output every engine built with this fault has too large, by this share.
    is_unsteady
        Whether ``wrong_node`` is wrong in the first build of this worker alone.
    shown_limit
        An engine that shows more tensors than this answers with outputs 5 % too large.
    """

    crash_at: int | None = None
    hang_at: int | None = None
    unwritten_count: int = 0
    rolls_rows: bool = False
    drift: float = 0.0
    is_stale: bool = False
    leak: float = 0.0
    is_silent_fp32: bool = False
    refusal: str = ""
    wrong_node: str = ""
    wrong_by: float = 0.0
    is_unsteady: bool = False
    shown_limit: int | None = None


class SimulatedWorker(ScriptedConversation):
    """A conversation with a simulated worker.

    Parameters
    ----------
    release
        8.6.0, 10.16.1.11 or 11.4.0.106.
    network
        The model that stands for whatever a Python function fills a network with.
    hello
        Fields of ``hello`` that differ: another GPU, another driver.
    """

    def __init__(
        self,
        release: str = "8.6.0",
        faults: Faults | None = None,
        *,
        network: onnx.ModelProto | None = None,
        hello: Fields | None = None,
    ) -> None:
        super().__init__({name: getattr(self, f"_{name}") for name in _OPERATIONS})
        self.release = release
        self.capabilities = dict(CAPABILITIES[release])
        self.faults = faults or Faults()
        self._network = network
        self._greeting = hello or {}
        self._engines: dict[int, SimulatedEngine] = {}
        self._next_handle = 1
        self._infer_count = 0
        self._last: dict[str, np.ndarray] = {}
        self.build_count = 0

    def start(self) -> None:
        """Begin without engines, as a new process does."""
        self._engines = {}
        self._next_handle = 1

    @property
    def engine_count(self) -> int:
        """How many engines are loaded."""
        return len(self._engines)

    def _hello(self, _fields: Fields) -> Fields:
        answer = {
            "python": "3.10.13",
            "packages": {"tensorrt": self.release, "pycuda": "2024.1", "numpy": "1.26.4", "polygraphy": "0.49.26"},
            "gpu": "Simulated H200",
            "compute_capability": "9.0",
            "memory_bytes": 150_000_000_000,
            "driver": "570.86.15",
            "cuda": "12.8",
            "capabilities": self.capabilities,
            "pid": 1,
        }
        return answer | self._greeting

    def _build(self, fields: Fields) -> Fields:
        if self.faults.refusal:
            raise BackendError(self.faults.refusal)
        self._require(fields)
        content = self._make_plan(fields).to_bytes()
        self.build_count += 1
        path_of(fields["plan"]).write_bytes(content)
        if fields["timing_cache"] is not None:
            timing = path_of(fields["timing_cache"])
            timing.write_bytes((timing.read_bytes() if timing.exists() else b"") + b"tactics\n")
        has_flag = fields["typing"] == "weak" or fields["obey"]
        flags = [fields["precision"].upper()] if has_flag and fields["precision"] in _BY_FLAG else []
        return {
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_bytes": len(content),
            "build_s": 1.5,
            "messages": [{"severity": "warning", "kind": "other", "text": "simulated", "count": 2}],
            "flags": flags + ["OBEY_PRECISION_CONSTRAINTS"] * bool(fields["obey"]),
            "typing": fields["typing"],
            "notes": [],
        }

    def _require(self, fields: Fields) -> None:
        # Where there is no strong typing, obeyed precision constraints stand in for it.
        capability = "strongly_typed" if fields["typing"] == "strong" and not fields["obey"] else "weakly_typed"
        needed = (capability, *({"implicit_int8"} if fields["calibration"] else ()))
        if fields["precision"] not in {"fp32", "tf32"}:
            needed += (fields["precision"],)
        needed += _SHOWN_BY.get((fields.get("observe") or {}).get("how", ""), ())
        missing = [name for name in needed if not self.capabilities[name]]
        if missing:
            raise PrecisionError(f"TensorRT {self.release}: has no {missing[0]}")

    def _make_plan(self, fields: Fields) -> Plan:
        source = fields["source"]
        if source["kind"] == "network":
            assert self._network is not None, "a test that builds a network gives the model that stands for it"
            assert path_of(source["file"]).is_file()
            model = self._network
        else:
            model = read_model(path_of(source["model"]).read_bytes())
        plan = Plan(
            self.release,
            fields["precision"],
            fields["typing"],
            tuple(fields["keep"]),
            fields["keep_precision"],
            tuple(fields["profiles"]),
            model,
            self.faults.is_silent_fp32 and fields["precision"] != "fp32",
            fields.get("observe"),
            self.faults.wrong_node,
            0.0 if self.faults.is_unsteady and self.build_count else self.faults.wrong_by,
        )
        limit = self.faults.shown_limit
        return replace(plan, is_shifted=limit is not None and len(shown_tensors(plan)) > limit)

    def _load(self, fields: Fields) -> Fields:
        content = path_of(fields["plan"]).read_bytes()[fields["offset"] :]
        engine = SimulatedEngine(plan_from_bytes(content, self.release), has_int64=self.capabilities["int64"])
        handle = self._next_handle
        self._next_handle += 1
        self._engines[handle] = engine
        return {
            "engine": handle,
            "bindings": [binding.to_plain() for binding in engine.bindings],
            "profile_count": max(1, len(engine.plan.profiles)),
            "device_memory_bytes": 4096,
            "aux_streams": 0,
            "messages": [],
            "load_s": 0.01,
        }

    def _engine(self, fields: Fields) -> SimulatedEngine:
        try:
            return self._engines[fields["engine"]]
        except KeyError:
            raise BackendError(f"engine {fields['engine']}: is not loaded in this worker") from None

    def _inspect(self, fields: Fields) -> Fields:
        engine = self._engine(fields)
        return {"json": inspector_text(engine.plan, engine.bindings, int(self.release.partition(".")[0]))}

    def _infer(self, fields: Fields) -> Fields:
        engine, faults = self._engine(fields), self.faults
        number = self._infer_count
        self._infer_count += 1
        if number == faults.crash_at:
            raise BackendCrash("worker: died of signal 11; its last words: [F] simulated fault in a kernel")
        if number == faults.hang_at:
            raise BackendTimeout("worker: gave no answer in time")
        outputs = self._spoil(self._late(engine.run(self._checked(engine, fields))), number)
        unwritten = dict.fromkeys(outputs, 0)
        unwritten[next(iter(outputs))] = faults.unwritten_count
        debug = {"debug": engine.debug(fields["tensors"], fields["debug"])} if "debug" in fields else {}
        return {"tensors": outputs, "unwritten": unwritten if fields["find_unwritten"] else {}, "gpu_ms": 0.25, **debug}

    def _checked(self, engine: SimulatedEngine, fields: Fields) -> dict[str, np.ndarray]:
        tensors: dict[str, np.ndarray] = fields["tensors"]
        inputs = {binding.name: binding for binding in engine.bindings if binding.mode == "input"}
        for name, binding in inputs.items():
            is_narrowed = (tensors[name].dtype.name, binding.dtype) == ("int64", "int32")
            if tensors[name].dtype.name != binding.dtype and not is_narrowed:
                raise FeedError(f"{name}: is {tensors[name].dtype.name}; the engine has {binding.dtype}")
        check_profile(engine.bindings, tensors, fields["profile"])
        return tensors

    def _late(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return what the last inference computed, where it had the same shapes and answers are late."""
        before, self._last = self._last, outputs
        same = {name: array.shape for name, array in before.items()} == {n: a.shape for n, a in outputs.items()}
        return before if self.faults.is_stale and same else outputs

    def _spoil(self, outputs: dict[str, np.ndarray], number: int) -> dict[str, np.ndarray]:
        faults, name = self.faults, next(iter(outputs))
        first = outputs[name]
        if faults.rolls_rows:
            first = np.roll(first, 1, axis=0)
        if faults.leak:
            first = (first + faults.leak * first[:1]).astype(first.dtype)
        if faults.drift:
            first = (first + faults.drift * number).astype(first.dtype)
        if faults.unwritten_count:
            first = first.copy()
            first.reshape(-1)[-faults.unwritten_count :] = 0
        return {**outputs, name: first}

    def _time(self, fields: Fields) -> Fields:
        self._engine(fields)
        steady = np.full(max(10, fields["min_iterations"]), 0.25, np.float32)
        return {
            "gpu_ms": steady,
            "host_ms": steady + np.float32(0.1),
            "enqueue_ms": steady / 5,
            "host_compute_ms": steady + np.float32(0.04) if fields.get("transferless_s") else steady[:0],
            "elapsed_s": float(0.35e-3 * len(steady) / fields.get("streams", 1)),
            "cuda_graph": bool(fields["cuda_graph"]),
            "notes": [],
        }

    def _profile(self, fields: Fields) -> Fields:
        nodes = self._engine(fields).plan.model.graph.node
        times = [[0.01 * (place + 1)] * fields["iterations"] for place in range(len(nodes))]
        return {"layers": [{"name": n.name, "times_ms": ms} for n, ms in zip(nodes, times, strict=True)]}

    def _unload(self, fields: Fields) -> Fields:
        self._engine(fields)
        del self._engines[fields["engine"]]
        return {}

    def _memory(self, _fields: Fields) -> Fields:
        return {"free_bytes": 140_000_000_000, "total_bytes": 150_000_000_000}

    def plant(self, **faults: Any) -> None:
        """Plant further faults from here on."""
        self.faults = replace(self.faults, **faults)


_SHOWN_BY = {"debug": ("debug_tensors",), "unfused": ("unfused_debug_tensors",)}
_BY_FLAG = frozenset({"fp16", "bf16", "int8", "fp8"})
_OPERATIONS = ("hello", "build", "load", "inspect", "infer", "time", "profile", "unload", "memory")
