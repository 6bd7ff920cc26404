"""From the options of a request to a builder's configuration, and nothing left out in silence.

The ``options`` of a ``build`` request hold what a case sets, under the names of ``docs/engine-options.md``: text in
small letters for what TensorRT has as an enum member, MiB for pools, paths for libraries. What is absent stays as
TensorRT has it, but ``profiling_verbosity`` is ``detailed``: the census and the layer times need names and tactics.

Polygraphy's ``CreateConfig`` sets what it knows. The rest is set here, and everything is asked for by its symbol
first, so that the message of what is missing names the option and the releases that have it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Mapping

from .errors import PrecisionMissing, WorkerError
from .loading import apply_runtime_options, create_context, load_plugins, refit_from_onnx
from .network_options import make_profiles, set_io_formats, set_layer_devices, set_parser_flags, set_profiles
from .precision import is_strongly_typed, precision_keywords, require_precision, require_scales
from .symbols import member, require_property

__all__ = [
    "apply_runtime_options",
    "create_context",
    "flags_set",
    "is_strongly_typed",
    "load_plugins",
    "make_config",
    "refit_from_onnx",
    "require_precision",
    "set_io_formats",
    "set_parser_flags",
    "set_profiles",
]

_MIB = 2**20

# option, builder flag, the keyword by which Polygraphy sets it ("" where it does not)
_FLAGS = (
    ("direct_io", "DIRECT_IO", "direct_io"),
    ("distributive_independence", "DISTRIBUTIVE_INDEPENDENCE", ""),
    ("exclude_lean_runtime", "EXCLUDE_LEAN_RUNTIME", "exclude_lean_runtime"),
    ("safety_scope", "SAFETY_SCOPE", "restricted"),
    ("sparse_weights", "SPARSE_WEIGHTS", "sparse_weights"),
    ("strict_nans", "STRICT_NANS", ""),
    ("strip_plan", "STRIP_PLAN", "strip_plan"),
    ("tactic_heuristic", "ENABLE_TACTIC_HEURISTIC", ""),
    ("timing_cache_must_hit", "ERROR_ON_TIMING_CACHE_MISS", "error_on_timing_cache_miss"),
    ("version_compatible", "VERSION_COMPATIBLE", "version_compatible"),
    ("weight_streaming", "WEIGHT_STREAMING", "weight_streaming"),
)
_REFIT_FLAGS = {"all": "REFIT", "identical": "REFIT_IDENTICAL", "individual": "REFIT_INDIVIDUAL"}
_TIMING_CACHE_FLAGS = {"editable": "EDITABLE_TIMING_CACHE", "off": "DISABLE_TIMING_CACHE"}

# option, the configuration's property
_PROPERTIES = (
    ("avg_timing_iterations", "avg_timing_iterations"),
    ("build_route", "build_route"),
    ("l2_limit_for_tiling_bytes", "l2_limit_for_tiling"),
    ("max_tactics", "max_num_tactics"),
)

# option, TensorRT's enum, the keyword by which Polygraphy sets it
_CHOICES = (
    ("hardware_compatibility", "HardwareCompatibilityLevel", "hardware_compatibility_level"),
    ("tiling", "TilingOptimizationLevel", "tiling_optimization_level"),
)

# option, the keyword by which Polygraphy sets it; every release has these
_NUMBERS = (("optimization_level", "builder_optimization_level"), ("max_aux_streams", "max_aux_streams"))


def make_config(
    trt: Any,
    builder: Any,
    network: Any,
    request: Mapping[str, Any],
    log: Callable[[str], None],
    *,
    calibrator: Any = None,
) -> Any:
    """Return the ``trt.IBuilderConfig`` of a ``build`` request, and set what its options ask of the parsed network.

    Parameters
    ----------
    request
        The fields of ``build``: of these ``precision``, ``typing``, ``obey``, ``keep``, ``keep_precision``,
        ``profiles``, ``timing_cache``, ``source`` and ``options`` are read.
    log
        Takes a sentence on each thing that was done and was not asked for in so many words.
    calibrator
        A ``trt.IInt8Calibrator`` where the scales are TensorRT's to find.

    Raises
    ------
    PrecisionMissing
        This TensorRT lacks what an option asks for.
    FeedRefused
        An open input has no shapes.
    ModelRefused
        Nothing gives scales to an int8 network.
    WorkerError
        Polygraphy or TensorRT refuses an option.
    """
    options = request["options"]
    require_scales(trt, network, request, calibrator)
    keywords = {**precision_keywords(trt, network, request), **_choices(trt, options), **_limits(trt, options)}
    own_flags = [*_flags(trt, options, keywords), *_other_flags(trt, options, log)]
    config = _create(builder, {**keywords, **_timing_cache(request, log)})
    for flag in own_flags:
        config.set_flag(flag)
    _set_properties(trt, config, options)
    _set_switches(trt, config, options)
    strong = is_strongly_typed(trt, request["typing"])
    set_io_formats(trt, network, options.get("io", {}), strong=strong)
    set_profiles(builder, network, config, request["profiles"])
    if calibrator is not None:
        config.int8_calibrator = calibrator
        _set_calibration_profile(builder, network, config, request)
    if options.get("dla_core") is not None:
        _set_dla(trt, builder, config, options)
    set_layer_devices(trt, network, config, options.get("layer_devices", {}))
    return config


def flags_set(trt: Any, config: Any) -> list[str]:
    """Return the names of the builder flags that a configuration has in the end."""
    members = trt.BuilderFlag.__members__
    return sorted(name for name, flag in members.items() if config.get_flag(flag))


def _create(builder: Any, keywords: Mapping[str, Any]) -> Any:
    from polygraphy.backend.trt import CreateConfig
    from polygraphy.exception import PolygraphyException
    from polygraphy.logger import G_LOGGER

    try:
        # Its log goes to the standard output, which belongs to the conversation. Profiles are set without it: it fills
        # in shapes of its own where some are missing.
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            return CreateConfig(**keywords)(builder, None)
    except PolygraphyException as error:
        raise WorkerError(f"the builder's configuration cannot be made: {error}") from error


def _flags(trt: Any, options: Mapping[str, Any], keywords: dict[str, Any]) -> list[Any]:
    """Add Polygraphy's keywords for the flags that it sets, and return the other ones."""
    own = []
    for option, name, keyword in _FLAGS:
        if not options.get(option):
            continue
        flag = member(trt, "BuilderFlag", name, f"build.{option}")
        if keyword:
            keywords[keyword] = True
        else:
            own.append(flag)
    return own


