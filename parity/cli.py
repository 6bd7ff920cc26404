"""The command line: parses, calls what is below it, and turns the answer into text and an exit code.

Whatever is heavy is imported by the command that needs it, so that ``parity --help`` answers at once.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parity import __version__
from parity.errors import ParityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.runner import OpenRun, Progress, RunSettings

COULD_NOT_JUDGE = 2

app = typer.Typer(
    help="Proves that a TensorRT engine still computes what its ONNX model computes.",
    epilog="Exit codes: 0 everything agrees; 1 a disagreement was found; 2 something could not be judged, or Ctrl-C.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_imports = typer.Typer(
    help="Read what other tools measured.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
app.add_typer(_imports, name="import")


class BackendName(StrEnum):
    """What ``--backend`` takes."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    ONNXRUNTIME_TENSORRT = "onnxruntime-tensorrt"


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


class KeepPrecisionName(StrEnum):
    """What ``--keep-precision`` takes."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_Case = Annotated[Path, typer.Argument(metavar="CASE", help="A case folder or file.")]
_Variant = Annotated[str, typer.Option(help="The variant, such as fp16.")]
_KeepPrecision = Annotated[
    KeepPrecisionName | None, typer.Option(help="What nodes are kept at; as the case file says, else fp32.")
]
_Tries = Annotated[int | None, typer.Option(min=1, help="End after so many tries.")]
_Minutes = Annotated[float | None, typer.Option(min=0.0, help="End after so many minutes.")]
_Limit = Annotated[int | None, typer.Option(min=1, help="Judge the first so many feeds only.")]
_NoPython = Annotated[
    bool, typer.Option("--no-python", help="Refuse cases with Python functions, engines, plugins or lean runtimes.")
]


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
    variant: Annotated[
        list[str] | None, typer.Option(help="Judge this variant only: fp16, int8*, fp16@onnxruntime. Repeatable.")
    ] = None,
    backend: Annotated[
        list[BackendName] | None, typer.Option(help="What executes the variants: onnxruntime by default. Repeatable.")
    ] = None,
    tensorrt_python: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A Python that has TensorRT, or an execnet spec. Repeatable."),
    ] = None,
    engine: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Judge this engine file against the case's model. Repeatable."),
    ] = None,
    precision: Annotated[
        PrecisionName | None, typer.Option(help="What the files of --engine claim to be, if they do not say it.")
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the run's folder is made.")] = Path("reports"),
    name: Annotated[str, typer.Option(help="The end of the folder's name.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Judge the first so many feeds only.")] = None,
    feed: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Judge this saved feed alone.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")] = None,
    no_python: Annotated[
        bool,
        typer.Option("--no-python", help="Refuse cases with Python functions, engines, plugins or lean runtimes."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is logged.")] = False,
    debug: _Debug = False,
) -> None:
    """Judge cases and leave a report."""
    if resume and (cases or variant or name or limit or feed or engine):
        raise typer.BadParameter("a resumed run repeats its own selection; leave out CASE and what selects")
    with _told(debug):
        _show_log(verbose)
        from parity.backends import TensorRTSettings
        from parity.case.loader import find_cases
        from parity.runner import JudgeSettings, RunSettings, cache_folder
        from parity.tolerance import Precision

        judging = JudgeSettings(limit=limit, feed=feed, cache=cache_folder(), debug=debug)
        settings = RunSettings(
            cases=() if resume else find_cases(cases or []),
            variants=tuple(variant or ()),
            backends=_backend_names(backend, wants_tensorrt=bool(engine or tensorrt_python)),
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
        _judge(settings, as_json=as_json)


def _judge(settings: RunSettings, *, as_json: bool) -> None:
    from parity.report import print_run, render, summary_json
    from parity.runner import open_run

    with open_run(settings) as opened:
        _judge_all(opened)
    *_, page = render(opened.folder.path)
    if as_json:
        typer.echo(summary_json(opened.run, opened.folder.path))
    else:
        print_run(opened.run, page, sys.stdout)
    raise typer.Exit(opened.run.exit_code)


def _judge_all(opened: OpenRun) -> None:
    try:
        opened.judge_all(_progress())
    except KeyboardInterrupt:
        from shlex import quote

        from parity.report import render

        folder = opened.folder.path
        render(folder)
        raise ParityError(
            f"interrupted; {len(opened.run.outcomes)} outcomes are saved; "
            f"go on with: parity run --resume {quote(str(folder))}"
        ) from None


@app.command("report")
def _report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a saved run.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
    debug: _Debug = False,
) -> None:
    """Render a saved run again; no model and no runtime is needed. The exit code is the run's."""
    with _told(debug):
        from parity.report import print_run, render, summary_json
        from parity.results import load_run

        *_, page = render(run)
        saved = load_run(run)
        if as_json:
            typer.echo(summary_json(saved, run))
        else:
            print_run(saved, page, sys.stdout)
        raise typer.Exit(saved.exit_code)


