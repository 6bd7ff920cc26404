from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

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
from tests.tiny_models import conv_relu, two_inputs, write_case, write_images

RANDOM = 'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'
IMAGES = 'model = "model.onnx"\n[inputs]\nkind = "images"\nfiles = ["model.onnx"]\n'
RANDOM_CALIBRATION = '[calibration]\nkind = "random"\nseed = 2\ncount = 2\n'
IDS = (
    'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'
    "[shapes.ids]\nmin = [1, 1]\nopt = [1, 4]\nmax = [2, 8]\n[shapes.mask]\nmin = [1, 1]\nopt = [1, 4]\nmax = [2, 8]\n"
)
STEPS = "resize, resize_shorter, letterbox, center_crop, color, scale, normalize, layout, dtype"
LOGITS = "the model has logits: float32 (batch, 4, 8, 8)"


def mistakes_of(folder: Path, **options: bool) -> list[str]:
    with pytest.raises(CaseError) as caught:
        load_case(folder, **options)
    return [str(mistake) for mistake in caught.value.mistakes]


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


def test_many_mistakes_in_one_file_are_told_at_once(tmp_path: Path) -> None:
    text = """
descripton = "x"
model = "model.onnx"
batch_size = 0
[inputs]
kind = "images"
files = ["images/*.png", "missing/*.png"]
preprocess = [{ step = "letterbox", sise = [8, 8] }, { step = "colour", order = "rgb" }]
[shapes.image]
min = [1, 3, 8, 8]
opt = [1, 3, 8, 8]
max = [1, 3, 8, 8]
[variants.fp16]
precision = "fp16"
keep_precision = "int8"
kep = ["a"]
[variants.int8]
precision = "int9"
[variants.quant]
precision = "int8"
[[tolerances]]
variant = "fp61"
rtol = 1e-3
atol = 1e-3
reason = "a variant that does not exist"
[[tolerances]]
output = "logit"
rtol = -1
atol = nan
[[tolerances]]
output = "logits[:, 4:]"
rtol = 1e-3
reason = "empty slice, and no atol"
[[tolerances]]
variant = "int8"
output = "logits[0, 0, 0, 0, 0]"
rtol = 1e-3
atol = 1e-3
reason = "a variant with a mistake of its own exists all the same"
"""
    folder = write_case(tmp_path, text)
    write_images(folder / "images", ["a.png"])
    assert set(mistakes_of(folder)) == {
        "descripton: unknown key; did you mean 'description'?",
        "batch_size: expected greater than or equal to 1; got 0",
        "inputs.files[1]: 'missing/*.png' matches no file; paths are relative to the case folder",
        "inputs.preprocess[0].sise: unknown key; did you mean 'size'?",
        "inputs.preprocess[0].size: is missing",
        f"inputs.preprocess[1].step: expected one of {STEPS}; got 'colour'; did you mean 'color'?",
        "shapes.image: expected one of images; got 'image'; did you mean 'images'?",
        "variants.fp16.keep_precision: expected a higher precision than fp16; got 'int8'",
        "variants.fp16.kep: unknown key; did you mean 'keep'?",
        "variants.int8.precision: expected one of fp32, tf32, fp16, bf16, int8, fp8; got 'int9'; did you mean 'int8'?",
        "variants.quant.precision: int8 needs [calibration] inputs; give them as [inputs] are given",
        "tolerances[0].variant: expected one of fp16, int8, quant; got 'fp61'; did you mean 'fp16'?",
        "tolerances[1].output: the model has no output 'logit'; it has logits; did you mean 'logits'?",
        "tolerances[1].rtol: expected greater than or equal to 0; got -1",
        "tolerances[1].atol: expected a finite number; got nan",
        "tolerances[1].reason: is missing",
        f"tolerances[2].output: [:, 4:] selects nothing on axis 1, which has 4 elements; {LOGITS}",
        "tolerances[2]: expected both rtol and atol (or atol_rms): the bound is atol + rtol * |expected|",
        f"tolerances[3].output: [0, 0, 0, 0, 0] has 5 axes; the output has 4; {LOGITS}",
    }


