"""The tables of a case file that say how TensorRT builds and loads a variant's engine.

A key has the name of the field of ``parity.build_options`` that it fills; ``docs/engine-options.md`` tells of each.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from parity.build_options import (
    Allocation,
    Calibrator,
    Device,
    HardwareCompatibility,
    Quantization,
    Refit,
    Tiling,
    TimingCache,
    Typing,
    Verbosity,
)
from parity.table import Count, Name, Table
from parity.tolerance import Precision

# TOML has no enums: these fields take the text of an enum's value.
_Text = Field(strict=False)
_Also = Annotated[Precision, _Text]
_Number = Annotated[int, Field(ge=0)]
_Size = Annotated[float, Field(gt=0)]

_Source = Literal["cublas", "cublas_lt", "cudnn", "edge_mask_convolutions", "jit_convolutions"]
_Dtype = Literal["float32", "float16", "bfloat16", "int8", "int32", "int64", "uint8", "bool"]
_Format = Literal[
    "linear",
    "chw2",
    "chw4",
    "chw16",
    "chw32",
    "hwc",
    "hwc8",
    "hwc16",
    "dhwc",
    "dhwc8",
    "cdhw32",
    "dla_linear",
    "dla_hwc4",
]


def _level(value: object) -> object:
    if isinstance(value, int) and not 0 <= value <= 5:
        raise PydanticCustomError("level", "0 to 5")
    return value


_Shape = Annotated[list[Count], Field(min_length=1)]


class ShapeTable(Table):
    """The shapes that one input with dynamic axes takes."""

    required: ClassVar[tuple[str, ...]] = ("min", "opt", "max")

    min: _Shape | None = None
    """The smallest shape."""
    opt: _Shape | None = None
    """The shape to tune for; random inputs take their dynamic axes from it."""
    max: _Shape | None = None
    """The largest shape."""


Profiles = list[dict[str, ShapeTable]]
"""Optimization profiles: shapes by input name."""


class TensorIoTable(Table):
    """What an input or output of the engine is made of."""

    dtype: _Dtype | None = None
    """Its dtype, where typing is weak."""
    formats: list[_Format] = Field(default_factory=list)
    """Memory layouts to choose from."""


class PoolTable(Table):
    """Limits of memory pools, in MiB."""

    workspace: _Size | None = None
    """Scratch memory of layers."""
    dla_managed_sram: _Size | None = None
    """Software managed RAM of a DLA core."""
    dla_local_dram: _Size | None = None
    """Host RAM that a DLA core shares between operations."""
    dla_global_dram: _Size | None = None
    """Host RAM for a DLA core's weights."""
    tactic_dram: _Size | None = None
    """Device memory that tactics may take while they are measured."""
    tactic_shared_memory: _Size | None = None
    """Shared memory of a kernel."""


