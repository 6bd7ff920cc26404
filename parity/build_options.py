"""Frozen options of an engine: what cases fill, what the TensorRT backend sends, what the worker obeys.

A field has the name of its key in ``case.toml``. None, empty and False mean: as TensorRT has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from parity.tolerance import Precision


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


class TimingCache(StrEnum):
    """Whether builds remember measured tactics."""

    SHARED = "shared"
    """Kept per machine, read and written by every build there."""
    EDITABLE = "editable"
    """As shared, and tactics can be looked up and pinned in it; since 10.8."""
    OFF = "off"
    """Every tactic is measured anew, within one build too."""


class HardwareCompatibility(StrEnum):
    """Which other GPUs an engine runs on."""

    NONE = "none"
    AMPERE_PLUS = "ampere_plus"
    SAME_COMPUTE_CAPABILITY = "same_compute_capability"


class Refit(StrEnum):
    """Which weights can be replaced after the build."""

    NONE = "none"
    ALL = "all"
    IDENTICAL = "identical"
    """By equal weights only, so that they may be folded and fused."""
    INDIVIDUAL = "individual"
    """Those that a network function marks."""


class Verbosity(StrEnum):
    """What an engine remembers of its layers; the census reads it."""

    DETAILED = "detailed"
    LAYER_NAMES_ONLY = "layer_names_only"
    NONE = "none"


class Tiling(StrEnum):
    """How long TensorRT looks for ways to keep data in the L2 cache."""

    NONE = "none"
    FAST = "fast"
    MODERATE = "moderate"
    FULL = "full"


class Device(StrEnum):
    """Where a layer runs."""

    GPU = "gpu"
    DLA = "dla"


class Allocation(StrEnum):
    """How much device memory an execution context takes for activations."""

    STATIC = "static"
    """What the largest profile needs, at once."""
    ON_PROFILE_CHANGE = "on_profile_change"
    """What the chosen profile needs."""


@dataclass(frozen=True, slots=True)
class ShapeProfile:
    """The shapes that one dynamic input takes: TensorRT's optimization profile."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TensorIo:
    """What an engine's input or output is made of.

    Attributes
    ----------
    dtype
        NumPy's name, or ``bfloat16``; None for the model's own. Only weak typing can change it.
    formats
        Memory layouts to choose from, as ``trt.TensorFormat`` has them, in small letters.
    """

    dtype: str | None = None
    formats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How an engine is loaded, whoever built it. They never change what was built.

    Attributes
    ----------
    host_code
        Whether the plan may bring code of its own for the CPU: the lean runtime of a version-compatible engine. Such
        an engine that was built here is allowed it anyway.
    lean_runtime
        The library that runs a version-compatible engine without a lean runtime of its own.
    weight_streaming_budget
        GPU memory for streamed weights: ``auto``, a share (``50%``) or an amount (``512 MiB``).
    persistent_cache_mib
        How much of the L2 cache activations may hold on to.
    dla_core
        The DLA core that runs it; the build's own if None.
    refit
        Whether the weights are put in from the case's model first, as a stripped plan needs. Such an engine that was
        built here is refitted anyway.
    temporary_folder, temporary_files, in_memory_files
        Where and how the runtime may unpack code that it executes.
    """

    host_code: bool = False
    lean_runtime: Path | None = None
    weight_streaming_budget: str | None = None
    allocation: Allocation | None = None
    persistent_cache_mib: float | None = None
    dla_core: int | None = None
    refit: bool = False
    temporary_folder: Path | None = None
    temporary_files: bool = True
    in_memory_files: bool = True


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How TensorRT builds and loads an engine, beside its precision.

    Attributes
    ----------
    also
        Other precisions that weak typing may choose beside float32 and the variant's own.
    tf32
        Whether float32 layers may round their factors to 10 bits; None: in tf32 variants only.
    calibration_cache
        A calibration cache that an implicit calibrator reads in place of feeds.
    calibration_profile
        The number of the optimization profile that an implicit calibrator runs at.
    profiles
        Optimization profiles behind the first one, which the case's ``[shapes]`` are.
    io
        dtypes and layouts of inputs and outputs by name.
    optimization_level
        0 to 5.
    memory_pool_mib
        Limits by pool: ``workspace``, ``dla_managed_sram``, ``dla_local_dram``, ``dla_global_dram``,
        ``tactic_dram``, ``tactic_shared_memory``.
    tactic_sources
        Names as ``trt.TacticSource`` has them, in small letters; every other source is off.
    max_tactics
        How many tactics of one layer are measured at most.
    tactic_heuristic
        Choose tactics by a model of their speed rather than by measuring; 8.6 only, the optimisation level later.
    timing_cache_must_hit
        Whether a tactic that the timing cache lacks is an error.
    compilation_cache
        Whether compiled kernels are kept with the timing cache.
    l2_limit_for_tiling_bytes
        How much of the L2 cache tiling may count on.
    build_route
        A route through the builder's choices, as ``trtexec --setBuildRoute`` takes it.
    sparse_weights
        Whether tactics for weights with two zeros in four may be chosen.
    strict_nans
        Whether arithmetic that hides NaN (``0 * x`` to 0) is left out.
    distributive_independence
        Whether outputs must not depend on their place within a batch or tile.
    calibrate_before_fusion
        Whether an implicit calibrator sees the network before layers are fused.
    direct_io
        Whether a reformat at inputs and outputs is an error.
    safety_scope
        Whether a network outside the scope of safe engines is an error.
    exclude_lean_runtime
        Of a version-compatible engine: leave its lean runtime out.
    strip_plan
        Write the plan without its weights; it is refitted from the model when it is loaded.
    weight_streaming
        Whether weights may stay in host memory; how many is a matter of loading.
    serialize_plugins
        Whether the plan carries the libraries of ``plugins``.
    dla_core
        The DLA core that layers are built for; ``gpu_fallback`` gives those that it cannot run to the GPU.
    layer_devices
        Devices by layer name or wildcard; the last that matches counts.
    max_aux_streams
        Streams beside the main one; 0 for none.
    parser_flags
        Switches of the ONNX parser by the name that ``trt.OnnxParserFlag`` has, in small letters.
    preview_features
        Switches by the name that ``trt.PreviewFeature`` has, in small letters.
    plugins
        Libraries loaded before an engine is built or loaded.
    """

    typing: Typing = Typing.AUTO
    also: tuple[Precision, ...] = ()
    tf32: bool | None = None
    quantization: Quantization = Quantization.EXPLICIT
    calibrator: Calibrator = Calibrator.ENTROPY
    calibration_cache: Path | None = None
    calibration_profile: int = 0
    calibrate_before_fusion: bool = False
    profiles: tuple[Mapping[str, ShapeProfile], ...] = ()
    io: Mapping[str, TensorIo] = field(default_factory=dict)
    direct_io: bool = False
    optimization_level: int | None = None
    memory_pool_mib: Mapping[str, float] = field(default_factory=dict)
    tactic_sources: tuple[str, ...] | None = None
    max_tactics: int | None = None
    tactic_heuristic: bool = False
    avg_timing_iterations: int | None = None
    timing_cache: TimingCache = TimingCache.SHARED
    timing_cache_must_hit: bool = False
    compilation_cache: bool = True
    tiling: Tiling | None = None
    l2_limit_for_tiling_bytes: int | None = None
    build_route: str | None = None
    sparse_weights: bool = False
    strict_nans: bool = False
    distributive_independence: bool = False
    safety_scope: bool = False
    hardware_compatibility: HardwareCompatibility = HardwareCompatibility.NONE
    version_compatible: bool = False
    exclude_lean_runtime: bool = False
    refit: Refit = Refit.NONE
    strip_plan: bool = False
    weight_streaming: bool = False
    serialize_plugins: bool = False
    dla_core: int | None = None
    gpu_fallback: bool = False
    layer_devices: Mapping[str, Device] = field(default_factory=dict)
    max_aux_streams: int | None = None
    profiling_verbosity: Verbosity = Verbosity.DETAILED
    parser_flags: Mapping[str, bool] = field(default_factory=dict)
    preview_features: Mapping[str, bool] = field(default_factory=dict)
    plugins: tuple[Path, ...] = ()
    load: LoadOptions = field(default_factory=LoadOptions)

    @property
    def has_timing_cache(self) -> bool:
        """Whether builds share measured tactics, kept per machine."""
        return self.timing_cache is not TimingCache.OFF


_BUDGET = re.compile(r"(?P<share>\d+(\.\d+)?) ?%|(?P<mib>\d+(\.\d+)?) ?MiB|auto")


def parse_budget(text: str) -> str | dict[str, float]:
    """Return a budget of streamed weights as the worker takes it.

    Returns
    -------
    ``auto``, ``{"share": 0 to 1}`` or ``{"bytes": n}``.

    Raises
    ------
    ValueError
        The text is none of ``auto``, ``50%`` and ``512 MiB``.
    """
    found = _BUDGET.fullmatch(text)
    share = float(found["share"]) / 100 if found and found["share"] else 0.0
    if found is None or share > 1:
        raise ValueError(f"expected auto, a share such as 50% or an amount such as 512 MiB; got {text!r}")
    if found["share"]:
        return {"share": share}
    return {"bytes": int(float(found["mib"]) * 2**20)} if found["mib"] else "auto"
