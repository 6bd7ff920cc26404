"""What ``parity history`` does, and how a finished run is appended behind its report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from parity.case import paths
from parity.errors import HistoryError
from parity.history import Asked, append_run, read_history

if TYPE_CHECKING:
    from parity.results import Run


def remember(run: Run, file: Path) -> bool:
    """Append a finished run to a history, and return whether that was possible; if not, it is told why.

    The run itself is saved by then, so that only the history lacks it.
    """
    from parity.report.figures import printable

    try:
        found = append_run(file, run)
    except HistoryError as error:
        typer.echo(f"parity: the run is saved, but not in the history: {printable(str(error))}", err=True)
        return False
    if found.set_aside is not None:
        typer.echo(f"parity: {file}: was damaged; it is {found.set_aside} now, and a new history has begun", err=True)
    return True


def show_history(file: Path, asked: Asked, *, as_json: bool, page: Path | None) -> None:
    """Print a case's history, and write its page where one is named.

    Raises
    ------
    HistoryError
        The file cannot be read, or has nothing of what is asked for.
    RunError
        The page cannot be written.
    """
    from parity.report.history import history_json, print_history

    history = read_history(file, asked)
    if page is not None:
        from parity.report import write_text
        from parity.report.history_page import history_html

        write_text(page, history_html(history))
    if as_json:
        typer.echo(history_json(history))
    else:
        print_history(history, sys.stdout)
        if page is not None:
            typer.echo(f"page: {page}")


def case_name(word: str) -> str:
    """Return the name of a case that is given by its name, its folder or its file."""
    path = Path(word)
    folder = path.parent if path.name == "case.toml" else path
    return paths.case_name(folder.resolve() if folder.exists() else folder)
