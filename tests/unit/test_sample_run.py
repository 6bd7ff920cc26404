"""The committed sample run: readable by this version, rendered by it, and free of any machine's paths."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from parity.report import render
from parity.results import load_run
from parity.verdict import Verdict
from tests.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLES = ROOT / "reports" / "samples"
[SAMPLE] = SAMPLES.iterdir()
FILES = [path for path in SAMPLES.rglob("*") if path.is_file()]
RENDERED = ("outputs.csv", "summary.md", "report.html")

_ROOTS = re.compile(r"(?:/(?:home|root|tmp|work|opt|usr|var|mnt|Users|private)/|[A-Za-z]:\\|file:)")


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from (key, *strings(item))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def test_the_sample_holds_both_cases_and_a_failure_with_its_feed() -> None:
    run = load_run(SAMPLE)
    [failure] = [outcome for outcome in run.outcomes if outcome.verdict is not Verdict.PASS]
    assert {record.name for record in run.cases} == {"shapes_classifier", "shapes_yolo", "hot_classifier"}
    assert (failure.case, failure.precision, failure.verdict) == ("hot_classifier", "fp16", Verdict.FAIL)
    assert (SAMPLE / str(failure.failing_feed)).is_file()
    assert run.is_complete


@pytest.mark.parametrize("name", RENDERED)
def test_this_version_renders_the_sample_as_it_is_committed(name: str, tmp_path: Path) -> None:
    shutil.copyfile(SAMPLE / "run.json", tmp_path / "run.json")
    render(tmp_path)
    assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes(), "run `parity report` on the sample"


def test_the_sample_names_no_path_of_a_machine() -> None:
    words = " ".join(strings(json.loads((SAMPLE / "run.json").read_text(encoding="utf-8")))).split()
    assert [word for word in words if re.match(r"[\"'(=]*(?:/\w|~/|\w:\\)", word)] == []
    for file in FILES:
        assert _ROOTS.search(file.read_text(encoding="utf-8", errors="replace")) is None, file.name


def test_the_sample_is_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < 300_000
