"""From the tables of decoded results to a frozen ``Decoding``; the decoder is held against the model's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parity.case.feeds import image_names
from parity.case.gates import build_gates
from parity.case.mistakes import expected_one_of, join_path
from parity.case.model import Annotations, Decoding
from parity.case.paths import find_file, find_function
from parity.case.regions import matches
from parity.case.schema_decode import PythonDecodeTable
from parity.decode import FAMILIES, DecodeSettings, DetectionSettings, find_roles
from parity.decoded import Task
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.case.model import InputSource, ToleranceRule
    from parity.case.paths import Place
    from parity.case.schema import CaseTable
    from parity.case.schema_decode import AnnotationsTable, GateTable
    from parity.decode import Shapes
    from parity.graph import ModelInterface

_TABLES_BESIDE = ("agreement", "gates", "annotations")
_TASKS_OF_KEYS = {
    "match_iou": (Task.DETECTION,),
    "borderline_cap": (Task.DETECTION,),
    "small_margin": (Task.CLASSIFICATION, Task.SEGMENTATION),
}
_ANNOTATED_TASKS = (Task.DETECTION, Task.CLASSIFICATION)


@dataclass(frozen=True, slots=True)
class DecodeContext:
    """What building a decoding needs besides its tables.

    Attributes
    ----------
    data
        The case file as it was read: a table that is there but broken is not missing.
    interface, evaluation
        None where they could not be built.
    variant_names
        The names in the file, those of variants with mistakes included.
    """

    place: Place
    data: Mapping[str, Any]
    interface: ModelInterface | None
    evaluation: InputSource | None
    variant_names: Sequence[str]

    def tell(self, path: str, message: str) -> None:
        """Add a mistake."""
        self.place.mistakes.add(path, message)


def build_decoding(table: CaseTable, gates: Sequence[GateTable | None], context: DecodeContext) -> Decoding | None:
    """Return how a case's outputs are decoded; None where it says nothing of that, or not enough."""
    if "decode" not in context.data:
        for key in (key for key in _TABLES_BESIDE if key in context.data):
            context.tell(key, "has a meaning beside [decode] only; add [decode], or leave it out")
        return None
    decoder = table.decode
    task = decoder.task if decoder else None
    function = _check_decoder(decoder, context) if decoder else ""
    has_annotations = "annotations" in context.data
    rules = build_gates(gates, task, context.variant_names, context.place.mistakes, has_annotations=has_annotations)
    annotations = _build_annotations(table.annotations, task, context) if table.annotations else None
    if decoder is None or task is None:
        return None
    _check_other_tasks(table, task, context)
    return Decoding(
        settings=decoder if isinstance(decoder, DecodeSettings) else None,
        function=function,
        task=task,
        class_names=tuple(decoder.class_names),
        score_threshold=_score_threshold(decoder),
        match_iou=table.agreement.match_iou,
        borderline_cap=table.agreement.borderline_cap,
        small_margin=table.agreement.small_margin,
        picture_count=table.agreement.pictures,
        gates=rules,
        annotations=annotations,
    )


def _check_other_tasks(table: CaseTable, task: Task, context: DecodeContext) -> None:
    """Tell of keys that have a meaning for other tasks only."""
    for key in sorted(table.agreement.model_fields_set & _TASKS_OF_KEYS.keys()):
        if task not in _TASKS_OF_KEYS[key]:
            tasks = " and ".join(_TASKS_OF_KEYS[key])
            context.tell(f"agreement.{key}", f"has a meaning for {tasks} only; leave it out of {task}")
    own = table.decode if isinstance(table.decode, PythonDecodeTable) else None
    if task is not Task.DETECTION and own is not None and "score_threshold" in own.model_fields_set:
        context.tell("decode.score_threshold", f"has a meaning for detection only; leave it out of {task}")


def _score_threshold(decoder: DecodeSettings | PythonDecodeTable) -> float:
    if isinstance(decoder, DetectionSettings | PythonDecodeTable):
        return decoder.score_threshold
    return 0.0


def _check_decoder(decoder: DecodeSettings | PythonDecodeTable, context: DecodeContext) -> str:
    """Return the function that decodes, empty where a decoder of a family does, which is held against the model."""
    if isinstance(decoder, PythonDecodeTable):
        return find_function(context.place, decoder.function, "decode.function") or ""
    if context.interface is not None:
        _check_outputs(decoder, context.interface, context)
    return ""


