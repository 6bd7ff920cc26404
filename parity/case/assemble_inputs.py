"""From an inputs table to an input source: files found, preprocessing built, names checked against the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.case.mistakes import expected_one_of, join_path
from parity.case.model import (
    ImageSource,
    InputSource,
    NpzSource,
    PolygraphySource,
    PythonSource,
    RandomSource,
    RandomTensor,
    ShapeProfile,
)
from parity.case.paths import Place, find_files, find_function
from parity.case.schema import ImagesTable, NpzTable, PolygraphyTable, PythonTable, RandomTable
from parity.case.schema_preprocess import build_pipeline

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from parity.case.schema import RandomTensorTable
    from parity.graph import ModelInterface, TensorInfo
    from parity.preprocess import Pipeline


@dataclass(frozen=True, slots=True)
class InputContext:
    """What building a source needs besides its table; ``interface`` is None where the model could not be read."""

    place: Place
    path: str
    interface: ModelInterface | None
    profiles: Mapping[str, ShapeProfile]
    batch_size: int

    def tell(self, key: str, message: str) -> None:
        """Add a mistake below the table's path."""
        self.place.mistakes.add(f"{self.path}.{key}" if key else self.path, message)


def build_source(
    table: ImagesTable | NpzTable | PolygraphyTable | RandomTable | PythonTable, context: InputContext
) -> InputSource | None:
    """Return the source, or None if what it lacks keeps it from being built."""
    match table:
        case ImagesTable():
            return _build_images(table, context)
        case NpzTable():
            files = find_files(context.place, table.files, f"{context.path}.files", inside=True)
            return NpzSource(files)
        case PolygraphyTable():
            return PolygraphySource(find_files(context.place, table.files, f"{context.path}.files", inside=True))
        case RandomTable():
            return _build_random(table, context)
        case PythonTable():
            return _build_python(table, context)


def _build_images(table: ImagesTable, context: InputContext) -> ImageSource | None:
    files = find_files(context.place, table.files, f"{context.path}.files", inside=False)
    if files and table.count is not None and table.count > len(files):
        context.tell("count", f"asks for {table.count} images; only {len(files)} are there")
    tensor = _image_tensor(table.tensor, context)
    pipeline = _pipeline(table, context)
    if tensor is None or pipeline is None:
        return None
    return ImageSource(files, tensor, pipeline, table.count)


def _pipeline(table: ImagesTable | PythonTable, context: InputContext) -> Pipeline | None:
    if table.preprocess is None:
        return None
    pipeline, found = build_pipeline(table.preprocess)
    for below, message in found:
        context.tell(f"preprocess{below}", message)
    return pipeline


def _image_tensor(named: str | None, context: InputContext) -> str | None:
    """Return the input that takes the images, which must be the model's only one: nothing would fill the others."""
    if context.interface is None:
        return None
    names = [info.name for info in context.interface.inputs]
    if named is not None and named not in names:
        context.tell("tensor", expected_one_of(named, names))
        return None
    if len(names) != 1:
        context.tell(
            "kind",
            f"images fill one input and the model has {len(names)} ({', '.join(names)}); use kind npz, or python "
            "without preprocess",
        )
        return None
    _check_batch(context.interface.inputs[0], context)
    return names[0]


def _check_batch(info: TensorInfo, context: InputContext) -> None:
    fixed = info.shape[0] if info.shape else None
    if isinstance(fixed, int) and fixed != context.batch_size:
        context.place.mistakes.add(
            "batch_size",
            f"expected {fixed}, the fixed batch of the model's input {info.name!r}; got {context.batch_size}",
        )


def _build_random(table: RandomTable, context: InputContext) -> RandomSource | None:
    inputs = {info.name: info for info in context.interface.inputs} if context.interface else {}
    for name, bounds in table.tensors.items():
        key = join_path("tensors", name)
        if context.interface is not None and name not in inputs:
            context.tell(key, expected_one_of(name, list(inputs)))
        else:
            _check_bounds(key, bounds, inputs.get(name), context)
    for info in inputs.values():
        _check_sizes(info, context)
    if table.seed is None or table.count is None:
        return None
    tensors = {name: RandomTensor(bounds.low, bounds.high) for name, bounds in table.tensors.items()}
    return RandomSource(table.seed, table.count, tensors, context.profiles)


def _check_bounds(key: str, bounds: RandomTensorTable, info: TensorInfo | None, context: InputContext) -> None:
    import numpy as np

    if info is not None and info.dtype.startswith(("int", "uint")):
        limits = np.iinfo(info.dtype)
        for name, value in (("low", bounds.low), ("high", bounds.high)):
            if value != int(value) or not limits.min <= value <= limits.max:
                context.tell(f"{key}.{name}", f"expected a whole number that {info.dtype} holds; got {value:g}")
        if bounds.low > bounds.high:
            context.tell(f"{key}.low", f"expected at most high, {bounds.high:g}; got {bounds.low:g}")
    elif bounds.low >= bounds.high:
        context.tell(f"{key}.low", f"expected less than high, {bounds.high:g}; got {bounds.low:g}")


def _check_sizes(info: TensorInfo, context: InputContext) -> None:
    """Tell of dynamic axes that nothing gives a size; axis 0 is the batch."""
    dynamic = [axis for axis, dim in enumerate(info.shape) if axis > 0 and not isinstance(dim, int)]
    if dynamic and info.name not in context.profiles:
        axes = ", ".join(str(axis) for axis in dynamic)
        context.tell(
            "",
            f"input {info} is dynamic in axis {axes}; give [{join_path('shapes', info.name)}] with min, opt and max",
        )


def _build_python(table: PythonTable, context: InputContext) -> PythonSource | None:
    function = find_function(context.place, table.function, f"{context.path}.function")
    pipeline = _pipeline(table, context)
    tensor = ""
    if table.preprocess is not None:
        tensor = _image_tensor(table.tensor, context) or ""
    elif table.tensor is not None:
        context.tell("tensor", "has no meaning without preprocess: the function yields feeds, which name their inputs")
    if function is None or table.count is None:
        return None
    return PythonSource(context.place.folder, function, table.count, tensor, pipeline)


def check_apart(evaluation: InputSource, calibration: InputSource, context: InputContext) -> None:
    """Tell of calibration inputs that are evaluation inputs too: on those, calibration looks better than it is."""
    match evaluation, calibration:
        case (
            (ImageSource() | NpzSource() | PolygraphySource()),
            (ImageSource() | NpzSource() | PolygraphySource()),
        ):
            judged = {path.resolve() for path in _taken(evaluation)}
            shared = [path for path in _taken(calibration) if path.resolve() in judged]
            if shared:
                context.tell(
                    "files",
                    f"{len(shared)} of them are evaluation inputs too, {shared[0].name} the first; keep the two apart",
                )
        case RandomSource(), RandomSource() if evaluation.seed == calibration.seed:
            context.tell(
                "seed", f"{calibration.seed} is the evaluation's seed too; choose another, to keep the two apart"
            )
        case PythonSource(), PythonSource() if evaluation.function == calibration.function:
            context.tell(
                "function", f"{calibration.function} yields the evaluation inputs too; write a second function"
            )


def _taken(source: ImageSource | NpzSource | PolygraphySource) -> tuple[Path, ...]:
    return source.files[: source.count] if isinstance(source, ImageSource) else source.files
