"""What the reference's outputs decode to: made once a case when a variant first asks, shared by all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.case.annotations import Truths, open_truth
from parity.case.decoder import open_decoder
from parity.case.feed import tensor_geometry
from parity.detect.protocol import ImageKey
from parity.runner.kept_results import set_aside

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from parity.case.decoder import Decoder
    from parity.case.model import Case, Decoding
    from parity.decoded import Decoded
    from parity.detect.protocol import Truth
    from parity.preprocess import Geometry
    from parity.runner.reference import PreparedCase, StoredFeed
    from parity.runner.store import TensorStore

    Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class DecodedFeed:
    """The images of a feed: what they are called, where they lie in the tensor, what is there, what is really there."""

    images: tuple[ImageKey, ...]
    geometry: tuple[Geometry, ...]
    results: tuple[Decoded, ...]
    truths: tuple[Truth | None, ...]
    notes: tuple[str, ...] = ()


class DecodedReference:
    """A case's decoder, and what it makes of the reference's outputs."""

    def __init__(self, case: Case, decoding: Decoding, prepared: PreparedCase, store: TensorStore) -> None:
        self._case = case
        self._decoding = decoding
        self._prepared = prepared
        self._store = store
        self._decoder: Decoder | None = None
        self._truths: Truths | None = None
        self._results: dict[int, tuple[Callable[[], Decoded], ...]] = {}

    def decode(self, outputs: Tensors, geometry: Sequence[Geometry]) -> tuple[Decoded, ...]:
        """Decode the outputs of one feed, of either side.

        Raises
        ------
        DecodeError
            They do not fit the decoder, or make no sense in it.
        """
        if self._decoder is None:
            self._decoder = open_decoder(self._case)
        return self._decoder(outputs, geometry)

    def __getitem__(self, feed: StoredFeed) -> DecodedFeed:
        """Return a feed's images with what the reference says of them.

        Raises
        ------
        DecodeError
            The reference's outputs do not fit the decoder.
        FeedError
            The annotations cannot be read, or know none of the images.
        RunError
            There is no space to set results aside.
        """
        geometry, images = self._images(feed)
        if feed.number not in self._results:
            results = self.decode(feed.expected, geometry)
            self._results[feed.number] = tuple(set_aside(result, self._store) for result in results)
        truths = self._known_truth()
        return DecodedFeed(
            images=images,
            geometry=geometry,
            results=tuple(give() for give in self._results[feed.number]),
            truths=tuple(truths.by_image.get(image.name) for image in images),
            notes=truths.notes,
        )

    def _images(self, feed: StoredFeed) -> tuple[tuple[Geometry, ...], tuple[ImageKey, ...]]:
        geometry = feed.geometry or tensor_geometry(feed.tensors, self._prepared.interface)
        names = feed.sources or tuple(f"{feed.name}[{row}]" for row in range(len(geometry)))
        return geometry, tuple(
            ImageKey(name, feed.number, row, place.original_height, place.original_width)
            for row, (name, place) in enumerate(zip(names, geometry, strict=True))
        )

    def _known_truth(self) -> Truths:
        if self._truths is None:
            names = [image.name for feed in self._prepared.feeds for image in self._images(feed)[1]]
            self._truths = open_truth(self._case, names) if self._decoding.annotations else Truths({})
        return self._truths
