"""From a float32 model and options to its two products, checked and hashed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from google.protobuf.message import EncodeError

from parity.backends import get_backend
from parity.errors import ModelError, PrecisionError
from parity.graph import hash_model, model_interface
from parity.options import PrecisionOptions, SessionOptions
from parity.precision.assignment import HALF_TYPES
from parity.precision.plan import plan_float, plan_half, plan_own, plan_quantized, plan_tf32
from parity.precision.qdq import FORMATS
from parity.tolerance import Precision

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto

    from parity.precision.plan import CalibrationFeeds, Plan


@dataclass(frozen=True, slots=True)
class Forecast:
    """The two products of a precision.

    Attributes
    ----------
    rounded
        What ONNX Runtime executes to forecast the precision.
    typed
        What TensorRT is given.
    nodes_changed
        Nodes of the typed model that compute at the precision.
    rounded_tensor_count
        Tensors that the rounded graph rounds, constants included.
    folded_node_count
        Nodes that were folded into others before rounding.
    rounding
        ``none``, ``fused``, ``every-node``, ``qdq`` or ``tf32``.
    notes
        Sentences for the report: weights that were clamped, nodes that stay at float32, and the like.
    graph_optimizations
        Whether the rounded graph is to run under all graph optimisations. True for fp32 alone: its graph holds no cast
        and no Q/DQ that they could fold, and another legal order of the same sums is what an fp32 engine is, too.
    """

    rounded: ModelProto
    typed: ModelProto
    rounded_sha256: str
    typed_sha256: str
    nodes_changed: int
    rounded_tensor_count: int
    folded_node_count: int
    rounding: str
    notes: tuple[str, ...]
    graph_optimizations: bool = False


def forecast(
    model: ModelProto,
    options: PrecisionOptions,
    calibration: CalibrationFeeds | None = None,
    typed_model: ModelProto | None = None,
    cache: Path | None = None,
) -> Forecast:
    """Rewrite a float32 model for a precision.

    Parameters
    ----------
    model
        Is not changed.
    calibration
        Called for the calibration feeds where int8 or fp8 needs them.
    typed_model
        The user's own typed model, taken in place of the one that would be made.
    cache
        A folder for calibration results.

    Raises
    ------
    PrecisionError
        The precision cannot be applied: nothing to change, no calibration feeds, or a product that is not valid.
    """
    plan = _plan(model, options, calibration, typed_model, cache)
    _check(model, plan, options)
    return Forecast(
        rounded=plan.rounded,
        typed=plan.typed,
        rounded_sha256=hash_model(plan.rounded),
        typed_sha256=hash_model(plan.typed),
        nodes_changed=plan.nodes_changed,
        rounded_tensor_count=plan.rounded_tensor_count,
        folded_node_count=plan.folded_node_count,
        rounding=plan.rounding,
        notes=plan.notes,
        graph_optimizations=plan.graph_optimizations,
    )


def _plan(
    model: ModelProto,
    options: PrecisionOptions,
    calibration: CalibrationFeeds | None,
    typed_model: ModelProto | None,
    cache: Path | None,
) -> Plan:
    if typed_model is not None:
        return plan_own(typed_model, options)
    if options.precision in HALF_TYPES:
        return plan_half(model, options)
    if options.precision in FORMATS:
        return plan_quantized(model, options, calibration, cache)
    return plan_tf32(model, options) if options.precision == Precision.TF32 else plan_float(model)


def _check(model: ModelProto, plan: Plan, options: PrecisionOptions) -> None:
    """Check that both products keep the model's names, and that the typed model is valid and loads."""
    _check_names(model, plan.typed, f"{options.precision}: the typed model")
    _check_names(model, plan.rounded, f"{options.precision}: the rounded graph")
    _check_valid(plan.typed, f"{options.precision}: the typed model")
    # ONNX Runtime has no bfloat16 kernels to load the typed model with; the checker is all that can be asked.
    if options.precision == Precision.FP16 and options.keep_precision != Precision.BF16:
        _check_loads(plan.typed, f"{options.precision}: the typed model")


def _check_names(model: ModelProto, product: ModelProto, what: str) -> None:
    wanted, found = model_interface(model), model_interface(product)
    for side in ("inputs", "outputs"):
        expected = [info.name for info in getattr(wanted, side)]
        here = [info.name for info in getattr(found, side)]
        if here != expected:
            raise PrecisionError(f"{what} has {side} {here}; expected {expected}")


def _check_valid(model: ModelProto, what: str) -> None:
    try:
        content = model.SerializeToString()
    except (EncodeError, ValueError):
        # Above the 2 GiB that a protobuf message may have; the checker would want it in files.
        return
    try:
        onnx.checker.check_model(content)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise PrecisionError(f"{what} is not valid ONNX: {str(error).strip().splitlines()[0]}") from error


def _check_loads(model: ModelProto, what: str) -> None:
    try:
        with get_backend("onnxruntime").open(model, SessionOptions()):
            return
    except ModelError as error:
        raise PrecisionError(f"{what} does not load: {error}") from error
