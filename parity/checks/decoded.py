"""The ``decoded`` check: what a model says of its images, against what the reference says.

Images are judged as they come and then let go; the accumulator of the case's task keeps what its figures need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from parity.agreement import DecodedRecord
from parity.case.regions import matches
from parity.checks.decoded_text import finding_kinds, many, summary
from parity.decode import NmsSettings
from parity.decoded import Task
from parity.detect.classification import ClassificationAgreement
from parity.detect.detection import DetectionAgreement, DetectionOptions
from parity.detect.gates import Gate, default_gates, judge_figures, told_limits, told_point_shift
from parity.detect.lanes import LaneAgreement
from parity.detect.message import gate_sentence
from parity.detect.segmentation import SegmentationAgreement
from parity.detect.wording import split_flaws
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parity.agreement import JudgedFigure
    from parity.case.model import Decoding
    from parity.decoded import Decoded
    from parity.detect.protocol import Agreement, ImageKey, Measured, Truth
    from parity.results import Outcome
    from parity.tolerance import Precision

FINDING_COUNT = 50
"""How many findings are kept with a run."""
IMAGE_COUNT = 20
"""How many images are, the least agreeing ones."""


@dataclass(frozen=True, slots=True)
class DecodedResult:
    """What the check came to.

    Attributes
    ----------
    headline
        One sentence for tables.
    worst_feed
        That of the least agreeing image where the check fails; else None.
    """

    verdict: Verdict
    headline: str
    record: DecodedRecord
    feed_count: int
    worst_feed: int | None


class DecodedCheck:
    """Judges what a variant says of each image against what the reference says.

    Parameters
    ----------
    decoding
        The case's: its task chooses what is measured, its gates stand in place of default ones on the same figure.
    variant
        The variant's name, which chooses among the case's gates.
    agreement
        Measures; what the task asks for if None.
    """

    def __init__(
        self, decoding: Decoding, precision: Precision, variant: str, agreement: Agreement[Any] | None = None
    ) -> None:
        self._decoding = decoding
        self._gates = gates_of(decoding, precision, variant)
        self._agreement: Agreement[Any] = agreement or open_agreement(decoding, self._gates)
        self._feeds: set[int] = set()
        self._flawed_feeds: dict[str, int] = {}
        self._notes: dict[str, None] = {}

    def update(
        self,
        feed: int,
        images: Sequence[ImageKey],
        reference: Sequence[Decoded],
        candidate: Sequence[Decoded],
        truths: Sequence[Truth | None],
    ) -> None:
        """Judge one feed; everything has one entry an image."""
        self._feeds.add(feed)
        for image, expected, actual, truth in zip(images, reference, candidate, truths, strict=True):
            self._agreement.update(image, expected, actual, truth)
            for reason in actual.flaws:
                self._flawed_feeds.setdefault(reason, feed)

    def note(self, sentence: str) -> None:
        """Add what a reader should know whatever the verdict; told once."""
        self._notes[sentence] = None

    def result(self) -> DecodedResult:
        """Judge all images together."""
        measured = self._agreement.result()
        judged = judge_figures(measured.figures, self._gates)
        failures, doubts = _sentences(measured, judged)
        told = summary(self._decoding.task, measured)
        # The reasons of gates stand beside every figure; a line of a table has no room for them.
        first = next(chain(*_sentences(measured, [replace(one, reason="") for one in judged])), "")
        return DecodedResult(
            verdict=Verdict.FAIL if failures else Verdict.INCONCLUSIVE if doubts else Verdict.PASS,
            headline=f"{first.removesuffix('.')}; {told}" if first else told,
            record=self._record(measured, judged, (*failures, *doubts)),
            feed_count=len(self._feeds),
            worst_feed=self._worst_feed(measured) if failures else None,
        )

    def _record(self, measured: Measured, judged: Sequence[JudgedFigure], reasons: tuple[str, ...]) -> DecodedRecord:
        image_count = max(IMAGE_COUNT, self._decoding.picture_count)
        kinds = finding_kinds(measured)
        return DecodedRecord(
            task=str(self._decoding.task),
            decoder=decoder_name(self._decoding),
            figures=tuple(sorted(judged, key=_rank)),
            findings=measured.findings[:FINDING_COUNT],
            finding_count=sum(kinds.values()),
            finding_counts=kinds,
            images=measured.images[:image_count],
            classes=measured.classes,
            reasons=reasons,
            notes=(*measured.notes, *self._notes),
        )

    def _worst_feed(self, measured: Measured) -> int | None:
        new_flaws, _ = split_flaws(measured.flaws)
        # A flaw alone may leave every image in agreement: then the feed is told that has the flaw.
        if new_flaws:
            return self._flawed_feeds.get(new_flaws[0][0])
        return measured.images[0].feed if measured.images else None


def gates_of(decoding: Decoding, precision: Precision, variant: str) -> tuple[Gate, ...]:
    """Return the gates that judge a variant: the defaults, those of the case in their place; the last one wins."""
    gates = {gate.figure: gate for gate in default_gates(decoding.task, precision)}
    for rule in decoding.gates:
        if matches(variant, rule.variant):
            gates[rule.figure] = Gate(rule.figure, rule.minimum, rule.maximum, rule.reason)
    return tuple(gates.values())


def open_agreement(decoding: Decoding, gates: Sequence[Gate] = ()) -> Agreement[Any]:
    """Return what measures the agreement of a case's task, and tells what gates do not allow."""
    match decoding.task:
        case Task.DETECTION:
            return DetectionAgreement(_detection_options(decoding, gates))
        case Task.CLASSIFICATION:
            return ClassificationAgreement(decoding.class_names, small_margin=decoding.small_margin)
        case Task.LANES:
            return LaneAgreement(moved=told_point_shift(gates))
        case Task.SEGMENTATION:
            return SegmentationAgreement(decoding.class_names, small_margin=decoding.small_margin)


