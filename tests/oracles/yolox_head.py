"""YOLOX's raw outputs, and what its own head and thinning out make of them.

Run with the source distribution of ``yolox==0.3.0`` on the path, loguru, tabulate, thop, psutil, torch and torchvision:
``python -m tests.oracles.yolox_head`` in the repository's root.
"""

from __future__ import annotations

import numpy as np
import torch
from yolox.models.yolo_head import YOLOXHead
from yolox.utils.boxes import postprocess

from tests.oracles.making import CLASSES, INPUT, LOWEST, NMS_IOU, ORIGINALS, draw_head, store

_STRIDES = (8, 16, 32)
# The distribution is unpacked, not installed, so its version is in no metadata.
_PACKAGES = ("yolox 0.3.0", "torch", "torchvision")


def undo_decoding(head: np.ndarray, offsets: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return raw numbers that decode to about such boxes; ``decode_outputs`` says what they decode to exactly."""
    centers = head[..., :2] / factors - offsets
    return np.concatenate([centers, np.log(head[..., 2:4] / factors), head[..., 4:]], axis=-1).astype(np.float32)


def to_found(rows: torch.Tensor, original: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return what its demo shows, boxes divided by the ratio, cut to the image as our decoders cut."""
    height, width = original
    ratio = min(INPUT[0] / height, INPUT[1] / width)
    boxes = (rows[:, :4] / ratio).numpy().clip(0, [width, height, width, height])
    return {"boxes": boxes, "scores": (rows[:, 4] * rows[:, 5]).numpy(), "classes": rows[:, 6].numpy().astype(np.int64)}


def main() -> None:
    """Store the raw head, and the one that was decoded in the graph."""
    rng = np.random.default_rng(11)
    head = YOLOXHead(CLASSES, width=0.0625, in_channels=[16, 16, 16])
    head.hw = [(INPUT[0] // stride, INPUT[1] // stride) for stride in _STRIDES]
    cells = torch.zeros(1, sum(height * width for height, width in head.hw), 4)
    places = head.decode_outputs(cells, "torch.FloatTensor").numpy()[0]
    drawn = draw_head(rng)
    # The padding is to the right and below.
    drawn[..., :2] *= 0.6
    raw = undo_decoding(drawn, places[:, :2] / places[:, 2:], places[:, 2:])
    objectness = rng.uniform(0.7, 1, (*raw.shape[:2], 1)).astype(np.float32)
    raw = np.concatenate([raw[..., :4], objectness, raw[..., 4:]], axis=-1)
    decoded = head.decode_outputs(torch.from_numpy(raw.copy()), "torch.FloatTensor")
    kept = postprocess(decoded.clone(), CLASSES, LOWEST, NMS_IOU)
    found = [to_found(*pair) for pair in zip(kept, ORIGINALS, strict=True)]
    store("yolox", _PACKAGES, {"output": raw}, found)
    store("yolox_decoded", _PACKAGES, {"output": decoded.numpy()}, found)


if __name__ == "__main__":
    main()
