"""RT-DETR as newer releases of Ultralytics export and decode it: the best rows, each with one score and its class.

Run with ``ultralytics==8.4.190`` and its requirements: ``python -m tests.oracles.ultralytics_rtdetr`` in the
repository's root.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from ultralytics.models.rtdetr.predict import RTDETRPredictor
from ultralytics.nn.modules.head import RTDETRDecoder

from tests.oracles.making import CLASSES, INPUT, LOWEST, ORIGINALS, draw_head, store

_ROWS = 100


def main() -> None:
    """Store the rows of the graph's end, and what its predictor makes of them."""
    head = draw_head(np.random.default_rng(70))
    boxes = torch.from_numpy(head[..., :4] / np.float32([INPUT[1], INPUT[0], INPUT[1], INPUT[0]]))
    decoder = SimpleNamespace(num_queries=_ROWS, nc=CLASSES, export=False, dynamic=False)
    rows = RTDETRDecoder.postprocess(decoder, boxes, torch.from_numpy(head[..., 4:]))
    predictor = SimpleNamespace(
        args=SimpleNamespace(conf=LOWEST, classes=None, max_det=300),
        batch=[[""] * len(ORIGINALS)],
        model=SimpleNamespace(names={number: str(number) for number in range(CLASSES)}),
    )
    images = [np.zeros((*original, 3), np.uint8) for original in ORIGINALS]
    results = RTDETRPredictor.postprocess(predictor, rows.clone(), None, images)
    # Its boxes may reach beyond the image; ours are cut.
    found = [
        {
            "boxes": own.boxes.xyxy.numpy().clip(0, [width, height, width, height]),
            "scores": own.boxes.conf.numpy(),
            "classes": own.boxes.cls.numpy(),
        }
        for own, (height, width) in zip(results, ORIGINALS, strict=True)
    ]
    store("rtdetr_ultralytics_best", ("ultralytics", "torch"), {"output0": rows.numpy()}, found)


if __name__ == "__main__":
    main()
