"""The engine inspector's answer: layers with their precision, tactic and ONNX nodes.

Schemas of TensorRT 8.6, 10.x and 11.x. The text holds raw control characters; names in it come from models, so nothing
is trusted: what has another form than expected is an error that names the layer.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parity.errors import BackendError
from parity.layer_precision import datatype_of, layer_precision

if TYPE_CHECKING:
    from collections.abc import Mapping

_DETAILED_HINT = "build the engine with profiling verbosity DETAILED"
_OLD_DATATYPE, _NEW_DATATYPE = "Format/Datatype", "Datatype"

# Metadata joins one part for each node, by \x1e or \x1f or by nothing; a local function is named behind a bar.
_NODE = re.compile(r"\[ONNX Layer: ([^\]|]+?)(?: \| [^\]]*)?\]")
# The parser keeps the head and the tail of a text above 4,000 characters, with this between them.
_TRUNCATION = " ... "
# 8.6 repeats every layer for each profile.
_PROFILE = re.compile(r" \[profile (\d{1,9})\]$")

_ARITHMETIC = re.compile(r"conv(?!er)|matrix_?multiply|matmul|fully_?connected|gemm|mha|attention|^fc$", re.IGNORECASE)
_REFORMATS = frozenset({"Reformat", "NoOp"})
_OPAQUE_KINDS = frozenset({"Myelin", "ForeignNode", "DLA"})
_FOREIGN_NODE = "{ForeignNode["


@dataclass(frozen=True, slots=True)
class EngineTensor:
    """A tensor at the boundary of a layer, or of an engine.

    Attributes
    ----------
    dtype
        ``fp32``, ``fp16``, ``bf16``, ``int8``, ``fp8``; ``other`` for types without a precision (INT32, BOOL); ``none``
        where nothing is said.
    shape
        -1 where a dimension is not known.
    format
        Memory layout, in TensorRT's words.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    format: str


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """A layer that an engine runs.

    Attributes
    ----------
    kind
        TensorRT's ``LayerType``: ``CaskConvolution``, ``Reformat``, ``Myelin``, ``kgen``.
    nodes
        Names of the ONNX nodes that were fused into it, in order, each once.
    precision
        What it computes in: a precision's name, ``tf32`` included, or ``other``, or ``none`` where it cannot be seen.
    tactic
        The kernel's name, empty where the inspector has none.
    is_arithmetic
        Convolutions, deconvolutions, matrix products, and what was fused around them. False for an opaque layer: what
        is in it is known by its nodes alone.
    is_reformat
        Moves or converts data only.
    is_opaque
        Compiled as a whole (``{ForeignNode[...]}``): the inspector shows nothing of its inside.
    has_all_nodes
        False where TensorRT cut the list of nodes short.
    profile
        The optimization profile that it belongs to; 8.6 has every layer once for each.
    """

    name: str
    kind: str
    inputs: tuple[EngineTensor, ...]
    outputs: tuple[EngineTensor, ...]
    nodes: tuple[str, ...]
    precision: str
    tactic: str
    is_arithmetic: bool
    is_reformat: bool
    is_opaque: bool = False
    has_all_nodes: bool = True
    profile: int = 0


@dataclass(frozen=True, slots=True)
class EngineInspection:
    """An engine as its inspector shows it; names of layers may repeat. ``bindings`` are its inputs and outputs."""

    layers: tuple[EngineLayer, ...]
    bindings: tuple[str, ...]

    def of_profile(self, profile: int) -> tuple[EngineLayer, ...]:
        """Return the layers of one profile; engines since TensorRT 10 have one list for all of them."""
        if not any(layer.profile for layer in self.layers):
            return self.layers
        return tuple(layer for layer in self.layers if layer.profile == profile)


def parse_inspection(text: str) -> EngineInspection:
    r"""Read what ``IEngineInspector.get_engine_information`` gave in JSON.

    Raises
    ------
    BackendError
        Not JSON, not of a known schema, or of an engine that was built without detailed layers.

    Examples
    --------
    >>> layer = '{"Name": "a + b", "LayerType": "CaskConvolution", "Metadata": "[ONNX Layer: a]\x1e[ONNX Layer: b]"}'
    >>> parse_inspection('{"Layers": [' + layer + '], "Bindings": ["x", "y"]}').layers[0].nodes
    ('a', 'b')
    """
    try:
        # TensorRT writes names as they are: control characters stand in strings unescaped.
        answer = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        raise BackendError(f"engine inspector: gave no JSON ({error}); inspect the engine again") from error
    layers = answer.get("Layers") if isinstance(answer, dict) else None
    if not isinstance(layers, list):
        raise BackendError(
            "engine inspector: its answer has no list 'Layers'; expected the schema of TensorRT 8.6 to 11"
        )
    return EngineInspection(tuple(_layer(entry, i) for i, entry in enumerate(layers)), _bindings(answer))


