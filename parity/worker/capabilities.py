"""What this TensorRT and this GPU can do, asked by symbols; the first thing that a worker is asked."""

from __future__ import annotations

import os
import platform
from typing import Any

from . import cuda, installation
from .errors import PrecisionMissing
from .precision import require_precision

_PRECISIONS = ("tf32", "fp16", "bf16", "int8", "fp8")

# capability, class, member (empty where the class is the sign)
_SIGNS = (
    ("strongly_typed", "NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
    ("weakly_typed", "BuilderFlag", "FP16"),
    ("fp16_flag", "BuilderFlag", "FP16"),
    ("bf16_flag", "BuilderFlag", "BF16"),
    ("int8_flag", "BuilderFlag", "INT8"),
    ("implicit_int8", "IBuilderConfig", "int8_calibrator"),
    ("obey_precision", "BuilderFlag", "OBEY_PRECISION_CONSTRAINTS"),
    ("layer_precision", "ILayer", "precision"),
    ("int64", "DataType", "INT64"),
    ("debug_tensors", "INetworkDefinition", "mark_debug"),
    ("unfused_debug_tensors", "INetworkDefinition", "mark_unfused_tensors_as_debug_tensors"),
    ("editable_timing_cache", "BuilderFlag", "EDITABLE_TIMING_CACHE"),
    ("version_compatible", "BuilderFlag", "VERSION_COMPATIBLE"),
    ("hardware_compatible", "HardwareCompatibilityLevel", ""),
    ("refit", "BuilderFlag", "REFIT"),
    ("refit_from_onnx", "OnnxParserRefitter", ""),
    ("strip_plan", "BuilderFlag", "STRIP_PLAN"),
    ("weight_streaming", "BuilderFlag", "WEIGHT_STREAMING"),
    ("parser_flags", "OnnxParserFlag", ""),
    ("parser_node_names", "ParserError", "node_name"),
    # Came with 10.12, as did the advice to type networks strongly; TensorRT 8.6 to 10.11 type weakly by default.
    ("strong_typing_recommended", "INetworkDefinition", "mark_unfused_tensors_as_debug_tensors"),
)


def capabilities(trt: Any, compute_capability: str) -> dict[str, bool]:
    """Return what can be asked of this TensorRT on this GPU, by name.

    Parameters
    ----------
    compute_capability
        Of the GPU, such as ``9.0``.
    """
    found = {name: _has(trt, owner, member) for name, owner, member in _SIGNS}
    found.update((name, _has_precision(trt, name, compute_capability)) for name in _PRECISIONS)
    return found


def _has(trt: Any, owner: str, member: str) -> bool:
    found = getattr(trt, owner, None)
    return found is not None and (not member or hasattr(found, member))


def _has_precision(trt: Any, precision: str, compute_capability: str) -> bool:
    try:
        # Without a builder, which knows more of the GPU: making one takes 10 s, and most runs build nothing.
        require_precision(trt, None, precision, "strong", compute_capability)
    except PrecisionMissing:
        return False
    return True


def hello(state: Any, request: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001 - every handler takes the state
    """Answer ``hello``: the interpreter, its packages, the GPU, the driver and the capabilities.

    Raises
    ------
    Unavailable
        TensorRT, PyCUDA, Polygraphy, the driver or a GPU is missing, or the driver is too old.
    """
    trt = installation.tensorrt()
    driver = cuda.driver()
    offered = installation.cuda_version(driver.get_driver_version())
    installation.require_driver(offered)
    index = request.get("device", 0)
    cuda.context(index)
    gpu = describe_gpu(index)
    return {
        "python": platform.python_version(),
        "packages": installation.packages(trt),
        **gpu,
        "driver": installation.driver_version(),
        "cuda": offered,
        "capabilities": capabilities(trt, gpu["compute_capability"]),
        "pid": os.getpid(),
    }


def describe_gpu(index: int) -> dict[str, Any]:
    """Return ``gpu``, ``compute_capability`` such as ``9.0``, and ``memory_bytes`` of a device.

    Raises
    ------
    Unavailable
        There is no such device.
    """
    device = cuda.device(index)
    with cuda.mapped_errors(f"GPU {index}"):
        major, minor = device.compute_capability()
        return {
            "gpu": device.name(),
            "compute_capability": f"{major}.{minor}",
            "memory_bytes": int(device.total_memory()),
        }
