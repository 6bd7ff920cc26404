"""How fast two tensors are measured, as ratios to other libraries in one run.

Usage: ``python benchmarks/bench_compare.py`` compares two float32 arrays of 64 MB and exits with 1 below a target;
``--smoke`` does the same on small arrays, where ratios say little, and always exits with 0.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.compare import compare_tensors
from parity.tolerance import Precision, Tolerance

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

FULL_SIZE, SMOKE_SIZE = 16 * 2**20, 2**18
NUMPY_TARGET, POLYGRAPHY_TARGET = 1.0, 20.0
MEMORY_TARGET = 64 * 2**20
TOLERANCE = Tolerance(rtol=1e-3, atol=1e-4, reason="the benchmark's")


@dataclass(frozen=True, slots=True)
class Timing:
    """The best time of each contestant, in seconds."""

    parity: float
    numpy: float
    polygraphy: float | None

    @property
    def reaches_targets(self) -> bool:
        """Whether the measuring is as fast as it has to be."""
        is_fast = self.numpy / self.parity >= NUMPY_TARGET
        return is_fast and (self.polygraphy is None or self.polygraphy / self.parity >= POLYGRAPHY_TARGET)


def make_cases(size: int) -> dict[str, tuple[Floats, Floats]]:
    """Return pairs (actual, expected): float32 noise within the bound, beyond it, half rounding, and ReLU's zeros."""
    rng = np.random.default_rng(0)
    expected = rng.standard_normal(size, dtype=np.float32)
    noise = rng.standard_normal(size, dtype=np.float32)
    rounded = expected.astype(np.float16).astype(np.float32)
    return {
        "all close": (expected + np.float32(1e-6) * noise, expected),
        "mismatches": (expected + np.float32(1e-2) * noise, expected),
        "rounded to half": (rounded, expected),
        "behind a ReLU": (np.maximum(expected + np.float32(1e-6) * noise, 0), np.maximum(expected, 0)),
    }


def run_parity(actual: Floats, expected: Floats) -> None:
    """Measure every figure."""
    compare_tensors(actual, expected, tolerance=TOLERANCE, precision=Precision.FP16)


def run_numpy(actual: Floats, expected: Floats) -> None:
    """Check NumPy's bound alone."""
    with contextlib.suppress(AssertionError):
        np.testing.assert_allclose(actual, expected, rtol=TOLERANCE.rtol, atol=TOLERANCE.atol)


def make_polygraphy() -> Callable[[Floats, Floats], object]:
    """Return Polygraphy's comparison of one output as it is by default: its statistics go to a log, here discarded."""
    from polygraphy.comparator import IterationResult
    from polygraphy.comparator.compare import SimpleCompareFunc

    compare = SimpleCompareFunc(rtol=TOLERANCE.rtol, atol=TOLERANCE.atol)

    def run(actual: Floats, expected: Floats) -> object:
        log = io.StringIO()
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            return compare(IterationResult({"output": actual}), IterationResult({"output": expected}))

    return run


def best_of(repeats: int, contestants: list[Callable[[], object]]) -> list[float]:
    """Return each contestant's shortest time; they take turns, so that a busy moment hits all of them."""
    best = [float("inf")] * len(contestants)
    for _ in range(repeats):
        for i, contestant in enumerate(contestants):
            start = time.perf_counter()
            contestant()
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def time_case(actual: Floats, expected: Floats, repeats: int, *, with_polygraphy: bool) -> Timing:
    """Time all contestants on one pair."""
    ours, numpys = best_of(repeats, [lambda: run_parity(actual, expected), lambda: run_numpy(actual, expected)])
    if not with_polygraphy:
        return Timing(ours, numpys, None)
    polygraphy = make_polygraphy()
    return Timing(ours, numpys, *best_of(1, [lambda: polygraphy(actual, expected)]))


def extra_memory(actual: Floats, expected: Floats) -> int:
    """Return the most bytes that measuring allocated at one time."""
    tracemalloc.start()
    run_parity(actual, expected)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> int:
    """Print a line a case; return 1 where a full run misses a target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="small arrays, always exit code 0")
    smoke = parser.parse_args().smoke
    is_good = True
    for name, (actual, expected) in make_cases(SMOKE_SIZE if smoke else FULL_SIZE).items():
        # Polygraphy takes seconds: the two cases with a target are enough.
        timing = time_case(actual, expected, 2 if smoke else 5, with_polygraphy=name in {"all close", "mismatches"})
        memory = extra_memory(actual, expected)
        is_good = is_good and timing.reaches_targets and memory <= MEMORY_TARGET
        print(describe(name, timing, memory))
    return 0 if smoke or is_good else 1


def describe(name: str, timing: Timing, memory: int) -> str:
    """Return a case's line."""
    line = f"{name:16} {timing.parity * 1e3:7.1f} ms  {timing.numpy / timing.parity:5.2f} x assert_allclose"
    if timing.polygraphy is not None:
        line += f"  {timing.polygraphy / timing.parity:6.1f} x Polygraphy"
    return f"{line}  {memory / 2**20:5.1f} MiB extra"


if __name__ == "__main__":
    sys.exit(main())