def _other_flags(trt: Any, options: Mapping[str, Any], log: Callable[[str], None]) -> list[Any]:
    """Return the flags that follow from an option of several values."""
    names = []
    refit = options.get("refit", "none")
    if options.get("strip_plan") and refit == "none":
        refit = "identical"
        log('a stripped plan has to be refitted: built with refit = "identical"')
    for option, value, flags in (
        ("refit", refit, _REFIT_FLAGS),
        ("timing_cache", options.get("timing_cache", "shared"), _TIMING_CACHE_FLAGS),
        ("compilation_cache", options.get("compilation_cache", True), {False: "DISABLE_COMPILATION_CACHE"}),
    ):
        if value in flags:
            names.append((option, flags[value]))
    return [member(trt, "BuilderFlag", name, f"build.{option}") for option, name in names]


def _choices(trt: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return Polygraphy's keywords for options that are a member of an enum, or a number."""
    verbosity = options.get("profiling_verbosity", "detailed")
    keywords = {"profiling_verbosity": getattr(trt.ProfilingVerbosity, verbosity.upper())}
    for option, enum, keyword in _CHOICES:
        if options.get(option) is not None:
            keywords[keyword] = member(trt, enum, options[option].upper(), f"build.{option}")
    for option, keyword in _NUMBERS:
        if options.get(option) is not None:
            keywords[keyword] = options[option]
    return keywords


def _limits(trt: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return Polygraphy's keywords for memory pools, in bytes, and for tactic sources."""
    keywords: dict[str, Any] = {}
    pools = options.get("memory_pool_mib", {})
    if pools:
        keywords["memory_pool_limits"] = {
            member(trt, "MemoryPoolType", name.upper(), f"build.memory_pool_mib.{name}"): int(size * _MIB)
            for name, size in pools.items()
        }
    sources = options.get("tactic_sources")
    if sources is not None:
        keywords["tactic_sources"] = [
            member(trt, "TacticSource", name.upper(), "build.tactic_sources") for name in sources
        ]
    return keywords


def _timing_cache(request: Mapping[str, Any], log: Callable[[str], None]) -> dict[str, Any]:
    path = request.get("timing_cache")
    if not path or request["options"].get("timing_cache") == "off":
        return {}
    if not Path(path).is_file():
        log("the timing cache is new: every tactic is measured")
        return {}
    return {"load_timing_cache": path}


def _set_properties(trt: Any, config: Any, options: Mapping[str, Any]) -> None:
    for option, name in _PROPERTIES:
        if options.get(option) is not None:
            require_property(trt, "IBuilderConfig", name, f"build.{option}")
            setattr(config, name, options[option])
    if options.get("serialize_plugins"):
        config.plugins_to_serialize = list(options.get("plugins", ()))


def _set_switches(trt: Any, config: Any, options: Mapping[str, Any]) -> None:
    for name, enabled in options.get("preview_features", {}).items():
        feature = member(trt, "PreviewFeature", name.upper(), f"build.preview_features.{name}")
        config.set_preview_feature(feature, enabled)
    if options.get("calibrate_before_fusion"):
        flag = member(trt, "QuantizationFlag", "CALIBRATE_BEFORE_FUSION", "build.calibrate_before_fusion")
        config.set_quantization_flag(flag)


def _set_calibration_profile(builder: Any, network: Any, config: Any, request: Mapping[str, Any]) -> None:
    # TensorRT overwrites min and max of the profile that it calibrates at, so that one is made anew.
    profiles = make_profiles(builder, network, request["profiles"])
    if not profiles:
        return
    number = request["options"].get("calibration_profile", 0)
    if number >= len(profiles):
        raise WorkerError(
            f"build.calibration_profile: there are {len(profiles)} profiles, counted from 0; got {number}"
        )
    if not config.set_calibration_profile(profiles[number]):
        raise WorkerError(f"build.calibration_profile: TensorRT refuses profile {number}; see its messages")


def _set_dla(trt: Any, builder: Any, config: Any, options: Mapping[str, Any]) -> None:
    core, cores = options["dla_core"], builder.num_DLA_cores
    if core >= cores:
        raise PrecisionMissing(
            f"build.dla_core: this machine has {cores} DLA cores, counted from 0; got {core}. Jetson boards have them"
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    if options.get("gpu_fallback"):
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
