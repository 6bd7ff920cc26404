"""Every command of the documentation's console blocks is run, and prints what the page says, but for the digits.

What stands in ``NOT_RUN`` is held by ``test_docs_held.py``, inline code and tables by ``test_docs_inline.py``, and what
needs a GPU by ``tests/gpu/test_docs_on_gpu.py``; of all of these the options are read here.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import pytest

from tests.doc_commands import (
    NEEDS_GPU,
    NOT_RUN,
    WITH_COMMANDS,
    copy_checkout,
    is_not_run,
    needs_gpu,
    read_options,
    run_in,
    simple_commands,
    split_words,
    without_digits,
)
from tests.pages import ROOT, Command
from tests.planted_case import write_planted_case

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

# What a command ends with, by a part of it, where that is not 0.
EXIT_CODES = {
    "parity run reports/hot_classifier": 1,
    "pytest reports/hot_classifier": 1,
    "parity layers reports/hot_classifier": 1,
    "parity report reports/samples/": 1,
    "polygraphy run --load-outputs": 1,
    "parity compare": 1,
    "int9": 2,
    "parity run tests/data/recorded_case": 2,
}


def expected_code(command: Command) -> int:
    return next((code for part, code in EXIT_CODES.items() if part in command.text), 0)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what the pages' commands read; the classifier judges fewer images."""
    return copy_checkout(tmp_path, 8)


def run(command: Command, checkout: Path) -> subprocess.CompletedProcess[str]:
    return run_in(checkout, command.text, checkout / "cache")


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_of_a_page_do_what_it_says(page: Path, checkout: Path) -> None:
    for command in simple_commands(page):
        if is_not_run(command) or needs_gpu(command):
            continue
        done = run(command, checkout)
        assert done.returncode == expected_code(command), f"$ {command.text}\n{done.stdout}"
        if command.output.strip():
            assert without_digits(done.stdout) == without_digits(command.output), command.text


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_commands_that_are_not_run_here_have_options_that_exist(page: Path) -> None:
    for command in simple_commands(page):
        _, words = split_words(command.text)
        if (is_not_run(command) or needs_gpu(command)) and words[0] in {"parity", "pytest"}:
            read_options(words)


def test_outputs_are_told_apart_by_words_and_not_by_digits_or_line_breaks() -> None:
    assert without_digits("1 fail, 2 pass in 0.5s") == without_digits("3 fail,\n4 pass in 1e-3s")
    assert without_digits("1 fail, 2 pass") != without_digits("1 error, 2 pass")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("parity run --backend tensorflow", "tensorflow"),
        ("parity doctor --engine x", "--engine"),
        ("pytest --parity-nosuch", "--parity-nosuch"),
        ("pytest --parity-backend tensorflow", "tensorflow"),
    ],
)
def test_an_option_that_does_not_exist_is_found(text: str, wrong: str) -> None:
    # Of typer's releases some bring click and some need it: their errors have no class in common.
    with pytest.raises(Exception, match=wrong):
        read_options(shlex.split(text))


def test_no_reason_to_skip_has_outlived_its_command() -> None:
    known = [command for page in WITH_COMMANDS for command in simple_commands(page)]
    patterns = (*NOT_RUN, *NEEDS_GPU)
    assert [pattern for pattern in patterns if not any(re.match(pattern, command.text) for command in known)] == []


def test_keeping_the_planted_nodes_at_float32_mends_the_readmes_failure(tmp_path: Path) -> None:
    case_file = write_planted_case(tmp_path / "case") / "case.toml"
    text = case_file.read_text(encoding="utf-8")
    fp16 = 'precision = "fp16"\n'
    case_file.write_text(text.replace(fp16, f'{fp16}keep = ["planted_*"]\n'), encoding="utf-8")
    assert run(Command("parity run case --variant fp16 --limit 8", ""), tmp_path).returncode == 0
