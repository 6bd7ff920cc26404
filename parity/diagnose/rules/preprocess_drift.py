"""Images that are preprocessed otherwise than the model was trained: both sides agree, and both are wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from parity.case.decoder import open_decoder
from parity.diagnose.certainty import CONFIRMED, FITS
from parity.diagnose.examples import accuracy, is_luck, pipeline_of, run_examples
from parity.diagnose.facts import figure_values
from parity.diagnosis import Diagnosis
from parity.errors import BackendError, DecodeError, FeedError
from parity.preprocess import Pipeline
from parity.preprocess.steps import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Color,
    Layout,
    Letterbox,
    Normalize,
    Resize,
    Scale,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parity.case.model import Case
    from parity.diagnose.evidence import Evidence
    from parity.diagnose.examples import Example

CAUSE = "preprocess-drift"
_GOOD = 0.75
"""A model that is right this often is fed as it should be."""
_AGREE = 0.1
_GAIN = 0.1
"""What another preprocessing has to gain on a few images to be more than luck."""

_UNSCALED = Scale(factor=1.0)
"""Pixels as they are, in float32: without any scale they would stay bytes."""

Steps = tuple[Step, ...]


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name the preprocessing under which the reference is right more often, where both sides agree and are wrong."""
    figures = figure_values(evidence)
    kind = "accuracy" if "accuracy_reference" in figures else "true_ap50"
    reference, candidate = figures.get(f"{kind}_reference"), figures.get(f"{kind}_candidate")
    if evidence.case is None or reference is None or candidate is None or reference >= _GOOD:
        return ()
    pipeline = pipeline_of(evidence.case.evaluation)
    if pipeline is None or abs(reference - candidate) > _AGREE:
        return ()
    examples = _examples(evidence, evidence.case, pipeline)
    own = _accuracy(evidence.case, examples)
    if own is None:
        return ()
    tried = {
        what: _accuracy(evidence.case, _examples(evidence, evidence.case, other))
        for what, other in alternatives(pipeline)
    }
    known = {what: value for what, value in tried.items() if value is not None}
    best = max(known, key=lambda what: known[what], default=None)
    if best is None or known[best] < own + _GAIN or is_luck(examples, own, known[best]):
        return ()
    return (_diagnosis(best, own, known, reference),)


def _examples(evidence: Evidence, case: Case, pipeline: Pipeline) -> tuple[Example, ...]:
    """Return what the reference says of the images; nothing where the model does not take such inputs."""
    try:
        return run_examples(case, evidence.model, pipeline)
    except (BackendError, FeedError):
        return ()


def _accuracy(case: Case, examples: Sequence[Example]) -> float | None:
    """Return how right the reference is; None where it cannot be told."""
    try:
        return accuracy(examples, open_decoder(case))
    except DecodeError:
        return None


def alternatives(pipeline: Pipeline) -> Iterator[tuple[str, Pipeline]]:
    """Yield the usual other ways to preprocess, each named by what it does that the pipeline does not."""
    steps = pipeline.steps
    for what, other in (
        ("the other channel order", _swapped(steps)),
        ("pixels of 0 to 255", tuple(_UNSCALED if isinstance(one, Scale) else one for one in steps)),
        ("pixels of 0 to 1", _inserted(steps, Scale(divisor=255), Scale)),
        ("no mean and deviation", tuple(one for one in steps if not isinstance(one, Normalize))),
        ("ImageNet's mean and deviation", _inserted(steps, Normalize(IMAGENET_MEAN, IMAGENET_STD), Normalize)),
        ("the image at the tensor's upper left", _anchored(steps, "top-left")),
        ("the image in the tensor's middle", _anchored(steps, "center")),
        ("a stretched image", tuple(Resize(one.size) if isinstance(one, Letterbox) else one for one in steps)),
        ("a padded image", tuple(Letterbox(one.size) if isinstance(one, Resize) else one for one in steps)),
    ):
        if other == steps:
            continue
        try:
            yield what, Pipeline(other)
        except ValueError:
            # Steps in such an order make no tensor that anybody feeds.
            continue


def _swapped(steps: Steps) -> Steps:
    order = next((one.order for one in reversed(steps) if isinstance(one, Color)), "bgr")
    plain = tuple(_by_numbers(one) for one in steps if not isinstance(one, Color))
    return plain if order == "rgb" else (Color("rgb"), *plain)


def _by_numbers(step: Step) -> Step:
    """Return a normalization with numbers in place of ImageNet's name, which asks for RGB."""
    if not isinstance(step, Normalize):
        return step
    mean = IMAGENET_MEAN if step.mean == "imagenet" else step.mean
    return Normalize(mean, IMAGENET_STD if step.std == "imagenet" else step.std)


def _inserted(steps: Steps, new: Step, kind: type[Step]) -> Steps:
    """Return the steps with a new one before normalization or layout, unless one of its kind is there."""
    if any(isinstance(step, kind) for step in steps):
        return steps
    place = next(index for index, step in enumerate(steps) if isinstance(step, Normalize | Layout))
    return (*steps[:place], new, *steps[place:])


def _anchored(steps: Steps, anchor: Literal["center", "top-left"]) -> Steps:
    return tuple(replace(step, anchor=anchor) if isinstance(step, Letterbox) else step for step in steps)


def _diagnosis(best: str, own: float, known: dict[str, float], reference: float) -> Diagnosis:
    others = ", ".join(f"{what} {value:.3f}" for what, value in sorted(known.items(), key=lambda pair: -pair[1]))
    return Diagnosis(
        cause=CAUSE,
        title=f"The images are preprocessed otherwise than the model was trained: {best} suits it better.",
        # The more of what is missing it brings back, the surer.
        certainty=FITS + (CONFIRMED - FITS) * (known[best] - own) / (1 - own),
        nodes=(),
        evidence=(
            f"Both sides agree, and the reference itself is right by {reference:.3f} only, held against annotations.",
            f"On the first images, as the case preprocesses them: {own:.3f}; with {others}.",
        ),
        probe="Preprocess the same images in the usual other ways, and hold the reference against annotations.",
        probe_result=f"With {best} it is right by {known[best]:.3f} in place of {own:.3f}.",
        is_confirmed=True,
        remedy=f"Preprocess with {best} in [inputs] and [calibration], and check what the product itself does.",
    )
