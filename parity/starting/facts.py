"""What an ONNX model says of itself: inputs, axes, opset, metadata, and which input takes images."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from onnx import TensorProto

from parity.errors import ModelError
from parity.graph import ModelInterface, TensorInfo, load_model, model_interface, require_numbers
from parity.starting.ultralytics import Metadata, read_metadata

if TYPE_CHECKING:
    from pathlib import Path

    from onnx import ModelProto, TypeProto

Shapes = Mapping[str, tuple[int, ...]]
"""Sizes of inputs that the user names."""

_IMAGE_DTYPES = ("float32", "float16", "uint8")
_CHANNELS = 3


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The input that takes images.

    Attributes
    ----------
    order
        ``nchw`` or ``nhwc``.
    size
        (height, width).
    batch
        The fixed batch; None where it is open.
    """

    name: str
    dtype: str
    order: Literal["nchw", "nhwc"]
    size: tuple[int, int]
    batch: int | None

    def shape(self, batch: int) -> tuple[int, ...]:
        """Return the input's shape with a batch."""
        return (batch, _CHANNELS, *self.size) if self.order == "nchw" else (batch, *self.size, _CHANNELS)


@dataclass(frozen=True, slots=True, eq=False)
class ModelFacts:
    """What is known of a model before it runs.

    Attributes
    ----------
    sizes
        Of every input its shape with 1 in place of an open batch.
    image
        None where no input takes images that preprocessing here makes; ``why_no_image`` says what is in the way.
    """

    path: Path
    model: ModelProto
    interface: ModelInterface
    opset: int
    metadata: Metadata | None
    sizes: Shapes
    image: ImageInput | None
    why_no_image: str = ""

    @property
    def is_half(self) -> bool:
        """Whether all floating inputs are half."""
        floats = {info.dtype for info in self.interface.inputs if "float" in info.dtype}
        return floats == {"float16"}

    @property
    def row_count(self) -> int:
        """Size of the first axis, 1 where no input has one; of an open one what was asked for."""
        return next((shape[0] for shape in self.sizes.values() if shape), 1)

    @property
    def open_rows(self) -> frozenset[int]:
        """Sizes of the first axes that are open: several where no one of them is the batch."""
        return frozenset(self.sizes[info.name][0] for info in self.interface.inputs if _is_open(info))

    @property
    def has_open_batch(self) -> bool:
        """Whether the first axis of every input is open."""
        return all(info.shape and not isinstance(info.shape[0], int) for info in self.interface.inputs)


