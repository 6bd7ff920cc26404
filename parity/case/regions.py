"""Regions of outputs: parsing ``[:, 4:]`` and finding the tolerances that together judge every element.

How a check uses them: for each of ``tolerances_for(...)``, compare ``region.select(expected)`` with
``region.select(actual)`` and name the result by ``region.label``; ``region.whole_index`` turns an index of the
selection into one of the whole tensor.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import EllipsisType
from typing import TYPE_CHECKING

import numpy as np

from parity.errors import CaseError, Mistake
from parity.tolerance import default_tolerance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.case.model import Case, ToleranceRule, Variant
    from parity.tolerance import Tolerance

Index = slice | int | EllipsisType

_NUMBER = re.compile(r"[+-]?\d+")


def parse_region(text: str) -> tuple[Index, ...]:
    """Read a slice as NumPy writes it: ``[:, 4:]``, ``[..., 0]``, ``[0, ::2]``.

    Raises
    ------
    ValueError
        Not such a slice, or one with a step that is not positive.
    """
    if not (text.startswith("[") and text.endswith("]")):
        raise ValueError(f"expected a slice such as [:, 4:]; got {text!r}")
    region = tuple(_parse_axis(part.strip(), text) for part in text[1:-1].split(","))
    if sum(axis is Ellipsis for axis in region) > 1:
        raise ValueError(f"expected at most one ... in a slice; got {text!r}")
    return region


def _parse_axis(part: str, text: str) -> Index:
    if part == "...":
        return Ellipsis
    numbers = [number.strip() for number in part.split(":")]
    if len(numbers) > 3 or not all(_NUMBER.fullmatch(number) for number in numbers if number):
        raise ValueError(f"expected a slice such as [:, 4:]; got {part!r} in {text!r}")
    if len(numbers) == 1:
        if not numbers[0]:
            raise ValueError(f"expected a slice such as [:, 4:]; got an empty axis in {text!r}")
        return int(numbers[0])
    axis = slice(*(int(number) if number else None for number in numbers))
    if axis.step is not None and axis.step < 1:
        raise ValueError(f"expected a positive step; got {part!r} in {text!r}")
    return axis


def split_output(text: str, output_names: Sequence[str]) -> tuple[str, str]:
    """Split ``output0[:, 4:]`` into name and slice; a name that itself ends with brackets is left whole."""
    if text in output_names or not text.endswith("]") or "[" not in text:
        return text, ""
    start = text.rindex("[")
    return text[:start], text[start:]


def matches(name: str, pattern: str) -> bool:
    """Return whether a name matches a wildcard of ``*`` and ``?``; brackets stand for themselves, as in ONNX names."""
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def expand_region(region: Sequence[Index], shape: Sequence[int | str | None]) -> tuple[slice, ...]:
    """Return one slice per axis of a shape; an integer keeps its axis, with one element.

    Raises
    ------
    ValueError
        The region has more axes than the shape, or selects nothing on an axis of known size.
    """
    named = sum(axis is not Ellipsis for axis in region)
    if named > len(shape):
        raise ValueError(f"has {named} axes; the output has {len(shape)}")
    filler = [slice(None)] * (len(shape) - named)
    position = region.index(Ellipsis) if Ellipsis in region else len(region)
    written = [*region[:position], *filler, *region[position + 1 :]]
    axes = tuple(axis if isinstance(axis, slice) else _one(axis) for axis in written if axis is not Ellipsis)
    for number, (axis, size) in enumerate(zip(axes, shape, strict=True)):
        if isinstance(size, int) and size > 0 and not range(size)[axis]:
            raise ValueError(f"selects nothing on axis {number}, which has {size} elements")
    return axes


def _one(index: Index) -> slice:
    assert isinstance(index, int)
    return slice(index, index + 1 if index != -1 else None)


@dataclass(frozen=True, slots=True)
class RegionTolerance:
    """A part of an output and the tolerance that judges it.

    Attributes
    ----------
    label
        ``output0``, ``output0[:, 4:]``, or ``output0[rest]`` for what no slice of the output selects.
    slices
        One slice per axis; None for the whole output and for the rest.
    excluded
        Of the rest only: the slices that other regions judge.
    """

    label: str
    slices: tuple[slice, ...] | None
    tolerance: Tolerance
    excluded: tuple[tuple[slice, ...], ...] = ()

    @property
    def mask_rest(self) -> bool:
        """Whether this is the rest, which ``select`` gives as a flat array."""
        return bool(self.excluded)

    def mask(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return which elements of a tensor are judged: a bool array of its shape."""
        mask = np.full(shape, fill_value=self.mask_rest or self.slices is None)
        if self.slices is not None:
            mask[self.slices] = True
        for slices in self.excluded:
            mask[slices] = False
        return mask

    def select(self, tensor: np.ndarray) -> np.ndarray:
        """Return the judged elements: a view of the same rank, or for the rest a flat copy in C order."""
        if self.mask_rest:
            rest: np.ndarray = tensor[self.mask(tensor.shape)]
            return rest
        return tensor if self.slices is None else tensor[self.slices]

    def whole_index(self, shape: tuple[int, ...], index: tuple[int, ...]) -> tuple[int, ...]:
        """Return where in a whole tensor of ``shape`` an element of its selection lies."""
        if self.mask_rest:
            flat = np.flatnonzero(self.mask(shape))[index[0]]
            return tuple(int(axis) for axis in np.unravel_index(flat, shape))
        if self.slices is None:
            return index
        axes = zip(self.slices, shape, index, strict=True)
        return tuple(range(size)[axis][position] for axis, size, position in axes)


