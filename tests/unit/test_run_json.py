"""A run as JSON: whatever names and messages hold, it is written, and read again."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from parity.results import EngineRecord
from parity.run_file import run_from_json, run_to_json
from tests.run_examples import PASSING, make_run


@pytest.mark.parametrize("text", ["photo\udcff.png", "\ud800", "\udcff\udcfe"])
def test_text_that_is_no_unicode_is_spelt_out_and_costs_no_run(text: str) -> None:
    engine = EngineRecord("ab", 1, "file", metadata={"names": text, text: "a key"})
    run = make_run(replace(PASSING, message=text, engine=engine, duration_s=math.inf))
    written = run_to_json(run)
    written.encode("utf-8")
    [outcome] = run_from_json(written, "run.json").outcomes
    assert outcome.message == text.encode("utf-8", "backslashreplace").decode()
    assert outcome.engine is not None
    assert outcome.engine.metadata["names"] == outcome.message
    assert outcome.duration_s == math.inf
    assert run_to_json(run_from_json(written, "run.json")) == written


def test_other_runs_are_written_as_before() -> None:
    broken, sound = make_run(replace(PASSING, message="\ud800")), make_run(replace(PASSING, message="\\ud800"))
    assert run_to_json(broken) == run_to_json(sound)
