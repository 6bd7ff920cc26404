"""A first case before it is written: all that was found out, and the case that it makes in memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from parity.backends import get_backend
from parity.case.annotations import open_truth
from parity.case.coco import read_coco
from parity.case.feeds import told_apart
from parity.case.model import Annotations, Case, Decoding, ImageSource, Reference
from parity.decoded import Task
from parity.errors import BackendError, FeedError
from parity.graph import is_quantized
from parity.options import SessionOptions
from parity.starting.bench import Bench
from parity.starting.classes import class_count, name_classes
from parity.starting.decoders import Reading, rank_decoders
from parity.starting.facts import read_facts
from parity.starting.guess import Guess, Mark, updated
from parity.starting.photos import Split, find_photos, read_photos, split_photos
from parity.starting.ranking import MOST_IMAGES, Trials, placed_settings, rank_recipes
from parity.starting.recipes import Recipe, usual_recipe
from parity.starting.variants import without_work
from parity.starting.warn import model_warnings
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from parity.case.coco import CocoFile
    from parity.detect.protocol import Truth
    from parity.starting.facts import ImageInput, ModelFacts, Shapes

Tell = Callable[[str], None]

_LARGEST_BATCH = 8
BELIEVED = 0.3
"""The certainty from which a decoder is written into the case, and not into a comment."""
_ANNOTATED_TASKS = (Task.DETECTION, Task.CLASSIFICATION)
_CONFIRMING = 0.5
"""The certainty of a preprocessing, ranked by annotations, from which they confirm the decoder as well."""
_CONFIRMED_ODDS = 30.0
_LOOKED_AT = 8
"""Images whose outputs a decoder is guessed by."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user gives. ``shapes`` are sizes of inputs with open axes."""

    model: Path
    images: Path | None = None
    annotations: Path | None = None
    shapes: Shapes = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What was found out.

    Attributes
    ----------
    decoders
        The likeliest first; empty where no layout fits.
    recipe, split
        None without images.
    annotations
        The file, where the decoder's task has a use for it.
    seconds_an_image
        How long the model takes on this machine; None without images.
    warnings
        What a reader has to know before he believes the first run, as sentences.
    left_out
        The precisions that no variant has, each with the reason.
    """

    facts: ModelFacts
    decoders: tuple[Guess[Reading], ...]
    recipe: Guess[Recipe] | None
    split: Split | None
    class_names: Guess[tuple[str, ...]] | None
    annotations: Path | None
    batch_size: int
    seconds_an_image: float | None
    warnings: tuple[str, ...] = ()
    left_out: Mapping[Precision, str] = field(default_factory=dict)

    @property
    def decoder(self) -> Guess[Reading] | None:
        """The likeliest decoder."""
        return self.decoders[0] if self.decoders else None

    @property
    def decodes(self) -> bool:
        """Whether the case decodes: the decoder is believed, knows its settings, and has images to say something of.

        What a model chooses by score, sorted rows and labels, is decoded without images too: compared one by one it
        says nothing.
        """
        decoder = self.decoder
        if decoder is None or decoder.value.settings is None or decoder.certainty < BELIEVED:
            return False
        return self.split is not None or decoder.value.is_chosen

    @property
    def is_fed_as_meant(self) -> bool:
        """Whether the model is fed with images, preprocessed in a way that gives sense."""
        return self.recipe is not None and not self.recipe.question

    @property
    def questions(self) -> tuple[str, ...]:
        """What only the user can say; nothing of a decoder that is not believed."""
        decoder = self.decoder if self.decoder is not None and self.decoder.certainty >= BELIEVED else None
        guesses: tuple[Guess[Reading] | Guess[Recipe] | None, ...] = (decoder, self.recipe)
        return tuple(guess.question for guess in guesses if guess is not None and guess.question)


def examine(asked: Asked, tell: Tell) -> Draft:
    """Find out what a first case needs.

    Raises
    ------
    ModelError
        The model cannot be read, or has inputs that nothing here can make.
    FeedError
        The images or annotations cannot be read, or the model takes no images.
    BackendError
        ONNX Runtime is missing or does not run the model.
    """
    tell("reading the model")
    facts = read_facts(asked.model, asked.shapes)
    coco = read_coco(asked.annotations) if asked.annotations else None
    if asked.images is None:
        return _examine_alone(facts, tell)
    image = _require_image(facts)
    found = find_photos(asked.images)
    split = split_photos(found, batch=image.batch, annotated=_annotated(found, coco))
    tell("reading images")
    photos = read_photos(split.judged, MOST_IMAGES, image.batch or 1)
    with _open(facts, photos) as bench:
        return _examine_images(bench, split, asked.annotations, coco, tell)


def _annotated(photos: Sequence[Path], coco: CocoFile | None) -> frozenset[Path] | None:
    """Return the images that annotations know, None without annotations."""
    if coco is None:
        return None
    known = {ending for one in coco.images for ending in one.endings}
    return frozenset(path for path, name in zip(photos, told_apart(photos), strict=True) if name in known)


@contextmanager
def _open(facts: ModelFacts, photos: Sequence[tuple[str, np.ndarray]] = ()) -> Iterator[Bench]:
    # Optimised, because nothing is forecast here: what suits the model is asked, not what a precision costs.
    with get_backend("onnxruntime").open(facts.model, SessionOptions(graph_optimizations=True)) as session:
        yield Bench(facts, session, photos)


def _require_image(facts: ModelFacts) -> ImageInput:
    if facts.image is None:
        raise FeedError(
            f"{facts.path}: {facts.why_no_image}; leave --images out for a first case of random inputs, and then write "
            "a Python function that yields the feeds (docs/case-file.md#inputs); open sizes are named by --shape"
        )
    return facts.image


def _examine_alone(facts: ModelFacts, tell: Tell) -> Draft:
    tell("running random inputs")
    size = facts.image.size if facts.image else None
    with _open(facts) as bench:
        ranked = rank_decoders(_run_random(bench), facts.metadata, size)
    decoders = tuple(guess for guess in ranked if _is_worth_telling(facts, guess))
    warning = (
        "the inputs are random: a pass says that the arithmetic survives noise, not that the model does on what it was "
        f"made for; ranges of int8, overflow and what is decoded depend on real inputs. {_how_to_feed(facts)}"
    )
    classes = name_classes(None, facts.metadata, None)
    warnings = (warning, *model_warnings(facts.model))
    left_out = _left_out(facts)
    return Draft(facts, decoders, None, None, classes, None, _batch_size(facts, None), None, warnings, left_out)


def _left_out(facts: ModelFacts) -> Mapping[Precision, str]:
    # A quantized model is its own int8 variant, whatever there is left to quantize.
    return {
        precision: why
        for precision, why in without_work(facts.model).items()
        if not (is_quantized(facts.model) and precision is Precision.INT8)
    }


def _run_random(bench: Bench) -> tuple[Mapping[str, np.ndarray], ...]:
    try:
        return bench.run_random()
    except BackendError as error:
        sizes = " ".join(f"{name}={'x'.join(map(str, shape))}" for name, shape in bench.facts.sizes.items())
        raise type(error)(
            f"{error}. The inputs were random, of sizes {sizes}: give others by --shape where axes are open; where "
            "values have to fit each other, write a case with a Python function that yields them "
            "(docs/case-file.md#inputs)"
        ) from error


def _is_worth_telling(facts: ModelFacts, guess: Guess[Reading]) -> bool:
    """Whether a decoder is more than a shape by chance: models of text and sound give rows of numbers as well."""
    return facts.image is not None or guess.certainty >= BELIEVED


def _how_to_feed(facts: ModelFacts) -> str:
    if facts.image is not None:
        return "Give --images"
    return "Write a Python function that yields real ones (docs/case-file.md#inputs)"


def _batch_size(facts: ModelFacts, split: Split | None) -> int:
    fixed = facts.image.batch if facts.image else None
    if fixed is not None:
        return fixed
    if split is None and len(facts.open_rows) == 1:
        return next(iter(facts.open_rows))
    first = facts.interface.inputs[0].shape[:1]
    if first and isinstance(first[0], int):
        return first[0]
    # Of random inputs, what --shape says; it is 1 where nothing does.
    return min(_LARGEST_BATCH, len(split.judged)) if split else facts.row_count


def _examine_images(bench: Bench, split: Split, annotations: Path | None, coco: CocoFile | None, tell: Tell) -> Draft:
    facts, image = bench.facts, _require_image(bench.facts)
    tell("looking at the outputs")
    decoders = _guess_decoders(bench, usual_recipe("", image))
    # Values say more where the images are preprocessed as this decoder's models usually are.
    decoders = _guess_decoders(bench, usual_recipe(decoders[0].value.family, image)) if decoders else ()
    names = _names(bench, decoders, coco)
    usable, warnings = _usable(annotations, decoders)
    truths = _truths(bench, decoders, names, usable, split) if usable else {}
    recipe = _guess_recipe(bench, decoders, truths, tell)
    decoders = _reconsidered(bench, decoders, recipe.value)
    if truths and recipe.certainty >= _CONFIRMING:
        decoders = _confirmed(decoders)
    return Draft(
        facts=facts,
        decoders=decoders,
        recipe=recipe,
        split=split,
        class_names=names,
        annotations=usable,
        batch_size=_batch_size(facts, split),
        seconds_an_image=bench.seconds_an_image(recipe.value),
        warnings=(*warnings, *_unsure(recipe), *model_warnings(facts.model)),
        left_out=_left_out(facts),
    )


def _guess_decoders(bench: Bench, recipe: Recipe) -> tuple[Guess[Reading], ...]:
    image = bench.facts.image
    assert image is not None
    shots = bench.run(recipe, max(_LOOKED_AT // bench.batch, 1) * bench.batch)
    return rank_decoders([shot.outputs for shot in shots], bench.facts.metadata, image.size)


def _reconsidered(bench: Bench, decoders: tuple[Guess[Reading], ...], recipe: Recipe) -> tuple[Guess[Reading], ...]:
    """Return the decoders as the right preprocessing shows them, with what placed images ask of their settings."""
    if not decoders:
        return ()
    again = _guess_decoders(bench, recipe)
    found = again if again and again[0].value.family == decoders[0].value.family else decoders
    first = found[0]
    if first.value.settings is None:
        return found
    more = placed_settings(first.value.settings, recipe, bench)
    settings = first.value.settings.model_copy(update=more)
    reading = replace(first.value, settings=settings, given={**first.value.given, **more})
    return (replace(first, value=reading), *found[1:])


def _confirmed(decoders: tuple[Guess[Reading], ...]) -> tuple[Guess[Reading], ...]:
    """Return decoders whose first gave what annotations say: another one would have had to do so by chance."""
    first, *others = decoders
    mark = Mark(_CONFIRMED_ODDS, "what it decodes is what the annotations say")
    sure = replace(first, certainty=updated(first.certainty, (mark,)), evidence=(*first.evidence, mark.sentence))
    left = (1.0 - sure.certainty) / max(1.0 - first.certainty, 1e-9)
    return (sure, *(replace(other, certainty=other.certainty * left) for other in others))


def _names(bench: Bench, decoders: Sequence[Guess[Reading]], coco: CocoFile | None) -> Guess[tuple[str, ...]] | None:
    if not decoders:
        return None
    image = bench.facts.image
    assert image is not None
    [shot, *_] = bench.run(usual_recipe(decoders[0].value.family, image), bench.batch)
    shapes = {name: array.shape for name, array in shot.outputs.items()}
    return name_classes(class_count(decoders[0].value.family, shapes), bench.facts.metadata, coco)


def _usable(annotations: Path | None, decoders: Sequence[Guess[Reading]]) -> tuple[Path | None, tuple[str, ...]]:
    """Return annotations that the decoder's task has a use for, and why not."""
    if annotations is None:
        return None, ()
    settings = decoders[0].value.settings if decoders else None
    if settings is not None and settings.task in _ANNOTATED_TASKS and decoders[0].certainty >= BELIEVED:
        return annotations, ()
    what = f"of {settings.task}" if settings is not None else "without a decoder"
    return None, (f"{annotations.name} is not used: {what} there are no figures on annotations",)


