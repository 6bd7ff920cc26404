"""Assertions for people's own tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from parity.compare import compare_tensors, reference_rms
from parity.errors import ParityError, StructureError, ToleranceError
from parity.judge import failure_message, judge
from parity.tolerance import DEFAULT_TOLERANCE, Precision, Tolerance
from parity.verdict import Verdict

if TYPE_CHECKING:
    import numpy.typing as npt


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
        How far they may be apart; or give ``rtol`` and ``atol``, both of them. With none, the default of ``precision``.
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
        One of ``rtol`` and ``atol`` without the other, beside ``tolerance``, negative, or NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from parity import assert_close
    >>> reference = np.linspace(0, 1, 5)
    >>> assert_close(reference + 1e-6, reference, rtol=1e-3, atol=1e-5)
    """
    __tracebackhide__ = True
    actual, expected = np.asanyarray(actual), np.asanyarray(expected)
    chosen = _choose(tolerance, rtol, atol, precision)
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


def _choose(tolerance: Tolerance | None, rtol: float | None, atol: float | None, precision: Precision) -> Tolerance:
    if rtol is None and atol is None:
        return tolerance or DEFAULT_TOLERANCE[precision]
    if rtol is None or atol is None:
        raise ParityError(f"rtol is {rtol} and atol is {atol}; give both, or neither for the default of {precision}")
    if tolerance is not None:
        raise ParityError("tolerance is given beside rtol and atol; give one or the other")
    return Tolerance(rtol=rtol, atol=atol, reason="given by the caller")