def _detection_options(decoding: Decoding, gates: Sequence[Gate]) -> DetectionOptions:
    options = DetectionOptions(
        score_threshold=decoding.score_threshold,
        match_iou=decoding.match_iou,
        borderline_cap=decoding.borderline_cap,
        class_names=decoding.class_names,
        told=told_limits(gates),
    )
    settings = decoding.settings
    if not isinstance(settings, NmsSettings):
        return options
    return replace(options, nms_iou=settings.nms_iou, class_agnostic=settings.class_agnostic)


def decoder_name(decoding: Decoding) -> str:
    """Return the decoder's name, or the case's own function."""
    return decoding.settings.name if decoding.settings else decoding.function


def decoded_outcome(outcome: Outcome, result: DecodedResult) -> Outcome:
    """Return ``outcome`` with verdict, headline, figures and the number of feeds filled."""
    return replace(
        outcome,
        verdict=result.verdict,
        headline=result.headline,
        decoded=result.record,
        feed_count=result.feed_count,
    )


def _rank(judged: JudgedFigure) -> int:
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS, None)
    return order.index(judged.verdict)


def _sentences(measured: Measured, judged: Sequence[JudgedFigure]) -> tuple[list[str], list[str]]:
    """Return why the check fails, and why it shows nothing; what keeps figures from meaning anything comes first."""
    new_flaws, old_flaws = split_flaws(measured.flaws)
    failures = [f"The variant has {_counted(count, reason)}, the reference none." for reason, count in new_flaws]
    failures += [gate_sentence(one) for one in judged if one.verdict is Verdict.FAIL]
    doubts = [measured.degenerate] if measured.degenerate else []
    doubts += [f"The reference itself has {_counted(count, reason)}." for reason, count in old_flaws]
    doubts += [gate_sentence(one) for one in judged if one.verdict is Verdict.INCONCLUSIVE]
    return failures, doubts


def _counted(count: int, reason: str) -> str:
    return f"{many(count, 'row')} left out for: {reason}"
