"""The forecast against the truth: what FP16 engines survived and what they did not, and how far TF32 engines lie."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from parity.backends import get_backend
from parity.case.loader import load_case
from parity.options import PrecisionOptions, SessionOptions
from parity.precision import forecast
from parity.runner import JudgeSettings, open_case_judge
from parity.tolerance import Precision
from tests.forecast_patterns import PATTERNS
from tests.pages import read, section, table

ROOT = Path(__file__).parents[2]
TRUTH = tomllib.loads((ROOT / "tests/data/forecast_truth.toml").read_text())
HARMLESS_DB = 40.0
"""Between the worst harmless engine that was measured (47 dB) and the best damaged one (2 dB)."""


@cache
def forecast_db(name: str) -> float:
    """SQNR of a pattern's forecast, minus infinity where it is not finite."""
    model, feed = PATTERNS[name]()
    product = forecast(model, PrecisionOptions(Precision.FP16))
    backend = get_backend("onnxruntime")
    with backend.open(model, SessionOptions()) as session:
        expected = session.run(feed)["y"].astype(np.float64)
    with backend.open(product.rounded, SessionOptions()) as session:
        actual = session.run(feed)["y"].astype(np.float64)
    if not np.isfinite(actual).all():
        return float("-inf")
    return float(20 * np.log10(np.linalg.norm(expected) / np.linalg.norm(actual - expected)))


def test_every_pattern_has_its_truth() -> None:
    assert set(PATTERNS) == set(TRUTH)


@pytest.mark.parametrize("name", sorted(name for name in TRUTH if "known_difference" not in TRUTH[name]))
def test_the_forecast_tells_damaged_patterns_from_harmless_ones(name: str) -> None:
    truth = TRUTH[name]["tensorrt"]
    is_harmless = truth != "non-finite" and truth > HARMLESS_DB
    assert (forecast_db(name) > HARMLESS_DB) == is_harmless, f"engine {truth}, forecast {forecast_db(name):.1f} dB"


@pytest.mark.parametrize("name", sorted(name for name in TRUTH if "known_difference" in TRUTH[name]))
def test_a_known_difference_is_still_one(name: str) -> None:
    truth = TRUTH[name]["tensorrt"]
    is_harmless = truth != "non-finite" and truth > HARMLESS_DB
    assert (forecast_db(name) > HARMLESS_DB) != is_harmless, "the forecast is right now: drop known_difference"


def test_clean_engines_lie_a_little_below_their_forecast() -> None:
    gaps = [forecast_db(name) - TRUTH[name]["tensorrt"] for name in ("conv", "attention", "matmul, GELU")]
    assert all(2.0 < gap < 12.0 for gap in gaps), gaps


def test_the_documented_table_is_the_truth() -> None:
    page = (ROOT / "docs/forecast.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+?) \| ([^|]+?) \| [^|]+ \|$", page, re.MULTILINE))
    written = {name: str(row["tensorrt"]) for name, row in TRUTH.items()}
    assert {name: rows.get(name) for name in written} == written


@pytest.mark.parametrize(
    ("case", "output", "feeds"), [("shapes_classifier", "classifier", 4), ("shapes_yolo", "detector", 2)]
)
def test_tf32_engines_lie_within_6_db_of_their_forecast(case: str, output: str, feeds: int) -> None:
    rows = [
        row for row in table(section(read("docs/forecast.md"), "## Where tf32 rounds"), "output") if output in row[0]
    ]
    found = tf32_forecast_db(case, feeds)
    assert found == pytest.approx([float(row[2]) for row in rows], abs=0.1)
    gaps = [ahead - float(row[1]) for ahead, row in zip(found, rows, strict=True)]
    assert all(-6.0 < gap < 3.0 for gap in gaps), gaps


def tf32_forecast_db(name: str, feeds: int) -> list[float]:
    """SQNR of every judged slice, in the case file's order."""
    case = replace(load_case(ROOT / "cases" / name), decoding=None)
    (variant,) = (variant for variant in case.variants if variant.name == "tf32")
    with open_case_judge(case, JudgeSettings(limit=feeds)) as judge:
        [outcome] = judge.judge_variant(variant, get_backend("onnxruntime"))
    return [tensor.difference.sqnr_db for tensor in outcome.tensors]
