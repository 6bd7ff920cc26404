"""What ``parity export`` and ``parity import`` do: files of other tools, and the commands that take them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.errors import RunError
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np

    from parity.interop.trtexec import MeasuredLayer
    from parity.report.measurements import CensusFinding, Measurements
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


@dataclass(frozen=True, slots=True)
class TrtexecFiles:
    """What trtexec exported: ``--exportLayerInfo``, ``--exportProfile``, ``--exportTimes``; None for what is not there.

    ``case`` and ``variant`` say what precision the engine was asked for; no variant means the case's only one.
    """

    layers: Path | None
    profile: Path | None
    times: Path | None
    case: Path | None = None
    variant: str | None = None
    allow_python: bool = True


def import_trtexec(files: TrtexecFiles) -> Measurements:
    """Read trtexec's files and join them.

    Raises
    ------
    ForeignFileError
        A file cannot be read, or two are of different engines.
    CaseError, ModelError, RunError
        The case cannot be read, or has no such variant.
    """
    from parity.interop.timing import summarize, timing_notes
    from parity.interop.trtexec import join_layers, layers_of, read_layers, read_profile, read_times
    from parity.report.measurements import Measurements

    profile = read_profile(files.profile) if files.profile else None
    layers = layers_of(read_layers(files.layers), profile) if files.layers else ()
    joined = join_layers(layers, profile.rows if profile else ())
    times = read_times(files.times) if files.times else None
    summaries = {name: summarize(name, values) for name, values in times.by_kind.items()} if times else {}
    census = _take_census(files, files.case, joined) if files.case else None
    notes = (*_joining_notes(joined, files), *(timing_notes(summaries, times.enqueue_step_ms) if times else ()))
    return Measurements(joined, tuple(summaries.values()), census, notes)


def exit_code(found: Measurements) -> int:
    """Return 0 where nothing was judged or everything agrees, 1 for a disagreement, 2 for what cannot be told."""
    codes = {Verdict.PASS: 0, Verdict.FAIL: 1}
    return 0 if found.census is None else codes.get(found.census.verdict, 2)


def _take_census(files: TrtexecFiles, case_file: Path, joined: tuple[MeasuredLayer, ...]) -> CensusFinding:
    from parity.backends.engine import LayerTime
    from parity.case.loader import load_case
    from parity.checks.census import judge_census, take_census
    from parity.graph import load_model
    from parity.precision.names import all_nodes
    from parity.report.measurements import CensusFinding

    case = load_case(case_file, allow_python=files.allow_python)
    names = [variant.name for variant in case.variants]
    wanted = files.variant or (names[0] if len(names) == 1 else "")
    if wanted not in names:
        raise RunError(f"{case.name}: variant {files.variant!r} is none of {', '.join(names)}; name one with --variant")
    variant = case.variants[names.index(wanted)]
    census = take_census(
        [found.layer for found in joined if found.layer],
        [LayerTime(found.name, (found.row.typical_ms,)) for found in joined if found.row],
        variant.options.precision,
        variant.census_share,
        {node.name: node.op_type for node in all_nodes(load_model(case.model).graph)},
        # trtexec allows TF32 unless told not to, and its files do not say.
        may_use_tf32=True,
    )
    judgement = judge_census(census)
    return CensusFinding(census, judgement.verdict, judgement.headline, (*judgement.reasons, *judgement.notes))


def _joining_notes(joined: tuple[MeasuredLayer, ...], files: TrtexecFiles) -> Iterator[str]:
    if files.layers is None or files.profile is None:
        return
    untimed = sum(found.row is None for found in joined)
    unknown = sum(found.layer is None for found in joined)
    if untimed:
        yield f"{untimed} layers have no time in the profile"
    if unknown:
        yield f"{unknown} times of the profile belong to no layer of the layer file"


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
