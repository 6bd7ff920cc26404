"""What tests on a GPU ask a worker for, and what they measure of its engines."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto

from parity.backends.engine import EngineRequest, OnnxSource
from parity.backends.tensorrt.conversation import SentFile
from parity.build_options import BuildOptions, ShapeProfile
from parity.inspector import parse_inspection
from parity.runner.progress import SilentProgress
from parity.tolerance import Precision
from tests.tiny_graphs import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from parity.backends import Tensors
    from parity.backends.engine import EngineSession, EngineSource, Profile
    from parity.backends.tensorrt.backend import TensorRTBackend
    from parity.backends.tensorrt.process import LiveConversation
    from parity.inspector import EngineLayer
    from parity.results import Outcome

# cuDNN and cuBLAS need not be installed beside TensorRT: every network here builds without their tactics.
TACTIC_SOURCES = ("edge_mask_convolutions", "jit_convolutions")


def case_text(rows: int, *precisions: str) -> str:
    """Return a case file of one random feed of so many rows, with a variant of each precision that is built quickly."""
    build = f"build = {{ optimization_level = 1, tactic_sources = {list(TACTIC_SOURCES)} }}"
    variants = [f'[variants.{name}]\nprecision = "{name}"\n{build}\n' for name in precisions]
    inputs = '[inputs]\nkind = "random"\nseed = 1\ncount = 1\n'
    return f'model = "model.onnx"\nbatch_size = {rows}\n{inputs}{"".join(variants)}'


@dataclass(frozen=True, slots=True)
class Rig:
    """The worker that tests share, and where its engines are kept."""

    conversation: LiveConversation
    backend: TensorRTBackend
    cache: Path

    @property
    def process_id(self) -> int:
        """The worker's process, which must be there."""
        process_id = self.conversation.process_id
        assert process_id is not None, "the worker is gone; ask it for something first"
        return process_id

    def has(self, capability: str) -> bool:
        """Return whether this TensorRT on this GPU has a capability."""
        return self.backend.worker.capabilities.get(capability, False)

    def plan_of(self, session: EngineSession) -> Path:
        """Return the plan file of an engine that was built here."""
        wanted = session.record.sha256
        plans = self.cache.glob("engines/*/engine.plan")
        return next(plan for plan in plans if sha256(plan.read_bytes()).hexdigest() == wanted)

    def load(self, plan: Path) -> int:
        """Load a plan beside all sessions, and return its handle, for operations that sessions do not have."""
        fields = {"plan": SentFile(plan), "offset": 0, "options": {}}
        return int(self.conversation.ask("load", fields, 60.0)["engine"])

    def free_bytes(self) -> int:
        """Return the GPU's free memory as the worker sees it."""
        return int(self.conversation.ask("memory", {}, 60.0)["free_bytes"])


def request_for(
    source: ModelProto | EngineSource,
    precision: Precision = Precision.FP32,
    *,
    profiles: tuple[Profile, ...] = (),
    calibration: Callable[[], Iterable[Tensors]] | None = None,
    optimization_level: int = 1,
    **options: Any,
) -> EngineRequest:
    """Return a request; options are those of ``BuildOptions``, and a model alone stands for itself."""
    return EngineRequest(
        OnnxSource(source, source) if isinstance(source, ModelProto) else source,
        precision,
        keep_precision=Precision.FP32,
        options=BuildOptions(tactic_sources=TACTIC_SOURCES, optimization_level=optimization_level, **options),
        profiles=profiles,
        calibration=calibration,
    )


def rows_of(name: str, rest: tuple[int, ...], *, least: int = 1, best: int, most: int) -> Profile:
    """Return a profile of one input with a dynamic first axis."""
    return {name: ShapeProfile((least, *rest), (best, *rest), (most, *rest))}


def share_of_range(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest absolute difference over the range of what is expected."""
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max()
    return float(difference / np.ptp(expected.astype(np.float64)))


def sqnr_db(actual: np.ndarray, expected: np.ndarray) -> float:
    """Return the signal to noise ratio in dB."""
    wanted = expected.astype(np.float64)
    noise = np.mean((actual.astype(np.float64) - wanted) ** 2)
    return float(10 * np.log10(np.mean(wanted**2) / noise)) if noise else float("inf")


def require_close(session: EngineSession, model: ModelProto, feed: Tensors, most: float = 1e-4) -> float:
    """Assert that every output is within a share of its range of ONNX Runtime's; return the worst share."""
    actual, expected = session.run(feed), run(model, dict(feed))
    assert list(actual) == list(expected), f"outputs {list(actual)}, expected {list(expected)}"
    shares = {name: share_of_range(actual[name], expected[name]) for name in expected}
    assert max(shares.values()) <= most, f"{shares} of the range; expected at most {most}"
    return max(shares.values())


def products(session: EngineSession) -> tuple[EngineLayer, ...]:
    """Return an engine's convolutions and matrix products, as the inspector shows the first profile."""
    return tuple(layer for layer in parse_inspection(session.inspector_json).of_profile(0) if layer.is_arithmetic)


def precision_by_node(session: EngineSession) -> dict[str, str]:
    """Return what the products compute in, by the name of each ONNX node in them."""
    return {node: layer.precision for layer in products(session) for node in layer.nodes}


def describe(layers: Iterable[EngineLayer]) -> str:
    """Return layers in words, for the message of an assertion."""
    return "; ".join(f"{layer.name} ({layer.kind}): {layer.precision} by {layer.tactic or '?'}" for layer in layers)


def told(outcomes: Sequence[Outcome]) -> str:
    """Return outcomes in words, for the message of an assertion."""
    return "\n".join(f"{o.variant} {o.check}: {o.verdict}: {o.headline}\n{o.message}" for o in outcomes)


class Killer(SilentProgress):
    """Kills the worker as soon as the first outcome is on disk."""

    def __init__(self) -> None:
        self.conversation: LiveConversation | None = None
        self._has_killed = False

    def advance(self) -> None:
        """Kill once."""
        if self._has_killed:
            return
        self._has_killed = True
        assert self.conversation is not None
        assert self.conversation.process_id is not None
        os.kill(self.conversation.process_id, signal.SIGKILL)
