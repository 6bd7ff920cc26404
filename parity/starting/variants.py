"""Which variants a first case has: those of which there is something to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.precision.plan import has_work_for
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

_NOTHING = {
    Precision.FP16: "the model has no float32 node whose operator takes half",
    Precision.INT8: "the model has no float32 Conv, ConvTranspose, Gemm or MatMul outside of subgraphs to quantize",
}


def without_work(model: ModelProto) -> Mapping[Precision, str]:
    """Return the precisions that would change nothing in a model, each with why: a run of one is always an error."""
    return {precision: why for precision, why in _NOTHING.items() if not has_work_for(model, precision)}
