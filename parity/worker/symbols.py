"""Asking a TensorRT for what it may lack: by its symbols, never by its version."""

from __future__ import annotations

from typing import Any

from .errors import PrecisionMissing

RELEASES = {
    "BuilderFlag.BF16": "10.0 to 10.16",
    "BuilderFlag.DISABLE_COMPILATION_CACHE": "10.0 and later",
    "BuilderFlag.DISTRIBUTIVE_INDEPENDENCE": "10.12 and later",
    "BuilderFlag.EDITABLE_TIMING_CACHE": "10.8 and later",
    "BuilderFlag.ENABLE_TACTIC_HEURISTIC": "8.6",
    "BuilderFlag.ERROR_ON_TIMING_CACHE_MISS": "10.0 and later",
    "BuilderFlag.FP16": "8.6 to 10.16",
    "BuilderFlag.FP8": "8.6 to 10.16",
    "BuilderFlag.INT8": "8.6 to 10.16",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS": "8.6 to 10.16",
    "BuilderFlag.REFIT_IDENTICAL": "10.0 and later",
    "BuilderFlag.REFIT_INDIVIDUAL": "10.2 and later",
    "BuilderFlag.STRICT_NANS": "10.6 and later",
    "BuilderFlag.STRIP_PLAN": "10.0 and later",
    "BuilderFlag.WEIGHT_STREAMING": "10.0 and later",
    "DataType.BF16": "10.0 and later",
    "DataType.INT64": "10.0 and later",
    "ExecutionContextAllocationStrategy": "10.0 and later",
    "HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY": "10.9 and later",
    "IBuilderConfig.build_route": "11.1 and later",
    "IBuilderConfig.int8_calibrator": "8.6 to 10.16",
    "IBuilderConfig.l2_limit_for_tiling": "10.8 and later",
    "IBuilderConfig.max_num_tactics": "10.4 and later",
    "ICudaEngine.weight_streaming_budget_v2": "10.1 and later",
    "INetworkDefinition.mark_debug": "10.0 and later",
    "INetworkDefinition.mark_unfused_tensors_as_debug_tensors": "10.12 and later",
    "MemoryPoolType.TACTIC_SHARED_MEMORY": "10.0 and later",
    "NetworkDefinitionCreationFlag.STRONGLY_TYPED": "10.0 and later",
    "OnnxParserFlag": "10.0 and later",
    "OnnxParserRefitter": "10.0 and later",
    "QuantizationFlag": "8.6 to 10.16",
    "TacticSource.CUBLAS": "8.6 to 10.16",
    "TacticSource.CUBLAS_LT": "8.6 to 10.16",
    "TacticSource.CUDNN": "8.6 to 10.16",
    "TilingOptimizationLevel": "10.8 and later",
}
"""Which of the releases 8.6 and 10.0 to 11.4 have a symbol that some of them lack."""


def member(trt: Any, owner: str, name: str, asked: str) -> Any:
    """Return ``trt.owner.name``.

    Parameters
    ----------
    asked
        What asks for it, in the user's words: ``strict_nans``.

    Raises
    ------
    PrecisionMissing
        This TensorRT has no such class, or the class no such member.
    """
    found = getattr(trt, owner, None)
    if found is None:
        raise PrecisionMissing(lacks(trt, asked, owner))
    if not hasattr(found, name):
        raise PrecisionMissing(lacks(trt, asked, f"{owner}.{name}", _members(found)))
    return getattr(found, name)


def require_property(trt: Any, owner: str, name: str, asked: str) -> None:
    """Refuse a property or method that the objects of TensorRT's class ``owner`` lack.

    Raises
    ------
    PrecisionMissing
        They lack it.
    """
    if not hasattr(getattr(trt, owner), name):
        raise PrecisionMissing(lacks(trt, asked, f"{owner}.{name}"))


def lacks(trt: Any, asked: str, symbol: str, known: str = "") -> str:
    """Return the message for a symbol that this TensorRT lacks, with the releases that have it."""
    where = RELEASES.get(symbol) or RELEASES.get(symbol.partition(".")[0])
    told = f"TensorRT {where} has it" if where else known or "leave the option out"
    return f"{asked}: TensorRT {trt.__version__} has no {symbol}; {told}"


def _members(enum: Any) -> str:
    names = sorted(getattr(enum, "__members__", {}))
    return f"it has {', '.join(name.lower() for name in names)}" if names else ""
