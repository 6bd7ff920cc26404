"""ONNX graph utilities: reading models safely, hashing them, walking them and naming what is in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto, ValueInfoProto

from parity.environment import naming_advice
from parity.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator


HALF_DTYPES = frozenset({"float16", "bfloat16"})


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """A model's input or output.

    ``dtype`` is a NumPy name (``float32``, ``int64``; ``bfloat16`` and the ``float8`` family from ml_dtypes);
    a dimension is a number, a symbol's name, or None where the model says nothing.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        dims = ", ".join("?" if dim is None else str(dim) for dim in self.shape)
        return f"{self.name}: {self.dtype} ({dims})"


@dataclass(frozen=True, slots=True)
class ModelInterface:
    """A model's inputs (initializers left out) and outputs, in its order."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


def load_model(path: Path) -> ModelProto:
    """Read an ONNX model with its external data.

    Raises
    ------
    ModelError
        The file is missing, empty, truncated or not ONNX; its external data is missing or lies outside its folder.
    """
    model = _read_proto(path)
    _check_external_data(model, path)
    try:
        onnx.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path}: its external data cannot be read ({error}); copy the data file beside it") from error
    _sort_nodes(model.graph)
    return model


def _sort_nodes(graph: GraphProto) -> None:
    """Put nodes behind those that they read from.

    ONNX asks for that order, runtimes do without it, and ONNX Runtime's float16 converter appends its casts at the end.
    """
    producers = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    sources = {
        place: [producers[name] for name in _names_read(node) if name in producers]
        for place, node in enumerate(graph.node)
    }
    if all(source < place for place, before in sources.items() for source in before):
        return
    try:
        order = list(TopologicalSorter(sources).static_order())
    except CycleError:
        return  # No order is right: the runtime refuses the model in its own words.
    nodes = [graph.node[place] for place in order]
    graph.ClearField("node")
    graph.node.extend(nodes)


def _names_read(node: NodeProto) -> Iterator[str]:
    """Yield the tensors that a node reads, those that its subgraphs read included."""
    yield from node.input
    for attribute in node.attribute:
        for subgraph in (*attribute.graphs, *([attribute.g] if attribute.type == AttributeProto.GRAPH else ())):
            for inner in subgraph.node:
                yield from _names_read(inner)
            yield from (output.name for output in subgraph.output)


def _read_proto(path: Path) -> ModelProto:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); expected an ONNX model") from error
    except ValueError as error:
        raise ModelError(f"{path}: {_unnameable(error)}") from error
    if not content:
        raise ModelError(f"{path}: is empty; expected an ONNX model, export it again")
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        known = _known_kind(content)
        found = f" but {known}" if known else f", or is truncated ({error}); export it again"
        raise ModelError(f"{path}: is not an ONNX model{found}") from error
    if not model.graph.node or not model.opset_import:
        raise ModelError(f"{path}: holds no graph or no opset; expected an ONNX model, export it again")
    if not model.graph.output:
        raise ModelError(f"{path}: has no output, so nothing can be judged; export it with the outputs to compare")
    return model


def _known_kind(content: bytes) -> str:
    """Return what stands in a model's place, with what to do; empty where it is nothing usual."""
    start = content[:64].lstrip().lower()
    kinds = {
        b"version https://git-lfs": "a pointer of Git LFS; run: git lfs pull",
        b"<": "a web page, as a failed download leaves it; download it again",
        b"pk\x03\x04": "a zip archive, as torch.save writes it; export the model to ONNX, or unpack it",
    }
    return next((kind for mark, kind in kinds.items() if start.startswith(mark)), "")


def _check_external_data(model: ModelProto, path: Path) -> None:
    folder = path.parent.resolve()
    for tensor in iterate_initializers(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        try:
            target = (folder / location).resolve()
        except ValueError as error:
            told = f"tensor {tensor.name!r} keeps its data in {location!r}, which {_unnameable(error)}"
            raise ModelError(f"{path}: {told}") from error
        if not location or Path(location).is_absolute() or not target.is_relative_to(folder):
            raise ModelError(
                f"{path}: tensor {tensor.name!r} keeps its data in {location!r}, outside the model's folder; "
                "expected a file beside the model"
            )
        if not target.is_file():
            raise ModelError(f"{path}: the external data file {location!r} is missing; copy it beside the model")


def _unnameable(error: ValueError) -> str:
    """Return why a text is no name of a file: it holds a zero, or what the locale has no bytes for."""
    return f"is no name of a file here ({error}); {naming_advice() or 'name one that exists'}"


def iterate_initializers(graph: GraphProto) -> Iterator[TensorProto]:
    """Yield every initializer and tensor attribute, those of subgraphs included."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t
            elif attribute.type == AttributeProto.TENSORS:
                yield from attribute.tensors
            elif attribute.type == AttributeProto.GRAPH:
                yield from iterate_initializers(attribute.g)
            elif attribute.type == AttributeProto.GRAPHS:
                for subgraph in attribute.graphs:
                    yield from iterate_initializers(subgraph)


def hash_model(model: ModelProto) -> str:
    """Return the SHA-256 of a model whose external data is loaded, so that the data is part of it.

    Part by part, because protobuf refuses to serialize a message of 2 GiB.
    """
    digest = hashlib.sha256()
    graph = model.graph
    parts = (model.opset_import, model.functions, graph.input, graph.output, graph.node, graph.initializer)
    for part in (*parts, graph.sparse_initializer):
        digest.update(f"{len(part)}\n".encode())
        for message in part:
            digest.update(message.SerializeToString(deterministic=True))
    return digest.hexdigest()


def model_interface(model: ModelProto) -> ModelInterface:
    """Return a model's inputs and outputs."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return ModelInterface(
        inputs=tuple(_tensor_info(value) for value in model.graph.input if value.name not in constants),
        outputs=tuple(_tensor_info(value) for value in model.graph.output),
    )


def require_numbers(interface: ModelInterface) -> None:
    """Raise ``ModelError`` where an output holds text, which nothing compares."""
    for info in interface.outputs:
        if info.dtype == "object":
            raise ModelError(f"output {info.name!r}: holds text; expected numbers, expose what the text is chosen by")


def _tensor_info(value: ValueInfoProto) -> TensorInfo:
    tensor = value.type.tensor_type
    dims = tuple(_dimension(dim) for dim in tensor.shape.dim)
    return TensorInfo(value.name, dtype_name(tensor.elem_type), dims)


def _dimension(dim: TensorShapeProto.Dimension) -> int | str | None:
    if not dim.HasField("dim_value"):
        return dim.dim_param or None
    # Some exporters write -1 where they mean a dynamic axis.
    return dim.dim_value if dim.dim_value >= 0 else None


def dtype_name(elem_type: int) -> str:
    """Return the NumPy name of an ONNX element type, ``unknown`` where there is none."""
    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(elem_type)))
    except (KeyError, TypeError, ValueError):
        return "unknown"


def is_quantized(model: ModelProto) -> bool:
    """Whether a model's main graph holds Q/DQ pairs."""
    return any(node.op_type in {"QuantizeLinear", "DequantizeLinear"} for node in model.graph.node)


def node_types(model: ModelProto) -> dict[str, str]:
    """Return the floating dtype of each named node's first such output, in the main graph, by the node's name."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.output, *inferred.input)
    dtypes = {value.name: dtype_name(value.type.tensor_type.elem_type) for value in values}
    found = {}
    for node in model.graph.node:
        floats = [dtype for name in node.output if "float" in (dtype := dtypes.get(name, ""))]
        if node.name and floats:
            found[node.name] = floats[0]
    return found
