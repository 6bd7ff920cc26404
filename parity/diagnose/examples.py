"""The case's first images as the reference model sees them, and how right it is of them under another decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from parity.backends import get_backend
from parity.case.annotations import open_truth
from parity.case.feed import tensor_geometry
from parity.case.feeds import open_feeds
from parity.case.model import ImageSource, PythonSource
from parity.decoded import Classification, Detections
from parity.detect.ap_images import ApImage
from parity.detect.average_precision import evaluate
from parity.errors import DecodeError
from parity.graph import model_interface
from parity.options import SessionOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto

    from parity.case.decoder import Decoder
    from parity.case.feed import Feed
    from parity.case.model import Case, InputSource
    from parity.decoded import Decoded
    from parity.detect.protocol import Truth
    from parity.graph import ModelInterface
    from parity.preprocess import Geometry, Pipeline

_ERRORS = 2.0
"""Standard errors: several ways are tried, and one is the best by luck. They share their images, so it is enough."""
IMAGE_COUNT = 32
"""Enough to tell a wrong channel order from a right one, few enough to be tried many times."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What the reference model gives for one feed of images, and what is really in them.

    Attributes
    ----------
    size
        (height, width) of the input tensor.
    truths
        One an image; None where annotations do not know it.
    """

    outputs: Mapping[str, np.ndarray]
    geometry: tuple[Geometry, ...]
    size: tuple[int, int]
    truths: tuple[Truth | None, ...]


def pipeline_of(source: InputSource) -> Pipeline | None:
    """Return how a source preprocesses; None where its feeds come as they are."""
    return source.preprocess if isinstance(source, ImageSource | PythonSource) else None


def run_examples(case: Case, model: ModelProto, pipeline: Pipeline | None = None) -> tuple[Example, ...]:
    """Run the reference model on the case's first images.

    Parameters
    ----------
    pipeline
        Preprocesses in place of the case's own.

    Raises
    ------
    FeedError
        Images or annotations cannot be read, or the model does not take what the pipeline makes.
    BackendError
        ONNX Runtime failed.
    """
    source = case.evaluation
    if pipeline is not None and isinstance(source, ImageSource | PythonSource):
        source = replace(source, preprocess=pipeline)
    interface = model_interface(model)
    feed_count = -(-IMAGE_COUNT // case.batch_size)
    feeds = list(islice(open_feeds(source, interface, case.batch_size), feed_count))
    truths = _truths(case, feeds)
    with get_backend("onnxruntime").open(model, SessionOptions()) as session:
        return tuple(_example(feed, session.run(feed.tensors), truths, interface) for feed in feeds)


def _truths(case: Case, feeds: Sequence[Feed]) -> Mapping[str, Truth]:
    if case.decoding is None or case.decoding.annotations is None:
        return {}
    return open_truth(case, [name for feed in feeds for name in feed.sources]).by_image


def _example(
    feed: Feed, outputs: Mapping[str, np.ndarray], truths: Mapping[str, Truth], interface: ModelInterface
) -> Example:
    in_tensor = tensor_geometry(feed.tensors, interface)
    size = in_tensor[0].original_height, in_tensor[0].original_width
    return Example(outputs, feed.geometry or in_tensor, size, tuple(truths.get(name) for name in feed.sources))


def accuracy(examples: Sequence[Example], decoder: Decoder) -> float | None:
    """Return how right the reference is under a decoder: AP at IoU .50, or the share of images with the right class.

    Returns
    -------
    0 to 1, 0 where the outputs do not decode; None where no image is annotated, or the task has no such figure.
    """
    try:
        pairs = [pair for example in examples for pair in _pairs(example, decoder)]
    except DecodeError:
        return 0.0
    boxed = [(found, truth) for found, truth in pairs if isinstance(found, Detections)]
    if boxed:
        return evaluate([_ap_image(found, truth) for found, truth in boxed]).ap50
    named = [(found, truth) for found, truth in pairs if isinstance(found, Classification)]
    hits = [int(np.argmax(found.scores)) == int(truth.classes[0]) for found, truth in named]
    return float(np.mean(hits)) if hits else None


def is_luck(examples: Sequence[Example], own: float, other: float) -> bool:
    """Whether two shares of right answers, 0 to 1 each, differ by no more than two draws of so few objects do."""
    count = sum(len(truth.classes) for example in examples for truth in example.truths if truth is not None)
    variance = own * (1 - own) + other * (1 - other)
    return abs(other - own) <= _ERRORS * math.sqrt(variance / max(1, count))


def _pairs(example: Example, decoder: Decoder) -> list[tuple[Decoded, Truth]]:
    results = decoder(example.outputs, example.geometry)
    return [(found, truth) for found, truth in zip(results, example.truths, strict=False) if truth is not None]


def _ap_image(found: Detections, truth: Truth) -> ApImage:
    return ApImage(truth.boxes, truth.classes, truth.is_crowd, truth.areas, found.boxes, found.scores, found.classes)
