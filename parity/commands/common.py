"""What the commands share: options, errors as sentences, progress.

Nothing of the package is loaded before a command is chosen, so that ``parity --help`` answers at once.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parity.errors import ParityError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from parity.report import LayerView
    from parity.results import Run
    from parity.runner import OpenRun, Progress
    from parity.runner.baseline_run import UpdateSettings

COULD_NOT_JUDGE = 2


class BackendName(StrEnum):
    """What ``--backend`` takes."""

    ONNXRUNTIME = "onnxruntime"
    TENSORRT = "tensorrt"
    ONNXRUNTIME_CUDA = "onnxruntime-cuda"
    ONNXRUNTIME_TENSORRT = "onnxruntime-tensorrt"


class BaselineChoice(StrEnum):
    """What ``--baseline`` takes."""

    CHECK = "check"
    UPDATE = "update"
    OFF = "off"


OneCase = Annotated[Path, typer.Argument(metavar="CASE", help="A case folder or file.")]
Variants = Annotated[
    list[str] | None, typer.Option("--variant", help="This variant only: fp16, int8*, fp16@onnxruntime. Repeatable.")
]
Backends = Annotated[
    list[BackendName] | None,
    typer.Option("--backend", help="What executes the variants: onnxruntime by default. Repeatable."),
]
TensorRTPythons = Annotated[
    list[str] | None,
    typer.Option("--tensorrt-python", metavar="PATH", help="A Python with TensorRT, or an execnet spec. Repeatable."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Look at the first so many feeds only.")]
SavedFeed = Annotated[Path | None, typer.Option("--feed", metavar="FILE.npz", help="Judge this saved feed alone.")]
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the run's folder is made.")]
RunName = Annotated[str, typer.Option("--name", help="The end of the folder's name.")]
NoPython = Annotated[
    bool, typer.Option("--no-python", help="Refuse cases with Python functions, engines, plugins or lean runtimes.")
]
HistoryFile = Annotated[
    Path | None, typer.Option("--history", metavar="FILE", help="Append the finished run to this history.")
]
NoDiagnosis = Annotated[bool, typer.Option("--no-diagnosis", help="Do not look for the causes of failures.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show what is logged, of builders too.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

REPORTS = Path("reports")
"""Where runs are saved if nothing else is asked for."""


@contextmanager
def told(debug: bool) -> Iterator[None]:
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


def backend_names(chosen: list[BackendName] | None, *, wants_tensorrt: bool) -> tuple[str, ...]:
    """Return what ``--backend`` names; who names an interpreter or an engine means TensorRT."""
    default = [BackendName.TENSORRT if wants_tensorrt else BackendName.ONNXRUNTIME]
    return tuple(dict.fromkeys(str(name) for name in chosen or default))


def show_log(verbose: bool) -> None:
    """Show what is logged, or keep it quiet."""
    import logging

    if verbose:
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    else:
        # What a builder warns of stands in the report; without a handler Python would print it here as well.
        logging.getLogger("parity").addHandler(logging.NullHandler())


def shown_progress() -> Progress | None:
    """Return a bar where a person looks on; None else."""
    if not sys.stderr.isatty():
        return None
    from parity.progress import ProgressBar

    return ProgressBar()


def judge_all(opened: OpenRun, *, is_resumable: bool = True) -> None:
    """Judge what an open run has to judge; after Ctrl-C the report of what was judged is left.

    Raises
    ------
    ParityError
        It was interrupted; the message has the command that goes on.
    """
    try:
        opened.judge_all(shown_progress())
    except KeyboardInterrupt:
        from shlex import quote

        from parity.report import render

        folder = opened.folder.path
        render(folder)
        raise ParityError(
            f"interrupted; {len(opened.run.outcomes)} outcomes are saved; "
            + (f"go on with: parity run --resume {quote(str(folder))}" if is_resumable else "run the command again")
        ) from None


def tell_run(
    run: Run, folder: Path, *, as_json: bool, view: LayerView | None = None, history: Path | None = None
) -> int:
    """Render a saved run, tell what was found, append it to a history, and return the exit code.

    Parameters
    ----------
    view
        Which rows of layer reports are shown.
    history
        The file; a run that cannot be appended there gives exit code 2.

    Raises
    ------
    RunError
        The report cannot be written.
    """
    from parity.report import LayerView, print_run, render, summary_json

    *_, page = render(folder)
    if as_json:
        typer.echo(summary_json(run, folder))
    else:
        print_run(run, page, sys.stdout, view or LayerView())
    if history is None:
        return run.exit_code
    from parity.commands.history import remember

    return run.exit_code if remember(run, history) else COULD_NOT_JUDGE


def conclude_with_baselines(
    opened: OpenRun, choice: BaselineChoice, update: UpdateSettings | None = None, seconds: float | None = None
) -> None:
    """Compare a run that has ended its workers with what was accepted, or accept it.

    Parameters
    ----------
    seconds
        How long latency is read, for each batch size; as ``parity latency`` if None.

    Raises
    ------
    ParityError
        The run cannot be saved.
    """
    from parity.runner.baseline_judge import BaselineMode
    from parity.runner.baseline_latency import BaselineLatency
    from parity.runner.baseline_run import UpdateSettings, add_baselines
    from parity.runner.settings import LatencyProtocol

    protocol = LatencyProtocol() if seconds is None else LatencyProtocol(min_s=seconds)
    latency = BaselineLatency(opened.asked, protocol, shown_progress())
    add_baselines(opened, BaselineMode(choice), latency, update or UpdateSettings())
