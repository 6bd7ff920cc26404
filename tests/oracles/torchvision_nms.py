"""Which boxes torchvision keeps of many that overlap.

Run with torch and torchvision: ``python -m tests.oracles.torchvision_nms`` in the repository's root.
"""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import batched_nms, nms

from tests.oracles.making import store

_BOXES, _CLASSES = 400, 5
_THRESHOLDS = (0.2, 0.45, 0.7)


def main() -> None:
    """Store the kept rows at some thresholds, of each class by itself and of all classes together."""
    rng = np.random.default_rng(60)
    corner, extent = rng.uniform(0, 80, (_BOXES, 2)), rng.uniform(5, 60, (_BOXES, 2))
    boxes = torch.from_numpy(np.concatenate([corner, corner + extent], axis=1).astype(np.float32))
    # No two scores are equal: which of two is the stronger would be nobody's.
    scores = torch.from_numpy(rng.permutation(np.linspace(0.01, 0.99, _BOXES, dtype=np.float32)))
    classes = torch.from_numpy(rng.integers(_CLASSES, size=_BOXES))
    found = [
        {"kept": batched_nms(boxes, scores, classes, threshold), "kept_agnostic": nms(boxes, scores, threshold)}
        for threshold in _THRESHOLDS
    ]
    outputs = {"boxes": boxes, "scores": scores, "classes": classes}
    store("nms", ("torchvision", "torch"), outputs, found, thresholds=_THRESHOLDS)


if __name__ == "__main__":
    main()