def read_facts(path: Path, shapes: Shapes | None = None) -> ModelFacts:
    """Read a model.

    Parameters
    ----------
    shapes
        Sizes that the user gives for inputs with open axes.

    Raises
    ------
    ModelError
        It cannot be read, has no input, an input that is no tensor of numbers, an output of text, or an open axis
        that nothing gives a size; or ``shapes`` do not fit it.
    """
    model = load_model(path)
    interface = model_interface(model)
    _check_kinds(path, model, interface)
    metadata, given = read_metadata(model), dict(shapes or {})
    _check_names(path, interface, given)
    first = interface.inputs[0]
    image, why = _find_image(interface, metadata, given.get(first.name))
    sizes = _sizes(path, interface, given, image)
    return ModelFacts(
        path=path,
        model=model,
        interface=interface,
        opset=next((entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"}), 0),
        metadata=metadata,
        sizes=sizes,
        image=image,
        why_no_image=why,
    )


def _check_kinds(path: Path, model: ModelProto, interface: ModelInterface) -> None:
    if not interface.inputs:
        raise ModelError(f"{path}: has no input, so every run computes the same; export it with its inputs")
    strange = next((one.name for one in model.graph.output if one.type.WhichOneof("value") != "tensor_type"), None)
    if strange is not None:
        raise ModelError(
            f"{path}: output {strange!r} is a sequence, map or optional; expected tensors: export the model without it "
            "(of skl2onnx: options={'zipmap': False})"
        )
    values = {value.name: value.type for value in model.graph.input}
    for info in interface.inputs:
        problem = _kind_problem(values[info.name])
        if problem:
            raise ModelError(f"{path}: input {info.name!r} {problem}")
    require_numbers(interface)


def _kind_problem(kind: TypeProto) -> str:
    if kind.WhichOneof("value") != "tensor_type":
        return "is a sequence, map or optional; expected tensors: export the part of the model behind it"
    if kind.tensor_type.elem_type == TensorProto.STRING:
        return "takes text; expected numbers: export the model behind its tokenizer"
    if not kind.tensor_type.HasField("shape"):
        return "has no shape at all, not even a number of axes; export the model again with shapes"
    return ""


def _check_names(path: Path, interface: ModelInterface, given: Shapes) -> None:
    known = {info.name: info for info in interface.inputs}
    for name, shape in given.items():
        if name not in known:
            raise ModelError(f"{path}: --shape names {name!r}, which is no input; expected {', '.join(known)}")
        own = known[name].shape
        is_same = len(own) == len(shape) and all(
            not isinstance(mine, int) or mine == size for mine, size in zip(own, shape, strict=True)
        )
        if not is_same:
            raise ModelError(f"{path}: --shape gives {name!r} {list(shape)}; the model has {known[name]}")


def _find_image(
    interface: ModelInterface, metadata: Metadata | None, given: tuple[int, ...] | None
) -> tuple[ImageInput | None, str]:
    """Return the input that takes images, or None and what is in the way, as a clause."""
    names = ", ".join(info.name for info in interface.inputs)
    if len(interface.inputs) > 1:
        return None, f"the model has {len(interface.inputs)} inputs ({names}), and images fill one"
    [info] = interface.inputs
    if len(info.shape) != 4:
        axes = "1 axis" if len(info.shape) == 1 else f"{len(info.shape)} axes"
        return None, f"input {info} has {axes}, and images are of 4"
    if info.dtype not in _IMAGE_DTYPES:
        return None, f"input {info} is {info.dtype}, and images become {', '.join(_IMAGE_DTYPES)}"
    shape = given or info.shape
    order: Literal["nchw", "nhwc"] | None = _order(shape)
    if order is None:
        return None, f"input {info} has no axis of {_CHANNELS} channels, and images are read in colour"
    size = _spatial(shape, order) or (metadata.image_size if metadata else None)
    if size is None:
        return None, f"input {info} leaves height or width open, and nothing in the model says them"
    batch = info.shape[0] if isinstance(info.shape[0], int) else None
    return ImageInput(info.name, info.dtype, order, size, batch), ""


def _order(shape: tuple[int | str | None, ...]) -> Literal["nchw", "nhwc"] | None:
    if shape[1] == _CHANNELS:
        return "nchw"
    return "nhwc" if shape[3] == _CHANNELS else None


def _spatial(shape: tuple[int | str | None, ...], order: str) -> tuple[int, int] | None:
    height, width = shape[2:] if order == "nchw" else shape[1:3]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _sizes(path: Path, interface: ModelInterface, given: Shapes, image: ImageInput | None) -> Shapes:
    """Return the shape of every input; an axis that was named in one input has that size in the others.

    Raises
    ------
    ModelError
        Sizes are open that nothing gives; the message has an option for each of these inputs.
    """
    named = _named_axes(interface, given)
    sizes = {info.name: _size(info, given.get(info.name), image, named) for info in interface.inputs}
    asked: list[TensorInfo] = []
    told: set[int | str | None] = set()
    for info in interface.inputs:
        missing = [size for size in sizes[info.name] if not isinstance(size, int)]
        # An axis without a name is told by nothing but its own input's option.
        if any(size is None or size not in told for size in missing):
            asked.append(info)
            told.update(missing)
    if not asked:
        return {name: tuple(size for size in shape if isinstance(size, int)) for name, shape in sizes.items()}
    options = " ".join(f"--shape {shlex.quote(f'{info.name}={_example(sizes[info.name])}')}" for info in asked)
    subject = f"input {asked[0]} leaves" if len(asked) == 1 else f"inputs {', '.join(map(str, asked))} leave"
    raise ModelError(f"{path}: {subject} sizes open that nothing in the model says; name them: {options}")


def _named_axes(interface: ModelInterface, given: Shapes) -> dict[str, int]:
    """Return the sizes of axes that have a name, by the inputs that the user gave."""
    pairs = (
        (axis, size)
        for info in interface.inputs
        for axis, size in zip(info.shape, given.get(info.name, ()), strict=False)
    )
    return {axis: size for axis, size in pairs if isinstance(axis, str)}


def _size(
    info: TensorInfo, given: tuple[int, ...] | None, image: ImageInput | None, named: Mapping[str, int]
) -> tuple[int | str | None, ...]:
    """Return an input's shape, as far as it is known."""
    if given is not None:
        return given
    if image is not None:
        return image.shape(image.batch or 1)
    found = tuple(named.get(size, size) if isinstance(size, str) else size for size in info.shape)
    return tuple(1 if axis == 0 and not isinstance(size, int) else size for axis, size in enumerate(found))


def _example(shape: tuple[int | str | None, ...]) -> str:
    return "x".join(str(size) if isinstance(size, int) else "SIZE" for size in shape)


def with_batch(facts: ModelFacts, batch: int) -> Shapes:
    """Return the shape of every input with a batch in place of an open first axis."""
    return {
        info.name: (batch, *facts.sizes[info.name][1:]) if _is_open(info) else facts.sizes[info.name]
        for info in facts.interface.inputs
    }


def _is_open(info: TensorInfo) -> bool:
    return bool(info.shape) and not isinstance(info.shape[0], int)


def is_like_image(info: TensorInfo) -> bool:
    """Whether an input is a batch of floating maps, which images become."""
    return len(info.shape) == 4 and "float" in info.dtype
