"""The documented example and tables are held against the schema."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from parity.case.mistakes import Mistakes, parse_table
from parity.case.schema import CaseTable, ToleranceTable, VariantTable, json_schema

PAGE = (Path(__file__).parents[2] / "docs" / "case-file.md").read_text(encoding="utf-8")


def test_the_example_is_a_valid_case_file() -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    mistakes = Mistakes()
    parse_table(CaseTable, tomllib.loads(example[1]), mistakes)
    assert mistakes.found == []


def test_every_key_is_documented() -> None:
    keys = {*CaseTable.model_fields, *VariantTable.model_fields, *ToleranceTable.model_fields} - {"decode", "latency"}
    steps = {
        table["properties"]["step"]["const"]
        for table in json_schema()["$defs"].values()
        if "step" in table.get("properties", {})
    }
    assert {key for key in keys | steps if not re.search(rf"\b{key}\b", PAGE)} == set()
