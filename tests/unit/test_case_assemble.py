"""What each line of a case file allows, and the model or another line does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.case.loader import load_case
from parity.case.model import ImageSource
from tests.case_examples import IDS, IMAGES, RANDOM, mistakes_of
from tests.tiny_models import conv_relu, two_inputs, write_case, write_images

if TYPE_CHECKING:
    from pathlib import Path


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
