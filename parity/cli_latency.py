"""What ``parity latency`` does, behind its options."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from parity.report import print_run, render, summary_json
from parity.runner.latency_run import run_latency
from parity.runner.progress import SilentProgress

if TYPE_CHECKING:
    from parity.runner.latency_run import LatencySettings
    from parity.runner.progress import Progress


def measure_latency(settings: LatencySettings, progress: Progress | None, *, as_json: bool) -> int:
    """Measure, leave a report, tell what was found, and return the exit code.

    Raises
    ------
    ParityError
        It could not be measured at all.
    """
    run, folder = run_latency(settings, progress or SilentProgress())
    *_, page = render(folder)
    if as_json:
        print(summary_json(run, folder))  # noqa: T201 - the command line's answer
    else:
        print_run(run, page, sys.stdout)
    return run.exit_code
