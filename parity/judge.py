"""From the measured difference of two tensors to a verdict, its reasons, and the message of a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parity.verdict import Verdict

if TYPE_CHECKING:
    from parity.difference import Element, TensorDifference
    from parity.tolerance import Tolerance


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on one tensor.

    Attributes
    ----------
    verdict
        ``pass``, ``fail`` or ``inconclusive``.
    reasons
        Why it is not ``pass``, most important first; empty for ``pass``.
    notes
        What a reader should know whatever the verdict: non-finite elements that both sides share, masked places.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()


def judge(difference: TensorDifference, tolerance: Tolerance, *, allow_constant: bool = False) -> Judgement:
    """Judge a difference.

    It fails where an element is non-finite on one side only, where more elements than ``mismatch_fraction`` miss the
    bound, where the SQNR is under ``min_sqnr_db``, and where actual is constant although the reference varies, however
    loose the tolerance. Otherwise it is inconclusive where the data cannot show agreement: nothing compared, nothing
    finite, a constant reference, an SQNR asked for that is not defined. NaN and infinities that both sides have in
    the same places are noted, and the other elements judged.

    Where an output is judged by decoding, only non-finite elements on one side fail, and the verdict says no more.

    Parameters
    ----------
    difference
        Measured against the same tolerance.
    tolerance
        With atol in the output's own unit.
    allow_constant
        Whether a constant reference is what the model should give: then agreement with it is a pass.
    """
    if not tolerance.is_bound:
        return _judge_finiteness(difference)
    failures = _failures(difference, tolerance)
    doubts = () if failures else _doubts(difference, tolerance, allow_constant=allow_constant)
    verdict = Verdict.FAIL if failures else Verdict.INCONCLUSIVE if doubts else Verdict.PASS
    return Judgement(verdict, failures or doubts, _notes(difference))


def _judge_finiteness(difference: TensorDifference) -> Judgement:
    failure = _nonfinite_mismatch(difference)
    return Judgement(Verdict.FAIL if failure else Verdict.PASS, (failure,) if failure else (), _notes(difference))


def failure_message(
    what: str, difference: TensorDifference, tolerance: Tolerance, *, place: str, next_command: str
) -> str:
    """Return the five parts of a failure message, in their order.

    Parameters
    ----------
    what
        One sentence: what differs from what.
    difference, tolerance
        The figures and the bound, with atol in the output's own unit.
    place
        Where: ``case / variant / check / output``.
    next_command
        What to run next.
    """
    lines = [what, _mismatch_line(difference), *_worst_lines(difference, tolerance), f"in: {place}"]
    return "\n".join([*lines, f"next: {next_command}"])


def _failures(difference: TensorDifference, tolerance: Tolerance) -> tuple[str, ...]:
    found = (
        _nonfinite_mismatch(difference),
        _collapse(difference),
        _missed_bound(difference, tolerance),
        _missed_sqnr(difference, tolerance),
    )
    return tuple(reason for reason in found if reason)


def _doubts(difference: TensorDifference, tolerance: Tolerance, *, allow_constant: bool) -> tuple[str, ...]:
    if not difference.element_count:
        return ("Nothing was compared.",)
    expected = difference.expected
    if expected.nan_count + expected.inf_count == difference.element_count:
        return ("Nothing is finite: NaN and infinities agree in place, which shows nothing about the values.",)
    if _varies(difference):
        return ()
    found = (
        None if allow_constant else _constant_reference(difference),
        _undefined_sqnr(difference, tolerance),
    )
    return tuple(reason for reason in found if reason)


def _varies(difference: TensorDifference) -> bool:
    return difference.expected.minimum != difference.expected.maximum


def _nonfinite_mismatch(difference: TensorDifference) -> str | None:
    count = difference.nonfinite_mismatch_count
    if not count:
        return None
    actual, expected = difference.actual, difference.expected
    return (
        f"NaN or infinity in different places or of opposite sign: {elements(count)} "
        f"(actual has {actual.nan_count} NaN and {actual.inf_count} infinite, "
        f"the reference {expected.nan_count} and {expected.inf_count})."
    )


def _collapse(difference: TensorDifference) -> str | None:
    if not difference.actual.is_constant or not _varies(difference):
        return None
    side = difference.expected
    return (
        f"Actual is {difference.actual.minimum:.6g} everywhere, the reference varies from {side.minimum:.6g} to "
        f"{side.maximum:.6g}: no tolerance excuses a constant output."
    )


def _missed_bound(difference: TensorDifference, tolerance: Tolerance) -> str | None:
    beyond = difference.mismatch_count - difference.nonfinite_mismatch_count
    # With nothing beyond the bound, non-finite elements have their own reason.
    if not beyond or difference.mismatch_count <= tolerance.mismatch_fraction * difference.element_count:
        return None
    excused = f"; {tolerance.mismatch_fraction:.3g} of all may" if tolerance.mismatch_fraction else ""
    return f"{elements(beyond)} of {difference.element_count} beyond the bound{excused} ({tolerance.reason})."


def _missed_sqnr(difference: TensorDifference, tolerance: Tolerance) -> str | None:
    if tolerance.min_sqnr_db is None or not difference.sqnr_db < tolerance.min_sqnr_db:
        return None
    return (
        f"SQNR is {difference.sqnr_db:.1f} dB, at least {tolerance.min_sqnr_db:.1f} dB is asked ({tolerance.reason})."
    )


def _constant_reference(difference: TensorDifference) -> str:
    if difference.element_count == 1:
        return "One element alone cannot be told from a constant: give more feeds."
    value = difference.expected.minimum
    kind = "all zero" if value == 0.0 else f"{value:.6g} everywhere"
    return f"The reference is {kind}: agreement with it shows nothing, give feeds that make it vary."


def _undefined_sqnr(difference: TensorDifference, tolerance: Tolerance) -> str | None:
    # Without any noise the ratio is reached however small the signal.
    if tolerance.min_sqnr_db is None or difference.sqnr_db >= tolerance.min_sqnr_db or difference.rms == 0.0:
        return None
    return f"SQNR is not defined against a reference of zeros; at least {tolerance.min_sqnr_db:.1f} dB is asked."


def _notes(difference: TensorDifference) -> tuple[str, ...]:
    side, notes, total = difference.expected, list[str](), elements(difference.element_count)
    if side.nan_count + side.inf_count:
        held = f"The reference holds {side.nan_count} NaN and {side.inf_count} infinite of {total}"
        notes.append(f"{held}; where actual has the same, they are not judged.")
    if difference.fill_count:
        notes.append(
            f"{difference.fill_count} of {total} fill masked places of the reference; SQNR and cosine are the lower of "
            "those with them and those without."
        )
    return tuple(notes)


def elements(count: int) -> str:
    """Return a number of elements in words: ``1 element``, ``3 elements``."""
    return f"{count} element{'' if count == 1 else 's'}"


def _mismatch_line(difference: TensorDifference) -> str:
    count, total = difference.mismatch_count, difference.element_count
    share = 100.0 * count / total if total else 0.0
    nonfinite = difference.nonfinite_mismatch_count
    return f"mismatched: {count} / {total} ({share:.3g} %)" + (f", {nonfinite} of them non-finite" if nonfinite else "")


def _worst_lines(difference: TensorDifference, tolerance: Tolerance) -> list[str]:
    elements = {
        "first non-finite": difference.first_nonfinite,
        "worst absolute": difference.worst_absolute,
        "worst relative": difference.worst_relative,
    }
    lines = [_element_line(label, element) for label, element in elements.items() if element]
    bound = f"bound: {tolerance.atol:.6g} + {tolerance.rtol:.6g} * |expected|"
    if not tolerance.is_bound:
        bound = f"bound: none, judged by decoding ({tolerance.reason})"
    return [*(lines or ["worst absolute: 0, worst relative: 0, no finite element differs"]), bound]


def _element_line(label: str, element: Element) -> str:
    # A non-finite element has no distance to tell.
    distance = f" {element.difference:.6g}" if element.difference == element.difference else ""
    index = ", ".join(map(str, element.index))
    return (
        f"{label}:{distance} at [{index}] of feed {element.feed}: "
        f"actual {element.actual:.9g}, expected {element.expected:.9g}, allowed {element.allowed:.6g}"
    )
