"""Queries of DETR and RT-DETR, scores of pixels and of images, as Transformers decodes them.

Run with ``transformers==5.23.0``, torch and torchvision: ``python -m tests.oracles.transformers_heads`` in the
repository's root.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from transformers.models.detr.image_processing_detr import DetrImageProcessor
from transformers.models.rt_detr.image_processing_rt_detr import RTDetrImageProcessor
from transformers.models.segformer.image_processing_segformer import SegformerImageProcessor
from transformers.pipelines.image_classification import ClassificationFunction, ImageClassificationPipeline

from tests.oracles.making import CLASSES, INPUT, LOWEST, ORIGINALS, draw_head, store

_PACKAGES = ("transformers", "torch", "torchvision")
_QUERIES = 100

Found = list[dict[str, np.ndarray]]


def draw_queries(rng: np.random.Generator, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return logits, (images, queries, classes), and boxes, (images, queries, 4) cx cy w h as shares."""
    boxes = draw_head(rng)[:, :_QUERIES, :4] / np.float32([INPUT[1], INPUT[0], INPUT[1], INPUT[0]])
    return rng.normal(-2, 2, (len(ORIGINALS), _QUERIES, classes)).astype(np.float32), boxes


def to_found(results: list[dict[str, torch.Tensor]], originals: tuple[tuple[int, int], ...]) -> Found:
    """Return each image's boxes cut to the image, as our decoders cut; scores and classes."""
    return [
        {
            "boxes": own["boxes"].numpy().clip(0, [width, height, width, height]),
            "scores": own["scores"].numpy(),
            "classes": own["labels"].numpy(),
        }
        for own, (height, width) in zip(results, originals, strict=True)
    ]


def make_detr(rng: np.random.Generator) -> None:
    """Store a softmax with a last score for no object."""
    logits, boxes = draw_queries(rng, CLASSES + 1)
    outputs = SimpleNamespace(logits=torch.from_numpy(logits), pred_boxes=torch.from_numpy(boxes))
    results = DetrImageProcessor.post_process_object_detection(None, outputs, LOWEST, list(ORIGINALS))
    store("detr", _PACKAGES, {"logits": logits, "pred_boxes": boxes}, to_found(results, ORIGINALS))


def make_rtdetr(rng: np.random.Generator) -> None:
    """Store a sigmoid of all classes, of which a query may have several, and the same in the form of its exports.

    An export by the authors of RT-DETR is fed the size that it scales boxes to, here the tensor's, and gives every row,
    the weakest too. Transformers computes these rows here: the formula is the same, the authors' code did not run.
    """
    logits, boxes = draw_queries(rng, CLASSES)
    outputs = SimpleNamespace(logits=torch.from_numpy(logits), pred_boxes=torch.from_numpy(boxes))
    decode = RTDetrImageProcessor.post_process_object_detection
    found = to_found(decode(None, outputs, LOWEST, list(ORIGINALS)), ORIGINALS)
    store("detr_sigmoid", _PACKAGES, {"logits": logits, "pred_boxes": boxes}, found)

    rows = decode(None, outputs, -1, [INPUT] * len(ORIGINALS))
    exported = {part: torch.stack([own[part] for own in rows]).numpy() for part in ("labels", "boxes", "scores")}
    store("rtdetr", _PACKAGES, exported, found)


def make_segmentation(rng: np.random.Generator) -> None:
    """Store the labels of the output's own pixels, and the two best probabilities of each."""
    logits = rng.normal(0, 2, (2, CLASSES + 1, 24, 32)).astype(np.float32)
    outputs = SimpleNamespace(logits=torch.from_numpy(logits))
    labels = SegformerImageProcessor.post_process_semantic_segmentation(None, outputs)
    best = outputs.logits.softmax(dim=1).topk(2, dim=1).values
    found = [
        {"labels": own.numpy(), "margins": (pair[0] - pair[1]).numpy()} for own, pair in zip(labels, best, strict=True)
    ]
    store("segmentation", _PACKAGES, {"logits": logits}, found)


def make_classification(rng: np.random.Generator) -> None:
    """Store the best five classes of each image and their probabilities."""
    logits = rng.normal(0, 3, (3, 20)).astype(np.float32)
    names = {number: str(number) for number in range(logits.shape[1])}
    config = SimpleNamespace(id2label=names, num_labels=len(names))
    pipeline = SimpleNamespace(model=SimpleNamespace(config=config))
    found = []
    for image in torch.from_numpy(logits):
        best = ImageClassificationPipeline.postprocess(
            pipeline, {"logits": image[None]}, function_to_apply=ClassificationFunction.SOFTMAX, top_k=5
        )
        found.append({"classes": [int(each["label"]) for each in best], "scores": [each["score"] for each in best]})
    store("classification", _PACKAGES, {"logits": logits}, found)


if __name__ == "__main__":
    for seed, make in enumerate((make_detr, make_rtdetr, make_segmentation, make_classification)):
        make(np.random.default_rng(40 + seed))
