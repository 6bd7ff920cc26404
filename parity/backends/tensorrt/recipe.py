"""From a request and a worker's capabilities to what is parsed and how the precision is asked for; pure.

Two ways lead to a precision. A strongly typed network takes it from the typed model; a weakly typed one is parsed from
the float32 model (or from Q/DQ) and allowed it by a builder flag. Capabilities decide, never version numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parity.backends.engine import NetworkSource, OnnxSource
from parity.build_options import Quantization, Typing
from parity.errors import PrecisionError
from parity.graph import is_quantized, node_types
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onnx import ModelProto

    from parity.backends.engine import EngineRequest
    from parity.results import WorkerRecord

_PLAIN = frozenset({Precision.FP32, Precision.TF32})
_QUANTIZED = frozenset({Precision.INT8, Precision.FP8})

CAPABILITY = {Precision.FP16: "fp16", Precision.BF16: "bf16", Precision.INT8: "int8", Precision.FP8: "fp8"}
"""The worker's capability that each reduced precision needs; fp32 and tf32 need none."""

_WHAT_HAS = {
    Precision.FP16: "any TensorRT from 8.6 on a GPU of compute capability 5.3, 6.0 or 7.0 and later",
    Precision.BF16: "TensorRT 9.1 or later, which is 10 or 11 today, on a GPU of compute capability 8.0 or later",
    Precision.INT8: "any TensorRT from 8.6 on a GPU of compute capability 6.1 or 7.0 and later",
    Precision.FP8: "TensorRT 10.0 or later on a GPU of compute capability 8.9 or later",
}


_PRECISIONS = {"float32": "fp32", "float16": "fp16"}
"""What the types of a model are called in a request; TensorRT without strong typing has no others."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an engine is built.

    Attributes
    ----------
    parsed
        The model that the parser is given; None where a function fills the network.
    typing
        Strong or weak; strong stands for obeyed precision constraints where TensorRT has no strong typing.
    obey
        Whether TensorRT must hold the layer precisions that are set, ``OBEY_PRECISION_CONSTRAINTS``.
    keep
        Nodes held at ``keep_precision`` by layer precision; a typed model keeps its nodes itself.
    types
        The precision of each node of a typed model, where holding layers at it stands in for strong typing.
    is_calibrated
        Whether an implicit calibrator gives the scales of int8.
    notes
        What was decided, as sentences for the report.
    """

    parsed: ModelProto | None
    precision: Precision
    typing: Typing
    keep_precision: Precision
    obey: bool = False
    keep: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    is_calibrated: bool = False
    notes: tuple[str, ...] = ()


def choose_recipe(request: EngineRequest, worker: WorkerRecord) -> Recipe:
    """Decide how an engine is built.

    Raises
    ------
    PrecisionError
        This TensorRT or this GPU does not have the precision, the typing or the calibrator; the message names what
        does, or what to write in the case file.
    TypeError
        The request names an engine file, which nobody builds.
    """
    _require_precision(request.precision, worker)
    source = request.source
    if isinstance(source, NetworkSource):
        return _network_recipe(request, worker)
    if not isinstance(source, OnnxSource):
        raise TypeError("an engine file is loaded, not built")
    if source.keep:
        _require_precision(request.keep_precision, worker)
    typing = _resolve_typing(request, worker)
    if request.precision in _PLAIN:
        return _plain_recipe(request, source, worker, typing)
    if _is_implicit(request):
        return _implicit_recipe(request, source, worker)
    if typing is Typing.WEAK:
        return _weak_recipe(request, source)
    return _strong_recipe(request, source, worker)


def _has(worker: WorkerRecord, capability: str) -> bool:
    return worker.capabilities.get(capability, False)


def _release(worker: WorkerRecord) -> str:
    return f"TensorRT {worker.packages.get('tensorrt', 'of unknown version')}"


def _require_precision(precision: Precision, worker: WorkerRecord) -> None:
    capability = CAPABILITY.get(precision)
    if capability is None or _has(worker, capability):
        return
    raise PrecisionError(
        f"{precision}: {_release(worker)} on {worker.gpu} (compute capability {worker.compute_capability}) does not "
        f"have it; {_WHAT_HAS[precision]} does: name such an interpreter by --tensorrt-python, or leave the variant out"
    )


def _resolve_typing(request: EngineRequest, worker: WorkerRecord) -> Typing:
    asked = request.options.typing
    has_weak = _has(worker, "weakly_typed")
    if asked is Typing.AUTO:
        # Whoever brings a typed model wants it obeyed.
        is_own = isinstance(request.source, OnnxSource) and request.source.is_own
        is_strong = is_own or _has(worker, "strong_typing_recommended") or not has_weak
        return Typing.STRONG if is_strong else Typing.WEAK
    if asked is Typing.WEAK and not has_weak:
        raise PrecisionError(
            f'typing "weak": {_release(worker)} has no builder flags for a precision, they went with 11.0; '
            'write typing = "strong" in the variant, or leave typing out'
        )
    return asked


def _is_implicit(request: EngineRequest) -> bool:
    return request.precision is Precision.INT8 and request.options.quantization is Quantization.IMPLICIT


def _network_typing(request: EngineRequest, worker: WorkerRecord) -> Typing:
    """Weak where there is the choice: a function that adds float32 layers gets its precision from a flag alone."""
    if request.options.typing is Typing.AUTO and _has(worker, "weakly_typed"):
        return Typing.WEAK
    return _resolve_typing(request, worker)