@app.command("repair")
def _repair(  # noqa: PLR0917 - typer reads one parameter for each option
    case: _Case,
    variant: _Variant,
    backend: Annotated[
        BackendName | None, typer.Option(help="tensorrt confirms on an engine what the forecast found, and times it.")
    ] = None,
    tensorrt_python: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="A Python that has TensorRT, or an execnet spec.")
    ] = None,
    keep_precision: _KeepPrecision = None,
    tries: _Tries = 300,
    minutes: _Minutes = 30.0,
    limit: _Limit = None,
    write: Annotated[bool, typer.Option("--write", help="Write the list into the case file.")] = False,
    no_python: _NoPython = False,
    debug: _Debug = False,
) -> None:
    """Find the fewest nodes to keep at a higher precision so that a variant passes.

    Exit codes: 0 repaired, or nothing to repair; 1 precision does not mend it; 2 it could not be tried.
    """
    with _told(debug):
        _show_log(verbose=False)
        from parity.cli_repair import Asked, repair_case

        [chosen] = _backend_names([backend] if backend else None, wants_tensorrt=bool(tensorrt_python))
        asked = Asked(case, variant, tries, minutes, limit, not no_python, keep_precision, debug)
        raise typer.Exit(repair_case(asked, chosen, tuple(tensorrt_python or ()), writes=write))


@app.command("sensitivity")
def _sensitivity(  # noqa: PLR0917 - as above
    case: _Case,
    variant: _Variant,
    keep_precision: _KeepPrecision = None,
    tries: _Tries = None,
    minutes: _Minutes = 30.0,
    limit: _Limit = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write every node there.")] = None,
    no_python: _NoPython = False,
    debug: _Debug = False,
) -> None:
    """Show what each node costs alone at a variant's precision, and what keeping it alone saves."""
    with _told(debug):
        _show_log(verbose=False)
        from parity.cli_repair import Asked, show_sensitivity

        asked = Asked(case, variant, tries, minutes, limit, not no_python, keep_precision, debug)
        raise typer.Exit(show_sensitivity(asked, out))


@app.command("export")
def _export(  # noqa: PLR0917 - typer reads one parameter for each option
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a saved run.")],
    polygraphy: Annotated[
        bool, typer.Option("--polygraphy", help="Write the JSON that polygraphy run takes; there is no other form yet.")
    ] = False,
    feed: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Which failing feed, if the run has several.")
    ] = None,
    case: Annotated[Path | None, typer.Option(metavar="CASE", help="Where the case is, if it has moved.")] = None,
    tensorrt_python: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="A Python that has TensorRT, as of parity run. Repeatable.")
    ] = None,
    no_python: Annotated[bool, typer.Option("--no-python", help="Refuse a case that brings code.")] = False,
    debug: _Debug = False,
) -> None:
    """Write a failing feed, and what both sides make of it, for another tool."""
    if not polygraphy:
        raise typer.BadParameter("say for which tool: --polygraphy")
    with _told(debug):
        _show_log(verbose=False)
        from parity.cli_interop import export_polygraphy
        from parity.runner import cache_folder
        from parity.runner.export import ExportSettings

        settings = ExportSettings(run, feed, case, tuple(tensorrt_python or ()), not no_python, cache_folder())
        typer.echo(str(export_polygraphy(settings)))


