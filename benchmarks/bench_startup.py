"""How fast the command line answers and what the plugin adds to every pytest start, as medians over processes.

Usage: ``python benchmarks/bench_startup.py`` exits with 1 above a target; ``--smoke`` starts few processes, says the
same and always exits with 0. Ratios are taken in one run: to an empty Python for the command line, to ``import pytest``
for the plugin.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

FULL_COUNT, SMOKE_COUNT = 21, 3
HELP_TARGET_S, PLUGIN_TARGET_S = 0.4, 0.03

_IMPORTS = """
import json, time
start = time.perf_counter()
import pytest
middle = time.perf_counter()
import parity.pytest_plugin
print(json.dumps([middle - start, time.perf_counter() - middle]))
"""


@dataclass(frozen=True, slots=True)
class Medians:
    """Medians in seconds."""

    empty: float
    help: float
    pytest: float
    plugin: float

    @property
    def reaches_targets(self) -> bool:
        """Whether both are as quick as they have to be."""
        return self.help <= HELP_TARGET_S and self.plugin <= PLUGIN_TARGET_S


def wall_time(*words: str) -> float:
    """Return the seconds from starting a Python process until its end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def import_times() -> tuple[float, float]:
    """Return the seconds that a new process takes to import pytest, and then the plugin."""
    done = subprocess.run([sys.executable, "-c", _IMPORTS], check=True, stdout=subprocess.PIPE, text=True)
    pytest_s, plugin_s = json.loads(done.stdout)
    return pytest_s, plugin_s


def measure(count: int) -> Medians:
    """Measure in turns, so that a busy moment hits all of them; a first turn warms the file cache and is dropped."""
    turns = [(wall_time("-c", "pass"), wall_time("-m", "parity", "--help"), *import_times()) for _ in range(count + 1)]
    return Medians(*map(statistics.median, zip(*turns[1:], strict=True)))


def main() -> int:
    """Print two lines; return 1 where a full run misses a target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few processes, always exit code 0")
    smoke = parser.parse_args().smoke
    found = measure(SMOKE_COUNT if smoke else FULL_COUNT)
    print(line("parity --help", found.help, HELP_TARGET_S, found.help / found.empty, "an empty Python"))
    print(line("pytest plugin", found.plugin, PLUGIN_TARGET_S, found.plugin / found.pytest, "importing pytest"))
    return 0 if smoke or found.reaches_targets else 1


def line(name: str, seconds: float, target: float, ratio: float, unit: str) -> str:
    """Return one result."""
    return f"{name:16} {seconds * 1e3:6.1f} ms (target {target * 1e3:.0f} ms)  {ratio:5.2f} x {unit}"


if __name__ == "__main__":
    sys.exit(main())
