"""The page on engine options is held against the options, the case file, the worker and trtexec's own flags."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from enum import StrEnum
from typing import get_args, get_origin

import pytest

from parity.build_options import BuildOptions, LoadOptions
from parity.case.mistakes import Mistakes, parse_table
from parity.case.schema import CaseTable
from parity.case.schema_build import BuildTable, LoadTable
from parity.tolerance import Precision
from parity.worker.errors import PrecisionMissing
from parity.worker.precision import require_precision
from tests.fake_tensorrt import fake_tensorrt
from tests.pages import ROOT, blocks, read, section, table

PAGE = read("docs/engine-options.md")
FLAGS: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "tests/data/trtexec-flags.toml").read_text())
BUILD = table(section(PAGE, "## [variants.NAME.build]"), "key")
LOAD = table(section(PAGE, "## [variants.NAME.load]"), "key")


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def flag_rows(group: str) -> dict[str, list[str]]:
    rows = table(section(PAGE, f"### {group.capitalize()}"), "flag")
    assert len({row[0] for row in rows}) == len(rows), "a flag stands there twice"
    return {row[0].strip("`"): row[1:] for row in rows}


@pytest.mark.parametrize(("group", "flags"), FLAGS.items(), ids=list(FLAGS))
def test_every_flag_of_trtexec_has_its_row_and_its_releases(group: str, flags: dict[str, list[str]]) -> None:
    spans = {name: " to ".join(dict.fromkeys((held[0], held[-1]))) for name, held in flags.items()}
    assert {name: row[0] for name, row in flag_rows(group).items()} == spans


def test_every_flag_has_an_option_or_the_reason_why_not() -> None:
    known = {f"build.{field.name}" for field in fields(BuildOptions)} | {f"load.{f.name}" for f in fields(LoadOptions)}
    answers = {flag: here for group in FLAGS for flag, (_, here) in flag_rows(group).items()}
    for flag, here in answers.items():
        options = {name for text in quoted(here) for name in re.findall(r"\b(?:build|load)\.[a-z0-9_]+", text)}
        assert options <= known, f"{flag} names an option that does not exist"
        reference = re.fullmatch(r"as `(--\w+)`", here)
        assert reference is None or not answers[reference[1]].startswith("as "), f"{flag} leads to no answer"
        assert len(here) > 8, f"{flag} has neither an option nor a reason"


def test_flags_of_each_release_are_known() -> None:
    releases = {release for flags in FLAGS.values() for held in flags.values() for release in held}
    assert releases == {"8.6", "10.0", "10.14", "11.1"}
    # What left and what came with 11, as a sample of the list itself.
    assert FLAGS["build"]["--fp16"][-1] == "10.14"
    assert FLAGS["tuning"]["--setBuildRoute"] == ["11.1"]


def test_the_tables_have_every_key_and_no_other() -> None:
    assert [key for row in BUILD for key in quoted(row[0])] == list(BuildTable.model_fields)
    assert {key for row in LOAD for key in quoted(row[0])} == set(LoadTable.model_fields)


def test_a_key_of_the_case_file_has_the_name_of_the_option_that_it_fills() -> None:
    assert set(BuildTable.model_fields) | {"plugins", "load"} == {field.name for field in fields(BuildOptions)}
    assert set(LoadTable.model_fields) == {field.name for field in fields(LoadOptions)}


def test_of_every_option_it_is_said_whether_it_ever_ran() -> None:
    rows = table(section(PAGE, "## What has run"), "options")
    told = [name for row in rows for name in quoted(row[0]) if name.startswith(("build.", "load."))]
    wanted = [f"build.{name}" for name in BuildTable.model_fields] + [f"load.{name}" for name in LoadTable.model_fields]
    assert set(told) == set(wanted)
    # Whose values fared differently.
    several = {"memory_pool_mib", "timing_cache", "refit", "layer_devices", "hardware_compatibility"}
    assert {name for name in told if told.count(name) > 1} == {f"build.{name}" for name in several}


def enum_of(annotation: object) -> type[StrEnum] | None:
    parts = [annotation, *(part for part in get_args(annotation) if get_origin(annotation) is not list)]
    found = [part for item in parts for part in (item, *get_args(item)) if isinstance(part, type)]
    return next((part for part in found if issubclass(part, StrEnum)), None)


@pytest.mark.parametrize(("rows", "model"), [(BUILD, BuildTable), (LOAD, LoadTable)], ids=["build", "load"])
def test_the_tables_have_the_values_of_every_choice(rows: list[list[str]], model: type[BuildTable | LoadTable]) -> None:
    values = {key: quoted(row[1]) for row in rows for key in quoted(row[0])}
    for key, info in model.model_fields.items():
        choice = enum_of(info.annotation)
        if choice is not None and choice.__name__ not in {"Precision", "Device"}:
            assert values[key] == [str(member) for member in choice], key


def test_what_is_off_or_on_if_left_out_is_what_the_options_have() -> None:
    parsed, options = BuildTable(), BuildOptions()
    for name in BuildTable.model_fields:
        default = getattr(parsed, name)
        same = getattr(options, name)
        assert default == same or (not default and not same) or name == "memory_pool_mib", name


def test_the_example_is_valid_beside_a_case() -> None:
    [example] = blocks(PAGE, "toml")
    case = {"model": "model.onnx", "inputs": {"kind": "random", "seed": 1, "count": 1}, **tomllib.loads(example)}
    mistakes = Mistakes()
    parse_table(CaseTable, case, mistakes)
    assert mistakes.found == []


def test_the_table_of_precisions_is_what_the_worker_holds_to() -> None:
    rows = table(section(PAGE, "## Precisions"), "precision")
    assert [row[0].strip("`") for row in rows] == list(Precision)
    old, new = (fake_tensorrt(release) for release in ("8.6.0", "10.16.1.11"))
    for name, releases, lowest in rows:
        precision, capability = name.strip("`"), "9.0" if lowest == "all" else lowest
        require_precision(new, new.Builder(None), precision, "strong", capability)
        if lowest != "all":
            with pytest.raises(PrecisionMissing):
                require_precision(new, new.Builder(None), precision, "strong", str(round(float(lowest) - 0.1, 1)))
        if releases.startswith("all"):
            require_precision(old, old.Builder(None), precision, "strong", "9.0")
        else:
            with pytest.raises(PrecisionMissing, match=releases):
                require_precision(old, old.Builder(None), precision, "strong", "9.0")
