"""What was observed of a variant's layers: one row a layer or tensor, judged and saved with a run. Plain records."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Role(StrEnum):
    """What a layer does to the error that reaches it."""

    SOURCE = "source"
    """Its own error, on the reference's inputs, is far above its precision's noise floor."""
    AMPLIFIER = "amplifier"
    """It adds little by itself, and what reaches it leaves it much larger."""
    VICTIM = "victim"
    """It hands on what reached it."""
    CLEAN = "clean"
    """What leaves it is near its noise floor."""
    UNKNOWN = "unknown"
    """Too little was observed to tell."""


class Validity(StrEnum):
    """Whether what was observed is what is shipped."""

    VALID = "valid"
    INVALID = "invalid"
    """The instrumented engine is not as far from the reference as the plain one."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """How far a tensor is from the reference's, over all feeds and the elements that are finite on both sides.

    ``max_absolute`` is in the tensor's own unit; NaN stands for what cannot be measured (a reference of zeros).
    """

    sqnr_db: float
    max_absolute: float
    max_relative: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Quantized:
    """How a tensor uses its 8-bit grid: 0 to 1 each; ``rmse_steps`` is about 0.289 where only rounding errs."""

    scale: float
    saturation_share: float
    used_bin_share: float
    rmse_steps: float


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One observation point.

    Attributes
    ----------
    position
        In topological order, from 0.
    layer
        The engine's layer, or the node in a rounded graph.
    nodes, operators
        The ONNX nodes between the observation points before this one and it, and their types, in order.
    tensor
        The tensor that was observed, by its name in the model.
    inputs
        The observation points that the layer reads: names of tensors.
    precision
        What the layer ran in, as far as it is known.
    shape
        In one feed.
    inherited
        The tensor in the whole variant, against the reference.
    injected
        The same layer fed with the reference's inputs, against the reference; None where it was not measured.
    gain_db
        How much worse what leaves the layer is than the worst of what reaches it: inherited SQNR in less that out.
        None where nothing erroneous reaches it.
    floor_db
        The SQNR that the layer's precision and depth of reduction allow.
    reduction_depth
        Terms in one sum of the layer's products; 1 where there is none.
    nonfinite_reference, nonfinite_candidate
        How many elements are NaN or infinite on each side.
    reference_range, candidate_range
        Smallest and largest finite element.
    time_ms
        Median of the profiler's readings; None where no engine was profiled.
    observed_by
        ``rounded graph``, ``output``, ``debug tensor`` or ``unfused debug tensor``.
    """

    position: int
    layer: str
    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    tensor: str
    inputs: tuple[str, ...]
    precision: str
    shape: tuple[int, ...]
    inherited: LayerError
    injected: LayerError | None
    gain_db: float | None
    floor_db: float
    reduction_depth: int
    nonfinite_reference: int
    nonfinite_candidate: int
    reference_range: tuple[float, float]
    candidate_range: tuple[float, float]
    role: Role = Role.UNKNOWN
    quantized: Quantized | None = None
    time_ms: float | None = None
    observed_by: str = "rounded graph"

    @property
    def distance_db(self) -> float | None:
        """How far the layer's own error is beyond its floor, in dB; None where it was not measured."""
        return None if self.injected is None else self.floor_db - self.injected.sqnr_db


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What was observed of one variant.

    Attributes
    ----------
    rows
        In topological order.
    sources
        Positions of the rows where the error is born, the worst first; empty where every layer agrees.
    coverage
        The share of the model's float tensors that were observed, 0 to 1.
    unobserved
        What was not, each with the reason: ``/loop/body: inside a Loop``.
    validity_reason
        How far the instrumented engine was from the plain one, per output; empty for a rounded graph, which is not
        changed by being observed.
    is_nearer_observed
        Whether an instrumented engine that is not as far from the reference as the plain one is nearer to it: what ails
        the plain one goes away where it is observed.
    build_count
        Engines that were built to observe.
    notes
        Sentences for the reader.
    """

    rows: tuple[LayerRow, ...]
    sources: tuple[int, ...]
    coverage: float
    unobserved: tuple[str, ...] = ()
    validity: Validity = Validity.VALID
    validity_reason: str = ""
    is_nearer_observed: bool = False
    build_count: int = 0
    notes: tuple[str, ...] = ()


def lost_db(row: LayerRow, by_tensor: Mapping[str, LayerRow]) -> float:
    """Return how many dB of what a layer could keep are gone behind it, 0 or more.

    It could keep the worst of what reaches it, and no more than its floor. Below 0 dB, where the error is as large as
    the values, nothing is left to be lost.

    Parameters
    ----------
    by_tensor
        The rows of the report, by their tensor.
    """
    could = min(_arriving_db(row, by_tensor), row.floor_db)
    if math.isnan(row.inherited.sqnr_db) or math.isnan(could):
        return 0.0
    return max(0.0, could - max(0.0, row.inherited.sqnr_db))


def _arriving_db(row: LayerRow, by_tensor: Mapping[str, LayerRow]) -> float:
    arriving = [by_tensor[name].inherited.sqnr_db for name in row.inputs if name in by_tensor]
    return min((value for value in arriving if not math.isnan(value)), default=math.inf)
