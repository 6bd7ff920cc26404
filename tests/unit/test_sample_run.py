"""The committed sample runs: readable by this version, rendered by it, and free of any machine's paths."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING

import onnx
import pytest

from parity.report import render
from parity.run_file import load_run
from parity.verdict import Verdict
from tests.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLES = ROOT / "reports" / "samples"
FORECAST = SAMPLES / "20261121-132831-sample"
ENGINES = SAMPLES / "20261121-045047-h200-tensorrt-8.6"
RUNS = sorted(path for path in SAMPLES.iterdir() if path.is_dir())
FILES = [path for path in SAMPLES.rglob("*") if path.is_file()]

each_run = pytest.mark.parametrize("sample", RUNS, ids=lambda path: path.name)

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


def tensor_names() -> set[str]:
    """Return the tensors of the cases' models: TensorRT's messages name them, and some begin as a path does."""
    models = [onnx.load(path) for path in (ROOT / "cases").glob("*/model.onnx")]
    return {name for model in models for node in model.graph.node for name in (*node.input, *node.output)}


def test_the_samples_are_those_that_are_described() -> None:
    page = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert {ENGINES, FORECAST} == set(RUNS)
    assert {path.name for path in RUNS} == set(re.findall(r"\]\(([^)/]+)/summary\.md\)", page))


def test_the_forecasts_are_of_both_cases_and_hold_a_failure_with_its_feed() -> None:
    run = load_run(FORECAST)
    [failure] = [outcome for outcome in run.outcomes if outcome.verdict not in {Verdict.PASS, Verdict.SKIPPED}]
    assert {record.name for record in run.cases} == {"shapes_classifier", "shapes_yolo", "hot_classifier"}
    assert (failure.case, failure.precision, failure.verdict) == ("hot_classifier", "fp16", Verdict.FAIL)
    assert (FORECAST / str(failure.failing_feed)).is_file()
    assert [(cause.cause, cause.is_confirmed) for cause in failure.diagnoses] == [("fp16-overflow", True)]
    assert {outcome.check for outcome in run.outcomes} == {"outputs", "decoded"}
    assert run.is_complete


def test_the_engines_are_of_both_cases_at_five_precisions_and_pass() -> None:
    run = load_run(ENGINES)
    variants = {(outcome.case, outcome.variant.partition("@")[0]) for outcome in run.outcomes}
    expected = {
        "shapes_classifier": ("fp32", "tf32", "fp16", "int8", "int8_entropy"),
        "shapes_yolo": ("fp32", "tf32", "fp16", "int8", "int8_minmax"),
    }
    assert variants == {(case, variant) for case, names in expected.items() for variant in names}
    assert [outcome.verdict for outcome in run.outcomes] == [Verdict.PASS] * 30
    assert [worker.packages["tensorrt"] for worker in run.environment.workers] == ["8.6.0"]
    assert run.is_complete


@each_run
def test_this_version_renders_a_sample_as_it_is_committed(sample: Path, tmp_path: Path) -> None:
    shutil.copyfile(sample / "run.json", tmp_path / "run.json")
    rendered = {path.name for path in render(tmp_path)}
    assert rendered | {"run.json"} == {path.name for path in sample.iterdir() if path.is_file()}
    for name in rendered:
        assert (tmp_path / name).read_bytes() == (sample / name).read_bytes(), f"{name}: run `parity report` on it"


@each_run
def test_a_sample_names_no_path_of_a_machine(sample: Path) -> None:
    words = " ".join(strings(json.loads((sample / "run.json").read_text(encoding="utf-8")))).split()
    names = tensor_names()
    found = [word for word in words if re.match(r"[\"'(=]*(?:/\w|~/|\w:\\)", word)]
    assert [word for word in found if word.strip("\"'(),.") not in names] == []


def test_no_file_of_the_samples_names_a_path_of_a_machine() -> None:
    for file in FILES:
        assert _ROOTS.search(file.read_text(encoding="utf-8", errors="replace")) is None, file.name


def test_the_samples_are_small() -> None:
    for sample in RUNS:
        assert sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) < 1_300_000
