"""From a float32 model and options to its two products, checked and hashed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import onnx
from onnx import ModelProto, TensorProto

from parity.backends import get_backend
from parity.errors import ModelError, PrecisionError
from parity.graph import hash_model, model_interface
from parity.options import PrecisionOptions, Rounding, SessionOptions
from parity.precision.assignment import HALF_TYPES, Assignment, assign
from parity.precision.calibration import calibrate
from parity.precision.edit import hoist_constants, inline_functions
from parity.precision.fold import fold_constants, fold_scales, split_biases
from parity.precision.fusion import unrounded_tensors
from parity.precision.half import convert_to_half
from parity.precision.names import all_nodes, kept_nodes, name_nodes
from parity.precision.opset import raise_opset
from parity.precision.qdq import FORMATS, activations_to_quantize, quantize
from parity.precision.rounding import insert_rounding
from parity.precision.tf32 import insert_tf32_rounding
from parity.precision.widen import count_half_nodes, is_half_model, widen
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import numpy as np

    CalibrationFeeds = Callable[[], Iterable[Mapping[str, np.ndarray]]]


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
        ``none``, ``fused``, ``every-node`` or ``qdq``.
    notes
        Sentences for the report: weights that were clamped, nodes that stay at float32, and the like.
    graph_optimizations
        Whether the rounded graph is to run under all graph optimisations. True for fp32 alone: its graph holds no cast and
        no Q/DQ that they could fold, and another legal order of the same sums is what an fp32 engine is, too.
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


@dataclass(frozen=True, slots=True)
class Plan:
    """A rounded graph on its way: the model and what was done to it."""

    rounded: ModelProto
    typed: ModelProto
    nodes_changed: int
    rounding: str
    rounded_tensor_count: int = 0
    folded_node_count: int = 0
    notes: tuple[str, ...] = ()
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
    prepared = _prepare(model)
    if typed_model is not None:
        plan = _plan_own(typed_model, options)
    elif options.precision in HALF_TYPES:
        plan = _plan_half(prepared, options)
    elif options.precision in FORMATS:
        plan = _plan_quantized(prepared, options, calibration, cache)
    elif options.precision == Precision.TF32:
        plan = _plan_tf32(prepared, model)
    else:
        count = sum(1 for _ in all_nodes(model.graph))
        plan = Plan(model, model, nodes_changed=count, rounding="none", graph_optimizations=True)
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


def _prepare(model: ModelProto) -> ModelProto:
    """Return a copy in which every node has its own name and constants are initializers."""
    prepared = _copy(inline_functions(model))
    name_nodes(prepared.graph)
    hoist_constants(prepared.graph)
    return prepared


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _plan_half(model: ModelProto, options: PrecisionOptions) -> Plan:
    half = HALF_TYPES[options.precision]
    io_type = HALF_TYPES.get(options.io_precision, TensorProto.FLOAT)
    assignment = assign(model, options)
    typed = raise_opset(_copy(model), 22) if half == TensorProto.BFLOAT16 else _copy(model)
    notes = convert_to_half(typed, assignment, io_type)
    plan = _round(_copy(model), dict(assignment), options.rounding, io_type)
    changed = sum(1 for elem_type in assignment.values() if elem_type == half)
    float_notes = _note_on_float_nodes(model, assignment, options)
    return replace(plan, typed=typed, nodes_changed=changed, notes=(*float_notes, *notes))


def _round(model: ModelProto, assignment: Assignment, rounding: Rounding, io_type: int) -> Plan:
    """Round a float32 model in place."""
    folded = 0
    unrounded: frozenset[str] = frozenset()
    if rounding == Rounding.FUSED:
        folded = fold_constants(model) + fold_scales(model, assignment)
        unrounded = unrounded_tensors(model, assignment, split_biases(model, assignment))
    count = insert_rounding(model, assignment, unrounded, io_type)
    return Plan(model, model, 0, rounding.value, rounded_tensor_count=count, folded_node_count=folded)


def _note_on_float_nodes(model: ModelProto, assignment: Assignment, options: PrecisionOptions) -> tuple[str, ...]:
    kept = kept_nodes(model.graph, options.keep)
    note = f"{len(kept)} nodes are kept at {options.keep_precision}" if kept else ""
    return (note,) if note else ()


def _plan_quantized(
    model: ModelProto, options: PrecisionOptions, calibration: CalibrationFeeds | None, cache: Path | None
) -> Plan:
    form = FORMATS[options.precision]
    if calibration is None:
        raise PrecisionError(
            f"{options.precision}: has no calibration inputs; expected a [calibration] table in the case file"
        )
    kept = kept_nodes(model.graph, options.keep)
    raised = raise_opset(model, form.opset)
    folded = fold_constants(raised)
    activations = activations_to_quantize(raised, kept)
    ranges = calibrate(raised, activations, calibration(), options.calibration, cache)
    done = quantize(raised, ranges, form, kept)
    notes = (*_note_on_float_nodes(model, {}, options), *done.notes)
    return Plan(raised, raised, done.node_count, "qdq", done.tensor_count, folded, notes)


def _plan_tf32(prepared: ModelProto, model: ModelProto) -> Plan:
    products, count = insert_tf32_rounding(prepared)
    return Plan(prepared, model, products, "tf32", rounded_tensor_count=count)


def _plan_own(typed_model: ModelProto, options: PrecisionOptions) -> Plan:
    """Forecast a typed model that the user made: half tensors become rounded float32, all else runs as it stands."""
    changed = _count_own_nodes(typed_model)
    if changed == 0:
        raise PrecisionError(
            "the typed model holds no half tensor and no Q/DQ pair; expected a model at the variant's precision, not "
            "the float32 model again"
        )
    if not is_half_model(typed_model):
        return Plan(typed_model, typed_model, changed, "qdq")
    widened = _prepare(typed_model)
    assignment = widen(widened)
    plan = _round(widened, assignment, options.rounding, TensorProto.FLOAT)
    return replace(plan, typed=typed_model, nodes_changed=changed, notes=("the typed model is the user's own",))


def _count_own_nodes(model: ModelProto) -> int:
    pairs = sum(1 for node in all_nodes(model.graph) if node.op_type == "DequantizeLinear")
    return pairs + count_half_nodes(model)


def _check(model: ModelProto, plan: Plan, options: PrecisionOptions) -> None:
    """Check that both products are valid, keep the model's names, and load."""
    wanted = model_interface(model)
    for product, title in ((plan.typed, "typed model"), (plan.rounded, "rounded graph")):
        found = model_interface(product)
        for side, names in (("inputs", wanted.inputs), ("outputs", wanted.outputs)):
            here = [info.name for info in getattr(found, side)]
            if here != [info.name for info in names]:
                raise PrecisionError(
                    f"{options.precision}: the {title} has {side} {here}; expected {[info.name for info in names]}"
                )
    _check_valid(plan.typed, f"{options.precision}: the typed model")
    # ONNX Runtime has no bfloat16 kernels to load the typed model with; the checker is all that can be asked.
    if options.precision == Precision.FP16:
        _check_loads(plan.typed, f"{options.precision}: the typed model")


def _check_valid(model: ModelProto, what: str) -> None:
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise PrecisionError(f"{what} is not valid ONNX: {str(error).strip().splitlines()[0]}") from error


def _check_loads(model: ModelProto, what: str) -> None:
    try:
        with get_backend("onnxruntime").open(model, SessionOptions()):
            return
    except ModelError as error:
        raise PrecisionError(f"{what} does not load: {error}") from error
