"""Frozen options of an engine: what cases fill, what the TensorRT backend sends, what the worker obeys."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Typing(StrEnum):
    """Who decides the precision of a layer."""

    AUTO = "auto"
    """Strong where TensorRT recommends it (10.12 and later), weak before."""
    STRONG = "strong"
    """The typed model does. On 8.6, which lacks strong typing, FP16 with obeyed precision constraints stands in."""
    WEAK = "weak"
    """Builder flags on the float32 model allow a precision, and TensorRT chooses by speed; gone in 11.0."""


class Quantization(StrEnum):
    """Where the scales of int8 come from."""

    EXPLICIT = "explicit"
    """Q/DQ pairs in the typed model."""
    IMPLICIT = "implicit"
    """A calibrator that TensorRT calls while it builds; gone in 11.0."""


class Calibrator(StrEnum):
    """TensorRT's implicit calibrators."""

    ENTROPY = "entropy"
    MIN_MAX = "minmax"


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """The shapes that one dynamic input takes: TensorRT's optimization profile."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How TensorRT builds and loads an engine, beside its precision.

    None and empty mean: as TensorRT has it.

    Attributes
    ----------
    optimization_level
        0 to 5.
    memory_pool_mib
        Limits by pool: ``workspace``, ``dla_managed_sram``, ``dla_local_dram``, ``dla_global_dram``,
        ``tactic_dram``, ``tactic_shared_memory``.
    tactic_sources
        Names as ``trt.TacticSource`` has them; every other source is off.
    has_timing_cache
        Whether builds share measured tactics, kept per machine.
    """

    typing: Typing = Typing.AUTO
    quantization: Quantization = Quantization.EXPLICIT
    calibrator: Calibrator = Calibrator.ENTROPY
    optimization_level: int | None = None
    memory_pool_mib: Mapping[str, float] = field(default_factory=dict)
    tactic_sources: tuple[str, ...] | None = None
    has_timing_cache: bool = True
    plugins: tuple[Path, ...] = ()
