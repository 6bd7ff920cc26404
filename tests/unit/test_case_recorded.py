from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.case.loader import load_case
from parity.case.model import Case, Reference, ReferenceKind
from parity.case.recorded import open_recorded, open_reference_function
from parity.errors import FeedError
from parity.graph import model_interface
from tests.tiny_models import conv_relu, write_case

if TYPE_CHECKING:
    from pathlib import Path

INTERFACE = model_interface(conv_relu())
TEXT = 'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'


def case_with(folder: Path, reference: Reference) -> Case:
    return replace(load_case(write_case(folder, TEXT)), reference=reference)


def recorded(folder: Path, *outputs: dict[str, np.ndarray]) -> Case:
    files = tuple(folder / f"{index}.npz" for index in range(len(outputs)))
    for file, arrays in zip(files, outputs, strict=True):
        np.savez(file, **arrays)  # type: ignore[arg-type]
    return case_with(folder, Reference(ReferenceKind.RECORDED, files=files))


def test_recorded_outputs_are_read_feed_by_feed(tmp_path: Path) -> None:
    case = recorded(tmp_path, {"logits": np.zeros(3)}, {"logits": np.ones(3)})
    outputs = open_recorded(case, INTERFACE, 2)
    assert len(outputs) == 2
    np.testing.assert_array_equal(outputs[1]["logits"], np.ones(3))


def test_recorded_outputs_must_be_as_many_as_the_feeds(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="has 1 recorded outputs for 2 feeds"):
        open_recorded(recorded(tmp_path, {"logits": np.zeros(3)}), INTERFACE, 2)


@pytest.mark.parametrize("names", [["other"], ["logits", "other"]], ids=["missing", "extra"])
def test_recorded_outputs_must_have_exactly_the_models_names(tmp_path: Path, names: list[str]) -> None:
    outputs = open_recorded(recorded(tmp_path, {name: np.zeros(3) for name in names}), INTERFACE, 1)
    with pytest.raises(FeedError, match=f"has the outputs {', '.join(names)}; expected exactly logits"):
        outputs[0]


def function_case(folder: Path, code: str) -> Case:
    case = case_with(folder, Reference(ReferenceKind.PYTHON, function="reference.py:run"))
    (folder / "reference.py").write_text(code)
    return case


def test_a_reference_function_maps_a_feed_to_outputs(tmp_path: Path) -> None:
    case = function_case(tmp_path, "def run(feed):\n    return {'logits': feed['images'] * 2}\n")
    outputs = open_reference_function(case, INTERFACE)({"images": np.ones(3)})
    np.testing.assert_array_equal(outputs["logits"], np.full(3, 2.0))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise ValueError('broken')", "reference.py:2 in run: ValueError: broken"),
        ("return {}", "has the outputs none; expected exactly logits"),
        ("return feed['images']", "is ndarray; expected a mapping"),
        ("return {'logits': 1.0}", "'logits' is float; expected a NumPy array"),
    ],
    ids=["raises", "no output", "no mapping", "no array"],
)
def test_a_fault_of_a_reference_function_is_told(tmp_path: Path, body: str, message: str) -> None:
    run = open_reference_function(function_case(tmp_path, f"def run(feed):\n    {body}\n"), INTERFACE)
    with pytest.raises(FeedError) as caught:
        run({"images": np.ones(3)})
    assert message in str(caught.value)


def test_a_reference_function_that_works_in_place_leaves_the_feed_alone(tmp_path: Path) -> None:
    code = "def run(feed):\n    feed['images'] *= 2\n    return {'logits': feed['images']}\n"
    feed = {"images": np.ones(3)}
    outputs = open_reference_function(function_case(tmp_path, code), INTERFACE)(feed)
    np.testing.assert_array_equal(outputs["logits"], np.full(3, 2.0))
    np.testing.assert_array_equal(feed["images"], np.ones(3))
