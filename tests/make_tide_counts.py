"""Writes tests/data/tide_counts.json: detections with errors of every kind, and how tidecv counts them.

Usage: ``pip install tidecv && python -m tests.make_tide_counts``. Its figures are stored because it brings
opencv-python, which overwrites the headless one's files.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.ap_images import draw_images, make_image, width_height

TARGET = Path(__file__).parent / "data" / "tide_counts.json"
# On a grid IoUs meet the thresholds exactly; random boxes do not.
GRIDS = (0.01, 0.01, 15.0, 15.0)
KINDS = {"Loc": "localization", "Cls": "classification", "Both": "both", "Dupe": "duplicate", "Bkg": "background"}
KINDS["Miss"] = "missed"


def draw_rows(seed: int, grid: float) -> list[dict[str, Any]]:
    """Return images as rows of numbers, rounded to a grid."""
    images = []
    for one in draw_images(np.random.default_rng(seed), 12, 14):
        truth = np.column_stack([snap(one.truth_boxes, grid), one.truth_classes])
        found = np.column_stack([snap(one.boxes, grid), one.classes, one.scores.round(2)])
        images.append({"truth": truth.tolist(), "found": found.tolist()})
    return images


def snap(boxes: np.ndarray, grid: float) -> np.ndarray:
    """Return boxes with corners on a grid, none of them empty."""
    near = np.round(boxes[:, :2] / grid) * grid
    return np.round(np.hstack([near, np.maximum(np.round(boxes[:, 2:] / grid) * grid, near + grid)]), 2)


def count(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return tidecv's counts."""
    from tidecv import TIDE, Data

    truth, found = Data("truth", max_dets=10**6), Data("found", max_dets=10**6)
    for number, row in enumerate(rows):
        image = make_image(row["truth"], row["found"])
        for box, kind in zip(image.truth_boxes, image.truth_classes, strict=True):
            truth.add_ground_truth(number, int(kind), width_height(box))
        for box, kind, score in zip(image.boxes, image.classes, image.scores, strict=True):
            found.add_detection(number, int(kind), float(score), width_height(box))
    counts = TIDE().evaluate(truth, found).count_errors()
    return {KINDS[kind.short_name]: int(number) for kind, number in counts.items()}


def main() -> None:
    """Draw, count and write."""
    sets = [{"images": rows, "counts": count(rows)} for rows in map(draw_rows, range(len(GRIDS)), GRIDS)]
    TARGET.write_text(json.dumps({"tidecv": version("tidecv"), "sets": sets}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
