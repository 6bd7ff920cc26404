"""The entry of the command line: an exit code that means it, and no traceback for what is no defect."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from parity import __main__, cli

if TYPE_CHECKING:
    from collections.abc import Callable

    Leave = Callable[[BaseException, list[str]], str]


@pytest.fixture
def leave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Leave:
    """Return a function that calls the entry with a command line that raises, and returns what it tells."""

    def told(error: BaseException, arguments: list[str]) -> str:
        def app(**_: object) -> None:
            raise error

        monkeypatch.setattr(cli, "app", app)
        monkeypatch.setattr(sys, "argv", ["parity", *arguments])
        with pytest.raises(SystemExit) as left:
            __main__.main()
        assert left.value.code == 2
        return capsys.readouterr().err

    return told


# Typer turns Ctrl-C before a command of ours into 130.
@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(130)])
def test_ctrl_c_outside_of_a_command_is_told_in_a_word(error: BaseException, leave: Leave) -> None:
    assert leave(error, ["run"]) == "parity: interrupted\n"


def test_a_completion_that_cannot_be_installed_is_told_with_the_way_out(leave: Leave) -> None:
    error = OSError(30, "Read-only file system", "/home/me/.bashrc")
    told = leave(error, ["--install-completion", "bash"])
    assert "Traceback" not in told
    assert "'/home/me/.bashrc'" in told
    assert "--show-completion" in told


def test_a_defect_shows_where_it_is_and_is_no_disagreement(leave: Leave) -> None:
    told = leave(OSError(30, "Read-only file system", "/x"), ["run"])
    assert "Traceback" in told
    assert told.endswith("nothing was judged after it\n")


@pytest.mark.parametrize("code", [0, 1])
def test_a_commands_own_exit_code_is_left_alone(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda **_: sys.exit(code))
    with pytest.raises(SystemExit) as left:
        __main__.main()
    assert left.value.code == code
