"""What the worker asks of builders, networks and engines whose classes and enums are the true ones."""

from __future__ import annotations

from typing import Any

from loaded import trt, worker
from strict import Strict


def check_builders() -> Any:
    """Return the release and what making a builder and a runtime gives."""
    logger = trt.Logger()
    refused = {}
    for name in ("Builder", "Runtime"):
        try:
            getattr(trt, name)(logger)
        except TypeError as error:
            refused[name] = str(error)
    return {"version": trt.__version__, "refused": refused}


def check_strict_objects() -> Any:
    """Return what an object of the bindings' own class refuses: planted faults."""
    tries = {
        "a method of 8.6": lambda: Strict(trt.IExecutionContext).set_binding_shape(0, (1,)),
        "a property that is read-only": lambda: setattr(Strict(trt.ICudaEngine), "num_layers", 3),
        "a property of no release": lambda: setattr(Strict(trt.IBuilderConfig), "optimisation", 3),
    }
    refused = []
    for name, attempt in tries.items():
        try:
            attempt()
        except AttributeError:
            refused.append(name)
    return refused


def check_exposed_tensors() -> Any:
    """Return the calls that exposing a tensor becomes, in each way."""
    found = {}
    for how in ("output", "debug", "unfused"):
        tensor = Strict(trt.ITensor, {"name": "inner", "is_network_output": False})
        layer = Strict(trt.ILayer, {"num_outputs": 1, "get_output": tensor})
        network = Strict(
            trt.INetworkDefinition,
            {"__iter__": [layer], "mark_debug": True, "mark_unfused_tensors_as_debug_tensors": True},
        )
        asked = {"tensors": ["inner", "gone"], "how": how}
        notes = worker("observing").expose_tensors(trt, network, asked, is_strong=True)
        found[how] = {"calls": [call[0] for call in network.calls], "notes": notes}
    return found


def check_networks() -> Any:
    """Return the flags that an empty network of each typing is made with, as a set of names."""
    found = {}
    for name, is_strong in (("strong", True), ("weak", False)):
        builder = Strict(trt.Builder, {"create_network": object()})
        worker("network").new_network(trt, builder, is_strong=is_strong)
        [(_, flags)] = builder.calls
        members = trt.NetworkDefinitionCreationFlag.__members__.items()
        found[name] = [member for member, flag in members if flags & 1 << int(flag)]
    return found


def check_kept_layers() -> Any:
    """Return what keeping a node at float32 sets on its layer, or the refusal."""
    output = Strict(trt.ITensor, {"dtype": trt.DataType.HALF, "is_shape_tensor": False})
    about = {
        "name": "conv + relu",
        "metadata": "[ONNX Layer: conv]",
        "num_outputs": 1,
        "type": trt.LayerType.CONVOLUTION,
    }
    layer = Strict(trt.ILayer, {**about, "get_output": output})
    try:
        kept = worker("constraints").keep_layers(trt, [layer], ["conv"], "fp32")
    except worker("errors").PrecisionMissing as error:
        return {"refused": str(error)}
    set_types = [plain(list(call[1:])) for call in layer.calls if call[0] == "set_output_type"]
    return {"kept": kept, "precision": plain(layer.values["precision"]), "output types": set_types}


def check_dtypes() -> Any:
    """Return each data type's name here, and its size by TensorRT and by what carries it."""
    dtypes = worker("dtypes")
    found = {}
    for name, member in trt.DataType.__members__.items():
        told = dtypes.name_of(member)
        found[name] = {
            "name": told,
            "bits": None if member.itemsize is None else int(member.itemsize * 8),
            "carried": carried_bits(dtypes, told),
        }
    return found


def carried_bits(dtypes: Any, name: str) -> int | str:
    try:
        return int(dtypes.storage(name).itemsize) * 8
    except worker("errors").WorkerError:
        return "refused"


def check_bindings() -> Any:
    """Return what the worker reads of an engine whose answers are true enum members and shapes."""
    answers = {
        "num_io_tensors": 2,
        "num_optimization_profiles": 1,
        "get_tensor_name": lambda index: ("x", "y")[index],
        "get_tensor_mode": lambda name: trt.TensorIOMode.INPUT if name == "x" else trt.TensorIOMode.OUTPUT,
        "get_tensor_shape": lambda _name: trt.Dims((-1, 3)),
        "get_tensor_dtype": lambda name: trt.DataType.HALF if name == "x" else trt.DataType.BF16,
        "get_tensor_location": lambda _name: trt.TensorLocation.DEVICE,
        "get_tensor_format": lambda _name: trt.TensorFormat.LINEAR,
        "get_tensor_profile_shape": lambda _name, _profile: [trt.Dims((n, 3)) for n in (1, 2, 4)],
        "is_shape_inference_io": False,
    }
    return [binding.plain() for binding in worker("bindings").read_bindings(Strict(trt.ICudaEngine, answers))]


