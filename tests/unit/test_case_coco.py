"""COCO files are untrusted: whatever is wrong with one is a sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.case import coco as coco_module
from parity.case.coco import CocoFile, read_coco
from parity.errors import FeedError
from tests.decoded_cases import coco
from tests.texts import any_text

if TYPE_CHECKING:
    from pathlib import Path

ANNOTATION = {"image_id": 7, "category_id": 4, "bbox": [0, 0, 1, 1]}


def written(folder: Path, content: object) -> Path:
    path = folder / "truth.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_a_file_is_read_without_what_nobody_asks_for(tmp_path: Path) -> None:
    file = read_coco(written(tmp_path, coco()))
    assert [image.endings for image in file.images] == [
        ("train/a.png", "a.png"),
        ("b.png",),
        ("sub/c.png", "c.png"),
    ]
    assert [one.bbox for one in file.annotations] == [(1, 2, 3.5, 1), (0, 0, 2, 2), (4, 0, 2, 6)]


def test_pycocotools_reads_the_same_of_it(tmp_path: Path) -> None:
    pycocotools = pytest.importorskip("pycocotools.coco")
    path = written(tmp_path, coco())
    theirs, ours = pycocotools.COCO(str(path)), read_coco(path)
    assert [one["bbox"] for one in theirs.dataset["annotations"]] == [list(one.bbox or ()) for one in ours.annotations]
    assert theirs.getCatIds() == [category.id for category in ours.categories]


# Each: the file, and what is said of it.
DAMAGED: dict[str, tuple[object, str]] = {
    "nothing": (b"", "is no COCO file"),
    "half a file": (json.dumps(coco()).encode()[:200], "is no COCO file: Invalid JSON"),
    "no text": (b"\xff\xfe\x00", "is no COCO file: Invalid JSON"),
    "a list": ([], "is no COCO file"),
    "very deep lists": (b"[" * 100_000, "is no COCO file"),
    "no categories": ({"images": [], "annotations": []}, "categories: Field required"),
    "an image without a name": (coco(images=[{"id": 1}]), r"images\[0\].file_name: Field required"),
    "an id that is a text": (coco(images=[{"id": "1", "file_name": "a"}]), r"images\[0\].id: .*; got '1'"),
    "an id twice": (coco(images=[{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]), "images have the id 1"),
    "a category twice": (coco(categories=[{"id": 4, "name": "a"}, {"id": 4, "name": "b"}]), "categories have the id 4"),
    "a negative width": (coco(annotations=[{**ANNOTATION, "bbox": [5, 5, -3, 1]}]), r"bbox\[2\]: .*; got -3"),
    "a box of three": (coco(annotations=[{**ANNOTATION, "bbox": [5, 5, 3]}]), r"annotations\[0\].bbox"),
    "a box of nothing": (coco(annotations=[{**ANNOTATION, "bbox": [5, 5, None, 3]}]), r"bbox\[2\]"),
    "a box at infinity": (coco(annotations=[{**ANNOTATION, "bbox": [1e300, 5, 1, 3]}]), r"bbox\[0\]"),
    "a box that is no number": (coco(annotations=[{**ANNOTATION, "bbox": [float("nan"), 5, 1, 3]}]), r"bbox\[0\]"),
    "a crowd of two": (coco(annotations=[{**ANNOTATION, "iscrowd": 2}]), r"iscrowd: .*; got 2"),
    "a negative area": (coco(annotations=[{**ANNOTATION, "area": -1}]), r"area: .*; got -1"),
}


@pytest.mark.parametrize(("content", "expected"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: object, expected: str) -> None:
    with pytest.raises(FeedError, match=rf"truth\.json: .*{expected}") as caught:
        read_coco(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_further_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="; 2 more; expected COCO instances"):
        read_coco(written(tmp_path, coco(images=[{}, {"id": 1}])))


def test_a_file_that_is_gone_or_too_large_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FeedError, match="No such file"):
        read_coco(tmp_path / "gone.json")
    monkeypatch.setattr(coco_module, "MAX_BYTES", 100)
    with pytest.raises(FeedError, match="write a file of the evaluation images alone"):
        read_coco(written(tmp_path, coco()))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["images", "annotations", "categories", "id", "bbox"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(content=st.fixed_dictionaries({"images": JSON, "annotations": JSON, "categories": JSON}) | JSON)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: object) -> None:
    path = written(tmp_path_factory.getbasetemp(), content)
    with suppress(FeedError):
        assert isinstance(read_coco(path), CocoFile)