def _layer(entry: Any, number: int) -> EngineLayer:
    if isinstance(entry, str):
        raise BackendError(f"engine inspector: layer {entry!r} comes as a name only; {_DETAILED_HINT}")
    if not isinstance(entry, dict) or not isinstance(entry.get("Name"), str):
        raise BackendError(f"engine inspector: layer {number} has no name; expected an object with 'Name'")
    name = entry["Name"]
    kind, tactic = _text(entry, "LayerType"), _text(entry, "TacticName")
    if not kind:
        raise BackendError(f"engine inspector: layer {name!r} has no 'LayerType'; {_DETAILED_HINT}")
    inputs, outputs = _tensors(entry, "Inputs"), _tensors(entry, "Outputs")
    metadata = _text(entry, "Metadata")
    profile = _PROFILE.search(name)
    is_opaque = kind in _OPAQUE_KINDS or _FOREIGN_NODE in name
    is_reformat = kind in _REFORMATS
    is_arithmetic = not is_opaque and not is_reformat and _is_arithmetic(kind, _text(entry, "ParameterType"), name)
    return EngineLayer(
        name=name,
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        nodes=_nodes(metadata),
        precision=layer_precision(
            tactic,
            inputs=[tensor.dtype for tensor in inputs],
            outputs=[tensor.dtype for tensor in outputs],
            weights=_weights(entry),
            is_arithmetic=is_arithmetic or is_opaque,
            is_opaque=is_opaque,
        ),
        tactic=tactic,
        is_arithmetic=is_arithmetic,
        is_reformat=is_reformat,
        is_opaque=is_opaque,
        has_all_nodes=_TRUNCATION not in metadata,
        profile=int(profile.group(1)) if profile else 0,
    )


def _is_arithmetic(kind: str, parameters: str, name: str) -> bool:
    # Myelin's layers have a general kind and tell in their generated name what was fused: __myl_FcAddRelu_myl0_3.
    generated = name.startswith("__myl_") and re.search(r"Fc|Conv(?!er)|Gemm|Mha|MatMul", name) is not None
    return generated or any(_ARITHMETIC.search(text) for text in (kind, parameters))


def _tensors(entry: Mapping[str, Any], key: str) -> tuple[EngineTensor, ...]:
    # Some layers (TrainStation, signal, wait) have neither inputs nor outputs.
    listed = entry.get(key) or []
    if not isinstance(listed, list) or not all(isinstance(tensor, dict) for tensor in listed):
        raise BackendError(f"engine inspector: layer {entry['Name']!r}: {key} is no list of tensors; {_DETAILED_HINT}")
    return tuple(_tensor(tensor) for tensor in listed)


def _tensor(entry: Mapping[str, Any]) -> EngineTensor:
    dimensions = entry.get("Dimensions")
    described = _text(entry, _OLD_DATATYPE)
    return EngineTensor(
        name=_text(entry, "Name"),
        dtype=datatype_of(_text(entry, _NEW_DATATYPE) or described),
        shape=tuple(size for size in dimensions if isinstance(size, int)) if isinstance(dimensions, list) else (),
        format=_text(entry, "Format") or described,
    )


def _weights(entry: Mapping[str, Any]) -> str:
    weights = entry.get("Weights")
    return datatype_of(_text(weights, "Type")) if isinstance(weights, dict) else "none"


def _nodes(metadata: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_NODE.findall(metadata)))


def _bindings(answer: Mapping[str, Any]) -> tuple[str, ...]:
    # 8.6 and 10.x list names, 11.x describes each tensor.
    listed = answer.get("Bindings") or answer.get("I/O Tensors") or []
    if not isinstance(listed, list):
        raise BackendError("engine inspector: its inputs and outputs are no list; expected a schema of 8.6 to 11")
    return tuple(_text(entry, "Name") if isinstance(entry, dict) else str(entry) for entry in listed)


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
