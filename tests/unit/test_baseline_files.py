"""Baselines on disk: one figure a line, whole or not at all, and told where they are damaged."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.baseline.files import baseline_file, baseline_files, from_json, load, save, to_json
from parity.baseline.model import FirstMeasurements, VariantFigures
from parity.errors import BaselineError
from tests.accepted import KEY, LAYERS, MACHINE, baseline, series, variant
from tests.texts import any_text

FULL = baseline(variant(latency=series(1.0, 2.0, rebuilds_ms=((1.1, 1.1),)), layers=LAYERS, headroom=math.inf))
CREPT = baseline(variant(latency=series(1.0, first=FirstMeasurements("2026-01-01", series(1.5).measurements_ms))))
names = any_text(max_size=12)


def test_a_baseline_comes_back_as_it_was() -> None:
    assert from_json(to_json(FULL), "file") == FULL


@given(st.dictionaries(names, st.dictionaries(names, st.floats(), min_size=1, max_size=3), min_size=1, max_size=3))
def test_whatever_was_measured_comes_back_to_five_digits(subjects: dict[str, dict[str, float]]) -> None:
    found = from_json(to_json(baseline(VariantFigures({"outputs": subjects}))), "file").variants[KEY].figures["outputs"]
    for subject, values in subjects.items():
        for name, value in values.items():
            assert found[subject][name] == pytest.approx(value, rel=1e-4, nan_ok=True)


def test_one_changed_figure_is_one_changed_line() -> None:
    figures = FULL.variants[KEY]
    moved = {**figures.figures, "outputs": {"y": {"sqnr_db": 61.5, "headroom": math.inf}}}
    other = replace(FULL, variants={KEY: replace(figures, figures=moved)})
    before, after = to_json(FULL).splitlines(), to_json(other).splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert [(a.strip(), b.strip()) for a, b in changed] == [('"sqnr_db": 60', '"sqnr_db": 61.5')]


def test_one_more_measurement_is_one_more_line() -> None:
    more = replace(FULL, variants={KEY: replace(FULL.variants[KEY], latency={64: series(1, 1.02, 1.01)})})
    fewer = replace(FULL, variants={KEY: replace(FULL.variants[KEY], latency={64: series(1, 1.02)})})
    assert len(to_json(more).splitlines()) == len(to_json(fewer).splitlines()) + 1


def test_keys_are_sorted_and_batch_sizes_by_number() -> None:
    found = {KEY: replace(variant(), latency={64: series(1.0), 8: series(1.0)})}
    text = to_json(replace(FULL, variants=found))
    assert text.index('"8"') < text.index('"64"')
    assert text.index('"engine"') < text.index('"outputs"')


def test_noise_below_the_fifth_digit_changes_no_line() -> None:
    assert to_json(baseline(variant(60.123456))) == to_json(baseline(variant(60.123459)))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no baseline"),
        ("[]", "is no baseline"),
        ('{"format_version": 1', "is no baseline"),
        ('{"format_version": 2}', "has format version 2, this release reads 1; update trt-parity"),
        ('{"a": 1}', "has format version None"),
        ('{"format_version": 1}', "case: Field required"),
        (to_json(FULL).replace("60,", '"sixty",').replace("60\n", '"sixty"\n'), "valid number"),
        (to_json(FULL).replace('"streams": 1', '"streams": "two"'), "valid integer"),
        (to_json(baseline(variant(latency=series(1.0)))).replace("[0.999, 1.001]", ""), "a latency without a measure"),
        (to_json(baseline(variant(latency=series(1.0)))).replace("0.999", "-1"), "a latency that is no positive"),
        (to_json(CREPT).replace("1.5015", "-1"), "a latency that is no positive"),
        (to_json(CREPT).replace("[1.4985, 1.5015]", "[]"), "a latency without a measure"),
        (to_json(FULL).replace('"64"', '"0"'), "a batch size below 1"),
    ],
)
def test_a_damaged_file_is_told_with_what_mends_it(text: str, told: str) -> None:
    with pytest.raises(BaselineError, match=told) as caught:
        from_json(text, "cases/shapes/baseline/x.json")
    assert str(caught.value).startswith("cases/shapes/baseline/x.json: ")
    assert "parity baseline update --replace" in str(caught.value)


def test_a_file_under_another_machines_name_is_refused(tmp_path) -> None:
    file = baseline_file(tmp_path, "other-machine")
    save(FULL, file)
    with pytest.raises(BaselineError, match=f"was taken on {MACHINE}; a machine's figures are no other's"):
        load(file)


def test_a_missing_or_foreign_file_is_told(tmp_path) -> None:
    with pytest.raises(BaselineError, match="No such file"):
        load(tmp_path / "x.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    with pytest.raises(BaselineError, match="cannot be read"):
        load(tmp_path / "x.json")


def test_a_save_that_fails_leaves_what_was_accepted(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = baseline_file(tmp_path, MACHINE)
    save(FULL, file)
    before = file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BaselineError, match=r"No space left on device.*still stands"):
        save(baseline(variant(10.0)), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_folder_that_may_not_be_written_is_told(tmp_path) -> None:
    (tmp_path / "baseline").write_text("a file", encoding="utf-8")
    with pytest.raises(BaselineError, match="cannot be written"):
        save(FULL, baseline_file(tmp_path, MACHINE))


def test_the_baselines_of_a_case_are_found_by_name(tmp_path) -> None:
    assert baseline_files(tmp_path) == ()
    for machine in ("b", "a"):
        save(replace(FULL, machine=machine), baseline_file(tmp_path, machine))
    assert [file.stem for file in baseline_files(tmp_path)] == ["a", "b"]


def test_the_file_is_json_that_any_reader_takes() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(to_json(FULL), parse_constant=refuse)["variants"][KEY]["figures"]["outputs"]["y"] == {
        "headroom": "inf",
        "sqnr_db": 60,
    }