def _truths(
    bench: Bench,
    decoders: Sequence[Guess[Reading]],
    names: Guess[tuple[str, ...]] | None,
    annotations: Path,
    split: Split,
) -> Mapping[str, Truth]:
    """Return what is really in the images of the bench, by name."""
    settings, image = decoders[0].value.settings, bench.facts.image
    assert settings is not None
    assert image is not None
    recipe = usual_recipe(decoders[0].value.family, image)
    case = Case(
        name=bench.facts.path.stem,
        description="",
        folder=bench.facts.path.parent,
        file=bench.facts.path,
        model=bench.facts.path,
        reference=Reference(),
        evaluation=ImageSource(split.judged, image.name, recipe.pipeline(image)),
        calibration=None,
        batch_size=bench.batch,
        shapes={},
        variants=(),
        tolerances=(),
        decoding=Decoding(
            settings, "", settings.task, names.value if names else (), annotations=Annotations(annotations)
        ),
    )
    return open_truth(case, [name for name, _ in bench.photos]).by_image


def _guess_recipe(
    bench: Bench, decoders: Sequence[Guess[Reading]], truths: Mapping[str, Truth], tell: Tell
) -> Guess[Recipe]:
    image = bench.facts.image
    assert image is not None
    first = decoders[0] if decoders else None
    if first is None or first.value.settings is None or first.certainty < BELIEVED:
        usual = usual_recipe(first.value.family if first else "", image)
        why = "nothing decodes the outputs, so nothing says which preprocessing gives sense"
        return Guess(usual, 0.1, (why,), "how are its images preprocessed?")
    metadata = bench.facts.metadata
    is_known = metadata is not None and metadata.is_letterboxed and first.value.family in metadata.families
    return rank_recipes(Trials(bench, first.value.family, first.value.settings, truths, tell, is_known))


def _unsure(recipe: Guess[Recipe]) -> tuple[str, ...]:
    if not recipe.question:
        return ()
    return (
        "the preprocessing is unknown, and the first run was made with a placeholder: it proves as little as noise",
    )
