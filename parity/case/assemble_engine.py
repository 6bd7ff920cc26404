"""From a variant's tables to how TensorRT builds and loads its engine, or to the engine that someone else built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parity.build_options import BuildOptions, LoadOptions, Quantization, TensorIo, TimingCache, Typing, parse_budget
from parity.case.mistakes import expected_one_of, join_path
from parity.case.paths import find_file, find_function
from parity.case.profiles import build_more_profiles
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from parity.case.mistakes import Mistakes
    from parity.case.model import Profile, ShapeProfile
    from parity.case.paths import Place
    from parity.case.schema import VariantTable
    from parity.case.schema_build import BuildTable, LoadTable
    from parity.graph import ModelInterface

# key, the key that it needs, what that must not be
_NEEDS = (
    ("calibrate_before_fusion", "quantization", Quantization.EXPLICIT),
    ("calibration_cache", "quantization", Quantization.EXPLICIT),
    ("calibration_profile", "quantization", Quantization.EXPLICIT),
    ("calibrator", "quantization", Quantization.EXPLICIT),
    ("exclude_lean_runtime", "version_compatible", False),
    ("gpu_fallback", "dla_core", None),
)


@dataclass(frozen=True, slots=True)
class EngineContext:
    """What the engines of a case share.

    Attributes
    ----------
    shapes
        The case's own: the first optimization profile.
    profiles
        Those behind it that the case gives every engine.
    """

    place: Place
    interface: ModelInterface | None
    shapes: Mapping[str, ShapeProfile]
    profiles: tuple[Profile, ...]
    has_calibration: bool


@dataclass(frozen=True, slots=True)
class EngineSource:
    """Where an engine comes from in place of the case's model."""

    engine: Path | None = None
    network: str = ""
    weights: Path | None = None


def is_foreign(table: VariantTable) -> bool:
    """Return whether a variant's engine comes from elsewhere than an ONNX model: only TensorRT executes it."""
    return table.engine is not None or table.network is not None


def build_engine_source(path: str, table: VariantTable, place: Place) -> EngineSource:
    """Return the engine file or the network function that a variant names."""
    given = [key for key in ("engine", "network", "model") if getattr(table, key) is not None]
    if len(given) > 1:
        place.mistakes.add(path, f"has {' and '.join(given)}; give one, for each is a model of its own")
    if table.weights is not None and table.network is None:
        place.mistakes.add(f"{path}.weights", "is read by network only; name its function, or leave the weights out")
    network = find_function(place, table.network, f"{path}.network") if table.network is not None else None
    return EngineSource(
        engine=find_file(place, table.engine, f"{path}.engine", is_code=True),
        network=network or "",
        weights=find_file(place, table.weights, f"{path}.weights"),
    )


def build_engine_options(name: str, table: VariantTable, context: EngineContext) -> BuildOptions:
    """Return how the engine of the variant ``name`` is built and loaded."""
    path, place = join_path("variants", name), context.place
    if table.engine is not None and table.build.model_fields_set:
        place.mistakes.add(f"{path}.build", "has no effect on an engine that is built already; leave it out")
        return BuildOptions()
    _check_build(f"{path}.build", table, context)
    if table.build.serialize_plugins and not table.plugins:
        place.mistakes.add(f"{path}.build.serialize_plugins", f"needs libraries to put into the plan: {path}.plugins")
    plugins = [
        find_file(place, library, f"{path}.plugins{join_path(index)}", is_code=True)
        for index, library in enumerate(table.plugins)
    ]
    return BuildOptions(
        **_given(table.build),
        calibration_cache=find_file(place, table.build.calibration_cache, f"{path}.build.calibration_cache"),
        profiles=_profiles(name, table, context),
        plugins=tuple(plugin for plugin in plugins if plugin is not None),
        load=_load_options(f"{path}.load", table.load, place),
    )


