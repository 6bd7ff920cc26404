"""What a run judges against: float32 outputs, recorded outputs, a Python function; and what calibrates it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.backends import get_backend
from parity.backends.fake import FlipElement
from parity.options import SessionOptions
from parity.runner import run_cases
from parity.verdict import Verdict
from tests.runner_examples import SETTINGS, enter_tiny_case, judge_with, replay, with_inputs
from tests.unit.tiny_case import CASE_FILE, make_model, write_case

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own that has the tiny case."""
    return enter_tiny_case(tmp_path, monkeypatch)


def test_half_inputs_and_outputs_are_judged_against_the_float_reference(tmp_path: Path) -> None:
    text = CASE_FILE + 'io_precision = "fp16"\n'
    write_case(tmp_path / "cases" / "tiny", text)
    run = run_cases(replace(SETTINGS, variants=("fp16",)))
    assert run.outcomes[0].verdict is Verdict.PASS


def recorded_case(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "cases" / "tiny"
    session = get_backend("onnxruntime").open(make_model(), SessionOptions())
    generator = np.random.default_rng(0)
    for i in range(4):
        feed = {"x": generator.normal(size=(2, 4)).astype(np.float32)}
        np.savez(folder / f"in{i}.npz", **feed)
        if i < count:
            np.savez(folder / f"out{i}.npz", **session.run(feed))
    inputs = 'kind = "npz"\nfiles = ["in*.npz"]\n\n[reference]\nkind = "recorded"\nfiles = ["out*.npz"]'
    write_case(folder, with_inputs(inputs))


def test_recorded_outputs_are_a_reference_and_a_replay_finds_its_own(tmp_path: Path) -> None:
    recorded_case(tmp_path, 4)
    assert judge_with().verdict is Verdict.PASS
    first = judge_with(FlipElement(feed=3))
    assert first.verdict is Verdict.FAIL
    assert replay(first, FlipElement()).verdict is Verdict.FAIL
    assert replay(first).verdict is Verdict.PASS


def test_too_few_recorded_outputs_are_an_error(tmp_path: Path) -> None:
    recorded_case(tmp_path, 3)
    outcome = judge_with()
    assert outcome.verdict is Verdict.ERROR
    assert "3 recorded outputs for 4 feeds" in outcome.message


def test_a_class_that_is_the_neighbour_of_the_right_one_fails_at_any_precision(tmp_path: Path) -> None:
    model = make_model()
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["place"], axis=1, keepdims=0))
    model.graph.initializer.append(numpy_helper.from_array(np.int64(995), "first"))
    model.graph.node.append(helper.make_node("Add", ["place", "first"], ["label"]))
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["n"]))
    folder = write_case(tmp_path / "cases" / "tiny", model=model)
    feed = {"x": np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)}
    outputs = get_backend("onnxruntime").open(model, SessionOptions()).run(feed)
    np.savez(folder / "in.npz", **feed)
    np.savez(folder / "out.npz", **{**outputs, "label": outputs["label"] + np.array([0, 1])})
    inputs = 'kind = "npz"\nfiles = ["in.npz"]\n\n[reference]\nkind = "recorded"\nfiles = ["out.npz"]'
    write_case(folder, with_inputs(inputs), model)
    for outcome in run_cases(SETTINGS).outcomes:
        assert outcome.verdict is Verdict.FAIL
        assert outcome.headline.startswith("label: 1 / 2 (50 %) beyond the bound")


PYTHON_REFERENCE = """
import numpy as np

def reference(feed):
    return {"logits": np.zeros((2, 5), np.float32), "boxes": feed["x"][:, :3]}
"""


def test_a_python_function_is_a_reference_unless_python_is_not_allowed(tmp_path: Path) -> None:
    (tmp_path / "cases" / "tiny" / "code.py").write_text(PYTHON_REFERENCE)
    reference = '[reference]\nkind = "python"\nfunction = "code.py:reference"\n\n'
    write_case(tmp_path / "cases" / "tiny", CASE_FILE.replace("[inputs]", f"{reference}[inputs]"))
    assert judge_with().verdict is Verdict.FAIL
    refused = run_cases(replace(SETTINGS, allow_python=False))
    assert [(outcome.check, outcome.verdict) for outcome in refused.outcomes] == [("case", Verdict.ERROR)]


def test_calibration_feeds_reach_the_forecast(tmp_path: Path) -> None:
    calibration = '[calibration]\nkind = "random"\nseed = 9\ncount = 2\n\n'
    text = CASE_FILE.replace("[variants.fp32]", f"{calibration}[variants.fp32]")
    write_case(tmp_path / "cases" / "tiny", text.replace("fp16", "int8"))
    outcome = run_cases(replace(SETTINGS, variants=("int8",))).outcomes[0]
    assert outcome.verdict is Verdict.PASS
    assert outcome.model is not None
    assert outcome.model.rounding == "qdq"
