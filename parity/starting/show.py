"""What ``parity init`` prints of what it found out. At most 100 columns wide, but for the command at the end."""

from __future__ import annotations

import shlex
import textwrap
from typing import TYPE_CHECKING

from parity.report.figures import one_line
from parity.runner.settings import relative_path
from parity.starting.draft import BELIEVED
from parity.tolerance import Precision
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from parity.starting.draft import Draft
    from parity.starting.first_run import FirstRun
    from parity.starting.place import Placed
    from parity.starting.proposals import Proposed

_WIDTH = 100


def print_draft(draft: Draft, placed: Placed, stream: TextIO) -> None:
    """Print what was guessed, how sure it is and why, and what was written."""
    for line in (*_model_lines(draft), *_guess_lines(draft), *_image_lines(draft)):
        _print(line, stream)
    for name, why in draft.left_out.items():
        _print(f"no {name}: {why}", stream)
    for warning in draft.warnings:
        _print(f"warning: {warning}", stream)
    _print(f"wrote {relative_path(placed.file)}", stream)


def print_tolerances(first: FirstRun, proposed: Proposed, draft: Draft, placed: Placed, stream: TextIO) -> None:
    """Print what the first run says of tolerances."""
    if first.limit is not None:
        _print(
            f"the first run judged {first.limit} feeds of {draft.batch_size} images; parity run judges all of them",
            stream,
        )
    if proposed.entries:
        count = f"{len(proposed.entries)} bound{'s' if len(proposed.entries) != 1 else ''}"
        _print(f"tolerances: {count} written into {relative_path(placed.file)}, each with its reason", stream)
    for entry in proposed.entries:
        if entry.is_looser:
            _print(f"tolerances: {entry.variant}, {entry.output}: {entry.reason}", stream)
    for sentence in proposed.kept:
        _print(f"tolerances: {sentence}", stream)


def print_next(draft: Draft, placed: Placed, first: FirstRun | None, proposed: Proposed | None, stream: TextIO) -> None:
    """Print what is left to ask, and the next command: to repair what fails as the case is now, else to judge it."""
    for question in draft.questions:
        _print(f"question: {question}", stream)
    case = relative_path(placed.folder)
    failed = _failed_variant(first, proposed)
    words = ["repair", case, "--variant", failed] if failed and not draft.questions else ["run", case]
    # Never broken: it is copied whole.
    stream.write(f"next: {shlex.join(['parity', *words])}\n")


def _failed_variant(first: FirstRun | None, proposed: Proposed | None) -> str:
    """Return a variant that repair may mend, empty where there is none; one with new bounds passes by them.

    Where float32 itself fails, more of it mends nothing.
    """
    bounded = {entry.variant for entry in proposed.entries} if proposed is not None else set()
    outcomes = first.run.outcomes if first is not None else ()
    failed = [one for one in outcomes if one.verdict is Verdict.FAIL]
    if any(one.precision == Precision.FP32 for one in failed):
        return ""
    names = (one.variant.partition("@")[0] for one in failed)
    return next((name for name in names if name not in bounded), "")


def _model_lines(draft: Draft) -> Iterator[str]:
    interface = draft.facts.interface
    inputs, outputs = (", ".join(map(str, side)) for side in (interface.inputs, interface.outputs))
    yield f"model: opset {draft.facts.opset}; {inputs} -> {outputs}"
    if draft.facts.metadata is not None:
        known = draft.facts.metadata
        yield f"  metadata: {known.task or 'no task'}, {len(known.names)} class names; {known.description}"


def _guess_lines(draft: Draft) -> Iterator[str]:
    if draft.decoder is None:
        yield "decoder: none fits the outputs; raw tensors are judged alone"
    else:
        unlikely = "none is likely; raw tensors are judged alone; the nearest is "
        told = unlikely if draft.decoder.certainty < BELIEVED else ""
        yield f"decoder: {told}{draft.decoder.value.family} ({draft.decoder.sureness})"
        yield "  why: " + "; ".join(draft.decoder.evidence)
    if draft.recipe is None:
        why = draft.facts.why_no_image or "there are no images"
        yield f"preprocessing: unknown, because {why}; the inputs are random"
        return
    unknown = "unknown; a placeholder is " if draft.recipe.question else ""
    yield f"preprocessing: {unknown}{draft.recipe.value} ({draft.recipe.sureness})"
    yield "  why: " + " ".join(draft.recipe.evidence)


def _image_lines(draft: Draft) -> Iterator[str]:
    if draft.split is not None:
        yield f"images: {len(draft.split.judged)} to judge on, {len(draft.split.calibrating)} others to calibrate on"
        yield from (f"  {note}" for note in draft.split.notes)


def _print(text: str, stream: TextIO) -> None:
    indent = "  " if text.startswith("  ") else ""
    lines = textwrap.wrap(
        one_line(text),
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    stream.writelines(f"{line}\n" for line in lines)
