"""Which preprocessing a model was made for: the usual ways are tried, and what they do to the results is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.decode import decode
from parity.decode.coordinates import ShareSettings
from parity.decode.lanes import LanesSettings
from parity.decoded import Classification, Detections
from parity.errors import DecodeError, FeedError
from parity.starting.guess import Guess
from parity.starting.quality import against_mirror, against_truth
from parity.starting.recipes import Recipe, distance, placements, usual_recipe, variations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from parity.decode import DecodeSettings
    from parity.decoded import Decoded, Floats
    from parity.detect.protocol import Truth
    from parity.starting.bench import Bench, Shot

    Tell = Callable[[str], None]

MOST_IMAGES, FEWEST_IMAGES = 32, 4
"""Images that recipes are tried on: enough to tell a wrong channel order, few enough for many recipes."""
_SECONDS = 45.0
"""What all trials together should take on a CPU."""
_TRIALS = 24
_DEVIATIONS = 2.0
_LEAST_GAIN = 0.01
"""Two recipes are told apart by a difference of two standard errors, but not by less than this."""
_KNOWN = 0.9
"""How sure a preprocessing is that the model's exporter is known to feed, where no image speaks against it."""
_GOOD, _POOR = 0.6, 0.25
"""A quality from which a model is fed as it should be, and one under which it is not."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A recipe with the quality of each image, 0 to 1, (n,)."""

    recipe: Recipe
    qualities: Floats

    @property
    def quality(self) -> float:
        """The mean over the images."""
        return float(self.qualities.mean()) if self.qualities.size else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """What recipes are tried on.

    Attributes
    ----------
    truths
        What is really in the images, by name; empty where nobody said.
    tell
        Is told what is tried.
    is_known
        Whether the model's exporter is known to feed what is usual for the family.
    """

    bench: Bench
    family: str
    settings: DecodeSettings
    truths: Mapping[str, Truth]
    tell: Tell
    is_known: bool = False

    def score(self, recipe: Recipe, count: int) -> Scored:
        """Return the quality of a recipe on the first so many images; 0 where the outputs do not decode by then."""
        self.tell(f"trying {recipe}")
        try:
            return Scored(recipe, self._qualities(recipe, count))
        except (DecodeError, FeedError):
            # Nonsense in, nonsense out: a recipe under which outputs do not decode is not the right one.
            return Scored(recipe, np.zeros(count))

    def _qualities(self, recipe: Recipe, count: int) -> Floats:
        shots = self.bench.run(recipe, count)
        results = self._decoded(recipe, shots)
        if self.truths:
            names = [name for shot in shots for name in shot.names]
            return against_truth(results, [self.truths[name] for name in names])
        mirrored = self._decoded(recipe, self.bench.run(recipe, count, mirrored=True))
        return against_mirror(results, mirrored, [where for shot in shots for where in shot.geometry])

    def _decoded(self, recipe: Recipe, shots: Iterable[Shot]) -> list[Decoded]:
        settings = self.placed(recipe)
        return [result for shot in shots for result in decode(settings, shot.outputs, shot.geometry)]

    def placed(self, recipe: Recipe) -> DecodeSettings:
        """Return the decoder's settings for images that a recipe places."""
        return self.settings.model_copy(update=placed_settings(self.settings, recipe, self.bench))


def placed_settings(settings: DecodeSettings, recipe: Recipe, bench: Bench) -> dict[str, list[int]]:
    """Return what a decoder of shares has to be told where the image does not fill the tensor."""
    image = bench.facts.image
    if image is None or recipe.fills_tensor or not isinstance(settings, ShareSettings | LanesSettings):
        return {}
    return {"input_size": list(image.size)}


def rank_recipes(trials: Trials) -> Guess[Recipe]:
    """Return the preprocessing that suits the model best.

    Channels and values are tried with the family's usual placement, then placements with the best of those, then
    channels and values once more where another placement was better.

    Raises
    ------
    BackendError
        ONNX Runtime failed.
    """
    image = trials.bench.facts.image
    assert image is not None
    usual = usual_recipe(trials.family, image)
    count = _affordable(trials, usual)
    scored = {recipe: trials.score(recipe, count) for recipe in variations(usual, image)}
    first = _best(scored.values(), usual)
    scored |= {recipe: trials.score(recipe, count) for recipe in placements(first) if recipe not in scored}
    second = _best(scored.values(), usual)
    if second.placement != first.placement:
        scored |= {recipe: trials.score(recipe, count) for recipe in variations(second, image) if recipe not in scored}
    return _guess(trials, list(scored.values()), usual)


