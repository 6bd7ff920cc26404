"""The page on first cases is held against the code."""

from __future__ import annotations

import math
import re

import typer.main

from parity.cli import app
from parity.starting import first_run, photos, proposals, ranking
from parity.starting.draft import BELIEVED
from parity.starting.recipes import ORDERS, PLACEMENTS, VALUES
from tests.pages import read, table

PAGE = " ".join(read("docs/first-case.md").split())
NUMBERS = {2: "two", 4: "four", 5: "five"}


def test_the_page_has_every_option_of_parity_init() -> None:
    command = typer.main.get_command(app).commands["init"]  # type: ignore[attr-defined]
    known = {max(option.opts, key=len) for option in command.params if option.param_type_name == "option"}
    rows = table(read("docs/first-case.md"), "option")
    assert {match[0] for row in rows if (match := re.search(r"--[a-z-]+", row[0]))} == known - {"--help"}


def test_the_page_has_the_numbers_of_the_code() -> None:
    assert f"at most {photos.MOST_CALIBRATING}; at most {photos.MOST_JUDGED} of the others" in PAGE
    assert f"{NUMBERS[len(VALUES)]} ranges of values, {NUMBERS[len(ORDERS)]} orders of channels" in PAGE
    assert f"{NUMBERS[len(PLACEMENTS)]} placements, on at most {ranking.MOST_IMAGES} images" in PAGE
    assert f"in about {ranking._SECONDS:.0f} seconds" in PAGE
    assert f"as some {first_run._SECONDS:.0f} seconds allow" in PAGE
    assert f"A decoder under {BELIEVED:.0%}".replace("%", " %") in PAGE


def test_the_page_has_the_formula_of_the_code() -> None:
    assert proposals._HEADROOM == math.sqrt(10) == 10 ** (proposals.HEADROOM_DB / 20)
    assert f"√10 is {proposals.HEADROOM_DB:.0f} dB" in PAGE
    assert "one element in 10 000" in PAGE
    assert proposals._FEW == 1e-4
    assert "√10 times five standard deviations" in PAGE
    assert proposals._DEVIATIONS == 5
