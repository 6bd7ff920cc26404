"""Optimization profiles: from the tables of a case file to shapes that fit the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.case.mistakes import expected_one_of, join_path
from parity.case.model import ShapeProfile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.case.mistakes import Location, Mistakes
    from parity.case.model import Profile
    from parity.case.schema_build import ShapeTable
    from parity.graph import ModelInterface, TensorInfo


def build_profile(
    tables: Mapping[str, ShapeTable],
    interface: ModelInterface | None,
    mistakes: Mistakes,
    *,
    where: Location = ("shapes",),
    batch_size: int | None = None,
) -> dict[str, ShapeProfile]:
    """Return shapes by input name, each checked against the model's own shape.

    Parameters
    ----------
    where
        The path of the tables in the file.
    batch_size
        The batch that must fit into these shapes; None where any may.
    """
    inputs = {info.name: info for info in interface.inputs} if interface else {}
    profiles = {}
    for name, table in tables.items():
        path = join_path(*where, name)
        if interface is not None and name not in inputs:
            mistakes.add(path, expected_one_of(name, list(inputs)))
        elif table.min and table.opt and table.max:
            profile = ShapeProfile(tuple(table.min), tuple(table.opt), tuple(table.max))
            profiles[name] = profile
            if interface is not None:
                _check_shapes(path, profile, inputs[name], mistakes)
    known = {name: profile for name, profile in profiles.items() if name in inputs}
    fixed = {name: profile.min[0] for name, profile in known.items() if _is_fixed(profile, inputs[name])}
    for name, profile in known.items():
        # First axes that are fixed to several sizes are no batch, such as a sequence's length before it.
        if name not in fixed or len(set(fixed.values())) == 1:
            _check_batch(join_path(*where, name), profile, inputs[name], batch_size, mistakes)
    return profiles


def _is_fixed(profile: ShapeProfile, info: TensorInfo) -> bool:
    """Whether a profile leaves an open first axis one size."""
    return bool(info.shape) and not isinstance(info.shape[0], int) and profile.min[0] == profile.max[0]


def _check_shapes(path: str, profile: ShapeProfile, info: TensorInfo, mistakes: Mistakes) -> None:
    if all(isinstance(dim, int) for dim in info.shape):
        mistakes.add(path, f"input {info} has no dynamic axis; leave its shapes out")
        return
    shapes = {"min": profile.min, "opt": profile.opt, "max": profile.max}
    wrong_rank = [key for key, shape in shapes.items() if len(shape) != len(info.shape)]
    for key in wrong_rank:
        mistakes.add(f"{path}.{key}", f"expected {len(info.shape)} axes, as input {info}; got {list(shapes[key])}")
    if wrong_rank:
        return
    for axis, dim in enumerate(info.shape):
        low, best, high = (shape[axis] for shape in shapes.values())
        if isinstance(dim, int) and {low, best, high} != {dim}:
            mistakes.add(path, f"axis {axis} is fixed at {dim} in input {info}; got {low}, {best}, {high}")
        elif not low <= best <= high:
            mistakes.add(path, f"expected min <= opt <= max in axis {axis}; got {low}, {best}, {high}")


def _check_batch(
    path: str, profile: ShapeProfile, info: TensorInfo, batch_size: int | None, mistakes: Mistakes
) -> None:
    if batch_size is None or not info.shape or isinstance(info.shape[0], int) or mistakes.has(path):
        return
    if not profile.min[0] <= batch_size <= profile.max[0]:
        mistakes.add("batch_size", f"expected {profile.min[0]} to {profile.max[0]}, as {path} allows; got {batch_size}")


def build_more_profiles(
    tables: Sequence[Mapping[str, ShapeTable]],
    first: Mapping[str, ShapeProfile],
    interface: ModelInterface | None,
    mistakes: Mistakes,
    where: Location,
) -> tuple[Profile, ...]:
    """Return the optimization profiles behind the first one, which ``[shapes]`` are; each has the inputs of that."""
    if tables and not first:
        mistakes.add(join_path(*where), "needs [shapes], which are the first optimization profile; give them too")
    built = []
    for index, table in enumerate(tables):
        path = (*where, index)
        built.append(build_profile(table, interface, mistakes, where=path))
        for name in sorted(set(first) - set(table)):
            mistakes.add(join_path(*path, name), "is missing; a profile has shapes for every input that [shapes] have")
    return tuple(built)
