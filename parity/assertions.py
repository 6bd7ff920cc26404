"""Assertions for people's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.compare import compare_tensors, reference_rms
from parity.decoded import Task
from parity.detect.detection_observe import DetectionOptions
from parity.detect.figures import FIGURES
from parity.detect.gates import Gate, default_gates, judge_figures, told_limits
from parity.detect.given import measure_detections
from parity.detect.message import agreement_message, gate_sentence
from parity.detect.wording import split_flaws
from parity.errors import AgreementError, ParityError, StructureError, ToleranceError
from parity.judge import failure_message, judge
from parity.tolerance import Precision, Tolerance, default_tolerance
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from parity.detect.given import Given


def assert_close(
    actual: npt.ArrayLike,
    expected: npt.ArrayLike,
    *,
    tolerance: Tolerance | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    precision: Precision = Precision.FP32,
    same_dtype: bool = True,
    allow_constant: bool = False,
    name: str = "tensor",
) -> None:
    """Assert that a tensor is close to its reference.

    Unlike ``numpy.testing.assert_allclose`` it broadcasts nothing and passes neither empty nor constant data.

    Parameters
    ----------
    actual, expected
        Of one shape; ``expected`` is the reference.
    tolerance
        How far they may be apart; or give ``rtol`` and ``atol``, both of them. With none, the default of ``precision``,
        and for 32-bit and 64-bit integers, which name or count something, no difference at all.
    precision
        What the arithmetic behind ``actual`` was rounded to.
    same_dtype
        Whether both must have one dtype.
    allow_constant
        Whether a reference of one value everywhere (or of one element) is what should be compared.
    name
        What to call the tensor in messages.

    Raises
    ------
    ToleranceError
        They were compared and are too far apart.
    StructureError
        They cannot be compared, or they agree on data that shows nothing (a constant, nothing finite).
    ParityError
        One of ``rtol`` and ``atol`` without the other, beside ``tolerance``, negative, or NaN; or a ``tolerance`` that
        leaves the judgement to decoding.

    Examples
    --------
    >>> import numpy as np
    >>> from parity import assert_close
    >>> reference = np.linspace(0, 1, 5)
    >>> assert_close(reference + 1e-6, reference, rtol=1e-3, atol=1e-5)
    """
    __tracebackhide__ = True
    actual, expected = np.asanyarray(actual), np.asanyarray(expected)
    chosen = _choose(tolerance, rtol, atol, default_tolerance(precision, expected.dtype.name))
    if chosen.atol_unit == "rms":
        chosen = chosen.absolute(reference_rms([expected]))
    difference = compare_tensors(actual, expected, tolerance=chosen, precision=precision, same_dtype=same_dtype)
    judgement = judge(difference, chosen, allow_constant=allow_constant)
    if judgement.verdict is Verdict.PASS:
        return
    reasons = " ".join(judgement.reasons)
    if judgement.verdict is Verdict.INCONCLUSIVE:
        hint = "" if allow_constant else " If a constant is what should be compared, pass allow_constant=True."
        raise StructureError(f"{name}: {reasons}{hint}")
    message = failure_message(
        f"{name} differs from its reference. {reasons}",
        difference,
        chosen,
        place=f"assert_close / {precision} / {name}",
        next_command="parity.compare_tensors(actual, expected, tolerance=...) for all figures",
    )
    raise ToleranceError(message)


def assert_detections_agree(
    reference: Given | Sequence[Given],
    candidate: Given | Sequence[Given],
    *,
    score_threshold: float = 0.25,
    match_iou: float = 0.5,
    gates: Mapping[str, tuple[float | None, float | None]] | None = None,
    precision: Precision = Precision.FP32,
    class_names: Sequence[str] = (),
    name: str = "detections",
) -> None:
    """Assert that a detector says of one image, or of several, what its reference says.

    Parameters
    ----------
    reference, candidate, score_threshold, match_iou, class_names
        As ``parity.compare_detections`` takes them.
    gates
        What is allowed of a figure, by its name: the least and the most, None where that side is open. They stand in
        place of default ones on the same figure.
    precision
        What the arithmetic behind ``candidate`` was rounded to; it chooses the default gates.
    name
        What to call the detections in messages.

    Raises
    ------
    AgreementError
        They were matched and do not agree, or the candidate alone has rows that make no sense.
    StructureError
        They cannot be compared, or they agree on data that shows nothing: no detection anywhere.
    ParityError
        A gate on a figure that there is not, or that is not two limits; a precision that there is not.

    Examples
    --------
    >>> from parity import assert_detections_agree
    >>> boxes = [[10, 10, 50, 50], [60, 20, 90, 80]]
    >>> reference = {"boxes": boxes, "scores": [0.9, 0.8], "classes": [0, 1]}
    >>> assert_detections_agree(reference, {**reference, "scores": [0.9001, 0.7999]}, precision="fp16")
    """
    __tracebackhide__ = True
    standing = _gates_of(gates or {}, _known(precision))
    options = DetectionOptions(
        score_threshold=score_threshold,
        match_iou=match_iou,
        class_names=tuple(class_names),
        told=told_limits(standing),
    )
    measured = measure_detections(reference, candidate, options)
    judged = judge_figures(measured.figures, standing)
    new, old = split_flaws(measured.flaws)
    if new or any(one.verdict is Verdict.FAIL for one in judged):
        message = agreement_message(
            Task.DETECTION,
            judged,
            measured.findings,
            measured.finding_counts,
            reasons=[f"The candidate alone has rows left out for: {reason} ({count})." for reason, count in new],
            place=f"assert_detections_agree / {precision} / {name}",
            next_command="parity.compare_detections(reference, candidate, ...) for all figures and findings",
        )
        raise AgreementError(message)
    doubts = [measured.degenerate] if measured.degenerate else []
    doubts += [f"The reference itself has rows left out for: {reason} ({count})." for reason, count in old]
    doubts += [gate_sentence(one) for one in judged if one.verdict is Verdict.INCONCLUSIVE]
    if doubts:
        raise StructureError(f"{name}: {' '.join(doubts)}")


def _gates_of(given: Mapping[str, tuple[float | None, float | None]], precision: Precision) -> tuple[Gate, ...]:
    """Return the gates that judge: the default ones, those given in their place."""
    known = {spec.name for spec in FIGURES[Task.DETECTION]}
    if unknown := sorted(given.keys() - known):
        raise ParityError(f"gates: {', '.join(unknown)} is no figure; expected one of {', '.join(sorted(known))}")
    own = [Gate(figure, *_limits(figure, limits), "given by the caller") for figure, limits in given.items()]
    return (*default_gates(Task.DETECTION, precision), *own)


def _limits(figure: str, given: object) -> tuple[float | None, float | None]:
    match given:
        case (None | int() | float() as low, None | int() | float() as high) if (low, high) != (None, None):
            return low, high
    raise ParityError(f"gates: {figure}: found {given!r}; expected the least and the most, such as (None, 0.02)")


def _known(precision: str) -> Precision:
    if precision not in set(Precision):
        raise ParityError(f"precision is {precision!r}; expected one of {', '.join(Precision)}")
    return Precision(precision)


def _choose(tolerance: Tolerance | None, rtol: float | None, atol: float | None, default: Tolerance) -> Tolerance:
    if tolerance is not None and not tolerance.is_bound:
        raise ParityError(
            'tolerance is judged = "decoded", which bounds nothing; give rtol and atol, or assert_detections_agree'
        )
    if rtol is None and atol is None:
        return tolerance or default
    if rtol is None or atol is None:
        raise ParityError(f"rtol is {rtol} and atol is {atol}; give both, or neither for the default")
    if tolerance is not None:
        raise ParityError("tolerance is given beside rtol and atol; give one or the other")
    return Tolerance(rtol=rtol, atol=atol, reason="given by the caller")
