"""Values past the largest half: infinite in fp16, and NaN behind it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.diagnose.certainty import FITS, POSSIBLE, SHOWN, certainty_of
from parity.diagnose.huge import LARGEST_HALF, huge_constants
from parity.diagnose.model_facts import PRODUCTS, ModelFacts
from parity.diagnose.row_facts import RowFacts, failed_tensors, is_failed, is_sick, magnitude
from parity.diagnose.trial import try_keeping
from parity.diagnosis import Diagnosis
from parity.layers.points import float_outputs
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence
    from parity.layer_table import LayerRow

CAUSE = "fp16-overflow"
_PROBE = "keep the nodes that give or read these values at fp32, or run the variant in bf16, which has float32's range"
_REMEDY = "keep these nodes at fp32 (or bf16), or scale the values down in the model before they are squared or summed"
_SQUARES = frozenset({"Pow", "Mul", "ReduceL2", "ReduceSumSquare", "LpNormalization", "LayerNormalization"})
_HOLDS_GRAPHS = frozenset({"If", "Loop", "Scan"})
_SUMS = frozenset({"ReduceMean", "ReduceSum", "GlobalAveragePool"})


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Return the overflow of an fp16 variant: where its first non-finite values are made of finite ones."""
    if evidence.options.precision is not Precision.FP16 or not is_failed(evidence):
        return ()
    if evidence.layers is None:
        return _without_layers(evidence)
    facts, rows = ModelFacts(evidence.model), RowFacts(evidence.layers)
    made = [row for row in rows.sources if is_sick(row) and not rows.behind_sick(row)]
    made = [row for row in made if _is_beyond(row, rows)]
    return (_diagnosis(evidence, facts, rows, made),) if made else ()


def _is_beyond(row: LayerRow, rows: RowFacts) -> bool:
    """Whether the reference itself is past the range, in the row or inside of it."""
    # What is inside of a loop is not observed, and it makes NaN or infinities of finite values all the same.
    if magnitude(row) > LARGEST_HALF or _HOLDS_GRAPHS.intersection(row.operators):
        return True
    inputs = rows.inputs(row)
    if _SQUARES.intersection(row.operators):
        return any(magnitude(one) ** 2 > LARGEST_HALF for one in inputs)
    return "Exp" in row.operators and any(one.reference_range[1] > math.log(LARGEST_HALF) for one in inputs)


def _diagnosis(evidence: Evidence, facts: ModelFacts, rows: RowFacts, made: Sequence[LayerRow]) -> Diagnosis:
    first = made[0]
    island = rows.island(made, lambda row: magnitude(row) > LARGEST_HALF)
    keep = facts.with_inner(island)
    trial = try_keeping(evidence, keep)
    # Sums with a mask beyond the range are the mask's doing, which has a rule and a better remedy of its own.
    has_mask = bool(huge_constants(evidence, facts, rows, first, LARGEST_HALF))
    certainty = certainty_of(FITS if has_mask else SHOWN, trial.is_confirmed)
    return Diagnosis(
        cause=CAUSE,
        title=_title(facts, rows, first),
        certainty=min(certainty, SHOWN) if has_mask else certainty,
        nodes=tuple(dict.fromkeys(name for row in made for name in row.nodes)),
        evidence=_evidence(evidence, made),
        probe=_PROBE,
        probe_result=trial.result,
        is_confirmed=trial.is_confirmed,
        remedy=_REMEDY,
        keep=keep,
    )


def _title(facts: ModelFacts, rows: RowFacts, first: LayerRow) -> str:
    held = _HOLDS_GRAPHS.intersection(first.operators)
    if held and magnitude(first) <= LARGEST_HALF:
        return f"A value inside of {first.layer} ({', '.join(sorted(held))}) leaves the range of fp16"
    return f"{_pattern(facts, rows, first)} overflows fp16 at {first.layer}"


def _evidence(evidence: Evidence, made: Sequence[LayerRow]) -> tuple[str, ...]:
    places = [
        f"{row.layer} ({', '.join(row.operators)}) is the first to give NaN or infinities: "
        f"{_elements(row.nonfinite_candidate)}, {row.nonfinite_reference:,} in the reference, "
        f"whose largest magnitude there is {magnitude(row):.4g} (half ends at {LARGEST_HALF:.0f})"
        for row in made[:3]
    ]
    more = [f"{len(made) - 3} more nodes do so"] if len(made) > 3 else []
    return (*places, *more, *_outputs(evidence))


def _outputs(evidence: Evidence) -> list[str]:
    found = [
        (one.output, one.difference.nonfinite_mismatch_count) for one in failed_tensors(evidence) if one.difference
    ]
    return [f"{name}: {_elements(count)} non-finite on one side only" for name, count in found if count]


def _elements(count: int) -> str:
    return f"{count:,} element{'' if count == 1 else 's'}"


def _pattern(facts: ModelFacts, rows: RowFacts, row: LayerRow) -> str:
    """Return what the row is part of, in words."""
    here, readers = set(row.operators), {name for one in rows.readers(row) for name in one.operators}
    if "Exp" in here:
        return "A softmax by hand (exp, sum, divide)" if readers & _SUMS else "An exponential"
    if here & {"Pow", "Mul"} and (here | readers) & _SUMS:
        centred = any(node.op_type == "Sub" for one in facts.named(row.nodes) for node in _makers(facts, one))
        return "The variance of a layer normalisation in parts" if centred else "A sum of squares (L2 or RMS norm)"
    if here & {"ReduceL2", "ReduceSumSquare", "LpNormalization"}:
        return "A sum of squares (L2 or RMS norm)"
    if "Softmax" in here | readers:
        return "What a softmax reads"
    if here & PRODUCTS:
        return f"The product of a {next(name for name in row.operators if name in PRODUCTS)}"
    return row.operators[-1] if row.operators else "A tensor"


def _makers(facts: ModelFacts, node: NodeProto) -> list[NodeProto]:
    return [facts.producers[tensor] for tensor in node.input if tensor in facts.producers]


def _without_layers(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Look at the reference's ranges alone, where no layer was observed."""
    if not _outputs(evidence):
        return ()
    ranges = evidence.probes.ranges(list(float_outputs(evidence.model)))
    beyond = {name: max(map(abs, ends)) for name, ends in ranges.items() if max(map(abs, ends)) > LARGEST_HALF}
    if not beyond:
        return ()
    facts = ModelFacts(evidence.model)
    nodes = (node for name in beyond for node in (facts.producers[name], *facts.readers.get(name, ())))
    keep = facts.with_inner(dict.fromkeys(node.name for node in nodes))
    trial = try_keeping(evidence, keep)
    first = next(iter(beyond))
    return (
        Diagnosis(
            cause=CAUSE,
            title=f"{len(beyond)} tensors are past the range of fp16, the first at {facts.producers[first].name}",
            certainty=certainty_of(FITS if trial.result else POSSIBLE, trial.is_confirmed),
            nodes=tuple(dict.fromkeys(facts.producers[name].name for name in beyond)),
            evidence=(f"the reference reaches {beyond[first]:.4g} in {first}", *_outputs(evidence)),
            probe=_PROBE,
            probe_result=trial.result,
            is_confirmed=trial.is_confirmed,
            remedy=_REMEDY,
            keep=keep,
        ),
    )
