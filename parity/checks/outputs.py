"""The ``outputs`` check: raw tensors against the reference, structure before values.

Feeds are judged as they come and then let go, so memory does not grow with their number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from parity.checks.parts import Output, Part, comparison, with_unwritten
from parity.checks.triangulation import Triangle
from parity.compare import reference_rms
from parity.judge import judge
from parity.results import TensorOutcome
from parity.tolerance import NOISE_FLOOR_DB
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from parity.case.regions import RegionTolerance
    from parity.results import Outcome
    from parity.tolerance import Precision, Tolerance

    Tensors = Mapping[str, np.ndarray]
    RegionsOf = Callable[[str, tuple[int, ...]], tuple[RegionTolerance, ...]]
    """The regions that judge an output of a shape."""


@dataclass(frozen=True, slots=True)
class OutputsResult:
    """What the check came to.

    Attributes
    ----------
    headline
        One sentence for tables.
    tensors
        One outcome for each output or region of it, in the reference's order; outputs of the variant alone come last.
    feed_count
        Feeds judged.
    worst_feed
        The feed that fails most, None where no feed fails.
    """

    verdict: Verdict
    headline: str
    tensors: tuple[TensorOutcome, ...]
    feed_count: int
    worst_feed: int | None


def reference_scales(regions_of: RegionsOf, references: Sequence[Tensors]) -> dict[str, float]:
    """Return the root mean square over all feeds of the regions whose tolerance is in units of it, by their label.

    Parameters
    ----------
    references
        The reference's outputs of each feed; read once for each region, so memory-mapped arrays stay on disk.
    """
    owners = {
        region.label: name
        for feed in references
        for name, array in feed.items()
        for region in regions_of(name, array.shape)
        if region.tolerance.atol_unit == "rms"
    }
    return {label: reference_rms(_selections(regions_of, name, label, references)) for label, name in owners.items()}


def _selections(regions_of: RegionsOf, name: str, label: str, references: Iterable[Tensors]) -> Iterator[np.ndarray]:
    for array in (feed[name] for feed in references if name in feed):
        for region in regions_of(name, array.shape):
            if region.label == label and array.size:
                yield region.select(array)


class OutputsCheck:
    """Judges a variant's outputs against the reference's, feed by feed.

    Parameters
    ----------
    regions_of
        The regions that judge an output of a shape, with atol in the output's own unit.
    precision
        The variant's precision: last places are counted in it, and its noise floor is told.
    dtypes
        The dtypes of outputs that are meant to differ from the reference's, by name: half outputs of a variant that
        was asked for them.
    decodes
        Whether a ``decoded`` check judges the same answers; without it, what is judged by decoding shows nothing.
    doubt
        Why agreement shows nothing, as a sentence; empty where it does.
    """

    def __init__(
        self,
        regions_of: RegionsOf,
        precision: Precision,
        dtypes: Mapping[str, str] | None = None,
        *,
        decodes: bool = False,
        doubt: str = "",
    ) -> None:
        self._decodes = decodes
        self._doubt = doubt
        self._regions_of = regions_of
        self._precision = precision
        self._dtypes = dict(dtypes or {})
        self._outputs: dict[str, Output] = {}
        self._feed_count = 0
        self._worst: tuple[float, int] | None = None

    def update(
        self,
        feed: int,
        actual: Tensors,
        expected: Tensors,
        *,
        rounded: Tensors | None = None,
        unwritten: Mapping[str, int] | None = None,
    ) -> None:
        """Judge one feed.

        Parameters
        ----------
        feed
            Its number.
        expected
            The reference's outputs.
        rounded
            The rounded graph's outputs, where an engine is judged: then errors are told apart. For all feeds or none.
        unwritten
            How many elements of each output were never written.

        Raises
        ------
        StructureError
            A tensor holds no plain numbers.
        """
        self._feed_count += 1
        for name in dict.fromkeys((*expected, *actual)):
            shown = expected[name] if name in expected else actual[name]
            output = self._outputs.setdefault(name, Output(shown.shape, shown.dtype.name))
            found, wanted, torn = self._common_rows(name, actual.get(name), expected.get(name))
            reason = torn or self._structure_reason(name, found, wanted)
            if reason:
                output.structure_reason = output.structure_reason or f"{reason} (feed {feed})."
                self._note_failure(math.inf, feed)
            elif found is not None and wanted is not None and wanted.size:
                self._compare(name, feed, found, wanted, self._rounded(name, wanted, rounded))
        for name, count in (unwritten or {}).items():
            self._note_unwritten(name, feed, count)

    def result(self) -> OutputsResult:
        """Judge all feeds together."""
        tensors = tuple(outcome for name, output in self._outputs.items() for outcome in self._outcomes(name, output))
        verdict = _worst_verdict([tensor.verdict for tensor in tensors])
        worst_feed = self._worst[1] if self._worst and verdict is Verdict.FAIL else None
        return OutputsResult(verdict, _headline(verdict, tensors), tensors, self._feed_count, worst_feed)

    def _doubted(self, outcome: TensorOutcome) -> TensorOutcome:
        """Return an outcome; one that agrees is inconclusive where agreement shows nothing."""
        reason = self._doubt
        if not (self._decodes or outcome.is_bound):
            reason = "It is judged by decoding, and nothing decodes it: give the case a [decode] table."
        if not reason or outcome.verdict is not Verdict.PASS:
            return outcome
        return replace(outcome, verdict=Verdict.INCONCLUSIVE, reasons=(reason,))

    def _common_rows(
        self, name: str, actual: np.ndarray | None, expected: np.ndarray | None
    ) -> tuple[np.ndarray | None, np.ndarray | None, str]:
        """Return both sides, cut to the rows that both have where decoding judges how many there are.

        The text is what is wrong with the rows that were cut off: they hold a NaN or an infinity.
        """
        if actual is None or expected is None or actual.shape == expected.shape or actual.ndim != expected.ndim:
            return actual, expected, ""
        if any(region.tolerance.is_bound for region in self._regions_of(name, expected.shape)):
            return actual, expected, ""
        common = tuple(slice(min(sizes)) for sizes in zip(actual.shape, expected.shape, strict=True))
        self._outputs[name].notes["rows"] = (
            f"The number of rows differs, for example {actual.shape} and the reference's {expected.shape}: figures are "
            "of those that both have."
        )
        cut, kept = actual[common], expected[common]
        beyond = _count_nonfinite(actual) - _count_nonfinite(cut)
        return (
            cut,
            kept,
            f"{beyond} elements are NaN or infinite in rows that the reference does not have" * bool(beyond),
        )

    def _structure_reason(self, name: str, actual: np.ndarray | None, expected: np.ndarray | None) -> str | None:
        if actual is None:
            return "The variant does not give this output"
        if expected is None:
            return "Only the variant gives this output"
        dtype = self._dtypes.get(name, expected.dtype.name)
        if actual.dtype.name != dtype:
            return f"The variant gives {actual.dtype.name}, expected {dtype}"
        if actual.shape != expected.shape:
            return f"The variant gives shape {actual.shape}, the reference {expected.shape}"
        return None

    def _compare(
        self, name: str, feed: int, actual: np.ndarray, expected: np.ndarray, rounded: np.ndarray | None
    ) -> None:
        parts = self._outputs[name].parts
        for region in self._regions_of(name, expected.shape):
            if region.label not in parts:
                parts[region.label] = self._part(region.tolerance)
            # Rows that changed places lie as far from the rounded graph's as from the reference's.
            third = rounded if region.tolerance.is_bound else None
            parts[region.label].update(region, feed, actual, expected, third)
            self._rank(feed, region.tolerance, region.select(actual), region.select(expected))

    def _rounded(self, name: str, expected: np.ndarray, rounded: Tensors | None) -> np.ndarray | None:
        if rounded is None:
            return None
        array = rounded.get(name)
        if array is not None and array.shape == expected.shape:
            return array
        found = "does not give it" if array is None else f"gives shape {array.shape}"
        self._outputs[name].notes["rounded"] = f"Errors are not told apart here: the rounded graph {found}."
        return None

    def _part(self, tolerance: Tolerance) -> Part:
        return Part(tolerance, comparison(tolerance, self._precision), Triangle(tolerance, self._precision))

    def _note_unwritten(self, name: str, feed: int, count: int) -> None:
        if count and name in self._outputs:
            self._outputs[name].unwritten_count += count
            self._note_failure(math.inf, feed)

    def _rank(self, feed: int, tolerance: Tolerance, actual: np.ndarray, expected: np.ndarray) -> None:
        # A share of elements, or an SQNR, over all feeds fails only where it fails on one feed alone: some feed that
        # fails by itself is always found, and replaying it fails as well.
        alone = comparison(tolerance, self._precision)
        alone.update(actual, expected, feed=feed)
        difference = alone.result()
        if judge(difference, tolerance).verdict is Verdict.FAIL:
            self._note_failure(difference.headroom, feed)

    def _note_failure(self, severity: float, feed: int) -> None:
        if self._worst is None or severity > self._worst[0]:
            self._worst = severity, feed

    def _outcomes(self, name: str, output: Output) -> Iterator[TensorOutcome]:
        empty = TensorOutcome(
            output=name,
            shape=output.shape,
            dtype=output.dtype,
            verdict=Verdict.INCONCLUSIVE,
            reasons=("Nothing was compared: the output is empty in every feed.",),
            tolerance=None,
            difference=None,
            noise_floor_db=NOISE_FLOOR_DB[self._precision],
        )
        if output.structure_reason:
            judged = [replace(empty, verdict=Verdict.FAIL, reasons=(output.structure_reason,))]
        elif not output.parts:
            judged = [empty]
        else:
            judged = [
                self._doubted(part.outcome(replace(empty, output=label, tolerance=part.tolerance)))
                for label, part in output.parts.items()
            ]
        for outcome in judged:
            noted = replace(outcome, notes=(*outcome.notes, *output.notes.values()))
            yield with_unwritten(noted, output.unwritten_count)


def _count_nonfinite(array: np.ndarray) -> int:
    return int(array.size - np.count_nonzero(np.isfinite(array)))


def _worst_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    # No output at all is nothing judged, and never a pass.
    order = (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS)
    return next((verdict for verdict in order if verdict in verdicts), Verdict.INCONCLUSIVE)


def _headline(verdict: Verdict, tensors: Sequence[TensorOutcome]) -> str:
    if not tensors:
        return "nothing was compared: there is no feed"
    if verdict is Verdict.PASS:
        return _passing_headline(tensors)
    worst = max((tensor for tensor in tensors if tensor.verdict is verdict), key=severity)
    return f"{worst.output}: {_finding(worst)}"


def _passing_headline(tensors: Sequence[TensorOutcome]) -> str:
    bound = [tensor for tensor in tensors if tensor.is_bound]
    differences = [tensor.difference for tensor in bound or tensors if tensor.difference]
    headroom = max(difference.headroom for difference in differences)
    # An SQNR is infinite where nothing differs, and NaN where there is no signal.
    sqnr = min((d.sqnr_db for d in differences if not math.isnan(d.sqnr_db)), default=math.inf)
    judged = f"worst headroom {headroom:.3g}" if bound else "judged by decoding"
    return f"{judged}, SQNR {_decibels(sqnr)}"


def outputs_outcome(outcome: Outcome, result: OutputsResult) -> Outcome:
    """Return ``outcome`` with verdict, headline, tensors and the number of feeds filled."""
    return replace(
        outcome,
        verdict=result.verdict,
        headline=result.headline,
        tensors=result.tensors,
        feed_count=result.feed_count,
    )


def severity(tensor: TensorOutcome) -> float:
    """Return how bad a tensor is, to find the worst: its headroom, infinite where it was not compared."""
    difference = tensor.difference
    return math.inf if difference is None else difference.headroom


def _finding(tensor: TensorOutcome) -> str:
    difference = tensor.difference
    if difference is None or not difference.mismatch_count or tensor.unwritten_count:
        return tensor.reasons[0]
    count, total = difference.mismatch_count, difference.element_count
    share = f"{count} / {total} ({100 * count / total:.3g} %)"
    return f"{share} beyond the bound, SQNR {_decibels(difference.sqnr_db)}"


def _decibels(value: float) -> str:
    return f"{value:.1f} dB" if math.isfinite(value) else "infinite" if value > 0 else "undefined"
