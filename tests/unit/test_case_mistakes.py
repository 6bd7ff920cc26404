"""A mistake in a case file is told with its path, what was found and what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.case_examples import IMAGES, RANDOM, RANDOM_CALIBRATION, mistakes_of
from tests.tiny_models import write_case, write_images

if TYPE_CHECKING:
    from pathlib import Path

STEPS = "resize, resize_shorter, letterbox, center_crop, color, scale, normalize, layout, dtype"
LOGITS = "the model has logits: float32 (batch, 4, 8, 8)"


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
