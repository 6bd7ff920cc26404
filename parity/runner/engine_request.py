"""From a planned variant to what TensorRT is asked for: the source of the engine, its profiles, its calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.backends.engine import EngineFile, EngineRequest, NetworkSource, OnnxSource
from parity.build_options import Quantization, ShapeProfile
from parity.case.user_code import split_function
from parity.precision.names import kept_nodes, with_names

if TYPE_CHECKING:
    from parity.backends.engine import EngineSource, Profile
    from parity.graph import TensorInfo
    from parity.runner.planned import PlannedVariant
    from parity.runner.reference import StoredFeed


def engine_request(planned: PlannedVariant) -> EngineRequest:
    """Return what a variant asks of TensorRT.

    Raises
    ------
    PrecisionError
        The keep-list matches nothing.
    """
    build = planned.variant.build
    implicit = build.quantization is Quantization.IMPLICIT
    return EngineRequest(
        source=_source(planned),
        precision=planned.precision,
        keep_precision=planned.variant.options.keep_precision,
        options=build,
        profiles=_profiles(planned),
        calibration=planned.calibration if implicit else None,
    )


def _source(planned: PlannedVariant) -> EngineSource:
    variant = planned.variant
    if variant.engine is not None:
        return EngineFile(variant.engine)
    if variant.network:
        file, function = split_function(variant.network)
        return NetworkSource(planned.case.folder / file, function, variant.weights)
    named = with_names(planned.prepared.model)
    return OnnxSource(
        named,
        planned.made.typed,
        tuple(sorted(kept_nodes(named.graph, variant.options.keep))),
        planned.is_own,
    )


def _profiles(planned: PlannedVariant) -> tuple[Profile, ...]:
    """Return the first profile and those that the variant adds, which may leave inputs to the first."""
    first = _first_profile(planned)
    return (first, *({**first, **more} for more in planned.variant.build.profiles)) if first else ()


def _first_profile(planned: PlannedVariant) -> Profile:
    """Return the shapes of every dynamic input: as the case has them, else as the feeds need them."""
    feeds = planned.prepared.feeds
    return {
        info.name: planned.case.shapes.get(info.name) or _profile_of_feeds(info, feeds)
        for info in planned.prepared.interface.inputs
        if not info.shape or not all(isinstance(dim, int) for dim in info.shape)
    }


def _profile_of_feeds(info: TensorInfo, feeds: tuple[StoredFeed, ...]) -> ShapeProfile:
    shapes = [feed.tensors[info.name].shape for feed in feeds]
    smallest = [min(sizes) for sizes in zip(*shapes, strict=True)]
    if info.shape and not isinstance(info.shape[0], int):
        # A dynamic first axis is the batch: an engine that takes a batch is asked to take a single row as well.
        smallest[0] = min(1, smallest[0])
    largest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    return ShapeProfile(tuple(smallest), shapes[0], largest)
