"""The text of a first ``case.toml``: every guess with its reason beside it."""

from __future__ import annotations

import math
import textwrap
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

import tomlkit

from parity.graph import is_quantized
from parity.report.figures import one_line
from parity.starting.facts import is_like_image, with_batch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tomlkit import TOMLDocument
    from tomlkit.items import Array, Table

    from parity.preprocess import Step
    from parity.starting.draft import Draft
    from parity.starting.facts import Shapes
    from parity.starting.proposals import Proposal, Proposed

_WIDTH = 116
_RANDOM_FEEDS = 4
_LARGE_FEED = 2**24
"""Elements of a feed above which one has to do: four of 8192 x 8192 pixels took more than four minutes."""
_SEED, _CALIBRATION_SEED = 1, 2
_LABELS_REASON = "the model gives labels without scores, so one changes whole where rounding swaps two near scores"
_SORTED_REASON = "the model sorts its rows by score, so two change places where rounding swaps their scores"


@dataclass(frozen=True, slots=True)
class Paths:
    """Where a case finds its files, as it writes them: relative to its folder. Empty where it has none."""

    model: str
    annotations: str = ""
    judged: tuple[str, ...] = ()
    calibrating: tuple[str, ...] = ()


def case_text(draft: Draft, paths: Paths, proposed: Proposed | None = None) -> str:
    """Return the case file of a draft, with what the first run proposes where there was one.

    Names from models and files are written as TOML strings, and in comments on one line: they are untrusted.
    """
    document = tomlkit.document()
    _head(document, draft, paths)
    _inputs(document, draft, paths)
    _shapes(document, draft)
    _decode(document, draft, paths)
    _variants(document, draft, paths)
    _tolerances(document, draft, proposed)
    text: str = tomlkit.dumps(document)
    return text


def _say(container: TOMLDocument | Table, *sentences: str) -> None:
    """Add sentences as comment lines."""
    for sentence in sentences:
        for line in textwrap.wrap(one_line(sentence), _WIDTH):
            container.add(tomlkit.comment(line))


def _head(document: TOMLDocument, draft: Draft, paths: Paths) -> None:
    interface = draft.facts.interface
    inputs, outputs = "; ".join(map(str, interface.inputs)), "; ".join(map(str, interface.outputs))
    _say(
        document,
        f"Written by parity init from {draft.facts.path.name}: opset {draft.facts.opset}, {inputs} -> {outputs}.",
        "Every guess says how sure it is and why. Correct what you know better; docs/case-file.md has every key.",
        *(f"Question: {question}" for question in draft.questions),
        *(f"Warning: {warning}." for warning in draft.warnings),
    )
    document.add(tomlkit.nl())
    document["description"] = f"{draft.facts.path.name}, as parity init found it{_how_begun(draft)}."
    document["model"] = paths.model
    if len(draft.facts.open_rows) > 1:
        return
    if draft.facts.has_open_batch:
        _say(document, f"{_rows(draft)} in one feed; the model's batch is open, so any number goes.")
        document["batch_size"] = draft.batch_size
    elif draft.facts.open_rows == {draft.batch_size} and draft.batch_size > 1:
        _say(document, "How long the first axis is where it is open.")
        document["batch_size"] = draft.batch_size


def _how_begun(draft: Draft) -> str:
    """Return what a report, which shows the description, has to say of inputs that are not as meant.

    It stays true when somebody mends them later.
    """
    if draft.recipe is None:
        return "; it began with random inputs"
    return "" if draft.is_fed_as_meant else "; it began with a placeholder for preprocessing"


def _rows(draft: Draft) -> str:
    return "Images" if draft.facts.image is not None else "Rows"


def _inputs(document: TOMLDocument, draft: Draft, paths: Paths) -> None:
    if draft.recipe is None:
        document["inputs"] = _random_inputs(draft, _SEED)
        document["calibration"] = _random_inputs(draft, _CALIBRATION_SEED)
        return
    document["inputs"] = _image_inputs(draft, paths.judged, is_calibration=False)
    if paths.calibrating:
        document["calibration"] = _image_inputs(draft, paths.calibrating, is_calibration=True)


