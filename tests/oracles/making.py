"""What the scripts share: random heads that look like those of a trained model, and how results are stored.

NumPy alone: the scripts run in an environment without this project.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import ArrayLike

STORE = Path(__file__).parents[1] / "data" / "decoders"

INPUT = (128, 160)
"""Height and width of the input tensor. 420 places at strides 8, 16 and 32."""
PLACES = 420
ORIGINALS = ((150, 200), (251, 143))
"""Heights and widths of two images: one fills the tensor's width exactly, one leaves odd fractions of pixels."""
CLASSES = 4
LOWEST = 0.05
"""The score from which detections count."""
NMS_IOU = 0.45

# In the part of the tensor that shows either image, so that no box lies in the padding alone.
_FIRST, _LAST = (50, 20), (110, 108)
_OBJECTS, _COPIES = 7, 6


def draw_head(rng: np.random.Generator, images: int = len(ORIGINALS), classes: int = CLASSES) -> np.ndarray:
    """Return (images, PLACES, 4 + classes) float32: cx cy w h in tensor pixels, and a score for each class.

    A few objects have several places each that say nearly the same box, as in a trained model; one in four copies has
    another class, and every copy a weaker second one. All other places have boxes, and scores below ``LOWEST``.
    """
    return np.stack([_draw_image(rng, classes) for _ in range(images)]).astype(np.float32)


def _draw_image(rng: np.random.Generator, classes: int) -> np.ndarray:
    boxes = np.concatenate([rng.uniform(_FIRST, _LAST, (PLACES, 2)), rng.uniform(8, 60, (PLACES, 2))], axis=1)
    scores = rng.uniform(0, LOWEST * 0.9, (PLACES, classes))
    places = rng.permutation(PLACES)[: _OBJECTS * _COPIES].reshape(_OBJECTS, _COPIES)
    for own in places:
        box = np.concatenate([rng.uniform(_FIRST, _LAST), rng.uniform(15, 50, 2)])
        boxes[own] = box + rng.normal(0, 0.12, (_COPIES, 4)) * box[[2, 3, 2, 3]]
        labels = np.where(rng.uniform(size=_COPIES) < 0.25, rng.integers(classes, size=_COPIES), rng.integers(classes))
        scores[own, labels] = rng.uniform(0.1, 0.95, _COPIES)
        scores[own, (labels + 1) % classes] = scores[own, labels] * rng.uniform(0.3, 0.9, _COPIES)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 4)
    return np.concatenate([boxes, scores], axis=1)


def store(
    name: str,
    packages: Iterable[str],
    outputs: Mapping[str, ArrayLike],
    found: Sequence[Mapping[str, ArrayLike]],
    originals: Sequence[tuple[int, int]] = ORIGINALS,
    **facts: ArrayLike,
) -> None:
    """Store outputs of a model, what published code makes of each image, and which versions of packages that was.

    Parameters
    ----------
    packages
        Names of installed packages; or a name and a version, of what is not installed.
    outputs
        By the names that an exported model gives them.
    found
        Of each image, arrays by name.
    originals
        Height and width of each image.
    facts
        Further arrays.
    """
    arrays: dict[str, Any] = {f"output.{role}": np.asarray(array) for role, array in outputs.items()}
    for image, parts in enumerate(found):
        arrays |= {f"{part}.{image}": np.asarray(array) for part, array in parts.items()}
    sources = [package if " " in package else f"{package} {version(package)}" for package in packages]
    STORE.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(STORE / f"{name}.npz", source=", ".join(sources), originals=originals, **arrays, **facts)