def _given(table: BuildTable) -> dict[str, Any]:
    """Return what a build table says, in the types of ``BuildOptions``; files and profiles left out."""
    given = {name: getattr(table, name) for name in table.model_fields_set - {"calibration_cache", "profiles"}}
    pools = table.memory_pool_mib.model_dump(exclude_none=True)
    io = {name: TensorIo(item.dtype, tuple(item.formats)) for name, item in table.io.items()}
    sources = None if table.tactic_sources is None else tuple(table.tactic_sources)
    return {**given, "also": tuple(table.also), "tactic_sources": sources, "memory_pool_mib": pools, "io": io}


def _profiles(name: str, table: VariantTable, context: EngineContext) -> tuple[Profile, ...]:
    if table.engine is not None:
        return ()
    mistakes = context.place.mistakes
    where = ("variants", name, "build", "profiles")
    own = build_more_profiles(table.build.profiles, context.shapes, context.interface, mistakes, where)
    profiles = (*context.profiles, *own)
    if table.build.calibration_profile > len(profiles):
        mistakes.add(
            join_path("variants", name, "build", "calibration_profile"),
            f"expected 0 to {len(profiles)}, the number of the last profile; got {table.build.calibration_profile}",
        )
    return profiles


def _load_options(path: str, table: LoadTable, place: Place) -> LoadOptions:
    if table.weight_streaming_budget is not None:
        try:
            parse_budget(table.weight_streaming_budget)
        except ValueError as error:
            place.mistakes.add(f"{path}.weight_streaming_budget", str(error))
    given = {name: getattr(table, name) for name in table.model_fields_set - {"lean_runtime", "temporary_folder"}}
    return LoadOptions(
        **given,
        lean_runtime=find_file(place, table.lean_runtime, f"{path}.lean_runtime", is_code=True),
        temporary_folder=place.folder / table.temporary_folder if table.temporary_folder else None,
    )


def _check_build(path: str, table: VariantTable, context: EngineContext) -> None:
    build, mistakes = table.build, context.place.mistakes
    for key, needed, not_this in _NEEDS:
        if key in build.model_fields_set and getattr(build, key) and getattr(build, needed) is not_this:
            mistakes.add(f"{path}.{key}", f"has no effect without {needed}; give it, or leave this out")
    if build.timing_cache is TimingCache.OFF and build.timing_cache_must_hit:
        mistakes.add(f"{path}.timing_cache_must_hit", 'refuses every tactic with timing_cache = "off"; leave one out')
    _check_typing(path, build, table.precision, mistakes)
    _check_quantization(path, table, mistakes, has_calibration=context.has_calibration)
    _check_io(path, build, context.interface, mistakes)


def _check_typing(path: str, build: BuildTable, precision: Precision | None, mistakes: Mistakes) -> None:
    if build.typing is Typing.STRONG and build.also:
        mistakes.add(f"{path}.also", 'has a meaning for typing = "weak" only; a strongly typed model says it all')
    pointless = {Precision.FP32, Precision.TF32, precision}
    for index, other in enumerate(build.also):
        if other in pointless:
            mistakes.add(f"{path}.also{join_path(index)}", f"{other} is allowed in any case; leave it out")


def _check_quantization(path: str, table: VariantTable, mistakes: Mistakes, *, has_calibration: bool) -> None:
    build = table.build
    if build.quantization is Quantization.EXPLICIT:
        return
    where = f"{path}.quantization"
    if table.precision is not None and table.precision is not Precision.INT8:
        mistakes.add(where, f"has a meaning for int8 only; leave it out of {table.precision}")
    if build.typing is Typing.STRONG:
        mistakes.add(where, 'is a matter of weak typing; leave out typing = "strong"')
    if is_foreign(table) and not has_calibration:
        mistakes.add(
            where,
            "needs [calibration] inputs, with a calibration_cache as well: the forecast that the engine is held "
            "against is calibrated on them",
        )


def _check_io(path: str, build: BuildTable, interface: ModelInterface | None, mistakes: Mistakes) -> None:
    known = [info.name for info in (*interface.inputs, *interface.outputs)] if interface else []
    for name, item in build.io.items():
        where = f"{path}.{join_path('io', name)}"
        if interface is not None and name not in known:
            mistakes.add(where, expected_one_of(name, known))
        if item.dtype is not None and build.typing is Typing.STRONG:
            mistakes.add(f"{where}.dtype", "is the model's where typing is strong; take io_precision")
