"""A variant with everything that judging it needs, whatever executes it: made once, shared by all backends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import ml_dtypes  # noqa: F401 - teaches numpy.dtype() the name bfloat16
import numpy as np

from parity.case.feeds import open_feeds
from parity.case.regions import tolerances_for
from parity.checks.outputs import reference_scales
from parity.graph import HALF_DTYPES, load_model, model_interface
from parity.precision import forecast
from parity.precision.assignment import HALF_TYPES
from parity.precision.widen import computes_in
from parity.results import ModelRecord
from parity.runner.reference import widened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from onnx import ModelProto

    from parity.backends import Tensors
    from parity.case import Case, Variant
    from parity.case.regions import RegionTolerance
    from parity.checks.outputs import RegionsOf
    from parity.graph import TensorInfo
    from parity.options import SessionOptions
    from parity.precision import Forecast
    from parity.runner.reference import PreparedCase
    from parity.runner.settings import JudgeSettings
    from parity.tolerance import Precision

_WIDENED = "the case's model is half: its reference computes the same weights in float32"


@dataclass(frozen=True, slots=True)
class PlannedVariant:
    """A variant that is ready to be executed and judged.

    Attributes
    ----------
    scales
        The root mean square of regions whose tolerance is in units of it, by their label.
    regions_of
        The regions that judge an output, with atol in the output's own unit.
    halves
        The dtypes of the inputs and outputs that the typed model has in half, by name.
    is_own
        Whether the typed model is a person's own: the variant's, or the half model of the case.
    calibration
        Makes the calibration feeds; None where the case has none.
    """

    case: Case
    variant: Variant
    prepared: PreparedCase
    made: Forecast
    scales: Mapping[str, float]
    regions_of: RegionsOf
    halves: Mapping[str, str]
    is_own: bool
    calibration: Callable[[], Iterable[Tensors]] | None

    @property
    def precision(self) -> Precision:
        """The variant's precision."""
        return self.variant.options.precision

    @property
    def record(self) -> ModelRecord:
        """What is executed, for the outcome."""
        made = self.made
        return ModelRecord(
            reference_sha256=self.prepared.record.model_sha256,
            typed_sha256=made.typed_sha256,
            rounded_sha256=made.rounded_sha256,
            node_count=len(self.prepared.model.graph.node),
            nodes_changed=made.nodes_changed,
            rounded_tensor_count=made.rounded_tensor_count,
            folded_node_count=made.folded_node_count,
            rounding=made.rounding,
            notes=(*((_WIDENED,) if self.prepared.is_widened else ()), *made.notes),
        )

    def rounded_options(self, options: SessionOptions) -> SessionOptions:
        """Return the options that the rounded graph runs under."""
        return replace(options, graph_optimizations=self.made.graph_optimizations)

    def half_tensors(self, tensors: Iterable[TensorInfo]) -> dict[str, str]:
        """Return the half dtypes, by name, of inputs or outputs that are half because the typed model has them so."""
        return {info.name: info.dtype for info in tensors if info.dtype == self.halves.get(info.name)}


def plan_variant(case: Case, variant: Variant, prepared: PreparedCase, settings: JudgeSettings) -> PlannedVariant:
    """Rewrite a case's model for a variant, and work out what its outputs are judged by.

    Raises
    ------
    PrecisionError
        The precision cannot be applied.
    ModelError, FeedError, BackendError
        Calibration fails.
    """
    source = case.calibration

    def calibration() -> Iterable[Tensors]:
        assert source is not None
        feeds = open_feeds(source, model_interface(prepared.given), case.batch_size)
        return (widened(feed.tensors) for feed in feeds)

    feeds = calibration if source is not None else None
    typed_model = _own_model(variant, prepared)
    made = forecast(prepared.model, variant.options, feeds, typed_model=typed_model, cache=settings.cache)
    regions_of = _regions_of(case, variant, prepared)
    scales = _scales(variant, prepared, regions_of)
    return PlannedVariant(
        case=case,
        variant=variant,
        prepared=prepared,
        made=made,
        scales=scales,
        regions_of=_scaled(regions_of, scales),
        halves=halves_of(made),
        is_own=typed_model is not None,
        calibration=feeds,
    )


def _own_model(variant: Variant, prepared: PreparedCase) -> ModelProto | None:
    """Return the typed model that a person made: the variant's, or the case's where it is half as the variant is.

    A keep-list asks for another one: then the typed model is made from the widened one.
    """
    if variant.typed_model:
        return load_model(variant.typed_model)
    half = HALF_TYPES.get(variant.options.precision)
    is_half = half is not None and prepared.is_widened and computes_in(prepared.given, half)
    return prepared.given if is_half and not variant.options.keep else None


def halves_of(made: Forecast) -> dict[str, str]:
    """Return the dtypes of the inputs and outputs that a typed model has in half, by name."""
    typed = model_interface(made.typed)
    return {info.name: info.dtype for info in (*typed.inputs, *typed.outputs) if info.dtype in HALF_DTYPES}


def typed_inputs(tensors: Tensors, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return a feed with the inputs that ``dtypes`` names in its dtypes."""
    # A value beyond the half range becomes infinite, as it would in an engine; the check shows what comes of it.
    with np.errstate(over="ignore"):
        return {
            name: tensor.astype(np.dtype(dtypes[name])) if name in dtypes else tensor
            for name, tensor in tensors.items()
        }


def _regions_of(case: Case, variant: Variant, prepared: PreparedCase) -> RegionsOf:
    dtypes = {info.name: info.dtype for info in prepared.interface.outputs}

    @cache
    def regions_of(output: str, shape: tuple[int, ...]) -> tuple[RegionTolerance, ...]:
        # An output that the model does not have fails by that.
        return tolerances_for(case, variant, output, shape, dtypes.get(output, "float32"))

    return regions_of


def _scales(variant: Variant, prepared: PreparedCase, regions_of: RegionsOf) -> Mapping[str, float]:
    scales = reference_scales(regions_of, [feed.expected for feed in prepared.feeds])
    note = prepared.note
    # One feed alone has another scale than all of them: a saved feed brings the scale it was judged by.
    return {**scales, **note.scales} if note is not None and note.variant == variant.name else scales


def _scaled(regions_of: RegionsOf, scales: Mapping[str, float]) -> RegionsOf:
    @cache
    def scaled(output: str, shape: tuple[int, ...]) -> tuple[RegionTolerance, ...]:
        return tuple(
            replace(region, tolerance=region.tolerance.absolute(scales[region.label]))
            if region.tolerance.atol_unit == "rms"
            else region
            for region in regions_of(output, shape)
        )

    return scaled
