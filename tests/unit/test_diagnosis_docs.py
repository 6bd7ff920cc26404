"""The table of causes names every rule's cause, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from parity.diagnose.registry import RULES

_PAGE = Path(__file__).parents[2] / "docs" / "diagnosis.md"
_ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (.+) \| (.+) \| (.+) \|$", re.MULTILINE)


def test_every_rule_has_a_row_with_symptom_probe_and_remedy() -> None:
    rows = _ROW.findall(_PAGE.read_text(encoding="utf-8"))
    assert sorted(cause for cause, *_ in rows) == sorted(map(_cause, RULES))
    assert all(cell.strip() for _, *cells in rows for cell in cells)


def _cause(rule: object) -> str:
    """Return a rule's cause, which is its file's name."""
    return rule.__module__.rpartition(".")[2].replace("_", "-")


def test_every_rule_is_in_the_registry_and_is_called_as_its_file() -> None:
    folder = Path(__file__).parents[2] / "parity" / "diagnose" / "rules"
    files = {file.stem.replace("_", "-") for file in folder.glob("*.py") if file.stem != "__init__"}
    assert files == set(map(_cause, RULES))
