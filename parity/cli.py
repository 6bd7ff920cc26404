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
from parity.errors import BackendUnavailable, ParityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.results import Run

COULD_NOT_JUDGE = 2

app = typer.Typer(
    help="Proves that a TensorRT engine still computes what its ONNX model computes.",
    epilog="Exit codes: 0 everything agrees, 1 a disagreement was found, 2 something could not be judged.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class BackendName(StrEnum):
    """What ``--backend`` takes."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"


DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


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
    pass


@app.command("run")
def run_command(
    cases: Annotated[
        list[Path] | None, typer.Argument(metavar="[CASE]...", help="Case folders or files; without one, cases/.")
    ] = None,
    variant: Annotated[
        list[str] | None, typer.Option(help="Judge this variant only: fp16, int8*, fp16@onnxruntime. Repeatable.")
    ] = None,
    backend: Annotated[BackendName, typer.Option(help="What executes the variants.")] = BackendName.ONNXRUNTIME,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the run's folder is made.")] = Path("reports"),
    name: Annotated[str, typer.Option(help="The end of the folder's name.")] = "",
    feed: Annotated[Path | None, typer.Option(metavar="FILE.npz", help="Judge this saved feed alone.")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with an interrupted run.")] = None,
    no_python: Annotated[bool, typer.Option("--no-python", help="Run no Python function of a case.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what is logged.")] = False,
    debug: DebugOption = False,
) -> None:
    """Judge cases and leave a report."""
    with _told(debug):
        _require_available(backend)
        _log_to_stderr(verbose)
        if resume and (cases or variant or feed or name):
            raise typer.BadParameter("goes on with what the run was asked for; leave out CASE and the other options")
        settings = _settings(cases, variant, backend, out, name, feed, resume, no_python, debug)
        run, folder = _run(settings)
        _show(run, folder, as_json)
        raise typer.Exit(run.exit_code)
