"""Images to feeds: preprocessed one by one and stacked to batches."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from parity.case.feed import Feed, make_feed
from parity.errors import FeedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from parity.graph import ModelInterface
    from parity.preprocess import Geometry, Pipeline


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What becomes of images: the model's input that takes them, how they are preprocessed, how many to a batch."""

    tensor: str
    pipeline: Pipeline
    interface: ModelInterface
    batch_size: int


def count_batches(plan: ImagePlan, image_count: int) -> int:
    """Return how many feeds a number of images makes; the last may be smaller where the model's batch is dynamic.

    Raises
    ------
    FeedError
        The images do not fill the model's fixed batch: none is invented and none is left out.
    """
    fixed = _fixed_batch(plan.interface, plan.tensor)
    if fixed is not None and (fixed != plan.batch_size or image_count % fixed):
        raise FeedError(
            f"input {plan.tensor!r}: the model has a fixed batch of {fixed}, and {image_count} images in batches of "
            f"{plan.batch_size} do not fill it; set batch_size = {fixed} and a count that {fixed} divides"
        )
    return -(-image_count // plan.batch_size)


def _fixed_batch(interface: ModelInterface, tensor: str) -> int | None:
    for info in interface.inputs:
        if info.name == tensor and info.shape and isinstance(info.shape[0], int):
            return info.shape[0]
    return None


def batch_images(images: Iterable[tuple[str, np.ndarray]], plan: ImagePlan) -> Iterator[Feed]:
    """Yield feeds of named images, in order.

    Raises
    ------
    FeedError
        An image does not fit the pipeline, or the tensors do not fit the model.
    """
    remaining = iter(images)
    index = 0
    while batch := list(islice(remaining, plan.batch_size)):
        yield _batch(index, batch, plan)
        index += 1


def _batch(index: int, batch: list[tuple[str, np.ndarray]], plan: ImagePlan) -> Feed:
    names = tuple(name for name, _ in batch)
    done = [_preprocess(name, image, plan.pipeline) for name, image in batch]
    tensors = {plan.tensor: _stack([rows for rows, _ in done], names)}
    feed = make_feed(f"feed{index:04d}", tensors, plan.interface, f"feed {index}, from {names[0]}")
    return replace(feed, geometry=tuple(geometry for _, geometry in done), sources=names)


def _preprocess(name: str, image: np.ndarray, pipeline: Pipeline) -> tuple[np.ndarray, Geometry]:
    try:
        result = pipeline(image)
    except FeedError as error:
        raise FeedError(f"{name}: {error}") from error
    return result.tensor, result.geometry


def _stack(rows: list[np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    odd = next((index for index, row in enumerate(rows) if row.shape != rows[0].shape), None)
    if odd is not None:
        raise FeedError(
            f"{names[odd]}: comes out as {rows[odd].shape} and {names[0]} as {rows[0].shape}; one batch needs one "
            "size, add a resize or letterbox step"
        )
    return np.concatenate(rows)


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV's warnings on damaged files off stderr: the error that follows says it once."""
    from cv2.utils import logging

    level = logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def read_image(path: Path) -> np.ndarray:
    """Return a (h, w, 3) uint8 image, BGR, turned as its EXIF orientation says.

    Raises
    ------
    FeedError
        The file cannot be read or does not decode.
    """
    import cv2

    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
        with _quiet_opencv():
            image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    except OSError as error:
        raise FeedError(f"{path}: cannot be read ({error.strerror}); expected an image") from error
    except cv2.error as error:
        raise FeedError(f"{path}: does not decode as an image ({error.err}); replace it or leave it out") from error
    if image is None:
        raise FeedError(f"{path}: does not decode as an image (empty, damaged or of unknown format); replace it")
    return image.astype(np.uint8, copy=False)
