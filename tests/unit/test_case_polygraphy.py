"""Cases whose feeds and reference were saved by Polygraphy, which writes the files here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from polygraphy.comparator import RunResults
from polygraphy.json import save_json

from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.case.model import PolygraphySource
from parity.case.recorded import open_recorded
from parity.errors import CaseError, FeedError, ForeignFileError
from parity.graph import ModelInterface, TensorInfo, model_interface
from tests.tiny_cases import two_matmuls, write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

INTERFACE = model_interface(two_matmuls(1.0))
X = np.arange(32, dtype=np.float32).reshape(4, 8)
Y = np.ones((4, 5), np.float32)
INPUTS = '[inputs]\nkind = "polygraphy"\nfiles = ["in*.json"]\n'


def outputs_case(folder: Path, results: dict[str, list[dict[str, np.ndarray]]], reference: str = "") -> Path:
    save_json([{"x": X}, {"x": X + 1}], str(folder / "in.json"))
    saved = RunResults()
    for runner, outputs in results.items():
        saved.add(outputs, runner_name=runner)
    saved.save(str(folder / "out.json"))
    text = f'model = "model.onnx"\n{INPUTS}[reference]\nkind = "recorded"\nfiles = ["out*.json"]\n{reference}'
    (folder / "case.toml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_matmul_case(tmp_path / "case", inputs=INPUTS)


def test_every_feed_of_every_file_is_one_feed_in_order(folder: Path) -> None:
    save_json([{"x": X}, {"x": X + 1}], str(folder / "in1.json"))
    save_json({"x": X + 2}, str(folder / "in2.json"))
    case = load_case(folder)
    assert case.evaluation == PolygraphySource((folder / "in1.json", folder / "in2.json"))
    feeds = open_feeds(case.evaluation, INTERFACE, 4)
    assert len(feeds) == 3
    assert [(feed.name, feed.tensors["x"][0, 0]) for feed in feeds] == [
        ("feed0000", 0),
        ("feed0001", 1),
        ("feed0002", 2),
    ]
    np.testing.assert_array_equal(next(iter(feeds)).tensors["x"], X)


def test_a_feed_that_is_not_the_models_is_told_with_its_file_and_number(folder: Path) -> None:
    save_json([{"x": X}, {"y": X}], str(folder / "in.json"))
    feeds = open_feeds(load_case(folder).evaluation, INTERFACE, 4)
    with pytest.raises(FeedError, match=r"in\.json: feed 1: input 'x' is missing"):
        list(feeds)


def test_raw_bytes_are_what_the_model_says(folder: Path) -> None:
    x = X.astype(ml_dtypes.bfloat16)
    save_json([{"x": x}], str(folder / "in.json"))
    interface = ModelInterface((TensorInfo("x", "bfloat16", (4, 8)),), ())
    (feed,) = open_feeds(load_case(folder).evaluation, interface, 4)
    assert feed.tensors["x"].dtype == ml_dtypes.bfloat16
    assert feed.tensors["x"].tobytes() == x.tobytes()


def test_iterations_of_run_results_are_a_reference_by_number(folder: Path) -> None:
    case = load_case(outputs_case(folder, {"a": [{"y": Y}, {"y": Y + 1}]}))
    outputs = open_recorded(case, INTERFACE, 2)
    assert len(outputs) == 2
    np.testing.assert_array_equal(outputs[1]["y"], Y + 1)
    np.testing.assert_array_equal(outputs[0]["y"], Y)


def test_of_several_runners_one_is_named(folder: Path) -> None:
    results = {"onnxrt-N0": [{"y": Y}, {"y": Y}], "torch-N0": [{"y": Y + 1}, {"y": Y + 2}]}
    case = load_case(outputs_case(folder, results, 'runner = "torch-*"\n'))
    np.testing.assert_array_equal(open_recorded(case, INTERFACE, 2)[1]["y"], Y + 2)
    with pytest.raises(ForeignFileError, match="onnxrt-N0, torch-N0; no runner is chosen"):
        open_recorded(load_case(outputs_case(folder, results)), INTERFACE, 2)


def test_more_or_fewer_iterations_than_feeds_are_told(folder: Path) -> None:
    case = load_case(outputs_case(folder, {"a": [{"y": Y}]}))
    with pytest.raises(FeedError, match="has 1 recorded outputs for 2 feeds; expected one iteration of a runner"):
        open_recorded(case, INTERFACE, 2)


def test_outputs_of_other_names_are_told(folder: Path) -> None:
    case = load_case(outputs_case(folder, {"a": [{"z": Y}, {"y": Y}]}))
    with pytest.raises(FeedError, match=r"out\.json: runner 0, iteration 0: has the outputs z; expected exactly y"):
        open_recorded(case, INTERFACE, 2)[0]


def test_a_runner_of_npz_files_and_a_mixture_are_mistakes(folder: Path) -> None:
    np.savez(folder / "in.npz", x=X)
    np.savez(folder / "out.npz", y=Y)
    head = 'model = "model.onnx"\n[inputs]\nkind = "npz"\nfiles = ["in.npz"]\n[reference]\nkind = "recorded"\n'
    (folder / "case.toml").write_text(f'{head}files = ["out.npz"]\nrunner = "a"\n', encoding="utf-8")
    with pytest.raises(CaseError, match=r"reference\.runner: has a meaning for Polygraphy's \.json alone"):
        load_case(folder)
    (folder / "out.json").touch()
    (folder / "case.toml").write_text(f'{head}files = ["out.*"]\n', encoding="utf-8")
    with pytest.raises(CaseError, match=r"reference\.files: expected files of one kind"):
        load_case(folder)


def test_feeds_are_not_calibrated_on(folder: Path) -> None:
    save_json([{"x": X}], str(folder / "in.json"))
    text = (folder / "case.toml").read_text(encoding="utf-8")
    (folder / "case.toml").write_text(text + INPUTS.replace("inputs", "calibration"), encoding="utf-8")
    with pytest.raises(CaseError, match="1 of them are evaluation inputs too"):
        load_case(folder)
