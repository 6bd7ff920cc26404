"""How fast the agreement of detections is measured, as a ratio to pycocotools on the same data in one run.

Usage: ``python benchmarks/bench_agreement.py`` takes 5,000 images of 100 detections in 80 classes, a minute because of
pycocotools, and exits with 1 below a target; ``--smoke`` takes 50 images, where ratios say little, and exits with 1
where AP is not that of pycocotools alone. Seconds are of the processor, one thread on either side: other programs on
the machine do not count.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.decoded import Detections
from parity.detect.ap_images import ApImage
from parity.detect.average_precision import evaluate
from parity.detect.detection import DetectionAgreement
from parity.detect.protocol import ImageKey

if TYPE_CHECKING:
    from collections.abc import Callable

FULL_COUNT, SMOKE_COUNT = 5_000, 50
DETECTIONS, CLASSES, SIZE = 100, 80, 640.0
RATIO_TARGET = 5.0
MEMORY_TARGET = 2**30
AP_TARGET = 1e-9


def make_images(count: int) -> list[ApImage]:
    """Return images whose detections are their truth, moved by pixels; one of 20 is of another class."""
    rng = np.random.default_rng(0)
    return [_make_image(rng) for _ in range(count)]


def _make_image(rng: np.random.Generator) -> ApImage:
    near = rng.uniform(0, SIZE, (DETECTIONS, 2))
    truth = np.hstack([near, near + rng.uniform(10, 100, (DETECTIONS, 2))])
    classes = rng.integers(0, CLASSES, DETECTIONS)
    flips = rng.random(DETECTIONS) < 0.05
    return ApImage(
        truth_boxes=truth,
        truth_classes=classes,
        truth_is_crowd=np.zeros(DETECTIONS, np.bool_),
        truth_areas=np.prod(truth[:, 2:] - truth[:, :2], axis=1),
        boxes=truth + rng.normal(0, 1, truth.shape),
        # All above the threshold from which agreement is judged.
        scores=rng.uniform(0.25, 1.0, DETECTIONS),
        classes=np.where(flips, (classes + 1) % CLASSES, classes),
    )


def coco_records(images: list[ApImage]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the truth as COCO's data set and the detections as its list; making them is not timed."""
    truth, found = [], []
    for number, image in enumerate(images):
        places = np.hstack([image.truth_boxes[:, :2], image.truth_boxes[:, 2:] - image.truth_boxes[:, :2]]).tolist()
        for place, kind, area in zip(places, image.truth_classes.tolist(), image.truth_areas.tolist(), strict=True):
            # Ids from 1: pycocotools takes 0 for "not matched".
            record = {"id": len(truth) + 1, "image_id": number, "category_id": kind, "iscrowd": 0}
            truth.append({**record, "bbox": place, "area": area})
        places = np.hstack([image.boxes[:, :2], image.boxes[:, 2:] - image.boxes[:, :2]]).tolist()
        for place, kind, score in zip(places, image.classes.tolist(), image.scores.tolist(), strict=True):
            found.append({"image_id": number, "category_id": kind, "bbox": place, "score": score})
    kinds = [{"id": number} for number in range(CLASSES)]
    numbers = [{"id": number} for number in range(len(images))]
    return {"images": numbers, "annotations": truth, "categories": kinds}, found


def run_coco(dataset: dict[str, Any], detections: list[dict[str, Any]]) -> float:
    """Load the detections, evaluate and accumulate; return AP. One area range, where pycocotools does four."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    table = evaluation.eval["precision"][:, :, :, 0, -1]
    return float(table[table > -1].mean())


def run_parity(images: list[ApImage]) -> float:
    """Measure every figure, average precision, kinds of errors and findings among them; return AP."""
    agreement = DetectionAgreement()
    for number, image in enumerate(images):
        key = ImageKey(str(number), number, 0, int(SIZE), int(SIZE))
        # The truth of pycocotools is the reference here, all of it shown.
        ones = np.linspace(1.0, 0.9, len(image.truth_boxes))
        reference = Detections(image.truth_boxes, ones, image.truth_classes)
        agreement.update(key, reference, Detections(image.boxes, image.scores, image.classes))
    figures = {figure.name: figure.value for figure in agreement.result().figures}
    return figures["ap"] or 0.0


def timed(contestant: Callable[[], float]) -> tuple[float, float]:
    """Return seconds of the processor and the result."""
    start = time.process_time()
    result = contestant()
    return time.process_time() - start, result


def extra_memory(images: list[ApImage]) -> int:
    """Return the most bytes that measuring allocated at one time."""
    tracemalloc.start()
    run_parity(images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> int:
    """Print what both take; return 1 where a full run misses a target or the two disagree on AP."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few images; only a wrong AP gives exit code 1")
    smoke = parser.parse_args().smoke
    images = make_images(SMOKE_COUNT if smoke else FULL_COUNT)
    alone, _ = timed(lambda: evaluate(images).ap or 0.0)
    ours, our_ap = timed(lambda: run_parity(images))
    records = coco_records(images)
    theirs, their_ap = timed(lambda: run_coco(*records))
    memory = extra_memory(images)
    print(f"{len(images)} images x {DETECTIONS} detections, AP {our_ap:.6f}")
    print(f"all figures        {ours:6.1f} s  {theirs / ours:5.1f} x pycocotools  {memory / 2**20:6.0f} MiB extra")
    print(f"average precision  {alone:6.1f} s  {theirs / alone:5.1f} x pycocotools ({theirs:.1f} s)")
    is_same = abs(our_ap - their_ap) <= AP_TARGET
    is_good = theirs / ours >= RATIO_TARGET and memory <= MEMORY_TARGET
    print(f"AP differs from pycocotools' by {abs(our_ap - their_ap):.1g}; allowed are {AP_TARGET:g}")
    print(f"targets: {RATIO_TARGET} x pycocotools with all figures, {MEMORY_TARGET / 2**20:.0f} MiB")
    return 0 if is_same and (smoke or is_good) else 1


if __name__ == "__main__":
    sys.exit(main())
