"""Commands in inline code and in tables of the documentation: run, with what has to be filled in filled in.

- An inline ``parity`` command is as good as run where a console block that is run has the same subcommand and all of
  its options. Any other that is whole, so without a placeholder such as CASE and with all that it needs, is run here,
  with ``--limit 1`` where it judges; and of those that are not whole, what ``FILLED`` makes of them. Those for a GPU
  are run by ``tests/gpu/test_docs_on_gpu.py``. A bare ``parity run`` in a sentence is a name, which has to exist.
- Inline ``pytest`` has its options read: it would start itself. ``ssh`` and shell lines are run by
  ``test_docs_held.py``, installs and scripts by their own tests; ``bash .ci/run`` is what runs all of them.
- Tools of Polygraphy that are named beside this project's have to exist, with their options.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from parity.cli import app
from tests.doc_commands import (
    FILLED,
    FILLED_ON_GPU,
    WITH_COMMANDS,
    copy_checkout,
    inline_commands,
    is_not_run,
    needs_gpu,
    read_options,
    run_in,
    simple_commands,
)
from tests.pages import PAGES, ROOT, Command, read, table
from tests.tiny_cases import IS_INSTALLED
from tests.warm_process import LIMIT_S

INLINE = list(dict.fromkeys(text for page in PAGES for text in inline_commands(page.read_text(encoding="utf-8"))))
RUN = [command.text for page in WITH_COMMANDS for command in simple_commands(page) if not is_not_run(command)]
COMMAND: Any = typer.main.get_command(app)
# Of typer's releases some bring click and some need it: this is the class in either.
USAGE_ERROR: Any = typer.BadParameter.__base__
# What a command is told that ends too early, by the names of its errors.
INCOMPLETE = {"MissingParameter", "BadOptionUsage", "NoArgsIsHelpError"}
MOST_MISSING = 5
COMPLETION = "parity --install-completion"
# Without what their blocks give them they do something else.
RUN_TOO = {"parity init model.onnx", "parity doctor"}
PLACEHOLDER = re.compile(r"\[?[A-Z]+(?:\.onnx|…)*\]?|…|cases/NAME")


def of(program: str) -> list[str]:
    return [text for text in INLINE if text.startswith(f"{program} ")]


def descend(words: list[str]) -> tuple[Any, str, list[str]]:
    """Return the command that words name, its name, and the words after it; an error if there is none of the name."""
    command = COMMAND
    for number, word in enumerate(words[1:], 1):
        if not isinstance(command, TyperGroup) or word.startswith("-"):
            return command, " ".join(words[1:number]), words[number:]
        command = command.commands[word]
    return command, " ".join(words[1:]), []


def missing_words(text: str) -> list[str]:
    """Return what a command lacks; an error if something in it does not exist or takes no such value."""
    command, name, given = descend([word for word in shlex.split(text) if word != "--help"])
    if isinstance(command, TyperGroup):
        # Reading the group's own options would do what they say.
        assert [
            word for word in given if word not in {option for param in command.params for option in param.opts}
        ] == []
        return []
    # A placeholder stands for a number as well.
    words = ["1" if PLACEHOLDER.fullmatch(word) else word for word in given]
    while len(words) < len(given) + MOST_MISSING:
        try:
            command.make_context(name, list(words))
        except USAGE_ERROR as wrong:
            if type(wrong).__name__ not in INCOMPLETE:
                raise
            lacks = getattr(wrong, "param", None)
            words += [*(lacks.opts[:1] if lacks and lacks.param_type_name == "option" else ()), "1"]
        else:
            break
    return words[len(given) :]


def options_of(text: str) -> tuple[str, set[str]]:
    _, name, _ = descend(shlex.split(text))
    return name, {word.partition("=")[0] for word in shlex.split(text) if word.startswith("-")}


def is_covered(text: str) -> bool:
    """Tell whether a block that is run has the same subcommand and options."""
    name, options = options_of(text)
    blocks = (options_of(command) for command in RUN if command.startswith("parity "))
    return any(name == other and options <= more for other, more in blocks)


def is_whole(text: str) -> bool:
    """Tell whether nothing has to be filled in: no placeholder, no option without its value, no missing argument."""
    words = shlex.split(text)
    return not (words[1].startswith("-") or any(map(PLACEHOLDER.fullmatch, words))) and not missing_words(text)


WHOLE = [
    text
    for text in of("parity")
    if is_whole(text) and not needs_gpu(Command(text, "")) and (text in RUN_TOO or not is_covered(text))
]


@pytest.mark.parametrize("text", of("parity"))
def test_the_subcommand_the_options_and_their_values_exist(text: str) -> None:
    missing_words(text)


@pytest.mark.parametrize("wrong", ["parity ran", "parity run --variants V", "parity run --backend tensorflow CASE"])
def test_what_does_not_exist_is_told(wrong: str) -> None:
    with pytest.raises((KeyError, USAGE_ERROR), match=r"ran|--variants|tensorflow"):
        missing_words(wrong)


def test_commands_are_told_apart_from_those_with_something_to_fill_in() -> None:
    assert is_whole("parity run cases/lanes")
    assert is_whole("parity schema")
    for text in ("parity layers CASE", "parity layers", "parity run --engine", "parity report RUN --github"):
        assert not is_whole(text)
    assert is_covered("parity history shapes_yolo --variant fp16")
    assert not is_covered("parity history shapes_yolo --limit 3")


def test_whole_inline_commands_are_run(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path, 2)
    assert run_in(checkout, "python -m tests.planted_case reports/hot", tmp_path / "cache").returncode == 0
    (tmp_path / "model.onnx").write_bytes((tmp_path / "reports/hot/model.onnx").read_bytes())
    (tmp_path / "docs").mkdir()
    assert {*RUN_TOO, "parity schema"} <= set(WHOLE)
    for text in WHOLE:
        judged = text.startswith("parity run") and "--help" not in text
        done = run_in(checkout, f"{text} --variant fp32 --limit 1" if judged else text, tmp_path / "cache")
        # What the machine has not is no fault of the page.
        assert done.returncode in ({0, 2} if text == "parity doctor" else {0}), f"$ {text}\n{done.stdout}"
        assert "Traceback" not in done.stdout
    assert (tmp_path / "docs/case-reference.md").read_text(encoding="utf-8") == read("docs/case-reference.md")


def test_every_other_inline_command_is_filled_in_and_run() -> None:
    rest = [text for text in of("parity") if text not in WHOLE and not is_covered(text)]
    assert sorted(rest) == sorted([COMPLETION, *FILLED, *FILLED_ON_GPU])
    for text, filled in {**FILLED, **FILLED_ON_GPU}.items():
        (name, options), (filled_name, more) = options_of(text), options_of(filled)
        assert (name, options - more) == (filled_name, set())


def test_inline_commands_that_are_filled_in_are_run(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path, 2)
    cache = tmp_path / "cache"
    kept = run_in(checkout, "parity run cases/shapes_classifier --variant fp32 --limit 1 --name kept", cache)
    assert kept.returncode == 0, kept.stdout
    for text in FILLED.values():
        done = run_in(checkout, text, cache)
        assert done.returncode == 0, f"$ {text}\n{done.stdout}"
        assert "Traceback" not in done.stdout
    assert (tmp_path / "history.db").is_file()


@pytest.mark.skipif(not IS_INSTALLED, reason="the program of the shell's PATH is installed with the package")
def test_the_completion_that_is_installed_completes_commands_and_options(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    told = "COMP_WORDS=(parity {words}) COMP_CWORD={number}; _parity_completion parity; echo ${{COMPREPLY[@]}}"
    # The shell is found among the parents of the process: a last command would take its place.
    lines = [
        f"{COMPLETION}; . ~/.bashrc",
        told.format(words="lat", number=1),
        told.format(words="run --resu", number=2),
    ]
    done = subprocess.run(
        ["bash", "--norc", "-c", "; ".join(lines)],
        env={"HOME": str(tmp_path), "PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_S,
    )
    assert done.stdout.splitlines()[-2:] == ["latency", "--resume"], done


@pytest.mark.parametrize("text", of("pytest"))
def test_an_inline_pytest_has_options_that_exist(text: str) -> None:
    words = shlex.split(text)
    read_options(words)
    known = {word for command in RUN if command.startswith("pytest") for word in shlex.split(command)}
    assert all(word in known for word in words if word.startswith("-"))
    assert all((ROOT / word).exists() for word in words if "/" in word)


# It reads entry points in a way that Python has given up.
READS_ENTRY_POINTS = pytest.mark.filterwarnings("ignore:SelectableGroups:DeprecationWarning")


def polygraphy_error(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    from polygraphy.tools import main

    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, " ".join(capsys.readouterr())


def tools_of_polygraphy() -> list[str]:
    """Return what the table for those who come from Polygraphy names: its tools, with options."""
    named = [row[0].strip("`") for row in table(read("docs/how-to.md"), "Polygraphy's")]
    return [f"polygraphy {text}" for text in named if not text.startswith("-")]


@READS_ENTRY_POINTS
@pytest.mark.parametrize("text", [*of("polygraphy"), *tools_of_polygraphy()])
def test_polygraphys_own_parser_knows_an_inline_command(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, usage = polygraphy_error([*shlex.split(text), "--help"], monkeypatch, capsys)
    assert code == 0
    assert [word for word in shlex.split(text) if word.startswith("--") and word not in usage] == []


@READS_ENTRY_POINTS
def test_a_tool_that_polygraphy_does_not_have_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert polygraphy_error(["polygraphy", "judge", "--help"], monkeypatch, capsys)[0] == 2


def test_every_inline_command_is_of_a_program_that_is_held() -> None:
    held_here = ("parity", "pytest", "polygraphy")
    held_elsewhere = ("python3 -m venv", "source ", "pip install", "python ", "ssh ", "export ")
    rest = [text for text in INLINE if text.partition(" ")[0] not in held_here and not text.startswith(held_elsewhere)]
    assert rest == ["bash .ci/run"]
    assert (ROOT / ".ci/run").is_file()
