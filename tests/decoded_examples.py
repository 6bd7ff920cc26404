"""Runs with decoded results, built by hand so that no test of a report depends on a decoder or a runtime."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from parity.agreement import (
    BoxRecord,
    ClassAgreement,
    DecodedRecord,
    Figure,
    Finding,
    ImageAgreement,
    JudgedFigure,
)
from parity.decoded import Detections
from parity.results import Outcome
from parity.verdict import Verdict
from tests.run_examples import PASSING, make_run

if TYPE_CHECKING:
    from pathlib import Path

CAT = BoxRecord((12.0, 8.5, 40.0, 33.125), 0.91, "cat")
DOG = BoxRecord((13.0, 8.5, 41.0, 33.0), 0.88, "dog")
PICTURE = "pictures/shapes-fp16@onnxruntime-1.png"
RECORD = DecodedRecord(
    task="detection",
    decoder="yolov8",
    figures=(
        JudgedFigure(Figure("missed_share", 0.125, "share"), None, 0.02, Verdict.FAIL, "default for fp16"),
        JudgedFigure(
            Figure("true_ap_drop", None, "ap"), -0.01, 0.01, Verdict.INCONCLUSIVE, "a release may lose a point"
        ),
        JudgedFigure(Figure("iou_p5", 0.98765, "iou"), 0.9, None, Verdict.PASS, "default for fp16"),
        JudgedFigure(Figure("corner_shift_max", 3.25, "px")),
        JudgedFigure(Figure("image_count", 1024.0, "count")),
    ),
    findings=(
        Finding("missed", "street.jpg", "street.jpg: the candidate misses cat 0.910", 0.91, CAT, None),
        Finding("class flip", "street.jpg", "street.jpg: cat 0.910 became dog 0.880", 0.88, CAT, DOG),
    ),
    finding_count=132,
    images=(
        ImageAgreement("street.jpg", 0, 1, 0.71, {"reference": 7, "candidate": 6, "missed": 1}, PICTURE),
        ImageAgreement("yard.jpg", 0, 0, 1.0, {"reference": 2, "candidate": 2}),
    ),
    classes=(ClassAgreement("cat", {"matched_share": 0.5, "ap": None}), ClassAgreement("dog", {"matched_share": 1.0})),
    reasons=("missed_share is 12.5 %, at most 2 % is allowed",),
    notes=("4 boxes are borderline",),
)
DECODED = Outcome(
    "shapes",
    "fp16@onnxruntime",
    "fp16",
    "decoded",
    Verdict.FAIL,
    "missed_share is 12.5 %, at most 2 % is allowed",
    message="Decoded results do not agree: 1 / 8 (12.5 %) missed",
    feed_count=4,
    duration_s=1.0,
    decoded=RECORD,
)
CLASSIFIED = replace(
    DECODED,
    case="animals",
    verdict=Verdict.PASS,
    headline="the top class agrees on 100 % of 64 images",
    message="",
    decoded=DecodedRecord(
        "classification",
        "softmax",
        (JudgedFigure(Figure("top1_agreement", 1.0, "share"), 0.99, None, Verdict.PASS, "default for fp16"),),
    ),
)
DECODED_RUN = make_run(PASSING, CLASSIFIED, DECODED)

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738550000000049454e44ae426082"
)


def save_pictures(folder: Path, *endings: str) -> None:
    """Write the picture of ``RECORD`` and, by their endings, those of one side alone, into a run's folder."""
    (folder / "pictures").mkdir(exist_ok=True)
    for ending in ("", *endings):
        (folder / PICTURE.replace(".png", f"{ending}.png")).write_bytes(PNG)


def boxes(*rows: tuple[float, float, float, float], scores: tuple[float, ...] = (), classes: tuple[int, ...] = ()):
    """Return detections of these boxes; class 0 and score 0.9 unless said otherwise."""
    count = len(rows)
    return Detections(
        np.array(rows, np.float64).reshape(-1, 4),
        np.array(scores or (0.9,) * count, np.float64),
        np.array(classes or (0,) * count, np.int64),
    )
