"""How often a night without a change fails, and how small a slow-down a night still finds.

Usage: ``python benchmarks/nights.py RUN.json...`` takes six or more runs of ``parity latency`` on one engine, each of
them started anew. Nights are drawn from them by measurement: some are the baseline, others are tonight, none is both. A
night measures once, and twice more where that is slower than the factor, as ``parity run --baseline check`` does.
``--smoke`` takes simulated measurements instead. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import sys
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity.run_file import load_run
from parity.runner.baseline_latency import AGAIN
from parity.slowdown import FACTOR, compare
from parity.stats import block_medians

NIGHTS = 200
MAX_FALSE_ALARMS = 1
SLOWDOWN, MIN_CAUGHT = 0.10, 0.95
LEAST_MEASUREMENTS = 6
_STEP, _LARGEST = 0.005, 0.5

Blocks = tuple[float, ...]
Series = dict[str, list[Blocks]]
"""Measurements in the order of their starts, by what they are of: ``shapes fp16@tensorrt-8.6 batch 64``."""


@dataclass(frozen=True, slots=True)
class Nights:
    """What resampled nights came to.

    Attributes
    ----------
    false_alarms
        Of ``NIGHTS`` nights without a change.
    caught
        The share of nights on which ``SLOWDOWN`` was found.
    smallest
        The smallest slow-down found on ``MIN_CAUGHT`` of the nights, as a share; None where none up to a half is.
    """

    false_alarms: int
    caught: float
    smallest: float | None

    @property
    def reaches_targets(self) -> bool:
        """Whether nights are quiet and watchful enough."""
        return self.false_alarms <= MAX_FALSE_ALARMS and self.caught >= MIN_CAUGHT


def read_series(files: list[Path]) -> Series:
    """Return the measurements of saved runs, in the order of the files."""
    series: Series = defaultdict(list)
    for file in files:
        for outcome in load_run(file).outcomes:
            for found in outcome.latency.measurements if outcome.latency else ():
                name = f"{outcome.case} {outcome.variant} batch {found.batch_size} ({found.clock})"
                series[name].append(found.blocks_ms)
    return dict(series)


def fails(measurements: list[Blocks], order: np.ndarray, kept: int, slowdown: float = 0.0) -> bool:
    """Whether a night fails: ``order`` says which measurements are the baseline, and which come tonight, in turn."""
    old = [measurements[index] for index in order[:kept]]
    tonight = [[value * (1 + slowdown) for value in measurements[index]] for index in order[kept : kept + 1 + AGAIN]]
    if not compare(old, tonight[:1]).exceeds_factor:
        return False
    return compare(old, tonight).is_slower


def simulate(series: Series, kept: int, seed: int, nights: int = NIGHTS) -> Nights:
    """Return how nights go that are drawn from measurements; a night fails where any of the series does."""
    rng = np.random.default_rng(seed)
    orders = [{name: rng.permutation(len(found)) for name, found in series.items()} for _ in range(nights)]

    def failing(slowdown: float) -> int:
        return sum(any(fails(found, order[name], kept, slowdown) for name, found in series.items()) for order in orders)

    def caught(slowdown: float) -> float:
        # Each series on its own: that another one failed as well would flatter it.
        shares = [np.mean([fails(f, order[name], kept, slowdown) for order in orders]) for name, f in series.items()]
        return float(min(shares))

    sizes = [step * _STEP for step in range(1, round(_LARGEST / _STEP) + 1)]
    # What is found more surely the larger it is needs few of these to be tried.
    place = bisect_left(sizes, MIN_CAUGHT, key=caught)
    return Nights(failing(0.0), caught(SLOWDOWN), sizes[place] if place < len(sizes) else None)


def simulated_series(spread: float, count: int, seed: int) -> Series:
    """Return measurements with a known standard deviation between starts, of readings that resemble their neighbours.

    Parameters
    ----------
    spread
        The standard deviation of what a start decides, as a share.
    """
    rng = np.random.default_rng(seed)
    return {f"simulated batch {size}": [_measurement(rng, spread) for _ in range(count)] for size in (1, 64)}


def _measurement(rng: np.random.Generator, spread: float, readings: int = 3000) -> Blocks:
    offset = np.exp(spread * rng.standard_normal())
    walk = 0.002 * np.cumsum(rng.standard_normal(readings)) / np.sqrt(readings)
    return block_medians(offset * (1.0 + walk + 0.01 * np.abs(rng.standard_normal(readings))))


def describe(series: Series, kept: int, found: Nights) -> str:
    """Return the figures in words."""
    lines = []
    for name, measurements in series.items():
        medians = [float(np.median(blocks)) for blocks in measurements]
        spread = float(np.std(np.log(medians), ddof=1))
        lines.append(
            f"{name}: {len(medians)} measurements, median {np.median(medians):.5g} ms, largest over smallest "
            f"+{max(medians) / min(medians) - 1:.2%}, standard deviation {spread:.2%}"
        )
    smallest = "none up to 50 %" if found.smallest is None else f"{found.smallest:.1%}"
    return "\n".join(
        [
            *lines,
            f"baseline of {kept} measurements, factor {FACTOR:.0%}, up to {AGAIN} more measurements of a slow night",
            f"false alarms: {found.false_alarms} of {NIGHTS} nights without a change (at most {MAX_FALSE_ALARMS})",
            f"a slow-down of {SLOWDOWN:.0%}: found on {found.caught:.1%} of the nights (at least {MIN_CAUGHT:.0%})",
            f"the smallest slow-down found on {MIN_CAUGHT:.0%} of the nights: {smallest}",
        ]
    )


def main() -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="*", type=Path, help="run folders or run.json files of parity latency")
    parser.add_argument("--kept", type=int, help="measurements of the baseline; by default all but those of a night")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="simulated measurements")
    asked = parser.parse_args()
    series = simulated_series(0.01, 8, asked.seed) if asked.smoke else read_series(asked.runs)
    fewest = min(map(len, series.values()), default=0)
    if fewest < LEAST_MEASUREMENTS:
        sys.exit(f"{fewest} measurements of a series; expected at least {LEAST_MEASUREMENTS}, each started anew")
    kept = asked.kept or fewest - 1 - AGAIN
    if not 0 < kept <= fewest - 1 - AGAIN:
        sys.exit(f"--kept {kept}: expected 1 to {fewest - 1 - AGAIN}, so that a night has measurements of its own")
    found = simulate(series, kept, asked.seed)
    print(describe(series, kept, found))
    return 0 if found.reaches_targets or asked.smoke else 1


if __name__ == "__main__":
    sys.exit(main())
