"""Latency for the ``baseline`` check: measured where it was accepted, and once more where it is slower.

A measurement that is slower than the factor is started twice more before it counts. One slow start is no slow engine,
and three of them show a slower engine more surely than one.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from parity.backends import open_backends
from parity.backends.nvml import open_watch
from parity.baseline.changes import changes_of
from parity.baseline.machine import variant_key
from parity.baseline.model import Baseline
from parity.errors import BaselineError
from parity.runner.baseline_files import accepted_batches, find_baseline
from parity.runner.latency_run import LatencySettings, run_latency
from parity.runner.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.case import Case
    from parity.results import Run
    from parity.runner.baseline_judge import MeasuredCase
    from parity.runner.latency_run import OpenBackends
    from parity.runner.settings import LatencyProtocol, Origin, RunSettings
    from parity.runner.watching import OpenWatch

AGAIN = 2
"""How often a slow measurement is started again."""


class BaselineLatency:
    """Measures latency for baselines, each time with sessions and workers of their own.

    Parameters
    ----------
    settings
        Of the run that is judged: where variants run.
    open_backends, open_watch
        As ``parity.runner.latency_run.run_latency``.
    """

    def __init__(
        self,
        settings: RunSettings,
        protocol: LatencyProtocol,
        progress: Progress | None = None,
        open_backends: OpenBackends = open_backends,
        open_watch: OpenWatch = open_watch,
    ) -> None:
        self._settings = settings
        self._protocol = protocol
        self._progress = progress or SilentProgress()
        self._open_backends = open_backends
        self._open_watch = open_watch

    @property
    def origin(self) -> Origin:
        """What options name beside the cases."""
        return self._settings.origin

    def measure(self, case: Case, labels: Sequence[str], batch_sizes: Sequence[int] = ()) -> Run:
        """Measure variants once.

        Parameters
        ----------
        batch_sizes
            Beside those of the case.

        Raises
        ------
        ParityError
            As ``run_latency``.
        """
        with tempfile.TemporaryDirectory(prefix="parity-") as folder:
            asked = replace(self._settings, cases=(case.file,), variants=tuple(labels), out=Path(folder), resume=None)
            asked = replace(asked, judging=replace(asked.judging, limit=None, feed=None))
            latency = LatencySettings(asked, self._protocol, tuple(batch_sizes))
            return run_latency(latency, self._progress, self._open_backends, self._open_watch)[0]

    def complete(self, measured: MeasuredCase, labels: Sequence[str]) -> MeasuredCase:
        """Return a case with the latencies of variants that have accepted ones, slow ones measured three times.

        What the runs hold already is not measured first.

        Raises
        ------
        ParityError
            As ``run_latency``.
        """
        batches = {label: self.accepted(measured, label) for label in labels}
        missing = {
            label: sizes
            for label, sizes in batches.items()
            if sizes and not set(sizes) <= measured.figures_of(label).latency.keys()
        }
        measured = self._with(measured, missing)
        slow = {label: sizes for label, sizes in batches.items() if sizes and is_slow(measured, label)}
        for _ in range(AGAIN):
            measured = self._with(measured, slow)
        return measured

    def _with(self, measured: MeasuredCase, batches: Mapping[str, Sequence[int]]) -> MeasuredCase:
        if not batches:
            return measured
        sizes = sorted({size for sizes in batches.values() for size in sizes})
        run = self.measure(measured.case, tuple(batches), sizes)
        return replace(measured, runs=(*measured.runs, run))

    @staticmethod
    def accepted(measured: MeasuredCase, label: str) -> tuple[int, ...]:
        """Return the batch sizes whose latency was accepted of a variant on this machine."""
        try:
            return accepted_batches(measured.case, measured.machine_of(label).key, label)
        except BaselineError:
            return ()


def is_slow(measured: MeasuredCase, label: str) -> bool:
    """Whether a latency of a variant is slower than accepted by more than the factor, whatever the noise."""
    accepted = find_baseline(measured.case, measured.machine_of(label).key)
    if not isinstance(accepted, Baseline):
        return False
    known, found = accepted.variants[variant_key(label)], measured.figures_of(label)
    changes = changes_of(known, found, {"latency"}, measured.case.baseline.tolerances)
    return any(change.slowdown is not None and change.slowdown.exceeds_factor for change in changes)