def check_capabilities() -> Any:
    """Return what the worker says that this TensorRT can do on a Hopper and on a Turing GPU."""
    return {gpu: worker("capabilities").capabilities(trt, gpu) for gpu in ("9.0", "7.5")}


def request_of(precision: str, typing: str, **more: Any) -> dict[str, Any]:
    """Return the fields of ``build`` that the choice of flags reads."""
    request = {
        "source": {"kind": "network"},
        "precision": precision,
        "typing": typing,
        "obey": False,
        "keep": [],
        "keep_precision": "fp32",
        "profiles": [],
        "timing_cache": None,
        "options": {},
    }
    return {**request, **more}


def configured(request: dict[str, Any]) -> Any:
    """Return Polygraphy's keywords and the flags that are set beside them, or the kind and text of the refusal."""
    config = worker("config")
    made: dict[str, Any] = {}

    def create(_builder: Any, keywords: Any) -> Any:
        made["keywords"] = {name: plain(value) for name, value in keywords.items()}
        return Strict(trt.IBuilderConfig)

    config._create = create
    builder = Strict(trt.Builder, {"create_optimization_profile": lambda: Strict(trt.IOptimizationProfile)})
    network = Strict(trt.INetworkDefinition, {"num_inputs": 0, "num_outputs": 0})
    try:
        worker("precision").require_precision(trt, builder, request["precision"], request["typing"], "9.0")
        set_up = config.make_config(trt, builder, network, request, lambda _text: None)
    except worker("errors").WorkerError as error:
        return {"kind": error.kind, "refused": str(error)}
    flags = sorted(call[1].name for call in set_up.calls if call[0] == "set_flag")
    return {**made, "flags": flags, "properties": {name: plain(value) for name, value in set_up.values.items()}}


def plain(value: Any) -> Any:
    """Return an enum member as ``Enum.MEMBER``, and containers of them likewise."""
    if isinstance(value, dict):
        return {str(plain(key)): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return f"{type(value).__name__}.{value.name}" if hasattr(type(value), "__members__") else value


def check_precisions() -> Any:
    """Return how each precision is asked for at each typing."""
    precisions = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
    found = {f"{p} {t}": configured(request_of(p, t)) for p in precisions for t in ("strong", "weak")}
    obeyed = request_of("int8", "weak", obey=True, keep=["softmax"], keep_precision="fp16")
    return {**found, "int8 obeyed": configured(obeyed)}


OPTIONS: dict[str, dict[str, Any]] = {
    "everything": {
        "avg_timing_iterations": 4,
        "direct_io": True,
        "distributive_independence": True,
        "hardware_compatibility": "ampere_plus",
        "max_aux_streams": 2,
        "max_tactics": 8,
        "memory_pool_mib": {"workspace": 64.0, "tactic_shared_memory": 1.0},
        "optimization_level": 3,
        "preview_features": {"aliased_plugin_io_10_03": True},
        "profiling_verbosity": "layer_names_only",
        "refit": "individual",
        "sparse_weights": True,
        "strict_nans": True,
        "tactic_sources": ["edge_mask_convolutions", "jit_convolutions"],
        "tiling": "fast",
        "timing_cache": "editable",
        "version_compatible": True,
        "weight_streaming": True,
    },
    "cublas": {"tactic_sources": ["cublas"]},
    "tactic_heuristic": {"tactic_heuristic": True},
    "build_route": {"build_route": 1},
}


def check_options() -> Any:
    """Return what sets of build options become."""
    return {name: configured(request_of("fp32", "strong", options=options)) for name, options in OPTIONS.items()}


def check_parser_flags() -> Any:
    """Return the calls that the parser's switches become."""
    parser = Strict(trt.OnnxParser)
    worker("config").set_parser_flags(trt, parser, {"native_instancenorm": False})
    return [[name, plain(flag)] for name, flag in parser.calls]