def _random_inputs(draft: Draft, seed: int) -> Table:
    table = tomlkit.table()
    if seed == _SEED:
        _say(table, f"{_asked_for(draft)} Random numbers stand here: they show what the arithmetic does to noise.")
    table["kind"] = "random"
    table["seed"] = seed
    elements = sum(math.prod(shape) for shape in _sizes(draft, draft.batch_size).values())
    table["count"] = _RANDOM_FEEDS if elements <= _LARGE_FEED else 1
    ranges = {info.name: _range(0, 1) for info in draft.facts.interface.inputs if is_like_image(info)}
    if ranges:
        tensors = tomlkit.table()
        for name, bounds in ranges.items():
            tensors[name] = bounds
        table["tensors"] = tensors
    return table


def _sizes(draft: Draft, batch: int) -> Shapes:
    """Return the shape of every input with a batch; as they are where first axes differ, so that none is the batch."""
    facts = draft.facts
    return facts.sizes if len(facts.open_rows) > 1 else with_batch(facts, batch)


def _asked_for(draft: Draft) -> str:
    return "Which images?" if draft.facts.image is not None else "Which inputs?"


def _range(low: float, high: float) -> Any:
    bounds = tomlkit.inline_table()
    bounds["low"], bounds["high"] = float(low), float(high)
    return bounds


def _image_inputs(draft: Draft, files: Sequence[str], *, is_calibration: bool) -> Table:
    assert draft.recipe is not None
    assert draft.split is not None
    table = tomlkit.table()
    if is_calibration:
        _say(table, "What int8 ranges are read from: other images than variants are judged on.")
    else:
        _say(table, *(f"{note}." for note in draft.split.notes))
    table["kind"] = "images"
    table["files"] = _lines(files)
    if not is_calibration:
        _say(table, f"Preprocessing is not in an ONNX file. {draft.recipe.value}: {draft.recipe.sureness}.")
        _say(table, *draft.recipe.evidence)
    image = draft.facts.image
    assert image is not None
    table["preprocess"] = _lines([_step(step) for step in draft.recipe.value.steps(image)])
    return table


def _lines(entries: Iterable[Any]) -> Array:
    array = tomlkit.array()
    array.extend(entries)
    return array.multiline(True)


def _step(step: Step) -> Any:
    """Return a step as a case file has it: without what it is by default."""
    table = tomlkit.inline_table()
    table["step"] = step.name
    for one in fields(step):  # type: ignore[arg-type] # every step is a dataclass; the protocol does not say so
        value = getattr(step, one.name)
        if one.default is MISSING or value != one.default:
            table[one.name] = list(value) if isinstance(value, tuple) else value
    return table


def _shapes(document: TOMLDocument, draft: Draft) -> None:
    open_inputs = [info for info in draft.facts.interface.inputs if not all(isinstance(one, int) for one in info.shape)]
    if not open_inputs:
        return
    shapes = tomlkit.table(is_super_table=True)
    least, best, most = (_sizes(draft, batch) for batch in (1, draft.batch_size, 2 * draft.batch_size))
    for info in open_inputs:
        table = tomlkit.table()
        _say(table, "The optimization profile of engines: which shapes they have to take.")
        for key, shape in (("min", least), ("opt", best), ("max", most)):
            table[key] = list(shape[info.name])
        shapes[info.name] = table
    document["shapes"] = shapes


