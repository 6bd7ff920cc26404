"""The page on decoders is held against the registry and the settings."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, get_args

import pytest
from pydantic_core import PydanticUndefined

from parity.decode import FAMILIES, DecodeSettings, DetectionSettings, NmsSettings
from parity.decode.coordinates import ShareSettings
from parity.decode.dense import DenseSettings
from parity.decoded import Task
from tests.pages import ROOT, blocks, read, section, table

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

PAGE = read("docs/decoders.md")
SETTINGS = section(PAGE, "## Settings")
OWN = table(SETTINGS, "decoder")
DECODERS = table(PAGE, "decoder")
SHARED: dict[str, tuple[type[DecodeSettings], ...]] = {
    "Of every decoder:": (DecodeSettings,),
    "Of all that give boxes:": (DetectionSettings,),
    "whose boxes are thinned out here:": (NmsSettings, DenseSettings),
    "whose boxes are shares:": (ShareSettings,),
}
TESTED_WITH = {"layout", "formula", "published code", "exported graph"}


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def without_brackets(text: str) -> str:
    return re.sub(r" \([^)]*\)", "", text)


def bracketed(text: str, word: str) -> list[str]:
    """Return what stands in brackets behind a word, by commas."""
    found = re.search(rf"{word} \(([^)]*)\)", text)
    return found[1].split(", ") if found else []


def added(settings: type[DecodeSettings]) -> dict[str, FieldInfo]:
    """Return the settings that a table adds to those of its base."""
    base = next(base for base in settings.__mro__[1:] if hasattr(base, "model_fields"))
    return {name: info for name, info in settings.model_fields.items() if name not in {*base.model_fields, "name"}}


def own_settings() -> dict[tuple[str, str], FieldInfo]:
    return {
        (decoder, name): info for decoder, family in FAMILIES.items() for name, info in added(family.settings).items()
    }


def shown_default(info: FieldInfo) -> str | None:
    """Return the default as TOML has it; None where the page says in words what is taken."""
    value = info.get_default(call_default_factory=True)
    return None if value is None or value is PydanticUndefined or value in ([], {}) else f"`{json.dumps(value)}`"


def test_every_decoder_has_its_row_in_the_order_of_the_registry() -> None:
    assert [quoted(row[0]) for row in DECODERS] == [[name] for name in FAMILIES]


def test_what_a_decoder_gives_is_its_task() -> None:
    words = {
        Task.DETECTION: "boxes",
        Task.CLASSIFICATION: "a class",
        Task.LANES: "lanes",
        Task.SEGMENTATION: "labels of pixels",
    }
    for (name, family), row in zip(FAMILIES.items(), DECODERS, strict=True):
        assert words[family.settings.task] in row[1], name


def test_what_a_decoder_was_tested_with_is_said_in_known_words() -> None:
    assert all(row[3] and set(without_brackets(row[3]).split(", ")) <= TESTED_WITH for row in DECODERS)


def test_a_case_that_decodes_is_told_with_its_decoder_and_no_other() -> None:
    cases = {path.parent.name: tomllib.loads(path.read_text()) for path in (ROOT / "cases").glob("*/case.toml")}
    decoding = {name: case["decode"]["name"] for name, case in cases.items() if "decode" in case}
    told = {name: quoted(row[0])[0] for row in DECODERS for name in bracketed(row[3], "exported graph")}
    assert told.keys() <= cases.keys()
    assert decoding.items() <= told.items()


def test_every_setting_of_a_decoder_has_its_row_and_no_other() -> None:
    assert [(quoted(row[0])[0], quoted(row[1])[0]) for row in OWN] == list(own_settings())


@pytest.mark.parametrize("row", OWN, ids=lambda row: f"{row[0]}-{row[1]}")
def test_the_default_and_the_meaning_of_a_setting_are_told(row: list[str]) -> None:
    info = own_settings()[quoted(row[0])[0], quoted(row[1])[0]]
    shown = shown_default(info)
    assert row[2] == shown if shown else row[2] and "`" not in row[2]
    assert (row[2] == "to be set") == info.is_required()
    assert len(row[3]) > 10


@pytest.mark.parametrize("row", OWN, ids=lambda row: f"{row[0]}-{row[1]}")
def test_every_choice_of_a_setting_is_told(row: list[str]) -> None:
    info = own_settings()[quoted(row[0])[0], quoted(row[1])[0]]
    told = quoted(row[2]) + quoted(row[3])
    for choice in get_args(info.annotation):
        if isinstance(choice, str):
            assert json.dumps(choice) in told, choice


@pytest.mark.parametrize(("heading", "groups"), SHARED.items(), ids=list(SHARED))
def test_shared_settings_are_told_with_their_defaults(heading: str, groups: tuple[type[DecodeSettings], ...]) -> None:
    rows = table(SETTINGS.partition(heading)[2], "setting")
    known = {name: info for group in groups for name, info in added(group).items()}
    assert [quoted(row[0])[0] for row in rows] == list(known)
    for row, info in zip(rows, known.values(), strict=True):
        shown = shown_default(info)
        assert row[1] == shown if shown else row[1] and "`" not in row[1]


@pytest.mark.parametrize("heading", [heading for heading in SHARED if heading.startswith("whose")])
def test_shared_settings_name_the_decoders_that_have_them(heading: str) -> None:
    [line] = [line for line in SETTINGS.splitlines() if line.endswith(heading)]
    sharing = [name for name, family in FAMILIES.items() if issubclass(family.settings, SHARED[heading])]
    assert quoted(line) == sharing


def test_the_example_is_valid() -> None:
    [example] = blocks(PAGE, "toml")
    decode = tomllib.loads(example)["decode"]
    settings = FAMILIES[decode["name"]].settings.model_validate(decode)
    assert settings.outputs.keys() == {"detections", "keep_count"}
