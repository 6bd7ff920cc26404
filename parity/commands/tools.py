"""The commands around a judgement: repair, sensitivity, latency, and the ways from and to other tools.

What a command does stands in a module of its own, which is imported when the command is chosen.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import Annotated

import typer

from parity.commands.common import (
    REPORTS,
    AsJson,
    BackendName,
    Backends,
    Debug,
    HistoryFile,
    Limit,
    NoPython,
    OneCase,
    Out,
    RunName,
    TensorRTPythons,
    Variants,
    Verbose,
    backend_names,
    show_log,
    shown_progress,
    tell_run,
    told,
)

tools = typer.Typer(rich_markup_mode=None, add_completion=False)
"""Joined to ``parity`` itself, not a command of that name."""

_imports = typer.Typer(
    help="Read what other tools measured.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
tools.add_typer(_imports, name="import")


class KeepPrecisionName(StrEnum):
    """What ``--keep-precision`` takes."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


_Variant = Annotated[str, typer.Option(help="The variant, such as fp16.")]
_KeepPrecision = Annotated[
    KeepPrecisionName | None, typer.Option(help="What nodes are kept at; as the case file says, else fp32.")
]
_Tries = Annotated[int | None, typer.Option(min=1, help="End after so many tries.")]
_Minutes = Annotated[float | None, typer.Option(min=0.0, help="End after so many minutes.")]


@tools.command("repair")
def _repair(  # noqa: PLR0917 - typer reads one parameter for each option
    case: OneCase,
    variant: _Variant,
    backend: Annotated[
        BackendName | None, typer.Option(help="tensorrt confirms on an engine what the forecast found, and times it.")
    ] = None,
    tensorrt_python: TensorRTPythons = None,
    keep_precision: _KeepPrecision = None,
    tries: _Tries = 300,
    minutes: _Minutes = 30.0,
    limit: Limit = None,
    write: Annotated[bool, typer.Option("--write", help="Write the list into the case file.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the Pareto front there.")] = None,
    no_python: NoPython = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Find the fewest nodes to keep at a higher precision so that a variant passes.

    Exit codes: 0 repaired, or nothing to repair; 1 precision does not mend it; 2 it could not be tried.
    """
    with told(debug):
        show_log(verbose)
        from parity.commands.repair import Asked, repair_case

        [chosen] = backend_names([backend] if backend else None, wants_tensorrt=bool(tensorrt_python))
        asked = Asked(case, variant, tries, minutes, limit, not no_python, keep_precision, debug)
        raise typer.Exit(repair_case(asked, chosen, tuple(tensorrt_python or ()), out, writes=write))


@tools.command("sensitivity")
def _sensitivity(  # noqa: PLR0917 - as above
    case: OneCase,
    variant: _Variant,
    keep_precision: _KeepPrecision = None,
    tries: _Tries = None,
    minutes: _Minutes = 30.0,
    limit: Limit = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write every node there.")] = None,
    no_python: NoPython = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Show what each node costs alone at a variant's precision, and what keeping it alone saves."""
    with told(debug):
        show_log(verbose)
        from parity.commands.repair import Asked, show_sensitivity

        asked = Asked(case, variant, tries, minutes, limit, not no_python, keep_precision, debug)
        raise typer.Exit(show_sensitivity(asked, out))


@tools.command("export")
def _export(  # noqa: PLR0917 - typer reads one parameter for each option
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a saved run.")],
    polygraphy: Annotated[
        bool, typer.Option("--polygraphy", help="Write the JSON that polygraphy run takes; there is no other form yet.")
    ] = False,
    feed: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Which failing feed, if the run has several.")
    ] = None,
    case: Annotated[Path | None, typer.Option(metavar="CASE", help="Where the case is, if it has moved.")] = None,
    tensorrt_python: TensorRTPythons = None,
    no_python: NoPython = False,
    debug: Debug = False,
) -> None:
    """Write a failing feed, and what both sides make of it, for another tool."""
    if not polygraphy:
        raise typer.BadParameter("say for which tool: --polygraphy")
    with told(debug):
        show_log(verbose=False)
        from parity.commands.interop import export_polygraphy
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
    as_json: AsJson = False,
    no_python: NoPython = False,
    debug: Debug = False,
) -> None:
    """Join trtexec's layers, profile and times; with a case, judge the precision that its layers run at."""
    if not (layers or profile or times) or (case and not layers) or (variant and not case):
        raise typer.BadParameter("give a file of trtexec; --case needs --layers, and --variant needs --case")
    with told(debug):
        from parity.commands.interop import TrtexecFiles, exit_code, import_trtexec
        from parity.report.measurements import measurements_json, print_measurements, write_measurements

        found = import_trtexec(TrtexecFiles(layers, profile, times, case, variant, not no_python))
        if as_json:
            typer.echo(measurements_json(found))
        else:
            print_measurements(found, sys.stdout, by_time=by_time)
        for file in write_measurements(found, out) if out else ():
            typer.echo(f"wrote {file}", err=True)
        raise typer.Exit(exit_code(found))