def _decode(document: TOMLDocument, draft: Draft, paths: Paths) -> None:
    decoder = draft.decoder
    if decoder is None:
        document.add(tomlkit.nl())
        _say(
            document,
            "No decoder here fits the outputs: raw tensors are judged alone. docs/decoders.md has all layouts.",
        )
        return
    table = tomlkit.table()
    _say(table, f"What the outputs mean. {decoder.value.family}: {decoder.sureness}.")
    _say(table, *(f"{sentence}." for sentence in decoder.evidence))
    for other in draft.decoders[1:3]:
        _say(table, f"Or {other.value.family}, {other.certainty:.0%}: {other.evidence[0]}.")
    table["name"] = decoder.value.family
    for key, value in decoder.value.given.items():
        table[key] = value
    if draft.class_names is not None:
        _say(table, f"Class names: {draft.class_names.evidence[0]}.")
        table["class_names"] = list(draft.class_names.value)
    if not draft.decodes:
        _say_table(document, draft, table)
        return
    document["decode"] = table
    if paths.annotations:
        document["annotations"] = {"file": paths.annotations}


def _say_table(document: TOMLDocument, draft: Draft, table: Table) -> None:
    """Add a decoder as a comment, with what it waits for."""
    why = "; ".join(draft.questions) or (
        "it needs images to find something in" if draft.split is None else "it is too unsure to be judged by"
    )
    document.add(tomlkit.nl())
    _say(document, f"Not decoded yet: {why}. Without the marks in front these lines decode the outputs.")
    inner = tomlkit.document()
    inner["decode"] = table
    for line in tomlkit.dumps(inner).splitlines():
        document.add(tomlkit.comment(line.removeprefix("# ")))


def _variants(document: TOMLDocument, draft: Draft, paths: Paths) -> None:
    if draft.left_out:
        document.add(tomlkit.nl())
        _say(document, *(f"No {name}: {why}." for name, why in draft.left_out.items()))
    variants = tomlkit.table(is_super_table=True)
    for name, settings in _chosen_variants(draft, paths).items():
        table = tomlkit.table()
        for key, value in settings.items():
            table[key] = value
        variants[name] = table
    document["variants"] = variants


def _chosen_variants(draft: Draft, paths: Paths) -> Mapping[str, Mapping[str, str]]:
    """Return the variants of a first case: bf16, tf32 and fp8 are a table more each."""
    # A half model is its own fp16 variant only where it keeps half inputs and outputs.
    half = {"precision": "fp16", "io_precision": "fp16"} if draft.facts.is_half else {"precision": "fp16"}
    chosen = {"fp32": {"precision": "fp32"}, "fp16": half}
    calibrates = draft.split is None or bool(draft.split.calibrating)
    if is_quantized(draft.facts.model):
        chosen["int8"] = {"precision": "int8", "model": paths.model}
    elif calibrates:
        chosen["int8"] = {"precision": "int8"}
    return {name: settings for name, settings in chosen.items() if name not in draft.left_out}


def _tolerances(document: TOMLDocument, draft: Draft, proposed: Proposed | None) -> None:
    entries = list(_entries(draft, proposed))
    kept = proposed.kept if proposed is not None else ()
    if proposed is not None:
        document.add(tomlkit.nl())
        _say(
            document, "Bounds that the first run proposes; what has none is judged by the defaults of docs/judging.md."
        )
        _say(document, *(f"{sentence}." for sentence in kept))
    if entries:
        array = tomlkit.aot()
        for entry in entries:
            table = tomlkit.table()
            for key, value in entry.items():
                table[key] = value
            array.append(table)
        document["tolerances"] = array


def _entries(draft: Draft, proposed: Proposed | None) -> Iterator[Mapping[str, Any]]:
    if draft.decodes and draft.decoder is not None and draft.decoder.value.is_chosen:
        reason = _SORTED_REASON if draft.decoder.value.is_sorted else _LABELS_REASON
        for output in draft.decoder.value.read:
            yield {"output": output, "judged": "decoded", "reason": reason}
    yield from (_entry(proposal) for proposal in (proposed.entries if proposed is not None else ()))


def _entry(proposal: Proposal) -> Mapping[str, Any]:
    least = {} if proposal.min_sqnr_db is None else {"min_sqnr_db": proposal.min_sqnr_db}
    return {
        "variant": proposal.variant,
        "output": proposal.output,
        "rtol": proposal.rtol,
        "atol": proposal.atol,
        **least,
        "reason": proposal.reason,
    }
