"""Which variants of a case run where, and by which checks: names, wildcards and labels."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeGuard

from parity.build_options import Quantization
from parity.environment import describe_environment
from parity.errors import RunError
from parity.results import Environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parity.backends import Backend
    from parity.backends.engine import EngineBackend
    from parity.backends.provider import ProviderBackend
    from parity.case import Case, Variant
    from parity.results import GpuRecord, WorkerRecord

OUTPUTS, DECODED, CENSUS, INVARIANTS = "outputs", "decoded", "census", "invariants"
LATENCY, LAYERS = "latency", "layers"

FORECAST_CHECKS = (OUTPUTS, DECODED)
PROVIDER_CHECKS = (OUTPUTS, DECODED, INVARIANTS)
ENGINE_CHECKS = (OUTPUTS, DECODED, CENSUS, INVARIANTS)


def is_engine_backend(backend: Backend) -> TypeGuard[EngineBackend]:
    """Whether a backend builds engines."""
    return hasattr(backend, "open_engine")


def checks_of(backend: str, *, decodes: bool, is_timed: bool = False) -> tuple[str, ...]:
    """Return the checks of a variant that a backend of this name executes, in the order they are made.

    Parameters
    ----------
    decodes
        Whether the case says how its outputs are decoded.
    is_timed
        Whether a budget of the case asks how long the variant takes there.
    """
    if backend.startswith("tensorrt"):
        checks: tuple[str, ...] = ENGINE_CHECKS
    else:
        # Providers of ONNX Runtime have no engine inspector to take a census from.
        checks = PROVIDER_CHECKS if backend.startswith("onnxruntime-") else FORECAST_CHECKS
    made = tuple(check for check in checks if decodes or check != DECODED)
    return (*made, LATENCY) if is_timed else made


def workers_of(backends: Iterable[Backend]) -> tuple[WorkerRecord, ...]:
    """Return the interpreters that TensorRT runs in."""
    found = (backend.worker for backend in backends if is_engine_backend(backend))
    return tuple(worker for worker in found if worker is not None)


def gpus_of(backends: Iterable[Backend]) -> tuple[GpuRecord, ...]:
    """Return the GPUs that ONNX Runtime's providers run on, as far as NVML tells them."""
    found = (backend.gpu for backend in backends if _is_provider(backend))
    return tuple(dict.fromkeys(gpu for gpu in found if gpu is not None))


def _is_provider(backend: Backend) -> TypeGuard[ProviderBackend]:
    return hasattr(backend, "gpu")


def environment_of(backends: Sequence[Backend]) -> Environment:
    """Return where a run with these backends is made."""
    return Environment(**describe_environment(), workers=workers_of(backends), gpus=gpus_of(backends))


def reason_to_skip(variant: Variant, backend: Backend) -> str:
    """Return why a backend has nothing of a variant to execute; empty where it has."""
    if is_engine_backend(backend):
        return ""
    if variant.engine is not None or variant.network:
        what = "an engine file" if variant.engine is not None else "a network of TensorRT's own"
        return f"is {what}, which only TensorRT executes; judge it with --backend tensorrt"
    if variant.build.quantization is Quantization.IMPLICIT:
        return "takes its scales from TensorRT's own calibrator; judge it with --backend tensorrt"
    return ""


def variant_label(variant: str, backend: str) -> str:
    """Return a variant's name in a run: ``fp16@onnxruntime``, ``fp16@tensorrt-8.6``."""
    return f"{variant}@{backend}"


def select_variants(case: Case, backends: Sequence[str], patterns: Sequence[str]) -> tuple[tuple[Variant, str], ...]:
    """Return the variants of a case that patterns choose, each with its backend's name, in the case's order.

    Parameters
    ----------
    patterns
        Names or wildcards of variants (``fp16``, ``int8*``) or of their labels (``fp16@onnxruntime``,
        ``fp16@tensorrt`` for TensorRT of any version); all if empty.
    """
    return tuple(
        (variant, backend)
        for variant in case.variants
        for backend in backends
        if not patterns or any(_matches(pattern, variant.name, backend) for pattern in patterns)
    )


def require_known(cases: Iterable[Case], backends: Sequence[str], patterns: Sequence[str]) -> None:
    """Check that every pattern chooses something.

    Raises
    ------
    RunError
        A pattern matches no variant of any case; the message has the known ones.
    """
    known = list(
        dict.fromkeys((variant.name, backend) for case in cases for variant in case.variants for backend in backends)
    )
    for pattern in patterns:
        if not any(_matches(pattern, name, backend) for name, backend in known):
            labels = ", ".join(variant_label(name, backend) for name, backend in known) or "none"
            raise RunError(f"variant {pattern!r}: matches none; known are {labels}")


def _matches(pattern: str, variant: str, backend: str) -> bool:
    name, at, where = pattern.partition("@")
    runs_there = fnmatchcase(backend, where) or backend.partition("-")[0] == where
    return fnmatchcase(variant, name) and (not at or runs_there)