@tools.command("latency")
def _latency(  # noqa: PLR0917 - as above
    case: OneCase,
    variant: Variants = None,
    backend: Backends = None,
    tensorrt_python: TensorRTPythons = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="Read for at least so long, for each batch size.")] = 3.0,
    warm_up_ms: Annotated[float, typer.Option(min=0.0, help="Run for so long before the first reading.")] = 200.0,
    batch: Annotated[
        list[int] | None, typer.Option(min=1, help="Measure this batch size beside the case's. Repeatable.")
    ] = None,
    cuda_graph: Annotated[
        bool | None, typer.Option(help="Launch a CUDA graph where one can be captured; as the case says by default.")
    ] = None,
    streams: Annotated[
        int | None, typer.Option(min=1, help="Run so many inferences at a time; as the case says by default.")
    ] = None,
    rebuilds: Annotated[
        int, typer.Option(min=0, help="Build so many engines anew, and tell how far they are apart.")
    ] = 0,
    layers: Annotated[bool, typer.Option(help="Time the layers of engines, in another run.")] = True,
    out: Out = REPORTS,
    name: RunName = "",
    history: HistoryFile = None,
    no_python: NoPython = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Measure how long the variants of a case take, against its budgets.

    Exit codes: 0 every budget is kept, or there is none; 1 one is exceeded; 2 it could not be judged.
    """
    with told(debug):
        show_log(verbose)
        from parity.backends import TensorRTSettings
        from parity.runner import JudgeSettings, RunSettings, SilentProgress, cache_folder
        from parity.runner.latency_run import LatencySettings, run_latency
        from parity.runner.settings import LatencyProtocol

        settings = RunSettings(
            cases=(case,),
            variants=tuple(variant or ()),
            backends=backend_names(backend, wants_tensorrt=bool(tensorrt_python)),
            tensorrt=TensorRTSettings(tuple(tensorrt_python or ()), cache_folder()),
            out=out,
            name=name,
            allow_python=not no_python,
            command=("parity", *sys.argv[1:]),
            judging=JudgeSettings(cache=cache_folder(), debug=debug),
        )
        protocol = LatencyProtocol(warm_up_ms, min_s=seconds, profiles_layers=layers, rebuilds=rebuilds)
        asked = LatencySettings(settings, protocol, tuple(batch or ()), cuda_graph, streams)
        run, folder = run_latency(asked, shown_progress() or SilentProgress())
        raise typer.Exit(tell_run(run, folder, as_json=as_json, history=history))


@tools.command("history")
def _history(  # noqa: PLR0917 - as above
    case: Annotated[str, typer.Argument(metavar="CASE", help="A case's name, folder or file.")],
    history: Annotated[
        Path, typer.Option("--history", metavar="FILE", help="The history that runs were appended to.")
    ] = REPORTS / "history.db",
    variant: Variants = None,
    figure: Annotated[list[str] | None, typer.Option(help="This figure only: median_ms, *sqnr_db. Repeatable.")] = None,
    last: Annotated[int, typer.Option(min=1, help="Look at the newest so many runs.")] = 200,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page there as well.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a case's figures over time, and the runs between which they stepped. Exit code 0 or 2."""
    with told(debug):
        from parity.commands.history import case_name, show_history
        from parity.history import Asked

        asked = Asked(case_name(case), tuple(variant or ()), tuple(figure or ()), last)
        show_history(history, asked, as_json=as_json, page=html)
