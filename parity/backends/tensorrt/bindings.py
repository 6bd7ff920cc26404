"""Inputs and outputs as an engine has them, and which optimization profile a feed fits; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from parity.backends.validation import check_feed
from parity.build_options import ShapeProfile
from parity.errors import FeedError
from parity.graph import TensorInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np


@dataclass(frozen=True, slots=True)
class Binding:
    """An input or output of an engine.

    Attributes
    ----------
    info
        Name, dtype and shape; a dynamic dimension is None.
    is_shape_io
        Whether its values, not its shape, take part in shape inference.
    profiles
        The shapes of an input by optimization profile, or the first values of one that is read for shapes, as far as
        limits are told; empty for an output.
    """

    info: TensorInfo
    is_input: bool
    is_shape_io: bool
    profiles: tuple[ShapeProfile, ...]


def read_bindings(told: Iterable[Mapping[str, Any]]) -> tuple[Binding, ...]:
    """Return bindings from a worker's answer to ``load``, in the engine's order."""
    return tuple(_read_binding(fields) for fields in told)


def _read_binding(fields: Mapping[str, Any]) -> Binding:
    shape = tuple(dim if dim >= 0 else None for dim in fields["shape"])
    ranges = (ShapeProfile(*(tuple(bounds[name]) for name in ("min", "opt", "max"))) for bounds in fields["profiles"])
    return Binding(
        info=TensorInfo(fields["name"], fields["dtype"], shape),
        is_input=fields["mode"] == "input",
        is_shape_io=fields["is_shape_io"],
        profiles=tuple(ranges),
    )


def check_inputs(inputs: Sequence[Binding], feed: Mapping[str, np.ndarray]) -> None:
    """Check a feed's names, dtypes, ranks and fixed dimensions against an engine.

    The engine's dtypes decide. int64 is taken for an int32 input, which is what TensorRT 8.6 makes of int64: the worker
    narrows it and refuses values that do not fit.

    Raises
    ------
    FeedError
        The first thing that does not fit, with what the engine has.
    """
    check_feed([_as_fed(binding.info, feed) for binding in inputs], feed)


def _as_fed(info: TensorInfo, feed: Mapping[str, np.ndarray]) -> TensorInfo:
    array = feed.get(info.name)
    is_narrowed = array is not None and (array.dtype.name, info.dtype) == ("int64", "int32")
    return replace(info, dtype="int64") if is_narrowed else info


def choose_profile(inputs: Sequence[Binding], feed: Mapping[str, np.ndarray]) -> int:
    """Return the first optimization profile that a feed's shapes fit.

    Raises
    ------
    FeedError
        They fit none; the message names the first input outside of the first profile, and every profile's range.
    """
    count = max((len(binding.profiles) for binding in inputs), default=1)
    for number in range(count):
        if _misfit(inputs, feed, number) is None:
            return number
    outside = _misfit(inputs, feed, 0)
    assert outside is not None
    raise FeedError(_misfit_text(outside, feed, range(count)))


def check_profile(inputs: Sequence[Binding], feed: Mapping[str, np.ndarray], number: int) -> None:
    """Check that a feed's shapes fit one optimization profile.

    Raises
    ------
    FeedError
        They do not, or the engine has no such profile.
    """
    count = max((len(binding.profiles) for binding in inputs), default=1)
    if not 0 <= number < count:
        raise FeedError(f"profile {number}: the engine has {count}, counted from 0")
    outside = _misfit(inputs, feed, number)
    if outside is not None:
        raise FeedError(_misfit_text(outside, feed, range(number, number + 1)))


def _misfit(inputs: Sequence[Binding], feed: Mapping[str, np.ndarray], number: int) -> Binding | None:
    """Return the first input whose shape, or whose values where they are read for shapes, lie outside a profile."""
    for binding in inputs:
        if number >= len(binding.profiles):
            continue
        profile, extent = binding.profiles[number], _extent(binding, feed)
        # Of values that are read for shapes an engine may tell the limits of the first ones only, of a shape none.
        told = extent[: len(profile.min)] if binding.is_shape_io or not profile.min else extent
        if not _lies_within(told, profile):
            return binding
    return None


def _extent(binding: Binding, feed: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    array = feed[binding.info.name]
    return tuple(int(value) for value in array.flat) if binding.is_shape_io else array.shape


def _lies_within(shape: tuple[int, ...], profile: ShapeProfile) -> bool:
    if len(shape) != len(profile.min):
        return False
    return all(low <= dim <= high for low, dim, high in zip(profile.min, shape, profile.max, strict=True))


def _misfit_text(binding: Binding, feed: Mapping[str, np.ndarray], numbers: range) -> str:
    ranges = ", ".join(f"{binding.profiles[number].min} to {binding.profiles[number].max}" for number in numbers)
    which = f"profile {numbers[0]} is" if len(numbers) == 1 else "the profiles are"
    what = "the values" if binding.is_shape_io else "shape"
    return (
        f"input {binding.info.name!r}: has {what} {_extent(binding, feed)}; {which} {ranges}; "
        "change the batch, or give the variant a profile for it"
    )
