"""The evaluation images as they were before preprocessing, for overlays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.case.feeds import python_images
from parity.case.image_feeds import read_image
from parity.case.model import ImageSource, PythonSource

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy as np

    from parity.case.model import Case


def read_pictures(case: Case, numbers: Collection[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield original evaluation images, read or made again.

    Parameters
    ----------
    numbers
        Which images, by their running number over all feeds.

    Yields
    ------
    Number and image, (h, w, 3) uint8 BGR, by ascending number; none where the feeds are no images.

    Raises
    ------
    FeedError
        A file is gone or does not decode, or the case's code fails.
    """
    wanted = set(numbers)
    match case.evaluation:
        case ImageSource(files=files, count=count):
            taken = enumerate(files[:count])
            yield from ((number, read_image(path)) for number, path in taken if number in wanted)
        case PythonSource(preprocess=pipeline) as source if pipeline is not None and wanted:
            # Not a step further than asked: the function may take its time.
            images = zip(range(max(wanted) + 1), python_images(source), strict=False)
            yield from ((number, image) for number, (_, image) in images if number in wanted)
