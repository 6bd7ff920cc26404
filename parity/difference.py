"""What a comparison of two tensors measured: plain numbers, judged elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a comparison.

    ``feed`` counts from 0; ``index`` is the element's index in that feed's tensor (in the whole tensor, also where a
    slice of it is judged). ``difference`` is absolute or relative, as the field that holds the element says;
    ``allowed`` is the bound ``atol + rtol * |expected|`` in the tensor's unit.
    """

    feed: int
    index: tuple[int, ...]
    actual: float
    expected: float
    difference: float
    allowed: float


@dataclass(frozen=True, slots=True)
class Side:
    """What one side of a comparison looks like; minimum, maximum and rms over its finite elements (0.0 if none)."""

    minimum: float
    maximum: float
    rms: float
    nan_count: int
    inf_count: int

    @property
    def is_constant(self) -> bool:
        """Whether every element has one and the same finite value."""
        return self.minimum == self.maximum and self.nan_count == 0 and self.inf_count == 0


@dataclass(frozen=True, slots=True)
class TensorDifference:
    """The difference of two tensors (or of a slice of them) over all feeds, in float64.

    Differences are taken over the elements that are finite on both sides. ``expected`` is the reference.

    Attributes
    ----------
    element_count
        Elements compared, over all feeds.
    mismatch_count
        Elements beyond the bound, ``nonfinite_mismatch_count`` included.
    nonfinite_mismatch_count
        Elements that are NaN or infinite on one side only, or infinities of opposite sign.
    worst_absolute, worst_relative
        The elements with the largest ``|a - e|`` and ``|a - e| / |e|`` (over e != 0); None where nothing differs.
    headroom
        The largest ``|a - e| / (atol + rtol * |e|)``: above 1 an element misses the bound; infinite where the bound
        is 0 and the elements differ, and where an element counts in ``nonfinite_mismatch_count``.
    mean_absolute, rms, bias
        Mean of ``|a - e|``, root mean square of ``a - e``, mean of ``a - e``.
    p50_absolute, p99_absolute, p999_absolute
        Percentiles of ``|a - e|``, each at most ``percentile_bin_error`` (relative) above the exact value.
    sqnr_db
        ``20 log10(||e|| / ||a - e||)``; infinite where nothing differs, NaN where the reference is all zero. Where
        values fill masked places, the lower one of that with them and that without.
    cosine
        Cosine similarity; NaN where one side is all zero. Of masked places as ``sqnr_db``.
    max_ulp
        The largest ``|a - e|`` in units of the last place of the judged precision at ``|e|``. For int8, which has no
        exponent: in steps of ``max |e| / 127``, the maximum being of places that are not masked. For integer and
        boolean tensors: in whole numbers.
    first_nonfinite
        The first element counted in ``nonfinite_mismatch_count``, with NaN as its difference.
    octaves
        Histogram of ``|a - e|``: (e, count) of differences from ``2**e`` to below ``2**(e + 1)``, where there are some;
        equal elements are in none.
    fill_count
        Elements of the reference that fill masked places (``parity.fill``).
    """

    element_count: int
    mismatch_count: int
    nonfinite_mismatch_count: int
    worst_absolute: Element | None
    worst_relative: Element | None
    headroom: float
    mean_absolute: float
    rms: float
    bias: float
    p50_absolute: float
    p99_absolute: float
    p999_absolute: float
    percentile_bin_error: float
    sqnr_db: float
    cosine: float
    max_ulp: float
    actual: Side
    expected: Side
    first_nonfinite: Element | None = None
    octaves: tuple[tuple[int, int], ...] = ()
    fill_count: int = 0
