"""Options that belong to a network rather than to a builder's configuration: profiles, tensors, layers, the parser."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any, Iterable, Mapping, Sequence

from .errors import FeedRefused, ModelRefused, PrecisionMissing
from .symbols import member

Profile = Mapping[str, Mapping[str, Sequence[int]]]
"""Shapes by input: ``{"images": {"min": [...], "opt": [...], "max": [...]}}``."""

_DTYPES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "bool": "BOOL",
}


def make_profiles(builder: Any, network: Any, profiles: Sequence[Profile]) -> list[Any]:
    """Return TensorRT's optimization profiles in their order; none for a network without open inputs.

    An input that shape inference reads takes its values where others take their shapes.

    Raises
    ------
    FeedRefused
        An open input has no shapes, or a profile does not fit the network.
    """
    inputs = network_inputs(network)
    names = [tensor.name for tensor in inputs if is_open(tensor)]
    if names and not profiles:
        raise FeedRefused(f"the inputs {', '.join(names)} have open axes; give their shapes in [shapes.{names[0]}]")
    made = []
    for number, profile in enumerate(profiles):
        _check_names(number, profile, inputs)
        made.append(_make_profile(builder, number, profile, inputs))
    return made


def set_profiles(builder: Any, network: Any, config: Any, profiles: Sequence[Profile]) -> None:
    """Add the optimization profiles to a configuration.

    Raises
    ------
    FeedRefused
        As ``make_profiles``.
    """
    for number, profile in enumerate(make_profiles(builder, network, profiles or _profile_of_fixed_inputs(network))):
        if config.add_optimization_profile(profile) < 0:
            raise FeedRefused(f"optimization profile {number} is refused by TensorRT; see its messages")


def _profile_of_fixed_inputs(network: Any) -> list[dict[str, dict[str, list[int]]]]:
    """Return a profile of inputs as they are, where data decides an output's shape; none elsewhere.

    Without one, 8.6 builds such an engine and then tells no shape of it and makes no execution context.
    """
    inputs = network_inputs(network)
    is_open_ended = any(dim < 0 for tensor in network_outputs(network) for dim in tensor.shape)
    if not is_open_ended or any(is_open(tensor) for tensor in inputs):
        return []
    return [{tensor.name: {edge: list(tensor.shape) for edge in ("min", "opt", "max")} for tensor in inputs}]


def network_inputs(network: Any) -> list[Any]:
    """Return a network's inputs."""
    return [network.get_input(index) for index in range(network.num_inputs)]


def network_outputs(network: Any) -> list[Any]:
    """Return a network's outputs."""
    return [network.get_output(index) for index in range(network.num_outputs)]


def is_open(tensor: Any) -> bool:
    """Return whether an input needs a profile: an open axis, or values that shape inference reads."""
    return bool(tensor.is_shape_tensor) or any(dim < 0 for dim in tensor.shape)


def _check_names(number: int, profile: Profile, inputs: Iterable[Any]) -> None:
    names = [tensor.name for tensor in inputs]
    unknown = sorted(set(profile) - set(names))
    if unknown:
        raise FeedRefused(
            f"optimization profile {number} names {', '.join(unknown)}; the network has {', '.join(names)}"
        )


def _make_profile(builder: Any, number: int, profile: Profile, inputs: Iterable[Any]) -> Any:
    made = builder.create_optimization_profile()
    for tensor in inputs:
        shapes = profile.get(tensor.name)
        if shapes is None and is_open(tensor):
            raise FeedRefused(
                f"optimization profile {number} has no shapes for input {tensor.name}, which is open: "
                f"{tuple(tensor.shape)}"
            )
        if shapes is not None:
            bounds = [tuple(shapes[key]) for key in ("min", "opt", "max")]
            (made.set_shape_input if tensor.is_shape_tensor else made.set_shape)(tensor.name, *bounds)
    return made


def set_io_formats(trt: Any, network: Any, io: Mapping[str, Mapping[str, Any]], *, strong: bool) -> None:
    """Set dtypes and memory layouts of inputs and outputs.

    Parameters
    ----------
    io
        ``{name: {"dtype": "float16" or absent, "formats": ["hwc8"] or absent}}``.
    strong
        Whether the network is strongly typed: its dtypes are then the model's.

    Raises
    ------
    FeedRefused
        The network has no such input or output.
    PrecisionMissing
        This TensorRT lacks a dtype or layout, or does not let dtypes be set.
    """
    tensors = {tensor.name: tensor for tensor in network_inputs(network) + network_outputs(network)}
    for name, asked in io.items():
        if name not in tensors:
            raise FeedRefused(f"build.io.{name}: no such input or output; the network has {', '.join(tensors)}")
        if asked.get("dtype"):
            _set_dtype(trt, tensors[name], asked["dtype"], strong=strong)
        if asked.get("formats"):
            tensors[name].allowed_formats = _format_mask(trt, name, asked["formats"])


def _set_dtype(trt: Any, tensor: Any, dtype: str, *, strong: bool) -> None:
    asked = f"build.io.{tensor.name}.dtype"
    if strong:
        raise PrecisionMissing(
            f"{asked}: the dtypes of a strongly typed network are its model's; change the model (io_precision), or "
            'take typing = "weak" on TensorRT 8.6 to 10.16'
        )
    tensor.dtype = member(trt, "DataType", _DTYPES[dtype], asked)


def _format_mask(trt: Any, name: str, formats: Iterable[str]) -> int:
    mask = 0
    for layout in formats:
        mask |= 1 << int(member(trt, "TensorFormat", layout.upper(), f"build.io.{name}.formats"))
    return mask


def set_layer_devices(trt: Any, network: Any, config: Any, devices: Mapping[str, str]) -> None:
    """Choose the device of layers by name or wildcard; the last that matches counts.

    Raises
    ------
    ModelRefused
        A wildcard matches no layer.
    """
    layers = list(network)
    for pattern, device in devices.items():
        matched = [layer for layer in layers if fnmatchcase(layer.name, pattern)]
        if not matched:
            raise ModelRefused(
                f"build.layer_devices: {pattern!r} matches none of the network's {len(layers)} layers; "
                "see their names in the engine's layer list"
            )
        for layer in matched:
            config.set_device_type(layer, getattr(trt.DeviceType, device.upper()))


def set_parser_flags(trt: Any, parser: Any, switches: Mapping[str, bool]) -> None:
    """Switch the ONNX parser's flags, before it parses.

    Parameters
    ----------
    switches
        By the name that ``trt.OnnxParserFlag`` has, in small letters.

    Raises
    ------
    PrecisionMissing
        This TensorRT has no such flag, or none at all.
    """
    for name, enabled in switches.items():
        flag = member(trt, "OnnxParserFlag", name.upper(), f"build.parser_flags.{name}")
        (parser.set_flag if enabled else parser.clear_flag)(flag)
