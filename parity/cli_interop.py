"""What ``parity export`` and ``parity import`` do: files of other tools, and the commands that take them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from parity.results import Outcome
    from parity.runner.export import ExportSettings, FailingFeed

POLYGRAPHY_FOLDER = "polygraphy"
"""Where in a run's folder the files for Polygraphy go, one folder for each feed."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The files of a feed, what a reader should know of them, and the commands that take them."""

    files: tuple[Path, Path, Path]
    notes: tuple[str, ...]
    commands: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*(f"wrote {file}" for file in self.files), *self.notes, *self.commands])


def export_polygraphy(settings: ExportSettings) -> Exported:
    """Write a failing feed as ``inputs.json``, ``reference.json`` and ``candidate.json`` into the run's folder.

    Raises
    ------
    ParityError
        As ``parity.runner.export.recompute``.
    RunError
        The files cannot be written.
    """
    from parity.interop.polygraphy import inputs_json, results_json
    from parity.report import write_text
    from parity.runner.export import recompute
    from parity.runner.settings import relative_path

    found = recompute(settings)
    folder = _folder_of(found)
    texts = {
        "inputs.json": inputs_json([found.inputs]),
        "reference.json": results_json("reference", [found.reference]),
        "candidate.json": results_json(found.outcome.variant, [found.candidate]),
    }
    inputs, reference, candidate = (write_text(folder / name, text) for name, text in texts.items())
    model, shown = relative_path(found.case.model), [relative_path(path) for path in (inputs, reference, candidate)]
    return Exported(
        (inputs, reference, candidate),
        tuple(_widening_notes(found)),
        (
            shlex.join(["polygraphy", "run", model, "--onnxrt", "--load-inputs", shown[0], "--load-outputs", shown[1]]),
            shlex.join(["polygraphy", "run", "--load-outputs", shown[2], shown[1], *_tolerances(found)]),
        ),
    )


def _folder_of(found: FailingFeed) -> Path:
    folder = found.file.parent.parent / POLYGRAPHY_FOLDER / found.file.stem
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made ({error.strerror}); allow writing into the run's folder") from error
    return folder


def _widening_notes(found: FailingFeed) -> Iterator[str]:
    sides: tuple[tuple[str, Mapping[str, np.ndarray]], ...] = (
        ("input", found.inputs),
        ("output of the reference", found.reference),
        (f"output of {found.outcome.variant}", found.candidate),
    )
    for side, tensors in sides:
        for name, tensor in tensors.items():
            if tensor.dtype.kind == "V":
                yield f"{side} {name!r}: is {tensor.dtype}, which .npy cannot name; written as float32, exactly"


def _tolerances(found: FailingFeed) -> list[str]:
    """Return the tolerances of outputs that are judged as a whole, in Polygraphy's words; it has none for a slice."""
    judged = _judged_whole(found.outcome, found.candidate)
    absolute = [f"{name}:{atol:g}" for name, (atol, _) in judged.items()]
    relative = [f"{name}:{rtol:g}" for name, (_, rtol) in judged.items()]
    return ["--atol", *absolute, "--rtol", *relative] if judged else []


def _judged_whole(outcome: Outcome, outputs: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    return {
        tensor.output: (tensor.tolerance.atol, tensor.tolerance.rtol)
        for tensor in outcome.tensors
        if tensor.tolerance is not None and tensor.output in outputs
    }
