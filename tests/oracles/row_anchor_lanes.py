"""Lanes on row anchors as Ultra-Fast-Lane-Detection reads them for its evaluation on TuSimple.

Run with a checkout of https://github.com/cfzd/Ultra-Fast-Lane-Detection at commit 590cf6b on the path, torch and SciPy:
``python -m tests.oracles.row_anchor_lanes`` in the repository's root. The datasets that its module imports are stood in
for; none of them is read.
"""

from __future__ import annotations

import importlib
import sys
from unittest.mock import MagicMock

import numpy as np
import torch

from tests.oracles.making import store

_PACKAGES = ("Ultra-Fast-Lane-Detection 590cf6b", "torch", "scipy")
_CELLS, _LANES = 100, 4
# Its h_samples, 160 to 710 of 720 rows; every fifth, to keep the data small.
_ROWS = np.arange(160, 711, 50)
_NONE = -2


def main() -> None:
    """Store x of each point, whole pixels of images 1280 wide, and -1 where there is none."""
    for module in ("data", "data.dataloader", "evaluation.tusimple", "evaluation.tusimple.lane", "utils.dist_utils"):
        sys.modules[module] = MagicMock()
    wrapper = importlib.import_module("evaluation.eval_wrapper")
    rng = np.random.default_rng(50)
    logits = rng.normal(0, 1, (2, _CELLS + 1, len(_ROWS), _LANES))
    middle = rng.uniform(0, _CELLS, (2, 1, len(_ROWS), _LANES))
    logits -= 0.05 * (np.arange(_CELLS + 1)[:, None, None] - middle) ** 2
    logits[:, -1] = np.where(rng.uniform(size=logits[:, -1].shape) < 0.3, 9, -9)
    logits = logits.astype(np.float32)
    found = []
    for image in torch.from_numpy(logits):
        x = np.array(wrapper.generate_tusimple_lines(image, (288, 800), _CELLS))
        found.append({"x": np.where(x == _NONE, -1, x).astype(np.int16)})
    store("lanes", _PACKAGES, {"grid": logits}, found, rows=_ROWS)


if __name__ == "__main__":
    main()
