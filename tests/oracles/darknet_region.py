"""YOLOv3's and v4's raw maps, decoded by OpenCV's reader of Darknet models and thinned out by torchvision.

Run with ``opencv-python-headless==4.13.0.92`` (OpenCV 5 reads no Darknet files), torch and torchvision:
``python -m tests.oracles.darknet_region`` in the repository's root.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision.ops import batched_nms

from tests.oracles.making import CLASSES, INPUT, LOWEST, NMS_IOU, store
from tests.oracles.maps import ANCHORS, STRIDES, draw_maps

_PACKAGES = ("opencv-python-headless", "torch", "torchvision")
_ORIGINALS = ((256, 480), (101, 77))
_CHANNELS = 3 * (5 + CLASSES)
_NETWORK = """
[net]
width={width}
height={height}
channels={channels}

[convolutional]
filters={channels}
size=1
stride={stride}
activation=linear

[yolo]
mask=0,1,2
anchors={anchors}
classes={classes}
num=3
thresh=0
scale_x_y={reach}
"""


def decode_map(level: np.ndarray, anchors: np.ndarray, stride: int, reach: float) -> np.ndarray:
    """Return (images, h * w * 3, 5 + classes), cx cy w h as shares, objectness, scores, of one raw map."""
    height, width = INPUT
    text = _NETWORK.format(
        width=width,
        height=height,
        channels=_CHANNELS,
        stride=stride,
        anchors=", ".join(f"{side:g}" for side in np.ravel(anchors)),
        classes=CLASSES,
        reach=reach,
    )
    with tempfile.TemporaryDirectory() as folder:
        config, weights = Path(folder, "map.cfg"), Path(folder, "map.weights")
        config.write_text(text)
        weights.write_bytes(
            np.array([0, 2, 0, 0, 0], np.int32).tobytes()
            + np.zeros(_CHANNELS, np.float32).tobytes()
            + np.eye(_CHANNELS, dtype=np.float32).tobytes()
        )
        network = cv2.dnn.readNetFromDarknet(str(config), str(weights))
    # The convolution takes every stride-th pixel, so that the map arrives as it is.
    image = np.zeros((len(level), _CHANNELS, height, width), np.float32)
    image[..., ::stride, ::stride] = level
    network.setInput(image)
    return network.forward().reshape(len(level), -1, 5 + CLASSES)


def thin_out(rows: np.ndarray, original: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return one image's boxes in pixels of the image, which fills the tensor; rows are (n, 5 + classes)."""
    height, width = original
    scores, classes = torch.from_numpy(rows[:, 5:]).max(dim=1)
    sure = scores >= LOWEST
    centers = torch.from_numpy(rows[:, :4])[sure]
    corners = torch.cat([centers[:, :2] - centers[:, 2:] / 2, centers[:, :2] + centers[:, 2:] / 2], dim=1)
    in_tensor = corners * torch.tensor([INPUT[1], INPUT[0], INPUT[1], INPUT[0]])
    kept = batched_nms(in_tensor, scores[sure], classes[sure], NMS_IOU)
    boxes = corners[kept].numpy().clip(0, 1) * np.float32([width, height, width, height])
    return {"boxes": boxes, "scores": scores[sure][kept].numpy(), "classes": classes[sure][kept].numpy()}


def main() -> None:
    """Store both formulas."""
    for seed, (name, reaches) in enumerate((("v3", (1, 1, 1)), ("v4", (1.2, 1.1, 1.05)))):
        maps = draw_maps(np.random.default_rng(20 + seed), len(_ORIGINALS))
        levels = zip(maps, ANCHORS, STRIDES, reaches, strict=True)
        rows = np.concatenate([decode_map(*level) for level in levels], axis=1)
        found = [thin_out(*pair) for pair in zip(rows, _ORIGINALS, strict=True)]
        raw = {f"map{stride}": level for stride, level in zip(STRIDES, maps, strict=True)}
        store(f"yolo_anchors_{name}", _PACKAGES, raw, found, originals=_ORIGINALS)


if __name__ == "__main__":
    main()
