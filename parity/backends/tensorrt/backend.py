"""TensorRT in one interpreter, behind ``EngineBackend``."""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.backends.engine import EngineFile, EngineRequest, OnnxSource
from parity.backends.tensorrt.building import make_engine
from parity.backends.tensorrt.cache import EngineCache, cache_limit_bytes
from parity.backends.tensorrt.engine_file import EngineFileHeader, read_header
from parity.backends.tensorrt.fingerprint import identify
from parity.backends.tensorrt.link import Link
from parity.backends.tensorrt.recipe import choose_recipe
from parity.backends.tensorrt.session import PlanFile, TensorRTSession
from parity.backends.tensorrt.wire_options import load_options_to_wire
from parity.errors import BackendCrash, BackendError, BackendTimeout, BackendUnavailable, ModelError
from parity.results import EngineRecord, WorkerRecord
from parity.tolerance import Precision

if TYPE_CHECKING:
    from onnx import ModelProto

    from parity.backends.tensorrt.conversation import Conversation
    from parity.options import SessionOptions


class TensorRTBackend:
    """Builds, loads and runs engines in a worker, which is asked what it is first.

    Parameters
    ----------
    cache
        Where engines are kept; for as long as this backend lives, in a temporary folder, if None.
    label
        What is added to the name, to tell two interpreters of one version apart: ``-2``.
    device
        The number of the GPU.

    Raises
    ------
    BackendError
        The worker does not answer, or lacks TensorRT, PyCUDA, a driver or a GPU.
    """

    def __init__(self, conversation: Conversation, cache: Path | None, label: str = "", device: int = 0) -> None:
        self._link = Link(conversation, device)
        self._worker = _worker_record(self._link.greet(), label)
        self._stack = ExitStack()
        self._cache = self._open_cache(cache)

    def _open_cache(self, folder: Path | None) -> EngineCache:
        if folder is not None:
            return EngineCache(folder, cache_limit_bytes())
        return EngineCache(Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="parity-engines-"))))

    @property
    def name(self) -> str:
        """What stands behind the @ of a variant: ``tensorrt-8.6``."""
        return self._worker.name

    @property
    def version(self) -> str:
        """TensorRT's own version."""
        return self._worker.packages["tensorrt"]

    @property
    def worker(self) -> WorkerRecord:
        """Where it runs: versions, GPU, driver."""
        return self._worker

    def open(self, model: ModelProto, options: SessionOptions) -> TensorRTSession:
        """Build a model as it is, in float32 with TF32 off, and load it.

        Raises
        ------
        ModelError
            The model has dynamic inputs, for which ``open_engine`` takes profiles, or TensorRT refuses it.
        BackendError
            The worker failed.
        """
        source = OnnxSource(model, model)
        request = EngineRequest(source, Precision.FP32, keep_precision=Precision.FP32)
        return self.open_engine(request, options.timeout_s)

    def open_engine(self, request: EngineRequest, timeout_s: float) -> TensorRTSession:
        """Build an engine, or take it from the cache or a file, and load it.

        Parameters
        ----------
        timeout_s
            The longest that the build, and every request of the session, may take.

        Raises
        ------
        PrecisionError
            This TensorRT or this GPU does not have the precision; the message names what does.
        ModelError
            The parser or the builder refuses the model, or TensorRT an engine file.
        BackendError
            The worker is missing, failed, hung or died; or an engine file is none.
        """
        if isinstance(request.source, EngineFile):
            options = load_options_to_wire(request.options, built_here=False)
            return self._open_file(request.source.path, options, timeout_s)
        # A folder of its own holds neither the engine nor measured tactics.
        cache = self._open_cache(None) if request.is_rebuild else self._cache
        kept = make_engine(self._link, cache, self._worker, request, timeout_s)
        plan = PlanFile(kept.plan, 0, load_options_to_wire(request.options), kept.record)
        return TensorRTSession(self._link, plan, timeout_s, self._refitting_model(request, plan.options))

    def _refitting_model(self, request: EngineRequest, options: dict[str, Any]) -> ModelProto | None:
        """Return the model whose weights a plan without any is given; None where the plan has its own."""
        return choose_recipe(request, self._worker).parsed if options.get("refit") else None

    def _open_file(self, path: Path, options: dict[str, Any], timeout_s: float) -> TensorRTSession:
        header = read_header(path)
        plan = PlanFile(path, header.offset, options, _file_record(path, header))
        try:
            return TensorRTSession(self._link, plan, timeout_s)
        except (BackendCrash, BackendTimeout, BackendUnavailable):
            raise
        except (BackendError, ModelError) as error:
            raise type(error)(f"{path}: {error}{self._on_version(header)}") from error

    def _on_version(self, header: EngineFileHeader) -> str:
        if not header.built_by or header.built_by.split(".")[:3] == self.version.split(".")[:3]:
            return ""
        return (
            f"; it was built by TensorRT {header.built_by}, this is {self.version}: name an interpreter of that "
            "version by --tensorrt-python, or build the engine again"
        )

    def close(self) -> None:
        """End the worker."""
        self._link.close()
        self._stack.close()


def ask_worker(conversation: Conversation, device: int = 0) -> WorkerRecord:
    """Ask a worker what it is.

    Raises
    ------
    BackendError
        It does not answer, or lacks TensorRT, PyCUDA, a driver or a GPU.
    """
    return _worker_record(Link(conversation, device).greet())


def _worker_record(answer: dict[str, Any], label: str = "") -> WorkerRecord:
    packages = dict(answer["packages"])
    if "tensorrt" not in packages:
        raise BackendUnavailable("tensorrt: the interpreter does not have it; run there: pip install tensorrt")
    series = ".".join(packages["tensorrt"].split(".")[:2])
    return WorkerRecord(
        name=f"tensorrt-{series}{label}",
        python=answer["python"],
        packages=packages,
        gpu=answer["gpu"],
        compute_capability=answer["compute_capability"],
        memory_bytes=answer["memory_bytes"],
        driver=answer["driver"],
        cuda=answer["cuda"],
        capabilities=dict(answer["capabilities"]),
    )


def _file_record(path: Path, header: EngineFileHeader) -> EngineRecord:
    found = identify(path)
    built_by = (f"built by TensorRT {header.built_by}",) if header.built_by else ()
    return EngineRecord(
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        source="file",
        metadata={
            key: value if isinstance(value, str) else json.dumps(value) for key, value in header.metadata.items()
        },
        notes=built_by,
    )
