"""``parity init``: from an ONNX model to a first case and a first verdict."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parity.commands.common import Debug, Verbose, show_log, shown_progress, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def init(  # noqa: PLR0917 - typer reads one parameter for each option
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX model.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder of images that the model is made for.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="COCO.json", help="What is in the images: a COCO file of instances.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=SIZES", help="Sizes of an input with open axes: images=1x3x640x640. Repeatable."),
    ] = None,
    case: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The case's folder; cases/ and the model's name.")
    ] = None,
    reports: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the first run's folder is made.")] = Path(
        "reports"
    ),
    no_run: Annotated[bool, typer.Option("--no-run", help="Write the case, and run nothing.")] = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Write a first case for a model, with a reason beside every guess, and run it.

    Exit codes: 0 the case is written, whatever the first run's verdict; 2 it is not, or nothing could be run.
    """
    if annotations is not None and images is None:
        raise typer.BadParameter("say what is in images; give --images too", param_hint="--annotations")
    with told(debug):
        show_log(verbose)
        from parity.starting.begin import Beginning, begin, parse_shapes
        from parity.starting.draft import Asked

        asked = Asked(model, images, annotations, parse_shapes(shape or ()))
        folder = case or Path("cases") / model.stem
        beginning = Beginning(asked, folder, None if no_run else reports, ("parity", *sys.argv[1:]))
        begin(beginning, _line, shown_progress(), sys.stdout)


@contextmanager
def _line() -> Iterator[Callable[[str], None]]:
    """Show one line on standard error that is written over, where somebody looks at it."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
