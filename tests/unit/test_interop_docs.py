"""The page on other tools is held against the command line and the schema; its commands run in tests/cli."""

from __future__ import annotations

import re
import tomllib

import typer.main

from parity.case.mistakes import Mistakes, parse_table
from parity.case.schema import CaseTable
from parity.cli import app
from parity.report.measurements import CENSUS_COLUMNS, LAYERS_COLUMNS, TIMES_COLUMNS
from tests.pages import blocks, read, section, table

PAGE = read("docs/interop.md")


def documented(heading: str) -> set[str]:
    return {name for row in table(section(PAGE, heading), "option") for name in re.findall(r"`(--[a-z-]+)`", row[0])}


def options(*words: str) -> set[str]:
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    return {max(option.opts, key=len) for option in command.params if option.param_type_name == "option"} - {"--help"}


def test_the_page_has_every_option_of_export() -> None:
    assert documented("## A failing feed for Polygraphy") == options("export")


def test_the_page_has_every_option_of_import() -> None:
    assert documented("## What trtexec measured") == options("import", "trtexec")


def test_the_pages_case_file_is_valid() -> None:
    [example] = blocks(PAGE, "toml")
    mistakes = Mistakes()
    parse_table(CaseTable, tomllib.loads(example), mistakes)
    assert mistakes.found == []


def test_the_page_has_every_column_of_the_files() -> None:
    columns = {*LAYERS_COLUMNS, *TIMES_COLUMNS, *CENSUS_COLUMNS}
    assert {name for name in columns if f"`{name}`" not in PAGE} == set()
