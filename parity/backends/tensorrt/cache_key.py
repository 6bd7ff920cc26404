"""Keys of cached engines: everything that can change an engine is in its key."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.backends.engine import NetworkSource
from parity.backends.tensorrt.fields import observe_fields, profile_fields
from parity.backends.tensorrt.wire_options import build_options_to_wire
from parity.errors import ModelError
from parity.graph import hash_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from parity.backends import Tensors
    from parity.backends.engine import EngineRequest
    from parity.backends.tensorrt.recipe import Recipe
    from parity.build_options import BuildOptions
    from parity.results import WorkerRecord

_WORKER_FOLDER = Path(__file__).parents[2] / "worker"


@dataclass(frozen=True, slots=True)
class MachineIdentity:
    """What measured tactics, and so engines, hold good for.

    Attributes
    ----------
    tf32_override
        ``NVIDIA_TF32_OVERRIDE``, which takes TF32's kernels from a build, or forces them on it; empty if not set.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    memory_bytes: int
    driver: str
    tf32_override: str = ""

    @property
    def key(self) -> str:
        """A name for files, 16 hexadecimal digits."""
        return _digest(_told(self))[:16]


def _told(machine: MachineIdentity) -> dict[str, Any]:
    """Return a machine as plain data; one whose environment overrides nothing keeps the key that it had before."""
    parts = asdict(machine)
    if not machine.tf32_override:
        del parts["tf32_override"]
    return parts


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """What makes an engine the engine it is.

    Attributes
    ----------
    source
        SHA-256 of the parsed model with its external data, or of a network function's files.
    options
        ``BuildOptions`` as plain data, libraries by their SHA-256.
    calibration
        The implicit calibrator and the SHA-256 of what it reads; empty without one.
    packages
        Versions of TensorRT, Polygraphy and what else takes part in a build there.
    worker_sources
        SHA-256 of the worker's own code.
    observe
        The field of a build; None where nothing is exposed.
    """

    source: str
    precision: str
    typing: str
    obey: bool
    keep: tuple[str, ...]
    keep_precision: str
    options: dict[str, Any]
    profiles: list[dict[str, dict[str, list[int]]]]
    calibration: str
    machine: MachineIdentity
    packages: dict[str, str]
    worker_sources: str
    observe: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """The engine's key, 64 hexadecimal digits."""
        parts = {**asdict(self), "machine": _told(self.machine)}
        if self.observe is None:
            # The engine as it ships keeps the key that it had before anything could be exposed.
            del parts["observe"]
        return _digest(parts)

    @property
    def calibration_key(self) -> str:
        """The key of what an implicit calibrator found: neither the GPU nor kept nodes change that."""
        parts = (self.source, self.options, self.profiles, self.calibration, self.packages, self.worker_sources)
        return _digest(parts)


def machine_identity(worker: WorkerRecord) -> MachineIdentity:
    """Return what tactics measured by a worker hold good for."""
    return MachineIdentity(
        tensorrt=worker.packages.get("tensorrt", ""),
        gpu=worker.gpu,
        compute_capability=worker.compute_capability,
        memory_bytes=worker.memory_bytes,
        driver=worker.driver,
        tf32_override=os.environ.get("NVIDIA_TF32_OVERRIDE", ""),
    )


def engine_identity(
    request: EngineRequest, recipe: Recipe, worker: WorkerRecord, calibration: str = ""
) -> EngineIdentity:
    """Return what makes the engine that a recipe asks for.

    Raises
    ------
    ModelError
        A file that the request names cannot be read.
    """
    return EngineIdentity(
        source=_source_hash(request, recipe),
        precision=recipe.precision.value,
        typing=recipe.typing.value,
        obey=recipe.obey,
        keep=recipe.keep,
        keep_precision=recipe.keep_precision.value,
        options=_hashed_options(request.options),
        profiles=profile_fields(request.profiles),
        calibration=calibration,
        machine=machine_identity(worker),
        packages=dict(worker.packages),
        worker_sources=worker_sources_hash(),
        observe=observe_fields(request.observe) if request.observe is not None else None,
    )


def _source_hash(request: EngineRequest, recipe: Recipe) -> str:
    source = request.source
    if isinstance(source, NetworkSource):
        weights = hash_file(source.weights) if source.weights is not None else None
        return _digest([hash_file(source.file), source.function, weights])
    assert recipe.parsed is not None
    return hash_model(recipe.parsed)


def _hashed_options(options: BuildOptions) -> dict[str, Any]:
    # A library counts by its content, wherever it lies.
    return {**build_options_to_wire(options), "plugins": [hash_file(path) for path in options.plugins]}


def hash_file(path: Path) -> str:
    """Return a file's SHA-256.

    Raises
    ------
    ModelError
        The file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); an engine was to be built with it") from error


def hash_feeds(feeds: Iterable[Tensors]) -> str:
    """Return the SHA-256 of feeds: of names, dtypes, shapes and values, in their order."""
    digest = hashlib.sha256()
    for feed in feeds:
        digest.update(b"feed\n")
        for name in sorted(feed):
            digest.update(_tensor_head(name, feed[name]))
            digest.update(feed[name].tobytes())
    return digest.hexdigest()


def _tensor_head(name: str, array: np.ndarray) -> bytes:
    return json.dumps([name, array.dtype.str, array.dtype.name, list(array.shape)]).encode() + b"\n"


@cache
def worker_sources_hash() -> str:
    """Return the SHA-256 of the worker's own code."""
    files = sorted(_WORKER_FOLDER.rglob("*.py"))
    return _digest([[file.relative_to(_WORKER_FOLDER).as_posix(), hash_file(file)] for file in files])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
