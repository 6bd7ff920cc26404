"""How long a history of many runs takes to append to and to read.

Usage: ``python benchmarks/bench_history.py`` fills a history with 10,000 runs of two cases, appends some more as
``parity run`` does, calls ``parity history`` as a process, and exits with 1 above a limit. ``--smoke`` fills it with
200 and always exits with 0. The ratio of an append is to one synced write of as many bytes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from parity.history import append_run
from parity.history.append import write_run
from parity.history.file import writing
from parity.run_figures import figures_of
from parity.run_file import load_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.results import Run

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "reports" / "samples" / "20261121-045047-h200-tensorrt-8.6"
FULL_COUNT, SMOKE_COUNT, APPENDED = 10_000, 200, 21
_SAMPLE = load_run(SAMPLE)
APPEND_LIMIT_S, SHOW_LIMIT_S = 0.05, 2.0


def sample(number: int) -> Run:
    """Return a run of engines on an H200 as if it were the so-manieth night."""
    return replace(_SAMPLE, id=f"{number:032x}", commit=f"{number:040x}")


def fill(file: Path, count: int) -> None:
    """Write runs in one transaction: ten thousand of their own would take minutes."""
    with writing(file) as connection:
        for number in range(count):
            write_run(connection, sample(number))


def append_s(file: Path, first: int) -> float:
    """Return the median of appends, each as a run makes it."""
    return statistics.median(
        _timed(lambda number=number: append_run(file, sample(first + number))) for number in range(APPENDED)
    )


def synced_write_s(folder: Path, size: int) -> float:
    """Return the median of writing and syncing as many bytes."""

    def write() -> None:
        with (folder / "plain").open("ab") as stream:
            stream.write(b"x" * size)
            stream.flush()
            os.fsync(stream.fileno())

    return statistics.median(_timed(write) for _ in range(APPENDED))


def show_s(file: Path, case: str) -> float:
    """Return the median of ``parity history`` as a process, figures, steps and all."""
    words = [sys.executable, "-m", "parity", "history", case, "--history", str(file)]
    return statistics.median(_timed(lambda: subprocess.run(words, check=True, capture_output=True)) for _ in range(3))


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def main() -> int:
    """Print three lines; return 1 where a full run misses a limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="few runs, always exit code 0")
    smoke = parser.parse_args().smoke
    count = SMOKE_COUNT if smoke else FULL_COUNT
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.db"
        fill(file, count)
        size = file.stat().st_size
        appended, shown = append_s(file, count), show_s(file, _SAMPLE.cases[0].name)
        plain = synced_write_s(Path(folder), size // count)
    print(f"{count:,} runs of {len(figures_of(_SAMPLE))} figures: {size / 1e6:.1f} MB")
    ratio = f"{appended / plain:5.1f} x a synced write"
    print(f"append   {appended * 1e3:7.1f} ms (limit {APPEND_LIMIT_S * 1e3:.0f} ms)  {ratio}")
    print(f"history  {shown:7.2f} s  (limit {SHOW_LIMIT_S:.0f} s)")
    return 0 if smoke or (appended <= APPEND_LIMIT_S and shown <= SHOW_LIMIT_S) else 1


if __name__ == "__main__":
    sys.exit(main())
