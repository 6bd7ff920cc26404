"""The command line: parses, calls what is below it, and turns the answer into text and an exit code.

Whatever is heavy is imported by the command that needs it, so that ``parity --help`` answers at once.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from parity import __version__
from parity.commands.baseline import baselines
from parity.commands.common import (
    COULD_NOT_JUDGE,
    REPORTS,
    AsJson,
    Backends,
    BaselineChoice,
    Debug,
    HistoryFile,
    Limit,
    NoDiagnosis,
    NoPython,
    Out,
    RunName,
    SavedFeed,
    TensorRTPythons,
    Variants,
    Verbose,
    backend_names,
    conclude_with_baselines,
    judge_all,
    show_log,
    tell_run,
    told,
)
from parity.commands.init import init
from parity.commands.layers import layers
from parity.commands.tools import tools

if TYPE_CHECKING:
    from parity.runner import RunSettings

app = typer.Typer(
    help="Proves that a TensorRT engine still computes what its ONNX model computes.",
    epilog="Exit codes: 0 everything agrees; 1 a disagreement was found; 2 something could not be judged, or Ctrl-C.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DOCTOR_COLOURS = {"good": "green", "bad": "red", "not needed": "bright_black"}


class PrecisionName(StrEnum):
    """What ``--precision`` takes.

    Not the enum of ``parity.tolerance``: the command line loads nothing of the package before a command is chosen.
    """

    FP32 = "fp32"
    TF32 = "tf32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    FP8 = "fp8"


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"parity {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


@app.command("run")
def _run(  # noqa: PLR0917 - typer reads one parameter for each option
    cases: Annotated[
        list[Path] | None, typer.Argument(metavar="[CASE]...", help="Case folders or files; without one, cases/.")
    ] = None,
    variant: Variants = None,
    backend: Backends = None,
    tensorrt_python: TensorRTPythons = None,
    engine: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Judge this engine file against the case's model. Repeatable."),
    ] = None,
    precision: Annotated[
        PrecisionName | None, typer.Option(help="What the files of --engine claim to be, if they do not say it.")
    ] = None,
    out: Out = REPORTS,
    name: RunName = "",
    limit: Limit = None,
    feed: SavedFeed = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")] = None,
    history: HistoryFile = None,
    no_python: NoPython = False,
    as_json: AsJson = False,
    no_diagnosis: NoDiagnosis = False,
    no_latency: Annotated[
        bool, typer.Option("--no-latency", help="Do not time the variants that a case has budgets for.")
    ] = False,
    baseline: Annotated[
        BaselineChoice, typer.Option(help="Compare with what was accepted on this machine, or accept what is found.")
    ] = BaselineChoice.OFF,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Judge cases and leave a report."""
    if resume and (cases or variant or name or limit or feed or engine):
        raise typer.BadParameter("a resumed run repeats its own selection; leave out CASE and what selects")
    if engine and baseline is not BaselineChoice.OFF:
        raise typer.BadParameter("a baseline is of the case's own variants; leave out --engine or --baseline")
    with told(debug):
        show_log(verbose)
        from parity.backends import TensorRTSettings
        from parity.case.loader import find_cases
        from parity.runner import JudgeSettings, RunSettings, cache_folder
        from parity.runner.settings import DIAGNOSIS_S, LatencyProtocol
        from parity.tolerance import Precision

        judging = JudgeSettings(
            limit=limit,
            feed=feed,
            cache=cache_folder(),
            debug=debug,
            diagnosis_s=0.0 if no_diagnosis else DIAGNOSIS_S,
            latency=None if no_latency else LatencyProtocol(),
        )
        settings = RunSettings(
            cases=() if resume else find_cases(cases or []),
            variants=tuple(variant or ()),
            backends=backend_names(backend, wants_tensorrt=bool(engine or tensorrt_python)),
            tensorrt=TensorRTSettings(tuple(tensorrt_python or ()), cache_folder()),
            engines=tuple(engine or ()),
            engine_precision=Precision(precision) if precision else None,
            out=out,
            name=name,
            allow_python=not no_python,
            resume=resume,
            command=("parity", *sys.argv[1:]),
            judging=judging,
        )
        _judge(settings, baseline, history, as_json=as_json)


def _judge(settings: RunSettings, baseline: BaselineChoice, history: Path | None, *, as_json: bool) -> None:
    from parity.runner import open_run

    with open_run(settings) as opened:
        judge_all(opened)
    if baseline is not BaselineChoice.OFF:
        conclude_with_baselines(opened, baseline)
    raise typer.Exit(tell_run(opened.run, opened.folder.path, as_json=as_json, history=history))


app.command("init")(init)
app.command("layers")(layers)
app.add_typer(tools)
app.add_typer(baselines)


@app.command("report")
def _report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a saved run.")],
    as_json: AsJson = False,
    github: Annotated[
        bool,
        typer.Option("--github", help="Print what did not pass as annotations of GitHub Actions, and nothing else."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Render a saved run again; no model and no runtime is needed. The exit code is the run's."""
    if as_json and github:
        raise typer.BadParameter("--json and --github each print something else; choose one")
    with told(debug):
        from parity.run_file import load_run

        saved = load_run(run)
        if github:
            from parity.report.github import github_annotations

            for line in github_annotations(saved):
                typer.echo(line)
            raise typer.Exit(saved.exit_code)
        raise typer.Exit(tell_run(saved, run, as_json=as_json))


@app.command("schema")
def _schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a page of every key, for people.")] = False,
    debug: Debug = False,
) -> None:
    """Print the JSON Schema of case.toml, for editors."""
    with told(debug):
        import json

        from parity.case.reference_page import reference_page
        from parity.case.schema import json_schema

        schema = json_schema()
        text = reference_page(schema) if markdown else json.dumps(schema, indent=2) + "\n"
        if out is None:
            typer.echo(text, nl=False)
            return
        from parity.report import write_text

        write_text(out, text)


@app.command("doctor")
def _doctor(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are to be saved.")] = REPORTS,
    tensorrt_python: TensorRTPythons = None,
    debug: Debug = False,
) -> None:
    """Check that this machine can judge, and say which command mends it. Exit code 0 or 2."""
    with told(debug):
        from parity.doctor import Finding, State, examine

        bad: list[Finding] = []
        for finding in examine(out, tensorrt_python or ()):
            typer.echo(typer.style(f"{finding.state:<10}", _DOCTOR_COLOURS[finding.state]) + f"  {finding.text}")
            bad += [finding] * (finding.state is State.BAD)
        typer.echo(f"{len(bad)} bad: mend what is named above" if bad else "ready; next: parity run")
        raise typer.Exit(COULD_NOT_JUDGE if bad else 0)
