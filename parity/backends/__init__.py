"""Runtimes behind one seam: ``Backend`` opens a model, ``Session`` runs feeds.

Protocols rather than base classes: the implementations share no code, and a user's own backend needs no import of ours.
Implementations are imported when they are asked for, so that a machine without one of them can use the others.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from parity.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    from onnx import ModelProto

    from parity.graph import TensorInfo
    from parity.options import SessionOptions

    Tensors = Mapping[str, np.ndarray]


class Session(Protocol):
    """A model that is ready to run."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's inputs, in its order."""
        ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's outputs, in its order."""
        ...

    def run(self, feed: Tensors) -> dict[str, np.ndarray]:
        """Run one feed and return every output by name.

        Raises
        ------
        FeedError
            The feed's names, ranks or dtypes are not the model's.
        BackendError
            The runtime failed (``BackendTimeout``, ``BackendCrash`` where it can be told).
        """
        ...

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Backend(Protocol):
    """A runtime."""

    @property
    def name(self) -> str:
        """What stands behind the @ of a variant: ``onnxruntime``, ``fake``."""
        ...

    @property
    def version(self) -> str:
        """The runtime's own version."""
        ...

    def open(self, model: ModelProto, options: SessionOptions) -> Session:
        """Make a session for a model.

        Raises
        ------
        ModelError
            The runtime refuses the model: unsupported opset or operator, broken graph.
        BackendError
            The runtime is missing or fails.
        """
        ...


def get_backend(name: str, device: int = 0) -> Backend:
    """Return a backend of this process by name, importing it now.

    Parameters
    ----------
    device
        The number of the GPU, for ONNX Runtime's GPU providers.

    Raises
    ------
    BackendError
        There is no backend of that name.
    BackendUnavailable
        The backend's packages are missing or broken.
    """
    if name == "onnxruntime":
        from parity.backends.onnxruntime import OnnxRuntimeBackend

        return OnnxRuntimeBackend()
    if name in {"onnxruntime-cuda", "onnxruntime-tensorrt"}:
        from parity.backends.provider import ProviderBackend
        from parity.options import Provider

        return ProviderBackend(Provider(name.removeprefix("onnxruntime-")), device)
    if name == "fake":
        from parity.backends.fake import FakeBackend

        return FakeBackend()
    known = "onnxruntime, onnxruntime-cuda, onnxruntime-tensorrt, tensorrt or fake"
    raise BackendError(f"backend {name!r}: not known; expected {known}")


@dataclass(frozen=True, slots=True)
class TensorRTSettings:
    """Where TensorRT runs.

    Attributes
    ----------
    interpreters
        Paths of Pythons or execnet specs; those of ``PARITY_TENSORRT_PYTHON``, else this one, if empty.
    cache
        Where engines are kept; for one run only if None.
    device
        The number of the GPU.
    """

    interpreters: tuple[str, ...] = ()
    cache: Path | None = None
    device: int = 0


@contextmanager
def open_backends(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
    """Open backends by name, in that order, and end their workers behind the block.

    ``tensorrt`` gives one ``EngineBackend`` for each interpreter, ``tensorrt-8.6`` those of that name alone. Two
    interpreters of one version are told apart: ``tensorrt-8.6``, ``tensorrt-8.6-2``.

    Raises
    ------
    BackendError
        There is no backend of a name, an interpreter is missing, or it lacks TensorRT, PyCUDA, a driver or a GPU.
    """
    wants_tensorrt = any(_is_tensorrt(name) for name in names)
    if not wants_tensorrt:
        yield tuple(get_backend(name, tensorrt.device) for name in names)
        return
    from parity.backends.tensorrt.opening import open_engine_backends, select_backends

    device = tensorrt.device
    with open_engine_backends(tensorrt) as engines:
        found = [
            select_backends(engines, name) if _is_tensorrt(name) else (get_backend(name, device),) for name in names
        ]
        # Two names may stand for one backend, whose variants are judged once.
        yield tuple({backend.name: backend for backends in found for backend in backends}.values())


def _is_tensorrt(name: str) -> bool:
    return name == "tensorrt" or name.startswith("tensorrt-")
