"""One plan a kind of precision: how a float32 model becomes its typed model and its rounded graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from onnx import ModelProto, TensorProto

from parity.errors import PrecisionError
from parity.options import PrecisionOptions, Rounding
from parity.precision.assignment import HALF_TYPES, Assignment, assign, has_nodes_for_half
from parity.precision.calibration import calibrate
from parity.precision.edit import hoist_constants, inline_functions
from parity.precision.fold import fold_constants, fold_scales, split_biases
from parity.precision.fusion import fused_nodes
from parity.precision.half import convert_to_half
from parity.precision.names import all_nodes, kept_nodes, name_nodes
from parity.precision.opset import raise_opset
from parity.precision.qdq import FORMATS, activations_to_quantize, has_products, quantize
from parity.precision.rounding import insert_rounding
from parity.precision.tf32 import OPSET_OF_WHERE, insert_tf32_rounding
from parity.precision.widen import count_half_nodes, holds_half, widen
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    import numpy as np

    CalibrationFeeds = Callable[[], Iterable[Mapping[str, np.ndarray]]]

# The first opsets whose Cast, and whose convolutions, take bfloat16.
_OPSET_OF_BFLOAT16_CASTS = 13
_OPSET_OF_BFLOAT16 = 22
# Before it, initializers had to be listed as inputs, and those that a rewriting adds are not.
_IR_VERSION_OF_FREE_INITIALIZERS = 4
_OWN_MODEL = "the typed model is the user's own"


@dataclass(frozen=True, slots=True)
class Plan:
    """The two products of a precision and what was done to make them; ``Forecast`` explains the fields."""

    rounded: ModelProto
    typed: ModelProto
    nodes_changed: int
    rounding: str
    rounded_tensor_count: int = 0
    folded_node_count: int = 0
    notes: tuple[str, ...] = ()
    graph_optimizations: bool = False


def has_work_for(model: ModelProto, precision: Precision) -> bool:
    """Whether a precision would change any node of a model; one with half tensors is widened first, and always has."""
    if holds_half(model):
        return True
    prepared = _prepare(model)
    if precision in HALF_TYPES:
        return has_nodes_for_half(prepared)
    return has_products(prepared) if precision in FORMATS else True


def plan_float(model: ModelProto) -> Plan:
    """Plan fp32: both products are the model itself."""
    count = sum(1 for _ in all_nodes(model.graph))
    return Plan(model, model, nodes_changed=count, rounding="none", graph_optimizations=True)


def plan_half(model: ModelProto, options: PrecisionOptions) -> Plan:
    """Plan fp16 or bf16.

    Raises
    ------
    PrecisionError
        The keep-list matches nothing, no node is left to change, or bf16 needs an opset that the model does not reach.
    """
    half = HALF_TYPES[options.precision]
    io_type = HALF_TYPES.get(options.io_precision, TensorProto.FLOAT)
    needs_bfloat16 = Precision.BF16 in {options.precision, options.keep_precision}
    base = _prepare(model)
    if needs_bfloat16:
        base = _raise(base, _OPSET_OF_BFLOAT16_CASTS)
    assignment = assign(base, options)
    typed = _raise(base, _OPSET_OF_BFLOAT16) if needs_bfloat16 else _copy(base)
    losses = convert_to_half(typed, assignment, io_type)
    name_nodes(typed.graph)
    notes = (*_note_on_kept(kept_nodes(base.graph, options.keep), options.keep_precision), *losses)
    changed = sum(1 for elem_type in assignment.values() if elem_type == half)
    plan = _round(base, assignment, options.rounding, io_type)
    return replace(plan, typed=typed, nodes_changed=changed, notes=notes)


def plan_quantized(
    model: ModelProto, options: PrecisionOptions, calibration: CalibrationFeeds | None, cache: Path | None
) -> Plan:
    """Plan int8 or fp8: both products are the Q/DQ model.

    Raises
    ------
    PrecisionError
        There are no calibration feeds, the keep-list matches nothing, or no product is left to quantize.
    """
    form = FORMATS[options.precision]
    if calibration is None:
        raise PrecisionError(
            f"{options.precision}: has no calibration inputs; expected a [calibration] table in the case file"
        )
    prepared = _prepare(model)
    kept = kept_nodes(prepared.graph, options.keep)
    raised = _raise(prepared, form.opset)
    folded = fold_constants(raised)
    ranges = calibrate(raised, activations_to_quantize(raised, kept), calibration(), options.calibration, cache)
    done = quantize(raised, ranges, form, kept)
    name_nodes(raised.graph)
    # Nothing is half in a Q/DQ model: what is kept stays at fp32, whichever higher precision was allowed.
    notes = (*_note_on_kept(kept, Precision.FP32), *done.notes)
    return Plan(raised, raised, done.node_count, "qdq", done.tensor_count, folded, notes)


def plan_tf32(model: ModelProto, options: PrecisionOptions) -> Plan:
    """Plan TF32: the typed model is the model itself, because TF32 is a switch of the whole engine.

    Raises
    ------
    PrecisionError
        There is a keep-list, the model has no product to round, or its opset does not convert to the one needed.
    """
    if options.keep:
        raise PrecisionError(
            f"tf32: cannot keep {', '.join(options.keep)}; expected no keep-list, because an engine has TF32 on or off "
            "as a whole"
        )
    rounded = _raise(_prepare(model), OPSET_OF_WHERE)
    folded = fold_constants(rounded)
    products, count = insert_tf32_rounding(rounded)
    name_nodes(rounded.graph)
    return Plan(rounded, model, products, "tf32", rounded_tensor_count=count, folded_node_count=folded)


def plan_own(typed_model: ModelProto, options: PrecisionOptions) -> Plan:
    """Plan a typed model that the user made: half tensors become rounded float32, all else runs as it stands.

    A float32 model (a simplifier's output, say) is one for fp32 and tf32, and is judged for what its own changes do.

    Raises
    ------
    PrecisionError
        It is a float32 model and the precision is a lower one, or the other way round.
    """
    prepared = _prepare(typed_model)
    pairs = sum(1 for node in all_nodes(prepared.graph) if node.op_type == "DequantizeLinear")
    halves = count_half_nodes(prepared)
    if options.precision in {Precision.FP32, Precision.TF32}:
        return _plan_own_float(typed_model, options, halves + pairs)
    if pairs + halves == 0:
        raise PrecisionError(
            f"{options.precision}: the variant's own model holds no half tensor and no Q/DQ pair; expected a model at "
            'this precision. Give the variant precision = "fp32" to judge a float32 model of your own'
        )
    if halves == 0:
        return Plan(typed_model, typed_model, pairs, "qdq", notes=(_OWN_MODEL,))
    plan = _round(prepared, widen(prepared), options.rounding, TensorProto.FLOAT)
    return replace(plan, typed=typed_model, nodes_changed=pairs + halves, notes=(_OWN_MODEL,))


def _plan_own_float(typed_model: ModelProto, options: PrecisionOptions, lower: int) -> Plan:
    if lower:
        raise PrecisionError(
            f"{options.precision}: the variant's own model has {lower} nodes of a lower precision; expected float32 "
            "only, or name the model's precision in the variant"
        )
    plan = plan_float(typed_model) if options.precision == Precision.FP32 else plan_tf32(typed_model, options)
    return replace(plan, graph_optimizations=False, notes=(_OWN_MODEL,))


def _prepare(model: ModelProto) -> ModelProto:
    """Return a copy in which every node has its own name and constants are initializers."""
    prepared = _copy(inline_functions(model))
    prepared.ir_version = max(prepared.ir_version, _IR_VERSION_OF_FREE_INITIALIZERS)
    name_nodes(prepared.graph)
    hoist_constants(prepared.graph)
    return prepared


def _raise(prepared: ModelProto, opset: int) -> ModelProto:
    """Return a prepared copy of a prepared model at an opset: the converter adds constants, and nodes without names."""
    return _prepare(raise_opset(prepared, opset))


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy


def _round(model: ModelProto, assignment: Assignment, rounding: Rounding, io_type: int) -> Plan:
    """Round a prepared float32 model in place."""
    folded = 0
    fused: frozenset[str] = frozenset()
    if rounding == Rounding.FUSED:
        folded = fold_constants(model) + fold_scales(model, assignment)
        fused = fused_nodes(model, assignment, split_biases(model, assignment))
    count = insert_rounding(model, assignment, fused, io_type)
    # ONNX Runtime refuses nodes of the same name: a node of the model may be called as one that was added.
    name_nodes(model.graph)
    return Plan(model, model, 0, rounding.value, rounded_tensor_count=count, folded_node_count=folded)


def _note_on_kept(kept: AbstractSet[str], precision: Precision) -> tuple[str, ...]:
    return (f"{len(kept)} nodes are kept at {precision}",) if kept else ()