def _affordable(trials: Trials, usual: Recipe) -> int:
    """Return on how many images recipes can be tried in the time that there is."""
    bench = trials.bench
    runs = _TRIALS * (1 if trials.truths else 2)
    seconds = bench.seconds_an_image(usual)
    wanted = max(FEWEST_IMAGES, min(MOST_IMAGES, int(_SECONDS / (runs * max(seconds, 1e-6)))))
    unit = bench.facts.image.batch if bench.facts.image and bench.facts.image.batch else 1
    return max(unit, min(wanted, len(bench.photos)) // unit * unit)


def _best(scored: Iterable[Scored], usual: Recipe) -> Recipe:
    """Return, of the recipes that cannot be told from the best, the one that is the most usual."""
    return min(_tied(list(scored)), key=lambda one: (*distance(one.recipe, usual), -one.quality)).recipe


def _tied(scored: Sequence[Scored]) -> list[Scored]:
    """Return the recipes that the images cannot tell from the best one."""
    best = max(scored, key=lambda one: one.quality)
    return [one for one in scored if not _is_better(best, one)]


def _is_better(one: Scored, other: Scored) -> bool:
    """Whether one recipe is better than another by more than chance: paired by image."""
    gains = one.qualities - other.qualities
    if gains.size < 2:
        return False
    error = float(gains.std(ddof=1)) / np.sqrt(gains.size)
    return bool(gains.mean() > max(_DEVIATIONS * error, _LEAST_GAIN))


def _guess(trials: Trials, scored: Sequence[Scored], usual: Recipe) -> Guess[Recipe]:
    tied = _tied(scored)
    recipe = _best(scored, usual)
    chosen = next(one for one in scored if one.recipe == recipe)
    if trials.is_known and (chosen.quality < _POOR or any(one.recipe == usual for one in tied)):
        return _known_guess(trials, scored, usual)
    rest = [one for one in scored if one not in tied]
    next_best = max(rest, key=lambda one: one.quality, default=None)
    certainty = _certainty(chosen, tied, is_annotated=bool(trials.truths))
    sentences = [_measured(trials, chosen, len(scored))]
    if next_best is not None:
        sentences.append(f"The best of those that are worse for sure: {next_best.recipe}, {next_best.quality:.3f}.")
    others = [one for one in tied if one.recipe != recipe]
    if others:
        named = "; ".join(f"{one.recipe} {one.quality:.3f}" for one in sorted(others, key=lambda one: -one.quality)[:4])
        sentences.append(f"These images cannot tell it from: {named}. It is the most usual of them.")
    if trials.is_known:
        sentences.append(
            f"The metadata names Ultralytics, whose software feeds {usual}: these images speak against it."
        )
    question = "" if chosen.quality >= _POOR else "how are its images preprocessed? none of the usual ways gives sense"
    return Guess(recipe, certainty, tuple(sentences), question)


def _known_guess(trials: Trials, scored: Sequence[Scored], usual: Recipe) -> Guess[Recipe]:
    """Return what the exporter feeds: images confirm it, or show too little for any way."""
    chosen = next(one for one in scored if one.recipe == usual)
    sentences = [
        "The metadata names Ultralytics, whose software feeds its models so.",
        _measured(trials, chosen, len(scored)),
    ]
    if chosen.quality < _POOR:
        sentences.append("No way gives sense on these images: do they show what the model was trained for?")
    return Guess(usual, _KNOWN, tuple(sentences))


def _certainty(chosen: Scored, tied: Sequence[Scored], *, is_annotated: bool) -> float:
    """Return how sure a recipe is: annotations say more than consistency, and what cannot be told apart is shared.

    Recipes that differ from the chosen one in placement alone take less away: they cost accuracy, not sense.
    """
    if chosen.quality < _POOR:
        return 0.1
    ceiling = 0.97 if is_annotated else 0.75
    ceiling *= 1.0 if chosen.quality >= _GOOD else 0.7
    others = [one.recipe for one in tied if one.recipe != chosen.recipe]
    values_differ = any(other.values != chosen.recipe.values for other in others)
    orders_differ = any(other.order != chosen.recipe.order for other in others)
    return ceiling * (0.6 if values_differ else 1.0) * (0.85 if orders_differ else 1.0) * (0.95 if others else 1.0)


def _measured(trials: Trials, chosen: Scored, count: int) -> str:
    on = f"Of {count} ways tried on {chosen.qualities.size} images"
    if trials.truths:
        known = _known_figure(trials, chosen)
        return f"{on}, held against the annotations, it is right by {chosen.quality:.3f} of 1{known}."
    return f"{on} and their mirror images, it is sure and consistent by {chosen.quality:.3f} of 1."


def _known_figure(trials: Trials, chosen: Scored) -> str:
    """Return the figure that people know for the task, in parentheses."""
    from parity.diagnose.examples import Example, accuracy

    shots = trials.bench.run(chosen.recipe, chosen.qualities.size)
    image = trials.bench.facts.image
    assert image is not None
    settings = trials.placed(chosen.recipe)
    examples = [
        Example(shot.outputs, shot.geometry, image.size, tuple(trials.truths.get(name) for name in shot.names))
        for shot in shots
    ]
    try:
        value = accuracy(examples, lambda outputs, geometry: decode(settings, outputs, geometry))
    except DecodeError:
        return ""
    word = {Detections: "AP50", Classification: "accuracy"}.get(
        type(decode(settings, shots[0].outputs, shots[0].geometry)[0]), ""
    )
    return f" ({word} {value:.3f})" if value is not None and word else ""