@_imports.command("trtexec")
def _import_trtexec(  # noqa: PLR0917 - typer reads one parameter for each option
    layers: Annotated[Path | None, typer.Option(metavar="FILE", help="What --exportLayerInfo wrote.")] = None,
    profile: Annotated[Path | None, typer.Option(metavar="FILE", help="What --exportProfile wrote.")] = None,
    times: Annotated[Path | None, typer.Option(metavar="FILE", help="What --exportTimes wrote.")] = None,
    case: Annotated[
        Path | None, typer.Option(metavar="CASE", help="Judge the layers' precision by this case; needs --layers.")
    ] = None,
    variant: Annotated[str | None, typer.Option(help="Which variant of the case the engine is.")] = None,
    by_time: Annotated[bool, typer.Option("--by-time", help="The slowest layer first.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write layers.csv, times.csv and census.csv there as well.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
    no_python: Annotated[bool, typer.Option("--no-python", help="Refuse a case that brings code.")] = False,
    debug: _Debug = False,
) -> None:
    """Join trtexec's layers, profile and times; with a case, judge the precision that its layers run at."""
    if not (layers or profile or times) or (case and not layers) or (variant and not case):
        raise typer.BadParameter("give a file of trtexec; --case needs --layers, and --variant needs --case")
    with _told(debug):
        from parity.cli_interop import TrtexecFiles, exit_code, import_trtexec
        from parity.report.measurements import measurements_json, print_measurements, write_measurements

        found = import_trtexec(TrtexecFiles(layers, profile, times, case, variant, not no_python))
        if as_json:
            typer.echo(measurements_json(found))
        else:
            print_measurements(found, sys.stdout, by_time=by_time)
        for file in write_measurements(found, out) if out else ():
            typer.echo(f"wrote {file}", err=True)
        raise typer.Exit(exit_code(found))


@app.command("latency")
def _latency(  # noqa: PLR0917 - as above
    case: _Case,
    variant: Annotated[
        list[str] | None, typer.Option(help="Measure this variant only: fp16, int8*, fp16@onnxruntime. Repeatable.")
    ] = None,
    backend: Annotated[
        list[BackendName] | None, typer.Option(help="What executes the variants: onnxruntime by default. Repeatable.")
    ] = None,
    tensorrt_python: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A Python that has TensorRT, or an execnet spec. Repeatable."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Read for at least so long, for each batch size.")] = 3.0,
    warm_up_ms: Annotated[float, typer.Option(min=0.0, help="Run for so long before the first reading.")] = 200.0,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Measure this batch size beside the case's. Repeatable.")
    ] = None,
    layers: Annotated[bool, typer.Option(help="Time the layers of engines, in another run.")] = True,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the run's folder is made.")] = Path("reports"),
    name: Annotated[str, typer.Option(help="The end of the folder's name.")] = "",
    no_python: _NoPython = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
    debug: _Debug = False,
) -> None:
    """Measure how long the variants of a case take, against its budgets.

    Exit codes: 0 every budget is kept, or there is none; 1 one is exceeded; 2 it could not be judged.
    """
    with _told(debug):
        _show_log(verbose=False)
        from parity.backends import TensorRTSettings
        from parity.cli_latency import measure_latency
        from parity.runner import JudgeSettings, RunSettings, cache_folder
        from parity.runner.latency_run import LatencySettings
        from parity.runner.latency_trial import LatencyProtocol

        settings = RunSettings(
            cases=(case,),
            variants=tuple(variant or ()),
            backends=_backend_names(backend, wants_tensorrt=bool(tensorrt_python)),
            tensorrt=TensorRTSettings(tuple(tensorrt_python or ()), cache_folder()),
            out=out,
            name=name,
            allow_python=not no_python,
            command=("parity", *sys.argv[1:]),
            judging=JudgeSettings(cache=cache_folder(), debug=debug),
        )
        protocol = LatencyProtocol(warm_up_ms, min_s=seconds, profiles_layers=layers)
        asked = LatencySettings(settings, protocol, tuple(batch or ()))
        raise typer.Exit(measure_latency(asked, _progress(), as_json=as_json))


@app.command("schema")
def _schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there instead.")] = None,
    debug: _Debug = False,
) -> None:
    """Print the JSON Schema of case.toml, for editors."""
    with _told(debug):
        import json

        from parity.case.schema import json_schema

        text = json.dumps(json_schema(), indent=2) + "\n"
        if out is None:
            typer.echo(text, nl=False)
            return
        from parity.report import write_text

        write_text(out, text)


@app.command("doctor")
def _doctor(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are to be saved.")] = Path("reports"),
    tensorrt_python: Annotated[
        list[str] | None,
        typer.Option(metavar="PYTHON", help="Ask the TensorRT of this interpreter: a path, or ssh=HOST. Repeatable."),
    ] = None,
    debug: _Debug = False,
) -> None:
    """Check that this machine can judge, and say which command mends it. Exit code 0 or 2."""
    with _told(debug):
        from parity.doctor import State, examine

        states = set()
        for finding in examine(out, tensorrt_python or ()):
            typer.echo(finding)
            states.add(finding.state)
        raise typer.Exit(COULD_NOT_JUDGE if State.BAD in states else 0)


@contextmanager
def _told(debug: bool) -> Iterator[None]:
    """Turn an error of the tree into its message and exit code 2; with ``debug``, into a traceback."""
    try:
        yield
    except ParityError as error:
        if debug:
            raise
        from parity.report.figures import printable

        typer.echo(f"parity: {printable(str(error))}", err=True)
        raise typer.Exit(COULD_NOT_JUDGE) from None
    except KeyboardInterrupt:
        typer.echo("parity: interrupted", err=True)
        raise typer.Exit(COULD_NOT_JUDGE) from None


def _backend_names(chosen: list[BackendName] | None, *, wants_tensorrt: bool) -> tuple[str, ...]:
    """Return what ``--backend`` names; who names an interpreter or an engine means TensorRT."""
    default = [BackendName.TENSORRT if wants_tensorrt else BackendName.ONNXRUNTIME]
    return tuple(dict.fromkeys(str(name) for name in chosen or default))


def _show_log(verbose: bool) -> None:
    import logging

    if verbose:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    else:
        # What a builder warns of stands in the report; without a handler Python would print it here as well.
        logging.getLogger("parity").addHandler(logging.NullHandler())


def _progress() -> Progress | None:
    if not sys.stderr.isatty():
        return None
    from parity.progress import ProgressBar

    return ProgressBar()
