"""Case files as they are found and read, into frozen objects."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from onnx import TensorProto, helper

from parity.case.loader import find_cases, load_case
from parity.case.model import (
    Decoding,
    ImageSource,
    LatencyBudget,
    LatencyOptions,
    NpzSource,
    PythonSource,
    RandomSource,
    RandomTensor,
    ReferenceKind,
)
from parity.case.schema import CaseTable, json_schema
from parity.decoded import Task
from parity.errors import CaseError
from parity.options import CalibrationMethod, Rounding
from parity.preprocess import Layout, Letterbox, Pipeline, Scale, preset
from parity.tolerance import Precision
from tests.case_examples import IDS, RANDOM, RANDOM_CALIBRATION, mistakes_of
from tests.tiny_models import conv_relu, two_inputs, write_case, write_images


def test_a_full_case_file_becomes_frozen_objects(tmp_path: Path) -> None:
    text = """
description = "everything at once"
model = "model.onnx"
batch_size = 2
[inputs]
kind = "images"
files = ["images/*.png"]
count = 3
preprocess = { preset = "yolo", size = [8, 8] }
[calibration]
kind = "images"
files = ["other/*.png"]
preprocess = [
  { step = "letterbox", size = [8, 8], anchor = "top-left" },
  { step = "scale", divisor = 255 },
  { step = "layout", order = "nchw" },
]
[shapes.images]
min = [1, 3, 8, 8]
opt = [2, 3, 8, 8]
max = [4, 3, 8, 8]
[variants.fp16]
precision = "fp16"
keep = ["relu", "op:Softmax"]
rounding = "every-node"
io_precision = "fp16"
[variants.int8]
precision = "int8"
[variants.int8.calibration]
method = "percentile"
percentile = 99.9
[[tolerances]]
variant = "fp*"
output = "logits[:, 1:]"
rtol = 1e-2
atol_rms = 2e-2
mismatch_fraction = 0.1
min_sqnr_db = 30
reason = "boxes"
[decode]
name = "python"
function = "decoder.py:decode"
task = "detection"
[latency]
cuda_graph = true
[[latency.budgets]]
variant = "fp16"
max_p99_ms = 5
reason = "30 frames a second"
"""
    folder = write_case(tmp_path / "full", text)
    write_images(folder / "images", ["a2.png", "a10.png", "a1.png", "b.png"])
    write_images(folder / "other", ["c.png"])
    (folder / "decoder.py").touch()
    case = load_case(folder)
    assert (case.name, case.description, case.batch_size) == ("full", "everything at once", 2)
    assert case.model == folder.resolve() / "model.onnx"
    assert isinstance(case.evaluation, ImageSource)
    assert [path.name for path in case.evaluation.files] == ["a1.png", "a2.png", "a10.png", "b.png"]
    assert (case.evaluation.tensor, case.evaluation.count) == ("images", 3)
    assert case.evaluation.preprocess == preset("yolo", (8, 8))
    assert isinstance(case.calibration, ImageSource)
    steps = (Letterbox((8, 8), anchor="top-left"), Scale(divisor=255), Layout("nchw"))
    assert case.calibration.preprocess == Pipeline(steps)
    assert case.shapes["images"].max == (4, 3, 8, 8)
    fp16, int8 = case.variants
    assert fp16.options.keep == ("relu", "op:Softmax")
    assert fp16.options.rounding is Rounding.EVERY_NODE
    assert fp16.options.io_precision is Precision.FP16
    assert int8.options.calibration.method is CalibrationMethod.PERCENTILE
    assert int8.options.calibration.percentile == 99.9
    (rule,) = case.tolerances
    assert (rule.variant, rule.output, rule.region) == ("fp*", "logits", "[:, 1:]")
    assert (rule.tolerance.rtol, rule.tolerance.atol, rule.tolerance.atol_unit) == (1e-2, 2e-2, "rms")
    assert (rule.tolerance.mismatch_fraction, rule.tolerance.min_sqnr_db) == (0.1, 30)
    assert case.decoding == Decoding(None, "decoder.py:decode", Task.DETECTION)
    budget = LatencyBudget("fp16", 2, None, 5, None, "", "30 frames a second")
    assert case.latency == LatencyOptions((2,), cuda_graph=True, budgets=(budget,))
    assert len(case.file_sha256) == 64
    with pytest.raises(FrozenInstanceError):
        case.name = "other"  # type: ignore[misc]


def test_a_short_case_file_gets_the_defaults(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path / "short", RANDOM) / "case.toml")
    assert case.name == "short"
    assert case.batch_size == 1
    assert case.reference.kind is ReferenceKind.ONNXRUNTIME
    assert case.reference.provider == "cpu"
    assert [variant.name for variant in case.variants] == ["fp32", "fp16", "bf16"]
    assert isinstance(case.evaluation, RandomSource)


def test_calibration_inputs_add_the_quantized_variants(tmp_path: Path) -> None:
    case = load_case(write_case(tmp_path, RANDOM + RANDOM_CALIBRATION))
    assert [variant.options.precision for variant in case.variants[3:]] == [Precision.INT8, Precision.FP8]


def test_the_batch_size_defaults_to_the_models_own(tmp_path: Path) -> None:
    assert load_case(write_case(tmp_path, RANDOM, conv_relu(batch=4))).batch_size == 4


def test_the_folder_that_a_relative_path_names_is_the_cases_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(write_case(tmp_path / "here", RANDOM))
    assert load_case(Path()).name == "here"
    assert load_case(Path("case.toml")).name == "here"


def test_random_ranges_python_sources_and_recorded_references_are_read(tmp_path: Path) -> None:
    text = (
        'model = "model.onnx"\n[reference]\nkind = "recorded"\nfiles = ["out/*.npz"]\n'
        '[inputs]\nkind = "python"\nfunction = "data.py:evaluation"\ncount = 5\n'
        '[calibration]\nkind = "random"\nseed = 7\ncount = 1\n[calibration.tensors.ids]\nlow = 0\nhigh = 9\n'
    )
    folder = write_case(tmp_path, text + IDS[IDS.index("[shapes") :], two_inputs())
    (folder / "data.py").write_text("raise RuntimeError('loading a case must not run its code')\n")
    (folder / "out").mkdir()
    (folder / "out" / "0.npz").write_bytes(b"")
    case = load_case(folder)
    assert case.evaluation == PythonSource(folder.resolve(), "data.py:evaluation", 5)
    assert isinstance(case.calibration, RandomSource)
    assert case.calibration.tensors == {"ids": RandomTensor(0, 9)}
    assert case.calibration.profiles == case.shapes
    assert case.reference.files == (folder.resolve() / "out" / "0.npz",)


def test_images_and_models_may_lie_outside_the_case_folder(tmp_path: Path) -> None:
    text = (
        'model = "../model.onnx"\n[inputs]\nkind = "images"\n'
        f'files = ["../shared/*.png", "{tmp_path}/shared/*1.png"]\npreprocess = "yolo"\n'
    )
    folder = write_case(tmp_path / "case", text)
    (folder / "model.onnx").rename(tmp_path / "model.onnx")
    write_images(tmp_path / "shared", ["0.png", "1.png"])
    case = load_case(folder)
    assert isinstance(case.evaluation, ImageSource)
    assert {path.name for path in case.evaluation.files} == {"0.png", "1.png"}


def test_npz_files_are_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = write_case(tmp_path, 'model = "model.onnx"\n[inputs]\nkind = "npz"\nfiles = ["*.npz"]\n')
    for number in (10, 9, 1):
        (folder / f"feed{number}.npz").touch()
    source = load_case(folder).evaluation
    assert isinstance(source, NpzSource)
    assert [path.stem for path in source.files] == ["feed1", "feed9", "feed10"]


def test_toml_that_does_not_parse_is_told_with_its_line(tmp_path: Path) -> None:
    (found,) = mistakes_of(write_case(tmp_path, "model = 'x'\nbatch_size =\n"))
    assert "line 2" in found


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "")
    (folder / "case.toml").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in mistakes_of(folder)[0]


def test_a_missing_case_says_how_to_make_one(tmp_path: Path) -> None:
    assert "docs/case-file.md" in mistakes_of(tmp_path / "nothing")[0]


def test_find_cases_takes_files_folders_and_folders_of_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a"):
        write_case(tmp_path / "cases" / name, RANDOM)
    files = tuple(tmp_path / "cases" / name / "case.toml" for name in ("a", "b"))
    assert find_cases([tmp_path / "cases"]) == files
    assert find_cases([tmp_path / "cases" / "b", tmp_path / "cases" / "a" / "case.toml"]) == files[::-1]
    assert find_cases([tmp_path / "cases", tmp_path / "cases" / "a"]) == files
    monkeypatch.chdir(tmp_path)
    assert [path.resolve() for path in find_cases([])] == [path.resolve() for path in files]


def test_find_cases_refuses_a_path_without_a_case(tmp_path: Path) -> None:
    (tmp_path / "notes.toml").touch()
    for path in (tmp_path, tmp_path / "notes.toml", tmp_path / "nothing"):
        with pytest.raises(CaseError, match=r"docs/case-file\.md"):
            find_cases([path])


def test_the_json_schema_describes_every_key_and_names_the_required_ones() -> None:
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["required"] == ["model", "inputs"]
    assert schema["additionalProperties"] is False
    tables = [schema, *schema["$defs"].values()]
    undescribed = [
        f"{table['title']}.{key}"
        for table in tables
        for key, value in table.get("properties", {}).items()
        if "description" not in value and "const" not in value
    ]
    assert undescribed == []
    assert set(schema["properties"]) == set(CaseTable.model_fields)


@pytest.mark.parametrize(("places", "is_refused"), [("places", False), (3, True)], ids=["open", "too few"])
def test_a_decoder_is_refused_by_lengths_that_the_model_says_not_by_open_ones(
    places: str | int, is_refused: bool, tmp_path: Path
) -> None:
    value = helper.make_tensor_value_info
    images, rows = value("x", TensorProto.FLOAT, [1, 3, 8, 8]), value("y", TensorProto.FLOAT, [1, places, places])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "head", [images], [rows])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    write_case(
        tmp_path,
        'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 1\n[decode]\nname = "yolov8"\n',
        model,
    )
    if is_refused:
        with pytest.raises(CaseError, match=r"decode\.name: decoder 'yolov8': found y \(1, 3, 3\)"):
            load_case(tmp_path)
    else:
        assert load_case(tmp_path).decoding is not None


@pytest.mark.parametrize(("other", "is_refused"), [(4, True), (2, False)], ids=["a batch", "a length before a batch"])
def test_first_axes_that_profiles_fix_to_one_size_are_a_batch_and_to_several_none(
    other: int, is_refused: bool, tmp_path: Path
) -> None:
    sizes = "".join(
        f"[shapes.{name}]\nmin = [{rows}, 5]\nopt = [{rows}, 5]\nmax = [{rows}, 5]\n"
        for name, rows in (("ids", 4), ("mask", other))
    )
    write_case(tmp_path, f"batch_size = 1\n{RANDOM}{sizes}", two_inputs())
    if is_refused:
        with pytest.raises(CaseError, match=r"batch_size: expected 4 to 4, as shapes\.ids allows; got 1"):
            load_case(tmp_path)
    else:
        assert load_case(tmp_path).shapes["mask"].opt == (2, 5)
