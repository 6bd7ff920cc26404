"""How long ``parity run`` takes on the cases of this repository, from nothing: no calibration is cached beforehand.

Usage: ``python benchmarks/bench_run.py`` judges every case at every precision and exits with 1 above the target, which
is meant for 2 cores; ``--smoke`` judges one feed of each case at two precisions and asserts nothing about time. Either
way a run that does not pass exits with the run's own code.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = Path(__file__).resolve().parents[1] / "cases"
TARGET_S = 180.0
SMOKE = ("--limit", "1", "--variant", "fp32", "--variant", "fp16")


def judge(words: tuple[str, ...]) -> tuple[float, int, list[dict[str, object]]]:
    """Run the command line in a new process; return its seconds, its exit code and its outcomes."""
    cases = [str(path.parent) for path in sorted(CASES.glob("*/case.toml"))]
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "parity", "run", *cases, *words, "--json", "--out", f"{scratch}/reports"]
        start = time.perf_counter()
        done = subprocess.run(
            command,
            env={**os.environ, "PARITY_CACHE_DIR": f"{scratch}/cache"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        took = time.perf_counter() - start
    return took, done.returncode, json.loads(done.stdout)["outcomes"] if done.stdout else []


def main() -> int:
    """Print a line an outcome and the whole time; return 1 where a full run misses the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="one feed, two precisions, no target")
    smoke = parser.parse_args().smoke
    took, code, outcomes = judge(SMOKE if smoke else ())
    for outcome in outcomes:
        name = f"{outcome['case']} {outcome['variant']}"
        print(f"{name:40} {outcome['duration_s']:6.2f} s  {outcome['verdict']}")
    print(f"parity run: {took:.1f} s on {os.cpu_count()} cores (target {TARGET_S:.0f} s on 2)")
    return code or (0 if smoke or took <= TARGET_S else 1)


if __name__ == "__main__":
    sys.exit(main())
