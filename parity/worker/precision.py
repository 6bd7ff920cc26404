"""Which precisions this TensorRT and this GPU have, and which builder flags ask for one."""

from __future__ import annotations

from typing import Any, Mapping

from .errors import ModelRefused, PrecisionMissing
from .symbols import member, require_property

FLAGS = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}
"""The builder flag that lets weak typing choose a precision; fp32 needs none, tf32 is a flag of its own."""

_LOWEST_CAPABILITY = {"tf32": (8, 0), "fp16": (5, 3), "bf16": (8, 0), "int8": (6, 1), "fp8": (8, 9)}
_GPUS = {
    "tf32": "Ampere and newer",
    "fp16": "Pascal and newer",
    "bf16": "Ampere and newer",
    "int8": "Pascal and newer",
    "fp8": "Ada, Hopper and newer",
}
# What a builder of 8.6 to 10.x says of its GPU; 11.0 dropped the question along with GPUs before Turing.
_FAST = {"fp16": "platform_has_fast_fp16", "int8": "platform_has_fast_int8", "tf32": "platform_has_tf32"}


def is_strongly_typed(trt: Any, typing: str) -> bool:
    """Return whether a network of this typing is strongly typed here; on 8.6 precision constraints stand in."""
    return typing == "strong" and hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def require_precision(trt: Any, builder: Any, precision: str, typing: str, compute_capability: str) -> None:
    """Refuse a precision that an engine could not have, before TensorRT builds one without it.

    Parameters
    ----------
    typing
        ``strong`` or ``weak``.
    compute_capability
        Of the GPU, such as ``9.0``.

    Raises
    ------
    PrecisionMissing
        This TensorRT or this GPU lacks it; the message names what has it.
    """
    _require_release(trt, precision, typing)
    lowest = _LOWEST_CAPABILITY.get(precision, (0, 0))
    if _numbers(compute_capability) < lowest or getattr(builder, _FAST.get(precision, ""), True) is False:
        raise PrecisionMissing(
            f"{precision}: this GPU, of compute capability {compute_capability}, does not compute in it; "
            f"{_GPUS[precision]} do (compute capability {lowest[0]}.{lowest[1]})"
        )


def _require_release(trt: Any, precision: str, typing: str) -> None:
    if typing == "weak":
        if not hasattr(trt.BuilderFlag, "FP16"):
            raise PrecisionMissing(
                f'typing = "weak": TensorRT {trt.__version__} types every network by its model; leave typing out, or '
                "judge on TensorRT 8.6 to 10.16"
            )
        if precision in FLAGS:
            member(trt, "BuilderFlag", FLAGS[precision], precision)
    if precision == "bf16":
        member(trt, "DataType", "BF16", precision)
    # 8.6 has the names of fp8 and documents what comes of it as undefined; strong typing arrived with the real thing.
    if precision == "fp8" and not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        raise PrecisionMissing(
            f"fp8: TensorRT {trt.__version__} has its name and no kernels for it; TensorRT 10.0 and later has them"
        )


def _numbers(compute_capability: str) -> tuple[int, ...]:
    return tuple(int(part) for part in compute_capability.split("."))


def precision_keywords(trt: Any, network: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Polygraphy's ``CreateConfig`` is told of precisions.

    TF32 is always told, because TensorRT has it on: float32 layers use it in a tf32 variant, or where the option
    ``tf32`` says so. A strongly typed network takes no precision flag at all.
    """
    precision = request["precision"]
    tf32 = request["options"].get("tf32", precision == "tf32")
    allowed: dict[str, Any] = {"tf32": tf32}
    if is_strongly_typed(trt, request["typing"]):
        return allowed
    for name in _weak_precisions(trt, network, request):
        member(trt, "BuilderFlag", FLAGS[name], name)
        allowed[name] = True
    if request.get("obey") or request["typing"] == "strong":
        member(trt, "BuilderFlag", "OBEY_PRECISION_CONSTRAINTS", "obeyed precisions of layers")
        allowed["precision_constraints"] = "obey"
    return allowed


def _weak_precisions(trt: Any, network: Any, request: Mapping[str, Any]) -> list[str]:
    """Return what builder flags must allow: the precision, its companions, and the half tensors of a typed model."""
    wanted = [request["precision"], *request["options"].get("also", ())]
    if request.get("keep"):
        wanted.append(request["keep_precision"])
    if request["typing"] == "strong" and trt.DataType.HALF in _dtypes(network):
        wanted.append("fp16")
    return [name for name in dict.fromkeys(wanted) if name in FLAGS]


def _dtypes(network: Any) -> list[Any]:
    return [layer.get_output(index).dtype for layer in network for index in range(layer.num_outputs)]


def require_scales(trt: Any, network: Any, request: Mapping[str, Any], calibrator: Any) -> None:
    """Refuse an int8 build that nothing gives scales to: TensorRT would leave its layers in float32.

    Raises
    ------
    ModelRefused
        The ONNX model has no Q/DQ pairs, and there is no calibrator.
    PrecisionMissing
        There is a calibrator, and this TensorRT takes none.
    """
    if calibrator is not None:
        require_property(trt, "IBuilderConfig", "int8_calibrator", 'quantization = "implicit"')
        return
    if request["precision"] not in {"int8", "fp8"} or request["source"]["kind"] != "onnx":
        return
    if not any(layer.type in {trt.LayerType.QUANTIZE, trt.LayerType.DEQUANTIZE} for layer in network):
        raise ModelRefused(
            f"{request['precision']}: the model has no Q/DQ pairs and there is no calibrator; quantize the model, or "
            'take quantization = "implicit" on TensorRT 8.6 to 10.16'
        )
