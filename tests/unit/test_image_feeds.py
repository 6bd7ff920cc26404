"""Feeds of images: read, preprocessed and stacked, with their geometry, or refused by the image's name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.case.feeds import image_names, open_feeds
from parity.case.model import ImageSource
from parity.errors import FeedError
from parity.graph import ModelInterface, TensorInfo, model_interface
from parity.preprocess import Dtype, Geometry, Layout, Letterbox, Pipeline, Resize, Scale, preset
from tests.feed_examples import IMAGES, YOLO, images_in
from tests.tiny_models import conv_relu, write_images

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (("/c/a.png", "/c/b.png"), ("a.png", "b.png")),
        (("/c/x/a.png", "/c/y/a.png", "/c/b.png"), ("x/a.png", "y/a.png", "b.png")),
        (("/c/1/x/a.png", "/c/2/x/a.png", "/c/3/y/a.png"), ("1/x/a.png", "2/x/a.png", "y/a.png")),
        ((), ()),
    ],
)
def test_an_image_goes_by_its_file_and_as_many_folders_as_tell_it_from_others(files, names) -> None:
    assert image_names(ImageSource(tuple(map(PurePosixPath, files)), "images", YOLO)) == names


def test_images_of_one_name_are_named_alike_in_feeds(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        images_in(tmp_path / folder, 1)
    feeds = open_feeds(ImageSource(tuple(tmp_path / name / "0.png" for name in "xy"), "images", YOLO), IMAGES, 2)
    assert [feed.sources for feed in feeds] == [("x/0.png", "y/0.png")]


def test_images_are_preprocessed_one_by_one_and_stacked(tmp_path: Path) -> None:
    import cv2

    files = images_in(tmp_path, 5, (6, 4))
    feeds = open_feeds(ImageSource(files, "images", YOLO), IMAGES, 2)
    made = list(feeds)
    assert len(feeds) == len(made) == 3
    assert [feed.tensors["images"].shape[0] for feed in made] == [2, 2, 1]
    assert made[1].sources == ("2.png", "3.png")
    expected = [YOLO(cv2.imread(str(file))) for file in files]
    rows = np.concatenate([feed.tensors["images"] for feed in made])
    np.testing.assert_array_equal(rows, np.concatenate([one.tensor for one in expected]))
    assert [geometry for feed in made for geometry in feed.geometry or ()] == [one.geometry for one in expected]
    assert made[0].geometry is not None
    assert made[0].geometry[0] == Geometry(6, 4, 8 / 6, 8 / 6, 1, 0)


def test_images_may_end_in_float16_for_a_model_that_takes_it(tmp_path: Path) -> None:
    steps = (Resize((8, 8)), Scale(divisor=255), Layout("nchw"), Dtype("float16"))
    write_images(tmp_path, ["a.png", "b.png"])
    interface = ModelInterface((TensorInfo("images", "float16", ("batch", 3, 8, 8)),), ())
    source = ImageSource(tuple(sorted(tmp_path.glob("*.png"))), "images", Pipeline(steps))
    (feed,) = open_feeds(source, interface, 2)
    assert (feed.tensors["images"].dtype, feed.tensors["images"].shape) == (np.float16, (2, 3, 8, 8))
    single = replace(source, preprocess=Pipeline(steps[:-1]))
    with pytest.raises(FeedError, match=r"found float32 .*, expected images: float16"):
        list(open_feeds(single, interface, 2))


def test_each_row_has_the_geometry_of_its_own_image(tmp_path: Path) -> None:
    files = (*images_in(tmp_path / "a", 1, (6, 4)), *images_in(tmp_path / "b", 1, (4, 6)))
    (feed,) = open_feeds(ImageSource(files, "images", YOLO), IMAGES, 2)
    assert feed.geometry is not None
    assert [(one.original_height, one.original_width) for one in feed.geometry] == [(6, 4), (4, 6)]


def test_count_takes_the_first_images(tmp_path: Path) -> None:
    feeds = open_feeds(ImageSource(images_in(tmp_path, 4), "images", YOLO, 2), IMAGES, 8)
    assert [feed.sources for feed in feeds] == [("0.png", "1.png")]


def test_nothing_is_read_before_the_first_pass(tmp_path: Path) -> None:
    feeds = open_feeds(ImageSource((tmp_path / "gone.png",), "images", YOLO), IMAGES, 1)
    with pytest.raises(FeedError, match=r"gone\.png: cannot be read"):
        list(feeds)


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "truncated"])
def test_an_image_that_does_not_decode_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(FeedError, match=r"bad\.png: does not decode"):
        list(open_feeds(ImageSource((tmp_path / "bad.png",), "images", YOLO), IMAGES, 1))


def test_images_that_do_not_fill_a_fixed_batch_are_neither_padded_nor_dropped(tmp_path: Path) -> None:
    fixed = model_interface(conv_relu(batch=4))
    files = images_in(tmp_path, 6)
    with pytest.raises(FeedError, match="fixed batch of 4, and 6 images in batches of 4 do not fill it"):
        open_feeds(ImageSource(files, "images", YOLO), fixed, 4)
    with pytest.raises(FeedError, match="set batch_size = 4"):
        open_feeds(ImageSource(files, "images", YOLO, 4), fixed, 2)
    assert len(open_feeds(ImageSource(files, "images", YOLO, 4), fixed, 4)) == 1


def test_images_of_another_size_than_the_models_are_told_with_both(tmp_path: Path) -> None:
    feeds = open_feeds(ImageSource(images_in(tmp_path, 1), "images", preset("yolo", (16, 16))), IMAGES, 1)
    with pytest.raises(FeedError, match=r"found float32 \(1, 3, 16, 16\), expected images: float32 \(batch, 3, 8, 8\)"):
        list(feeds)


def test_images_of_different_sizes_do_not_make_a_batch(tmp_path: Path) -> None:
    files = (*images_in(tmp_path / "a", 1), *images_in(tmp_path / "b", 1, (9, 9)))
    with pytest.raises(FeedError, match=r"0\.png: comes out as .* add a resize or letterbox step"):
        list(open_feeds(ImageSource(files, "images", Pipeline((Layout("nchw"),))), IMAGES, 2))


def test_an_image_that_a_step_refuses_is_named(tmp_path: Path) -> None:
    files = images_in(tmp_path, 1, (1, 400))
    pipeline = Pipeline((Letterbox((8, 8)), Layout("nchw")))
    with pytest.raises(FeedError, match=r"0\.png: image of 1 x 400 pixels"):
        list(open_feeds(ImageSource(files, "images", pipeline), IMAGES, 1))


def test_the_dtype_must_be_the_models(tmp_path: Path) -> None:
    pipeline = Pipeline((Letterbox((8, 8)), Layout("nchw")))
    with pytest.raises(FeedError, match="found uint8"):
        list(open_feeds(ImageSource(images_in(tmp_path, 1), "images", pipeline), IMAGES, 1))
