"""Recipes are ranked by what they do to the results; what images cannot tell apart is told, and the usual one taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.decode.classification import ClassificationSettings
from parity.preprocess import Pipeline
from parity.starting import ranking
from parity.starting.bench import Bench, Shot
from parity.starting.facts import ImageInput
from parity.starting.ranking import Trials, rank_recipes
from parity.starting.recipes import ORDERS, PLACEMENTS, VALUES, Recipe, usual_recipe

if TYPE_CHECKING:
    from parity.starting.guess import Guess

IMAGE = ImageInput("images", "float32", "nchw", (64, 64), None)
COUNT = 8


@dataclass(frozen=True, slots=True)
class _Facts:
    image: ImageInput = IMAGE


@dataclass(frozen=True, slots=True)
class ScriptedBench:
    """A bench whose classifier is as sure as a table says of each recipe."""

    sureness: dict[Recipe, float]
    other: float = 0.34
    seconds: float = 0.001
    facts: _Facts = _Facts()
    photos: tuple[tuple[str, np.ndarray], ...] = tuple((str(i), np.zeros((8, 8, 3), np.uint8)) for i in range(COUNT))
    tried: list[tuple[Recipe, int, bool]] = field(default_factory=list)
    batch: int = 4

    def run(self, recipe: Recipe, count: int | None = None, *, mirrored: bool = False) -> tuple[Shot, ...]:
        count = count or COUNT
        self.tried.append((recipe, count, mirrored))
        sure = self.sureness.get(recipe, self.other)
        rows = np.full((count, 3), (1 - sure) / 2, np.float32)
        rows[np.arange(count), np.arange(count) % 3] = sure
        # Geometry is read of images that are mirrored; classes have no place.
        return (Shot({"y": rows}, (None,) * count, tuple(map(str, range(count)))),)  # type: ignore[arg-type]

    def seconds_an_image(self, _recipe: Recipe) -> float:
        return self.seconds


def rank(bench: ScriptedBench, *, is_known: bool = False) -> Guess[Recipe]:
    settings = ClassificationSettings(scores="probability")
    real: Bench = bench  # type: ignore[assignment] # has what trials ask of a bench
    return rank_recipes(Trials(real, "classification", settings, {}, lambda _what: None, is_known))


@pytest.mark.parametrize(
    "recipe",
    [Recipe("resize", "rgb", "imagenet"), Recipe("letterbox", "bgr", "0..255"), Recipe("center-crop", "rgb", "-1..1")],
    ids=str,
)
def test_the_recipe_that_makes_the_model_sure_is_found(recipe: Recipe) -> None:
    # A wrong placement costs a little, wrong values cost everything.
    nearly = {Recipe(placement, recipe.order, recipe.values): 0.8 for placement in PLACEMENTS}
    found = rank(ScriptedBench({**nearly, recipe: 0.97}))
    assert found.value == recipe
    assert found.certainty == pytest.approx(0.75)
    assert found.question == ""


def test_recipes_that_the_images_cannot_tell_apart_are_told_and_the_usual_one_is_taken() -> None:
    both = {Recipe("resize", order, "imagenet"): 0.95 for order in ORDERS}
    found = rank(ScriptedBench(both))
    assert found.value == Recipe("resize", "rgb", "imagenet")
    assert "cannot tell it from: resize, BGR, imagenet" in found.evidence[-1]
    assert found.certainty < 0.75


def test_where_nothing_gives_sense_it_is_asked() -> None:
    found = rank(ScriptedBench({}))
    assert found.certainty <= 0.1
    assert "how are its images preprocessed?" in found.question


def test_what_the_exporter_feeds_is_taken_where_the_images_show_nothing() -> None:
    found = rank(ScriptedBench({}), is_known=True)
    assert found.value == usual_recipe("classification", IMAGE)
    assert (found.certainty, found.question) == (0.9, "")
    assert "No way gives sense on these images" in found.evidence[-1]


def test_what_the_exporter_feeds_is_surer_where_the_images_agree() -> None:
    usual = usual_recipe("classification", IMAGE)
    bench = ScriptedBench({usual: 0.97})
    assert rank(bench).certainty < rank(bench, is_known=True).certainty == 0.9
    assert rank(bench, is_known=True).value == usual


def test_images_that_speak_against_the_exporter_are_believed_and_it_is_told() -> None:
    better = Recipe("letterbox", "bgr", "0..255")
    nearly = {Recipe(placement, "bgr", "0..255"): 0.8 for placement in PLACEMENTS}
    found = rank(ScriptedBench({**nearly, better: 0.97}), is_known=True)
    assert found.value == better
    assert "these images speak against it" in found.evidence[-1]


def test_a_slow_model_is_tried_on_fewer_images() -> None:
    quick, slow = ScriptedBench({}), ScriptedBench({}, seconds=5.0)
    rank(quick)
    rank(slow)
    assert {count for _, count, _ in quick.tried} == {COUNT}
    assert {count for _, count, _ in slow.tried} == {ranking.FEWEST_IMAGES}


def test_without_annotations_each_recipe_is_tried_on_the_mirrored_images_too() -> None:
    bench = ScriptedBench({})
    rank(bench)
    assert {mirrored for _, _, mirrored in bench.tried} == {False, True}


@pytest.mark.parametrize(("dtype", "order"), list(product(("float32", "float16", "uint8"), ("nchw", "nhwc"))))
def test_every_recipe_makes_tensors_of_the_models_shape_and_dtype(dtype: str, order: str) -> None:
    image = ImageInput("x", dtype, order, (12, 20), None)  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    for placement, channels, values in product(PLACEMENTS, ORDERS, VALUES):
        if dtype == "uint8" and values != "0..255":
            continue
        tensor = Recipe(placement, channels, values).pipeline(image)(pixels).tensor
        assert tensor.shape == image.shape(1)
        assert tensor.dtype == dtype


def test_recipes_mean_what_they_say() -> None:
    white = np.full((8, 8, 3), 255, np.uint8)
    means = {values: Recipe("resize", "rgb", values).pipeline(IMAGE)(white).tensor.max() for values in VALUES}
    assert means["0..1"] == means["-1..1"] == 1.0
    assert means["0..255"] == 255.0
    assert means["imagenet"] == pytest.approx((1 - 0.406) / 0.225, rel=1e-5)


def test_imagenets_numbers_go_with_their_channels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    rgb, bgr = (Recipe("resize", order, "imagenet").pipeline(IMAGE)(image).tensor for order in ORDERS)
    assert np.allclose(rgb, bgr[:, ::-1], atol=1e-6)


def test_large_classifiers_are_fed_a_crop_and_small_ones_the_whole_image() -> None:
    large = ImageInput("x", "float32", "nchw", (224, 224), None)
    assert usual_recipe("classification", large).placement == "center-crop"
    assert usual_recipe("classification", IMAGE).placement == "resize"
    assert isinstance(usual_recipe("yolov8", IMAGE).pipeline(IMAGE), Pipeline)
