"""The decoder of a case: a family's, or a function whose results are checked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.case.decoder import open_decoder
from parity.decoded import Classification, Detections, LabelMap, Lanes
from parity.errors import DecodeError
from parity.preprocess import Geometry
from tests.decoded_cases import decoded_case
from tests.toy_decoders import RowSettings, add_toy_decoders

if TYPE_CHECKING:
    from pathlib import Path

    from parity.case.decoder import Decoder

GEOMETRY = (Geometry(60, 100, 0.5, 0.5, 4, 0), Geometry(20, 30))
IMPORTS = "import numpy as np\nfrom parity.decoded import Classification, Detections, LabelMap, Lanes\n"


def decoder_of(folder: Path, body: str, task: str = "detection") -> Decoder:
    code = f"{IMPORTS}def decode(outputs, geometry):\n    {body}\n"
    return open_decoder(decoded_case(folder, task=task, code=code))


def rows_of(folder: Path, mapping: str) -> Detections:
    """Return what becomes of what a function gives for an image of 20 x 30 pixels."""
    (found,) = decoder_of(folder, f"return [{mapping}]")({}, GEOMETRY[1:])
    assert isinstance(found, Detections)
    return found


def test_a_family_decodes_with_the_cases_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_toy_decoders(monkeypatch)
    case = decoded_case(tmp_path)
    assert case.decoding is not None
    case = replace(case, decoding=replace(case.decoding, settings=RowSettings(stride=2)))
    (found,) = open_decoder(case)({"rows": np.array([[[1, 2, 3, 4, 0.5, 7]]])}, GEOMETRY[1:])
    assert isinstance(found, Detections)
    assert (found.boxes.tolist(), found.classes.tolist()) == ([[2, 4, 6, 8]], [7])


def test_a_function_gives_one_result_an_image(tmp_path: Path) -> None:
    body = (
        "return ({'boxes': one.to_image(rows[:, :4]), 'scores': rows[:, 4], 'classes': rows[:, 5].astype(int)}"
        " for rows, one in zip(outputs['rows'], geometry))"
    )
    rows = np.array([[[4, 0, 14, 10, 0.25, 1], [9, 5, 14, 10, 0.5, 0]], [[1, 2, 3, 4, 0.75, 2]] * 2], np.float32)
    first, second = decoder_of(tmp_path, body)({"rows": rows}, GEOMETRY)
    assert isinstance(first, Detections)
    np.testing.assert_array_equal(first.boxes, [[10, 10, 20, 20], [0, 0, 20, 20]])
    assert (first.scores.tolist(), first.classes.tolist(), first.flaws) == ([0.5, 0.25], [0, 1], {})
    assert (first.boxes.dtype, first.scores.dtype, first.classes.dtype) == (np.float64, np.float64, np.int64)
    assert len(second.classes) == 2  # type: ignore[union-attr]


def test_rows_that_cannot_be_are_left_out_and_counted_and_boxes_are_clipped(tmp_path: Path) -> None:
    found = rows_of(
        tmp_path,
        "{'boxes': [[0, 0, 9, 9], [-5, -5, 99, 99], [5, 0, 1, 9], [0, 0, np.nan, 1], [0, 0, 1, 1], [1, 1, 2, 2]],"
        " 'scores': [0.1, 0.9, 0.8, 0.7, 0.6, np.nan], 'classes': [0, 1, 2, 3, -4, 5],"
        " 'keypoints': np.arange(36.0).reshape(6, 2, 3), 'masks': np.eye(6, dtype=bool)[:, None]}",
    )
    np.testing.assert_array_equal(found.boxes, [[0, 0, 30, 20], [0, 0, 9, 9]])
    assert found.classes.tolist() == [1, 0]
    assert found.flaws == {"nan score": 1, "non-finite box": 1, "inverted box": 1, "no such class": 1}
    assert found.keypoints is not None
    assert found.keypoints[:, 0, 0].tolist() == [6, 0]
    assert found.masks is not None
    assert found.masks.argmax(axis=2).ravel().tolist() == [1, 0]


def test_an_image_without_detections_may_have_empty_lists(tmp_path: Path) -> None:
    found = rows_of(tmp_path, "{'boxes': [], 'scores': [], 'classes': []}")
    assert (found.boxes.shape, found.classes.dtype, len(found)) == ((0, 4), np.int64, 0)


def test_objects_of_the_package_are_taken_with_their_flaws(tmp_path: Path) -> None:
    found = rows_of(
        tmp_path,
        "Detections(np.array([[1, 1, 2, 2]]), np.array([np.nan]), np.array([3]), flaws={'nan score': 2, 'odd': 1})",
    )
    assert found.flaws == {"nan score": 3, "odd": 1}


@pytest.mark.parametrize(
    ("task", "made", "kind"),
    [
        ("classification", "Classification(np.array([0.5, np.nan], np.float16))", Classification),
        ("lanes", "Lanes(np.zeros((4, 9, 2)), np.zeros((0, 4), int), np.zeros((4, 9)))", Lanes),
        ("segmentation", "LabelMap(np.zeros((3, 5), np.uint8))", LabelMap),
        ("segmentation", "{'labels': np.zeros((3, 5), int), 'margins': np.zeros((3, 5))}", LabelMap),
    ],
)
def test_every_task_has_its_results(tmp_path: Path, task: str, made: str, kind: type) -> None:
    (found,) = decoder_of(tmp_path, f"return [{made}]", task)({}, GEOMETRY[1:])
    assert isinstance(found, kind)
    assert found.flaws == ({"nan score": 1} if kind is Classification else {})


# Each: task, what the function returns, and what is said of it.
REFUSED = {
    "too few": ("detection", "[]", "code.py:decode: gave 0 results; expected 1, one an image"),
    "too many": ("detection", "(i for i in iter(int, 1))", "gave more than 1 results; expected 1"),
    "nothing": ("detection", "None", "code.py:decode.*TypeError"),
    "a list of numbers": (
        "detection",
        "[[1, 2]]",
        "image 0: is list; expected parity.decoded.Detections, or",
    ),
    "another task's": ("detection", "[Classification(np.ones(3))]", "is Classification; expected"),
    "a part too few": ("detection", "[{'boxes': [[0, 0, 1, 1]]}]", "'scores' is missing; expected numbers (n,)"),
    "an unknown part": ("detection", "[{'box': []}]", "'box' is not known; expected boxes, scores, classes, corners"),
    "boxes of five": (
        "detection",
        "[{'boxes': np.ones((2, 5)), 'scores': [1, 1], 'classes': [1, 1]}]",
        "image 0: 'boxes': found float64 (2, 5), expected numbers (n, 4)",
    ),
    "scores of other rows": (
        "detection",
        "[{'boxes': np.ones((2, 4)), 'scores': [1], 'classes': [1, 1]}]",
        "'scores': found int64 (1,), expected numbers (n,) with n = 2",
    ),
    "classes that are not whole": (
        "detection",
        "[{'boxes': np.ones((1, 4)), 'scores': [1], 'classes': [1.0]}]",
        "'classes': found float64 (1,), expected whole numbers (n,)",
    ),
    "complex scores": ("classification", "[Classification(np.ones(3) * 1j)]", "'scores': found complex128 (3,)"),
    "objects": ("classification", "[{'scores': [print]}]", "'scores': found object (1,)"),
    "no array": ("classification", "[{'scores': [[1], [1, 2]]}]", "'scores' is no array"),
    "one lane too many": (
        "lanes",
        "[Lanes(np.zeros((4, 9, 2)), np.zeros((1, 5), int), np.zeros((4, 9)))]",
        "'attributes': found int64 (1, 5), expected whole numbers (kinds, lanes) with lanes = 4, anchors = 9",
    ),
}


@pytest.mark.parametrize(("task", "returned", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_a_function_gives_is_checked(tmp_path: Path, task: str, returned: str, expected: str) -> None:
    decode = decoder_of(tmp_path, f"return {returned}", task)
    with pytest.raises(DecodeError) as caught:
        decode({}, GEOMETRY[1:])
    if "*" in expected:
        assert caught.match(expected)
    else:
        assert expected in str(caught.value)


def test_a_function_that_raises_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"code.py:4 in decode: KeyError: 'rows'"):
        decoder_of(tmp_path, "return outputs['rows']")({}, GEOMETRY)


def test_a_file_that_does_not_load_is_told(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"code.py: has no function 'decode'"):
        open_decoder(decoded_case(tmp_path, code="x = 1\n"))


def test_a_function_cannot_change_the_tensors_that_other_checks_see(tmp_path: Path) -> None:
    tensor = np.ones(3)
    decode = decoder_of(tmp_path, "outputs['y'][:] = 0; return [{'scores': outputs['y']}]", "classification")
    assert decode({"y": tensor}, GEOMETRY[1:])[0].scores.tolist() == [0, 0, 0]  # type: ignore[union-attr]
    assert tensor.tolist() == [1, 1, 1]


def test_all_detections_of_a_function_stay_however_weak_and_however_many(tmp_path: Path) -> None:
    found = rows_of(tmp_path, "{'boxes': [[1, 1, 2, 2]] * 400, 'scores': [0.0] * 400, 'classes': [0] * 400}")
    assert len(found) == 400


def test_a_class_beyond_the_cases_names_is_a_flaw(tmp_path: Path) -> None:
    result = "{'boxes': [[0, 0, 1, 1]] * 2, 'scores': [1, 1], 'classes': [1, 2]}"
    code = f"def decode(outputs, geometry):\n    return [{result}]\n"
    case = decoded_case(tmp_path, code=code, keys='class_names = ["a", "b"]\n')
    (found,) = open_decoder(case)({}, GEOMETRY[1:])
    assert (found.flaws, len(found.scores)) == ({"no such class": 1}, 1)  # type: ignore[union-attr]
