"""``parity layers``: where in a model a variant's error is born."""

from __future__ import annotations

import re
import sys
from enum import StrEnum
from typing import Annotated

import typer

from parity.commands.common import (
    REPORTS,
    AsJson,
    Backends,
    Debug,
    Limit,
    NoDiagnosis,
    NoPython,
    OneCase,
    Out,
    RunName,
    SavedFeed,
    TensorRTPythons,
    Verbose,
    backend_names,
    judge_all,
    show_log,
    tell_run,
    told,
)

_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)


class Sort(StrEnum):
    """What ``--sort`` takes."""

    GRAPH = "graph"
    INHERITED = "inherited"
    INJECTED = "injected"
    GAIN = "gain"
    LOST = "lost"
    TIME = "time"


def parse_size(text: str) -> int:
    """Return a size such as ``512MiB``, ``2GiB`` or ``1000000`` in bytes; units are powers of 1024."""
    match = _SIZE.fullmatch(text.strip())
    size = float(match[1]) * _UNITS[match[2].lower()] if match else 0.0
    if size < 1:
        raise typer.BadParameter(f"{text!r}: expected a size such as 512MiB or 2GiB")
    return int(size)


def layers(  # noqa: PLR0917 - typer reads one parameter for each option
    case: OneCase,
    variant: Annotated[
        list[str], typer.Option(help="Observe this variant: fp16, int8*, fp16@onnxruntime. Repeatable.")
    ],
    backend: Backends = None,
    tensorrt_python: TensorRTPythons = None,
    memory: Annotated[
        int | None,
        typer.Option(
            metavar="SIZE", parser=parse_size, help="For the tensors held at a time: 512MiB; a quarter of free memory."
        ),
    ] = None,
    limit: Limit = None,
    feed: SavedFeed = None,
    sort: Annotated[Sort, typer.Option(help="The order of the table.")] = Sort.GRAPH,
    top: Annotated[int, typer.Option(min=1, help="So many rows of the table.")] = 10,
    out: Out = REPORTS,
    name: RunName = "",
    no_python: NoPython = False,
    no_diagnosis: NoDiagnosis = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Find the layers where a variant's error is born, and leave a report."""
    with told(debug):
        show_log(verbose)
        from parity.backends import TensorRTSettings
        from parity.case.loader import find_cases
        from parity.report import LayerView
        from parity.runner import JudgeSettings, LayerSettings, RunSettings, cache_folder, open_run
        from parity.runner.settings import DIAGNOSIS_S

        judging = JudgeSettings(
            limit=limit,
            feed=feed,
            cache=cache_folder(),
            debug=debug,
            layers=LayerSettings(memory),
            diagnosis_s=0.0 if no_diagnosis else DIAGNOSIS_S,
        )
        settings = RunSettings(
            cases=find_cases([case]),
            variants=tuple(variant),
            backends=backend_names(backend, wants_tensorrt=bool(tensorrt_python)),
            tensorrt=TensorRTSettings(tuple(tensorrt_python or ()), cache_folder()),
            out=out,
            name=name,
            allow_python=not no_python,
            command=("parity", *sys.argv[1:]),
            judging=judging,
        )
        with open_run(settings) as opened:
            judge_all(opened, is_resumable=False)
        view = LayerView(sort.value, top)
        raise typer.Exit(tell_run(opened.run, opened.folder.path, as_json=as_json, view=view))