def tolerances_for(
    case: Case, variant: Variant, output_name: str, shape: tuple[int, ...], dtype: str = "float32"
) -> tuple[RegionTolerance, ...]:
    """Return the tolerances that judge an output: one region each, and every element is in one of them at least.

    Every slice that the case gives for this variant and output is a region; of several rules for one region the last
    wins. What no slice selects is judged by the rule for the whole output or else by the precision's default for the
    dtype.

    Parameters
    ----------
    shape
        The output's shape. Ask again for another shape: what slices leave over depends on it.
    dtype
        The name of the dtype that the model gives the output.

    Raises
    ------
    CaseError
        A slice does not fit the shape.
    """
    whole = default_tolerance(variant.options.precision, dtype)
    regions: dict[tuple[range, ...], RegionTolerance] = {}
    for number, rule in enumerate(case.tolerances):
        if not (matches(variant.name, rule.variant) and matches(output_name, rule.output)):
            continue
        slices = _slices(case, number, rule, output_name, shape) if rule.region else (slice(None),) * len(shape)
        picked = tuple(range(size)[axis] for axis, size in zip(slices, shape, strict=True))
        if picked == tuple(range(size) for size in shape):
            whole = rule.tolerance
        else:
            # Of two rules for one region the later takes the earlier one's place.
            regions[picked] = RegionTolerance(f"{output_name}{rule.region}", slices, rule.tolerance)
    if not regions:
        return (RegionTolerance(output_name, None, whole),)
    if _covers(tuple(regions), shape):
        return tuple(regions.values())
    excluded = tuple(region.slices for region in regions.values() if region.slices is not None)
    return (*regions.values(), RegionTolerance(f"{output_name}[rest]", None, whole, excluded))


def _slices(
    case: Case, number: int, rule: ToleranceRule, output_name: str, shape: tuple[int, ...]
) -> tuple[slice, ...]:
    try:
        return expand_region(parse_region(rule.region), shape)
    except ValueError as error:
        message = f"{rule.region} {error}; {output_name!r} came out as {shape}"
        raise CaseError(str(case.file), (Mistake(f"tolerances[{number}].output", message),)) from error


def _covers(regions: tuple[tuple[range, ...], ...], shape: tuple[int, ...]) -> bool:
    """Return whether regions cover a shape, on a grid as fine as the regions need, not as large as the tensor."""
    axes = []
    for number, size in enumerate(shape):
        inside = np.zeros((len(regions), size), bool)
        for row, region in zip(inside, regions, strict=True):
            row[region[number].start : region[number].stop : region[number].step] = True
        # Positions that the same regions select behave alike: one of each is enough.
        axes.append(np.unique(inside, axis=1))
    covered = np.zeros(tuple(axis.shape[1] for axis in axes), bool)
    for number in range(len(regions)):
        covered[np.ix_(*(axis[number] for axis in axes))] = True
    return bool(covered.all())