def _check_outputs(settings: DecodeSettings, interface: ModelInterface, context: DecodeContext) -> None:
    known = [info.name for info in interface.outputs]
    unknown = {role: name for role, name in settings.outputs.items() if name not in known}
    for role, name in unknown.items():
        context.tell(join_path("decode", "outputs", role), expected_one_of(name, known))
    shapes = _shapes(interface)
    if unknown or shapes is None or _has_wrong_parts(settings, shapes, context):
        return
    try:
        find_roles(settings, shapes)
    except DecodeError as error:
        # How long an open axis is shows in a run alone, which tells of a misfit then.
        if not _has_open_axis(shapes):
            context.tell("decode.name", str(error))


def _has_open_axis(shapes: Shapes) -> bool:
    """Whether an axis behind the batch is open."""
    return any(isinstance(size, str) for shape in shapes.values() for size in shape[1:])


def check_left_to_decoding(
    rules: Sequence[ToleranceRule], settings: DecodeSettings | None, context: DecodeContext
) -> None:
    """Tell of outputs that a rule leaves to a decoder which does not read them: nothing would judge them.

    Parameters
    ----------
    settings
        None where a function decodes, which may read everything.
    """
    if settings is None or context.interface is None:
        return
    read = _outputs_read(settings, context.interface)
    for info in context.interface.outputs:
        if info.name not in read and any(_is_left(rules, variant, info.name) for variant in context.variant_names):
            context.tell(
                "tolerances",
                f'leave {info.name!r} to decoding, and decoder "{settings.name}" reads {", ".join(sorted(read))} '
                f"alone; add an entry with a bound for {info.name!r} behind them",
            )


def _outputs_read(settings: DecodeSettings, interface: ModelInterface) -> set[str]:
    """Return the outputs that a decoder reads; all of them where that shows in a run alone."""
    shapes = _shapes(interface)
    if settings.outputs or shapes is None:
        return set(settings.outputs.values()) or {info.name for info in interface.outputs}
    try:
        return set(find_roles(settings, shapes).values())
    except DecodeError:
        return {info.name for info in interface.outputs}


def _is_left(rules: Sequence[ToleranceRule], variant: str, output: str) -> bool:
    last = {rule.region: rule for rule in rules if matches(variant, rule.variant) and matches(output, rule.output)}
    return any(not rule.tolerance.is_bound for rule in last.values())


def _has_wrong_parts(settings: DecodeSettings, shapes: Shapes, context: DecodeContext) -> bool:
    """Tell of parts that the decoder does not have, or that nothing plays; return whether there are any."""
    fit = FAMILIES[settings.name].layout({name: shapes[name] for name in settings.outputs.values()})
    if not settings.outputs or fit is None:
        return False
    unknown = [role for role in settings.outputs if role not in fit.outputs]
    for role in unknown:
        context.tell(join_path("decode", "outputs", role), expected_one_of(role, list(fit.outputs)))
    lacking = [role for role in fit.outputs if role not in settings.outputs]
    if lacking and not unknown:
        context.tell("decode.outputs", f"lacks {', '.join(lacking)}; name all of {', '.join(fit.outputs)}, or none")
    return bool(unknown or lacking)


def _shapes(interface: ModelInterface) -> Shapes | None:
    """Return the shapes of the outputs; None where the model leaves one open altogether."""
    if not all(info.shape for info in interface.outputs):
        return None
    return {
        info.name: tuple("?" if dimension is None else dimension for dimension in info.shape)
        for info in interface.outputs
    }


def _build_annotations(table: AnnotationsTable, task: Task | None, context: DecodeContext) -> Annotations | None:
    if (table.file is None) == (table.function is None):
        if not any(context.place.mistakes.has(f"annotations.{key}") for key in ("file", "function")):
            context.tell("annotations", "expected either file or function")
        return None
    if task is not None and task not in _ANNOTATED_TASKS:
        context.tell(
            "annotations", f"have a meaning for {' and '.join(_ANNOTATED_TASKS)} only; leave them out of {task}"
        )
    if context.evaluation and not image_names(context.evaluation):
        context.tell("annotations", "need inputs that are images: kind images, or python with preprocess")
    if table.file is not None:
        file = find_file(context.place, table.file, "annotations.file", inside=True)
        return Annotations(file) if file else None
    function = find_function(context.place, table.function, "annotations.function")
    return Annotations(function=function) if function else None