def _network_recipe(request: EngineRequest, worker: WorkerRecord) -> Recipe:
    typing = _network_typing(request, worker)
    if _is_implicit(request):
        _require_calibrator(request, worker)
        typing = Typing.WEAK
    if typing is Typing.STRONG and not _has(worker, "strongly_typed"):
        raise PrecisionError(
            f'typing "strong": {_release(worker)} has no strong typing, and a network function has no typed model to '
            'stand in for it; write typing = "weak" in the variant, or leave typing out'
        )
    decided = (
        "strongly typed: the function that fills the network gives every layer its precision"
        if typing is Typing.STRONG
        else _by_flag(request.precision, "the network that the function filled")
    )
    return _recipe(request, None, typing, is_calibrated=_is_implicit(request), notes=(decided,))


def _plain_recipe(request: EngineRequest, source: OnnxSource, worker: WorkerRecord, typing: Typing) -> Recipe:
    """Build fp32 or tf32, for which typing makes no difference: there is no flag to set but TF32."""
    parsed = source.typed if source.is_own else source.model
    tf32 = "on" if request.precision is Precision.TF32 else "off"
    if not _has(worker, "strongly_typed"):
        typing = Typing.WEAK
    return _recipe(request, parsed, typing, notes=(*_on_own(source), f"float32 model, TF32 {tf32}"))


def _implicit_recipe(request: EngineRequest, source: OnnxSource, worker: WorkerRecord) -> Recipe:
    _require_calibrator(request, worker)
    if source.is_own:
        raise PrecisionError(
            'quantization "implicit": the variant brings its own typed model, whose Q/DQ pairs hold its scales; '
            "leave one of the two out"
        )
    kind = request.options.calibrator.value
    weak = _recipe(request, source.model, Typing.WEAK, is_calibrated=True)
    notes = (f"weakly typed: float32 model with the INT8 flag and TensorRT's {kind} calibrator",)
    return _with_keep(replace(weak, notes=notes), source)


def _require_calibrator(request: EngineRequest, worker: WorkerRecord) -> None:
    if not _has(worker, "implicit_int8"):
        raise PrecisionError(
            f'quantization "implicit": {_release(worker)} has no calibrators, they went with 11.0; '
            'write quantization = "explicit" in the variant, or leave it out'
        )
    if request.options.typing is Typing.STRONG:
        raise PrecisionError(
            'quantization "implicit": a strongly typed network takes scales from Q/DQ pairs alone; '
            'write quantization = "explicit" or typing = "weak" in the variant'
        )


def _weak_recipe(request: EngineRequest, source: OnnxSource) -> Recipe:
    if source.is_own:
        return _recipe(
            request, source.typed, Typing.WEAK, notes=(*_on_own(source), _by_flag(request.precision, "that model"))
        )
    if request.precision in _QUANTIZED:
        return _recipe(request, source.typed, Typing.WEAK, notes=(_by_flag(request.precision, "the Q/DQ model"),))
    weak = _recipe(request, source.model, Typing.WEAK, notes=(_by_flag(request.precision, "the float32 model"),))
    return _with_keep(weak, source)


def _strong_recipe(request: EngineRequest, source: OnnxSource, worker: WorkerRecord) -> Recipe:
    own = _on_own(source)
    if _has(worker, "strongly_typed"):
        notes = (*own, "strongly typed: TensorRT takes every precision from the typed model")
        return _recipe(request, source.typed, Typing.STRONG, notes=notes)
    instead = (
        f"{_release(worker)} has no strong typing; the typed model was built with the flags of its dtypes and "
        "OBEY_PRECISION_CONSTRAINTS"
    )
    recipe = _recipe(request, source.typed, Typing.STRONG, notes=(*own, instead))
    # Q/DQ pairs decide by themselves: held at the float types between them, layers could not compute in int8.
    types = {} if is_quantized(source.typed) else node_types(source.typed)
    held = {name: _PRECISIONS[dtype] for name, dtype in types.items() if dtype in _PRECISIONS}
    return replace(recipe, obey=True, types=held)


def _recipe(
    request: EngineRequest,
    parsed: ModelProto | None,
    typing: Typing,
    *,
    is_calibrated: bool = False,
    notes: tuple[str, ...] = (),
) -> Recipe:
    return Recipe(parsed, request.precision, typing, request.keep_precision, is_calibrated=is_calibrated, notes=notes)


def _with_keep(recipe: Recipe, source: OnnxSource) -> Recipe:
    if not source.keep:
        return recipe
    held = f"{len(source.keep)} nodes are held at {recipe.keep_precision} by layer precision"
    return replace(recipe, keep=source.keep, obey=True, notes=(*recipe.notes, held))


def _by_flag(precision: Precision, what: str) -> str:
    if precision in _PLAIN:
        return f"weakly typed: {what}, TF32 {'on' if precision is Precision.TF32 else 'off'}"
    flag = precision.value.upper()
    return f"weakly typed: {what} with the {flag} flag; TensorRT chooses among the allowed precisions by speed"


def _on_own(source: OnnxSource) -> tuple[str, ...]:
    return ("the user's own typed model was parsed as it is",) if source.is_own else ()
