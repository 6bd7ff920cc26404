"""A TensorRT network from an ONNX model, or from a Python function that fills it.

The parser is TensorRT's own, not Polygraphy's ``NetworkFromOnnxPath``: that one keeps the parser, and with it the
names of refused nodes, to itself, cannot clear a parser flag, and starts TensorRT with its own logger for good.
"""

from __future__ import annotations

import itertools
import re
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Iterable, Mapping

from .errors import ModelRefused, WorkerError
from .network_options import set_parser_flags
from .wts import read_wts

if TYPE_CHECKING:
    from .heard import Listener

_MOST_ERRORS = 5
_loads = itertools.count()

# TensorRT 8.6 logs a refused node as protobuf text; names of attributes are indented there.
_LOGGED_NAME = re.compile(r'^name: "((?:[^"\\]|\\.)*)"', re.MULTILINE)


def new_network(trt: Any, builder: Any, *, is_strong: bool) -> Any:
    """Return an empty network with explicit batch.

    Raises
    ------
    WorkerError
        TensorRT makes none.
    """
    kinds = trt.NetworkDefinitionCreationFlag
    flags = 0
    if is_strong:
        flags = 1 << int(kinds.STRONGLY_TYPED)
    elif not hasattr(kinds, "STRONGLY_TYPED"):
        # 8.x: without it the batch would be implicit. From 10.0 it always is explicit, and 11.0 dropped the member.
        flags = 1 << int(kinds.EXPLICIT_BATCH)
    network = builder.create_network(flags)
    if network is None:
        raise WorkerError("TensorRT makes no network; see its messages")
    return network


def fill(
    trt: Any, network: Any, heard: Listener, source: Mapping[str, Any], parser_flags: Mapping[str, bool]
) -> tuple[Any, ...]:
    """Fill a network from the ``source`` of a ``build`` request.

    Returns
    -------
    tuple
        What has to live until the engine is built: TensorRT reads weights where they lie.

    Raises
    ------
    ModelRefused
        The parser refuses the model, or the function fails; with the node or the line.
    PrecisionMissing
        This TensorRT lacks a parser flag.
    """
    if source["kind"] == "onnx":
        kept = parse_onnx(trt, network, heard, source["model"], parser_flags)
    else:
        kept = call_function(trt, network, source)
    if not network.num_outputs:
        raise ModelRefused(
            f"{source.get('model') or source['file']}: the network has no outputs; mark at least one with "
            "network.mark_output"
        )
    return kept


def parse_onnx(
    trt: Any, network: Any, heard: Listener, model: str, parser_flags: Mapping[str, bool]
) -> tuple[Any, ...]:
    """Parse a model, its external data beside it.

    Raises
    ------
    ModelRefused
        With what the parser says of up to five nodes, by name.
    PrecisionMissing
        This TensorRT lacks a parser flag.
    """
    parser = trt.OnnxParser(network, heard.logger)
    set_parser_flags(trt, parser, parser_flags)
    is_parsed = parser.parse_from_file(model)
    if not is_parsed or parser.num_errors:
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        raise ModelRefused(_refusal(Path(model).name, errors, heard.heard.errors()))
    return (parser,)


def _refusal(model: str, errors: list[Any], logged: list[str]) -> str:
    names = iter(logged_nodes(logged))
    told = [f"{_where(error, names)}: {error.desc().strip()}" for error in errors[:_MOST_ERRORS]]
    if not told:
        told = logged[:_MOST_ERRORS] or ["it gives no reason; see whether the file is an ONNX model with its data"]
    beyond = len(errors) - _MOST_ERRORS
    more = f"; and {beyond} more" if beyond > 0 else ""
    return f"TensorRT's ONNX parser refuses {model}: {'; '.join(told)}{more}"


def logged_nodes(logged: Iterable[str]) -> list[str]:
    """Return the names of ONNX nodes that the parser of TensorRT 8.6 logged as refused, in their order."""
    return [found.group(1) for found in (_LOGGED_NAME.search(text) for text in logged) if found]


def _where(error: Any, logged_names: Iterable[str]) -> str:
    number = error.node()
    if hasattr(error, "node_name"):
        name, operator = error.node_name(), f" ({error.node_operator()})"
    else:
        name, operator = next(iter(logged_names), ""), ""
    if name:
        return f"node {name!r}{operator}"
    return f"node number {number}{operator}" if number >= 0 else "the model"


def call_function(trt: Any, network: Any, source: Mapping[str, Any]) -> tuple[Any, ...]:
    """Call ``function(network, weights, trt)`` of a Python file.

    ``weights`` holds the tensors of the ``.wts`` file by name, (n,) float32; it is empty without one. What the function
    returns is kept until the engine is built: arrays that it made for weights belong there.

    Raises
    ------
    ModelRefused
        The file or its weights cannot be read, there is no such function, or it raises; with its line.
    """
    weights = read_wts(source["weights"]) if source.get("weights") else {}
    function = _load_function(source["file"], source["function"])
    try:
        returned = function(network, weights, trt)
    except Exception as error:
        raise ModelRefused(_fault(source["file"], source["function"], error)) from error
    return weights, function, returned


class _SourceLoader(SourceFileLoader):
    """Compiles a file as it is: Python takes bytecode beside it for fresh where size and second are the file's."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the loader's own name
        return self.source_to_code(self.get_data(self.path), self.path)


def _load_function(file: str, name: str) -> Any:
    if not file.endswith(".py"):
        raise ModelRefused(f"{file}: is not a Python file; expected one that ends in .py")
    # A name of its own for each load: a file of the same name from another case must not answer.
    loader = _SourceLoader(f"parity_network_{next(_loads)}", file)
    module = ModuleType(loader.name)
    module.__file__ = file
    # Dataclasses and typing look their module up by name.
    sys.modules[loader.name] = module
    try:
        loader.exec_module(module)
    except Exception as error:
        raise ModelRefused(_fault(file, "import", error)) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ModelRefused(f"{file}: has no function {name!r}; it is called as {name}(network, weights, trt)")
    return function


def _fault(file: str, name: str, error: Exception) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    line = f", line {lines[-1]}" if lines else ""
    return f"{file}{line}, in {name}: {type(error).__name__}: {error}"
