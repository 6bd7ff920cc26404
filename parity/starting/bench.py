"""The model on its bench: images preprocessed one way or another, run, and timed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.build_options import ShapeProfile
from parity.case.image_feeds import ImagePlan, batch_images
from parity.case.model import RandomSource, RandomTensor
from parity.case.random_feeds import draw_feed
from parity.starting.facts import is_like_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.backends import Session
    from parity.preprocess import Geometry
    from parity.starting.facts import ModelFacts
    from parity.starting.recipes import Recipe

    Photos = Sequence[tuple[str, np.ndarray]]

_BATCH = 4
"""Images run at a time where the batch is open: larger ones gain little on a CPU and take memory."""
_SEED = 0


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What the model gave for one batch of images, and where they lie in the input tensor."""

    outputs: Mapping[str, np.ndarray]
    geometry: tuple[Geometry, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A model in a session.

    Attributes
    ----------
    photos
        The images to try on, by name, (h, w, 3) uint8 BGR; empty without images.
    """

    facts: ModelFacts
    session: Session
    photos: Photos

    @property
    def batch(self) -> int:
        """Images run at a time."""
        image = self.facts.image
        return (image.batch if image else None) or _BATCH

    def run(self, recipe: Recipe, count: int | None = None, *, mirrored: bool = False) -> tuple[Shot, ...]:
        """Run the first so many images, all if None; mirrored left to right if asked for.

        Raises
        ------
        FeedError
            An image is too small or thin for the recipe.
        BackendError
            ONNX Runtime failed.
        """
        image = self.facts.image
        assert image is not None
        plan = ImagePlan(image.name, recipe.pipeline(image), self.facts.interface, self.batch)
        photos = [(name, _mirrored(pixels) if mirrored else pixels) for name, pixels in self.photos[:count]]
        return tuple(
            Shot(self.session.run(feed.tensors), feed.geometry or (), feed.sources)
            for feed in batch_images(photos, plan)
        )

    def run_random(self, count: int = 2) -> tuple[Mapping[str, np.ndarray], ...]:
        """Run random inputs, images in 0 to 1.

        Raises
        ------
        FeedError
            An input cannot be drawn.
        BackendError
            ONNX Runtime failed.
        """
        source = random_source(self.facts, _SEED, count)
        interface = self.facts.interface
        batch = self.facts.row_count
        return tuple(self.session.run(draw_feed(source, interface, batch, index)) for index in range(count))

    def seconds_an_image(self, recipe: Recipe) -> float:
        """Return how long an image takes, preprocessing included, once the runtime is warm."""
        self.run(recipe, self.batch)
        begun = time.perf_counter()
        shots = self.run(recipe, self.batch)
        return (time.perf_counter() - begun) / max(sum(len(shot.names) for shot in shots), 1)


def _mirrored(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[:, ::-1])


def random_source(facts: ModelFacts, seed: int, count: int) -> RandomSource:
    """Return random inputs for a model: those that take images in 0 to 1, others by their dtype's default."""
    tensors = {info.name: RandomTensor(0.0, 1.0) for info in facts.interface.inputs if is_like_image(info)}
    profiles = {name: ShapeProfile(size, size, size) for name, size in facts.sizes.items()}
    return RandomSource(seed, count, tensors, profiles)