class BuildTable(Table):
    """How TensorRT builds the engine. What is left out is as TensorRT has it."""

    typing: Annotated[Typing, _Text] = Typing.AUTO
    """Who decides the precision of a layer: the model (strong), TensorRT (weak), or what the release recommends."""
    also: list[_Also] = Field(default_factory=list)
    """Other precisions that weak typing may choose."""
    tf32: bool | None = None
    """Whether float32 layers may use TF32; left out, in tf32 variants only."""
    quantization: Annotated[Quantization, _Text] = Quantization.EXPLICIT
    """Where the scales of int8 come from: Q/DQ pairs (explicit) or a calibrator (implicit)."""
    calibrator: Annotated[Calibrator, _Text] = Calibrator.ENTROPY
    """Of implicit quantization: entropy or minmax."""
    calibration_cache: Name | None = None
    """Of implicit quantization: a calibration cache to read in place of feeds."""
    calibration_profile: _Number = 0
    """Of implicit quantization: the profile that the calibrator runs at, counted from 0."""
    calibrate_before_fusion: bool = False
    """Of implicit quantization: calibrate the network before layers are fused."""
    profiles: Profiles = Field(default_factory=list)
    """Optimization profiles behind [shapes] and [[profiles]]."""
    io: dict[str, TensorIoTable] = Field(default_factory=dict)
    """dtypes and memory layouts of inputs and outputs by name."""
    direct_io: bool = False
    """Refuse to reformat at inputs and outputs."""
    optimization_level: Annotated[int, BeforeValidator(_level), Field(ge=0, le=5)] | None = None
    """How long to look for a fast engine, 0 to 5."""
    memory_pool_mib: PoolTable = PoolTable()
    """Limits of memory pools."""
    tactic_sources: list[_Source] | None = None
    """Where tactics may come from; every other source is off."""
    max_tactics: Count | None = None
    """How many tactics of a layer to measure at most."""
    tactic_heuristic: bool = False
    """Choose tactics without measuring; 8.6 only."""
    avg_timing_iterations: Count | None = None
    """How many measurements of a tactic to average."""
    timing_cache: Annotated[TimingCache, _Text] = TimingCache.SHARED
    """Whether measured tactics are kept per machine: shared, editable or off."""
    timing_cache_must_hit: bool = False
    """Refuse a tactic that the timing cache lacks."""
    compilation_cache: bool = True
    """Keep compiled kernels with the timing cache."""
    tiling: Annotated[Tiling, _Text] | None = None
    """How long to look for ways to keep data in the L2 cache."""
    l2_limit_for_tiling_bytes: _Number | None = None
    """How much of the L2 cache tiling may count on."""
    build_route: Name | None = None
    """A route through the builder's choices, as trtexec --setBuildRoute takes it."""
    sparse_weights: bool = False
    """Allow tactics for weights with two zeros in four."""
    strict_nans: bool = False
    """Leave out arithmetic that hides NaN."""
    distributive_independence: bool = False
    """Keep outputs independent of their place within a batch or tile."""
    safety_scope: bool = False
    """Refuse what safe engines cannot hold."""
    hardware_compatibility: Annotated[HardwareCompatibility, _Text] = HardwareCompatibility.NONE
    """Which other GPUs the engine runs on."""
    version_compatible: bool = False
    """Make an engine for newer TensorRT as well."""
    exclude_lean_runtime: bool = False
    """Of a version-compatible engine: leave its lean runtime out."""
    refit: Annotated[Refit, _Text] = Refit.NONE
    """Which weights can be replaced later: none, all, identical (by equal ones) or individual (marked ones)."""
    strip_plan: bool = False
    """Write the plan without its weights; they are put in from the model when it is loaded."""
    weight_streaming: bool = False
    """Let weights stay in host memory; load.weight_streaming_budget says how many."""
    serialize_plugins: bool = False
    """Put the libraries of plugins into the plan."""
    dla_core: _Number | None = None
    """The DLA core that layers are built for."""
    gpu_fallback: bool = False
    """Of a DLA core: give layers that it cannot run to the GPU."""
    layer_devices: dict[str, Annotated[Device, _Text]] = Field(default_factory=dict)
    """gpu or dla, by layer name or wildcard."""
    max_aux_streams: _Number | None = None
    """How many streams to use beside the main one."""
    profiling_verbosity: Annotated[Verbosity, _Text] = Verbosity.DETAILED
    """What the engine remembers of its layers; the census needs detailed."""
    parser_flags: dict[str, bool] = Field(default_factory=dict)
    """Switches of the ONNX parser, by the names of trt.OnnxParserFlag in small letters."""
    preview_features: dict[str, bool] = Field(default_factory=dict)
    """Switches by the names of trt.PreviewFeature in small letters."""


class LoadTable(Table):
    """How the engine is loaded, whoever built it."""

    host_code: bool = False
    """Let the plan bring code of its own for the CPU, as a version-compatible engine does."""
    lean_runtime: Name | None = None
    """The library that runs a version-compatible engine which brings no lean runtime."""
    weight_streaming_budget: Name | None = None
    """GPU memory for streamed weights: auto, a share such as 50%, or an amount such as 512 MiB."""
    allocation: Annotated[Allocation, _Text] | None = None
    """Device memory for activations: what the largest profile needs (static) or the chosen one."""
    persistent_cache_mib: _Size | None = None
    """How much of the L2 cache activations may hold on to."""
    dla_core: _Number | None = None
    """The DLA core that runs the engine; the build's own if left out."""
    refit: bool = False
    """Put in the weights of the case's model first, as a stripped plan needs."""
    temporary_folder: Name | None = None
    """Where the runtime may write temporary files."""
    temporary_files: bool = True
    """Let the runtime execute code from temporary files."""
    in_memory_files: bool = True
    """Let the runtime execute code from files in memory."""
