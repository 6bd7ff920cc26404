"""The entry of the command line: ``parity`` and ``python -m parity``."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import NoReturn

_COULD_NOT_JUDGE = 2
_COMPLETION = "--install-completion"
_TYPERS_INTERRUPT = 130


def main() -> None:
    """Run the command line and leave with its exit code: 0 agreement, 1 disagreement, 2 could not judge."""
    _print_whatever_comes()
    try:
        from parity.cli import app

        app(prog_name="parity")
    except KeyboardInterrupt:
        _leave("interrupted")
    except SystemExit as left:
        # Ctrl-C between two commands of ours is told by typer, without a word.
        if left.code == _TYPERS_INTERRUPT:
            _leave("interrupted")
        raise
    except Exception as error:  # noqa: BLE001 - Python would leave with 1, and 1 means that a disagreement was found
        if isinstance(error, OSError) and _COMPLETION in sys.argv:
            _leave(f"{error}; {_COMPLETION} writes it: let it be written, or paste what --show-completion prints")
        if isinstance(error, UnicodeEncodeError):
            from parity.environment import naming_advice

            if advice := naming_advice():
                _leave(f"{error}; {advice}")
        import traceback

        traceback.print_exc()
        _leave("stopped by a defect of its own, shown above; nothing was judged after it")


def _print_whatever_comes() -> None:
    """Spell out what a terminal has no signs for: a name or a frame of a table must not cost a run its verdict."""
    for stream in (sys.stdout, sys.stderr):
        # Without a terminal, or in a test, there may be none or another kind.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave(told: str) -> NoReturn:
    sys.stderr.write(f"parity: {told}\n")
    sys.exit(_COULD_NOT_JUDGE)


if __name__ == "__main__":
    main()
