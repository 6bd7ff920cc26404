"""What of a run's latency a baseline takes: its samples, rebuilt engines, and none that something disturbed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parity.baseline.measured import disturbed_batches, measured_of
from tests.accepted import LABEL, gpu_run, latency_outcome, measurement

KEY = "shapes", LABEL


def test_rebuilt_engines_are_taken_and_those_that_something_disturbed_are_not() -> None:
    outcome = latency_outcome(measurement(1.0))
    assert outcome.latency is not None
    rebuilds = measurement(1.1), measurement(1.9, 64, "throttled: power cap"), measurement(0.9), measurement(2.0, 8)
    rebuilt = replace(outcome, latency=replace(outcome.latency, rebuilds=rebuilds))
    series = measured_of(gpu_run(rebuilt))[KEY].latency[64]
    assert [sum(blocks) / len(blocks) for blocks in series.rebuilds_ms] == pytest.approx([1.1, 0.9])
    assert len(series.measurements_ms) == 1


def test_layers_are_taken_with_the_latency_but_those_without_work() -> None:
    layers = (("conv1 + relu1", 0.4), ("a constant", 0.0), ("conv2", 0.6))
    found = measured_of(gpu_run(latency_outcome(measurement(1.0), layers=layers)))[KEY]
    assert found.layers == (("conv1 + relu1", 0.4), ("conv2", 0.6))


def test_a_cpus_readings_are_never_called_disturbed() -> None:
    shaken = measurement(1.0, 64, "unsteady")
    assert disturbed_batches([latency_outcome(shaken)]) == {64: "unsteady"}
    assert disturbed_batches([latency_outcome(replace(shaken, gpu=None))]) == {}