# Each: the lines that are wrong, and the one mistake they make.
MISTAKES = {
    "a key of the wrong type": (RANDOM.replace("count = 2", "count = 2.5"), "inputs.count: expected a valid integer"),
    "a truth value for a number": (f"batch_size = true\n{RANDOM}", "batch_size: expected a valid integer; got True"),
    "no model": (RANDOM.replace('model = "model.onnx"', ""), "model: is missing"),
    "no inputs": ('model = "model.onnx"', "inputs: is missing"),
    "a model that is not there": (RANDOM.replace("model.onnx", "mine.onnx"), "cannot be read (No such file"),
    "an unknown kind": (
        RANDOM.replace('"random"', '"radnom"'),
        "inputs.kind: expected one of images, npz, polygraphy, random, python",
    ),
    "no kind": (RANDOM.replace('kind = "random"', ""), "inputs.kind: is missing"),
    "an empty [variants]": (f"{RANDOM}[variants]\n", "variants: is empty"),
    "a variant's name with an at sign": (
        f'{RANDOM}[variants."a@b"]\nprecision = "fp16"\n',
        'variants."a@b": expected a name',
    ),
    "io_precision of another format": (
        f'{RANDOM}[variants.a]\nprecision = "fp16"\nio_precision = "bf16"\n',
        "variants.a.io_precision: expected fp32 or fp16; got 'bf16'",
    ),
    "keep at the same precision": (
        f'{RANDOM}[variants.a]\nprecision = "fp16"\nkeep = ["x"]\nkeep_precision = "fp16"\n',
        "variants.a.keep_precision: expected a higher precision than fp16",
    ),
    "rounding of a quantized variant": (
        f'{RANDOM}{RANDOM_CALIBRATION}[variants.a]\nprecision = "int8"\nrounding = "fused"\n',
        "variants.a.rounding: has a meaning for fp16 and bf16 only",
    ),
    "calibration of a variant that is not quantized": (
        f'{RANDOM}[variants.a]\nprecision = "fp16"\n[variants.a.calibration]\nmethod = "entropy"\n',
        "variants.a.calibration: has a meaning for int8 and fp8 only",
    ),
    "a percentile that no method reads": (
        f'{RANDOM}{RANDOM_CALIBRATION}[variants.a]\nprecision = "int8"\n[variants.a.calibration]\npercentile = 99.0\n',
        "variants.a.calibration.percentile: is read by the percentile method only",
    ),
    "a typed model that is not there": (
        f'{RANDOM}[variants.a]\nprecision = "fp16"\nmodel = "half.onnx"\n',
        "variants.a.model: ",
    ),
    "keep for a model of one's own": (
        f'{RANDOM}[variants.a]\nprecision = "fp16"\nmodel = "model.onnx"\nkeep = ["relu"]\n',
        "variants.a.keep: has no effect on a model of your own",
    ),
    "a percentile beyond 100": (
        f'{RANDOM}{RANDOM_CALIBRATION}[variants.a]\nprecision = "int8"\n[variants.a.calibration]\npercentile = 101\n',
        "variants.a.calibration.percentile: expected less than or equal to 100; got 101",
    ),
    "a tolerance that every element may miss": (
        f'{RANDOM}[[tolerances]]\nrtol = 0\natol = 0\nmismatch_fraction = 1.0\nreason = "r"\n',
        "tolerances[0].mismatch_fraction: expected less than 1; got 1.0",
    ),
    "calibration with a mistake is not told as missing": (
        f'{RANDOM}[calibration]\nkind = "nothing"\n[variants.a]\nprecision = "int8"\n',
        "calibration.kind: expected one of images, npz, polygraphy, random, python; got 'nothing'",
    ),
    "both atols": (
        f'{RANDOM}[[tolerances]]\nrtol = 0\natol = 0\natol_rms = 0\nreason = "r"\n',
        "tolerances[0]: has both atol and atol_rms",
    ),
    "decoding to judge, and no decoder": (
        f'{RANDOM}[[tolerances]]\njudged = "decoded"\nreason = "r"\n',
        "tolerances[0].judged: needs [decode], which says how outputs are decoded",
    ),
    "decoding to judge, and a bound": (
        f'{RANDOM}[decode]\nname = "segmentation"\n[[tolerances]]\njudged = "decoded"\nrtol = 0\nreason = "r"\n',
        'tolerances[0].rtol: has no meaning beside judged = "decoded"',
    ),
    "decoding to judge, and no reason": (
        f'{RANDOM}[decode]\nname = "segmentation"\n[[tolerances]]\njudged = "decoded"\n',
        "tolerances[0].reason: is missing",
    ),
    "a judge that there is not": (
        f'{RANDOM}[[tolerances]]\njudged = "nobody"\nrtol = 0\natol = 0\nreason = "r"\n',
        "tolerances[0].judged: expected one of bound, decoded; got 'nobody'",
    ),
    "a blank reason": (
        f'{RANDOM}[[tolerances]]\nrtol = 0\natol = 0\nreason = " "\n',
        "tolerances[0].reason: expected",
    ),
    "a slice that does not parse": (
        f'{RANDOM}[[tolerances]]\noutput = "logits[a:]"\nrtol = 0\natol = 0\nreason = "r"\n',
        "tolerances[0].output: expected a slice such as [:, 4:]; got 'a:'",
    ),
    "tolerances that are no tables": (f"tolerances = [1]\n{RANDOM}", "tolerances[0]: expected a valid table; got 1"),
    "a decoder without a name": (f'{RANDOM}[decode]\nclass_names = ["a"]\n', "decode.name: is missing"),
    "the evaluation's seed for calibration": (
        RANDOM + RANDOM_CALIBRATION.replace("2", "1"),
        "calibration.seed: 1 is the evaluation's seed too",
    ),
    "a range for an input that is not there": (
        f"{RANDOM}[inputs.tensors.image]\nlow = 0\n",
        "inputs.tensors.image: expected one of images; got 'image'; did you mean 'images'?",
    ),
    "a range upside down": (
        f"{RANDOM}[inputs.tensors.images]\nlow = 2\n",
        "inputs.tensors.images.low: expected less than high, 1; got 2",
    ),
    "a profile of another rank": (
        f"{RANDOM}[shapes.images]\nmin = [1]\nopt = [1, 3, 8, 8]\nmax = [1, 3, 8, 8]\n",
        "shapes.images.min: expected 4 axes",
    ),
    "a profile against a fixed axis": (
        f"{RANDOM}[shapes.images]\nmin = [1, 3, 4, 8]\nopt = [1, 3, 8, 8]\nmax = [1, 3, 8, 8]\n",
        "shapes.images: axis 2 is fixed at 8",
    ),
    "a profile out of order": (
        f"{RANDOM}[shapes.images]\nmin = [1, 3, 8, 8]\nopt = [4, 3, 8, 8]\nmax = [2, 3, 8, 8]\n",
        "shapes.images: expected min <= opt <= max in axis 0; got 1, 4, 2",
    ),
    "a batch outside its profile": (
        f"batch_size = 3\n{RANDOM}[shapes.images]\nmin = [1, 3, 8, 8]\nopt = [2, 3, 8, 8]\nmax = [2, 3, 8, 8]\n",
        "batch_size: expected 1 to 2, as shapes.images allows; got 3",
    ),
    "code outside the case folder": (
        'model = "model.onnx"\n[inputs]\nkind = "python"\nfunction = "../evil.py:run"\ncount = 1\n',
        "inputs.function: '../evil.py' lies outside the case folder",
    ),
    "code that is not there": (
        'model = "model.onnx"\n[inputs]\nkind = "python"\nfunction = "data.py:run"\ncount = 1\n',
        "inputs.function: 'data.py' does not exist",
    ),
    "code that is not named as such": (
        'model = "model.onnx"\n[inputs]\nkind = "python"\nfunction = "data.run"\ncount = 1\n',
        "inputs.function: expected file.py:function; got 'data.run'",
    ),
    "npz outside the case folder": (
        'model = "model.onnx"\n[inputs]\nkind = "npz"\nfiles = ["../*/model.onnx"]\n',
        "inputs.files[0]: '../*/model.onnx' leads out of the case folder",
    ),
    "steps in an order that makes no sense": (
        f'{IMAGES}preprocess = [{{ step = "layout", order = "nchw" }}, {{ step = "color", order = "rgb" }}]\n',
        "inputs.preprocess[1]: color stands behind layout",
    ),
    "a scale without a number": (
        f'{IMAGES}preprocess = [{{ step = "scale" }}, {{ step = "layout", order = "nchw" }}]\n',
        "inputs.preprocess[0]: expected either factor or divisor",
    ),
    "a preset that is not there": (
        f'{IMAGES}preprocess = "yolov8"\n',
        "inputs.preprocess: expected one of imagenet, yolo, yolox, rtdetr; got 'yolov8'; did you mean 'yolo'?",
    ),
    "a preset that is not there, beside a size": (
        f'{IMAGES}preprocess = {{ preset = "yolov8", size = [8, 8] }}\n',
        "inputs.preprocess.preset: expected one of imagenet, yolo, yolox, rtdetr; got 'yolov8'; did you mean 'yolo'?",
    ),
    "a tolerance with an empty reason": (
        f'{RANDOM}[[tolerances]]\nrtol = 0.1\natol = 0.1\nreason = ""\n',
        "tolerances[0].reason: expected text that is not empty; got ''",
    ),
    "more images than there are": (
        f'{IMAGES}preprocess = "yolo"\ncount = 2\n',
        "inputs.count: asks for 2 images; only 1 are there",
    ),
    "images for an input that is not there": (
        f'{IMAGES}preprocess = "yolo"\ntensor = "image"\n',
        "inputs.tensor: expected one of images; got 'image'; did you mean 'images'?",
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_alone_and_with_its_path(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.onnx").touch()
    found = mistakes_of(write_case(tmp_path / "case", text))
    assert len(found) == 1, found
    assert expected in found[0]


def test_a_typed_model_with_other_outputs_is_a_mistake(tmp_path: Path) -> None:
    folder = write_case(tmp_path, f'{RANDOM}[variants.a]\nprecision = "int8"\nmodel = "other.onnx"\n')
    (folder / "other.onnx").write_bytes(two_inputs().SerializeToString())
    assert mistakes_of(folder) == [
        "variants.a.model: has the inputs ids, mask; expected those of the case's model, images",
        "variants.a.model: has the outputs hidden; expected those of the case's model, logits",
    ]


def test_a_typed_model_needs_no_calibration(tmp_path: Path) -> None:
    folder = write_case(tmp_path, f'{RANDOM}[variants.a]\nprecision = "int8"\nmodel = "model.onnx"\n')
    assert load_case(folder).variants[0].typed_model == folder.resolve() / "model.onnx"


def test_integers_are_drawn_from_whole_numbers_that_the_dtype_holds(tmp_path: Path) -> None:
    text = IDS.replace("[shapes.ids]", "[inputs.tensors.ids]\nlow = 0.5\nhigh = 1e30\n[shapes.ids]")
    assert mistakes_of(write_case(tmp_path, text, two_inputs())) == [
        "inputs.tensors.ids.low: expected a whole number that int64 holds; got 0.5",
        "inputs.tensors.ids.high: expected a whole number that int64 holds; got 1e+30",
    ]


def test_integers_are_not_drawn_from_a_range_upside_down(tmp_path: Path) -> None:
    text = IDS.replace("[shapes.ids]", "[inputs.tensors.ids]\nlow = 3\nhigh = 2\n[shapes.ids]")
    assert mistakes_of(write_case(tmp_path, text, two_inputs())) == [
        "inputs.tensors.ids.low: expected at most high, 2; got 3"
    ]


def test_a_tensor_for_code_that_yields_feeds_is_a_mistake(tmp_path: Path) -> None:
    text = 'model = "model.onnx"\n[inputs]\nkind = "python"\nfunction = "a.py:f"\ncount = 1\ntensor = "images"\n'
    folder = write_case(tmp_path, text)
    (folder / "a.py").write_text("")
    (found,) = mistakes_of(folder)
    assert found.startswith("inputs.tensor: has no meaning without preprocess")


def test_a_random_input_with_an_open_axis_needs_its_shapes(tmp_path: Path) -> None:
    (first, second) = mistakes_of(write_case(tmp_path, RANDOM, two_inputs()))
    assert first == (
        "inputs: input ids: int64 (batch, tokens) is dynamic in axis 1; give [shapes.ids] with min, opt and max"
    )
    assert "[shapes.mask]" in second


def test_images_cannot_fill_two_inputs(tmp_path: Path) -> None:
    text = f'{IMAGES}preprocess = "yolo"\n'
    (found,) = mistakes_of(write_case(tmp_path, text, two_inputs()))
    assert found.startswith("inputs.kind: images fill one input and the model has 2 (ids, mask)")


def test_the_fixed_batch_of_a_model_is_the_batch_size(tmp_path: Path) -> None:
    text = (
        'batch_size = 2\nmodel = "model.onnx"\n[inputs]\nkind = "images"\nfiles = ["model.onnx"]\npreprocess = "yolo"\n'
    )
    (found,) = mistakes_of(write_case(tmp_path, text, conv_relu(batch=4)))
    assert found == "batch_size: expected 4, the fixed batch of the model's input 'images'; got 2"


def test_one_image_in_both_evaluation_and_calibration_is_a_mistake(tmp_path: Path) -> None:
    text = (
        'model = "model.onnx"\n[inputs]\nkind = "images"\nfiles = ["a/*.png"]\npreprocess = "yolo"\n'
        '[calibration]\nkind = "images"\nfiles = ["b/*.png", "b/../a/1.png"]\npreprocess = "yolo"\n'
    )
    folder = write_case(tmp_path, text)
    write_images(folder / "a", ["0.png", "1.png"])
    write_images(folder / "b", ["2.png"])
    (found,) = mistakes_of(folder)
    assert found.startswith("calibration.files: 1 of them are evaluation inputs too, 1.png the first")


def test_an_image_beyond_the_count_may_serve_calibration(tmp_path: Path) -> None:
    text = (
        'model = "model.onnx"\n[inputs]\nkind = "images"\nfiles = ["a/*.png"]\ncount = 1\npreprocess = "yolo"\n'
        '[calibration]\nkind = "images"\nfiles = ["a/1.png"]\npreprocess = "yolo"\n'
    )
    folder = write_case(tmp_path, text)
    write_images(folder / "a", ["0.png", "1.png"])
    assert isinstance(load_case(folder).calibration, ImageSource)


def test_one_function_for_both_evaluation_and_calibration_is_a_mistake(tmp_path: Path) -> None:
    text = 'model = "model.onnx"\n'
    for table, count in (("inputs", 4), ("calibration", 2)):
        text += f'[{table}]\nkind = "python"\nfunction = "data.py:draw"\ncount = {count}\n'
    folder = write_case(tmp_path, text)
    (folder / "data.py").write_text("")
    assert mistakes_of(folder) == [
        "calibration.function: data.py:draw yields the evaluation inputs too; write a second function"
    ]


def test_without_leave_for_python_every_use_of_it_is_a_mistake(tmp_path: Path) -> None:
    text = (
        'model = "model.onnx"\n[reference]\nkind = "python"\nfunction = "a.py:f"\n'
        '[inputs]\nkind = "python"\nfunction = "a.py:g"\ncount = 1\n'
    )
    folder = write_case(tmp_path, text)
    (folder / "a.py").write_text("")
    load_case(folder)
    found = mistakes_of(folder, allow_python=False)
    assert [mistake.partition(":")[0] for mistake in found] == ["inputs.function", "reference.function"]
    assert all("--no-python" in mistake for mistake in found)


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
