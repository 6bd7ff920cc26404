"""Which machine a variant's figures are of: what has to be equal for two of them to be comparable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.errors import BaselineError

if TYPE_CHECKING:
    from parity.results import Environment, GpuRecord, WorkerRecord

TENSORRT, CPU = "tensorrt", "onnxruntime"
_MAX_LENGTH = 160


@dataclass(frozen=True, slots=True)
class Machine:
    """What a variant ran on.

    Attributes
    ----------
    key
        GPU, compute capability, major releases of TensorRT and driver; of ONNX Runtime, the processor and the minor
        release. Also the name of the baseline's file.
    facts
        Exact versions by name, for a reader; no host name.
    """

    key: str
    facts: dict[str, str]


def family_of(label: str) -> str:
    """Return what executed a variant, without the release of TensorRT: ``tensorrt`` of ``fp16@tensorrt-8.6``."""
    backend = label.rpartition("@")[2]
    return TENSORRT if backend == TENSORRT or backend.startswith(f"{TENSORRT}-") else backend


def variant_key(label: str) -> str:
    """Return a variant's name in a baseline: ``fp16@tensorrt``, since minor releases of TensorRT are compared."""
    return f"{label.rpartition('@')[0]}@{family_of(label)}"


def machine_of(environment: Environment, label: str) -> Machine:
    """Return the machine that a variant of a run was executed on.

    Raises
    ------
    BaselineError
        The run does not say which it was.
    """
    family = family_of(label)
    if family == TENSORRT:
        return _of_engine(_worker(environment, label))
    return _of_cpu(environment) if family == CPU else _of_provider(environment, label)


def _worker(environment: Environment, label: str) -> WorkerRecord:
    backend = label.rpartition("@")[2]
    named = [worker for worker in environment.workers if worker.name == backend]
    found = named or (environment.workers if backend == TENSORRT else ())
    if len(found) != 1:
        known = ", ".join(worker.name for worker in environment.workers) or "none"
        raise BaselineError(f"{label}: the run does not say on which GPU it ran; expected a worker of {known}")
    return found[0]


def _of_engine(worker: WorkerRecord) -> Machine:
    version = worker.packages.get("tensorrt", "")
    facts = {
        **_gpu_facts(worker),
        "tensorrt": version,
        "cuda": worker.cuda,
        "python": worker.python,
    }
    return Machine(_slug(*_gpu_words(worker), TENSORRT, _major(version), "driver", _major(worker.driver)), facts)


def _of_cpu(environment: Environment) -> Machine:
    version = _onnxruntime_version(environment)
    facts = {"processor": environment.processor, "onnxruntime": version, "python": environment.python}
    return Machine(_slug(environment.processor, CPU, _minor(version)), facts)


def _of_provider(environment: Environment, label: str) -> Machine:
    family = family_of(label)
    # Where nvidia-ml-py is missing, the run's engines tell which GPU it is.
    seen = environment.gpus or environment.workers
    gpus = {(found.gpu, found.compute_capability, found.driver): found for found in seen}
    if len(gpus) != 1:
        raise BaselineError(
            f"{label}: the run does not say on which GPU it ran; run: pip install nvidia-ml-py, "
            "or judge a variant by --backend tensorrt in the same run"
        )
    (gpu,) = gpus.values()
    version = _onnxruntime_version(environment)
    facts = {**_gpu_facts(gpu), "onnxruntime": version, "python": environment.python}
    return Machine(_slug(*_gpu_words(gpu), family, _minor(version), "driver", _major(gpu.driver)), facts)


def _gpu_facts(found: WorkerRecord | GpuRecord) -> dict[str, str]:
    return {"gpu": found.gpu, "compute capability": found.compute_capability, "driver": found.driver}


def _gpu_words(found: WorkerRecord | GpuRecord) -> tuple[str, str]:
    return found.gpu, f"cc{found.compute_capability}"


def _onnxruntime_version(environment: Environment) -> str:
    # Distributions for GPUs have names of their own.
    names = (name for name in environment.packages if name.startswith(("onnxruntime", "ort-nightly")))
    return next((environment.packages[name] for name in names), "")


def _major(version: str) -> str:
    return version.partition(".")[0] or "unknown"


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2]) or "unknown"


def _slug(*words: str) -> str:
    text = re.sub(r"[^a-z0-9.]+", "-", "-".join(words).lower())
    # A name that begins with a dot is hidden, and one that ends with it is another on some file systems.
    return re.sub(r"\.{2,}", ".", text).strip("-.")[:_MAX_LENGTH].rstrip("-.") or "unknown"
