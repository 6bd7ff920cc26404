"""What becomes of a baseline: agreeing runs add a measurement, others take its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parity.baseline.accept import accept
from parity.baseline.model import KEPT_MEASUREMENTS, Baseline, VariantFigures
from tests.accepted import KEY, baseline, series, variant


def medians(found: Baseline) -> list[float]:
    return [round(sum(blocks) / 2, 6) for blocks in found.variants[KEY].latency[64].measurements_ms]


def test_the_first_run_is_accepted_as_it_is() -> None:
    found = accept(None, baseline(), {})
    assert found.baseline == baseline()
    assert found.notes == {KEY: "accepted"}


def test_a_run_that_agrees_adds_its_measurement() -> None:
    known, new = baseline(variant(latency=series(1.0))), baseline(variant(60.3, latency=series(1.01)))
    found = accept(known, new, {})
    assert medians(found.baseline) == [1.0, 1.01]
    assert found.notes == {KEY: "agrees; latency measurements: 2"}


def test_a_figure_that_agrees_keeps_its_accepted_value_so_that_small_steps_do_not_add_up() -> None:
    known = baseline(variant(60.0))
    for step in range(1, 6):
        found = accept(known, baseline(variant(60.0 - 0.9 * step)), {})
        if step > 1:
            assert "replaced, because of outputs y sqnr_db 60 -> 58.2 dB, worse" in found.notes[KEY]
            return
        known = found.baseline
        assert known == baseline(variant(60.0))
    pytest.fail("0.9 dB at a time was never more than 1 dB")


def test_a_smaller_engine_a_new_figure_and_a_build_time_take_the_new_value() -> None:
    new = variant(60.3, headroom=0.5)
    new.figures["engine"][""] |= {"size_bytes": 500_000.0, "build_s": 1.0, "device_memory_bytes": 1_900_000.0}
    found = accept(baseline(variant(60.0)), baseline(new), {}).baseline.variants[KEY].figures
    assert found["outputs"]["y"] == {"sqnr_db": 60.0, "headroom": 0.5}
    assert found["engine"][""] == {"size_bytes": 500_000.0, "build_s": 1.0, "device_memory_bytes": 2_000_000.0}


def test_a_latency_that_was_another_engines_and_was_not_measured_again_is_told() -> None:
    known = baseline(variant(60.0, latency=series(1.0)))
    told = "; latency is judged no more at batch 64: measure it with --latency"
    assert accept(known, baseline(variant(50.0)), {}).notes[KEY].endswith(told)
    assert accept(known, replace(baseline(variant(60.0)), model_sha256="other"), {}).notes[KEY].endswith(told)
    assert told not in accept(known, baseline(variant(60.1)), {}).notes[KEY]


def test_the_last_eight_measurements_are_kept() -> None:
    known = baseline(variant(latency=series(*(1.0 + 0.001 * n for n in range(KEPT_MEASUREMENTS)))))
    found = accept(known, baseline(variant(latency=series(1.02))), {}).baseline
    assert len(medians(found)) == KEPT_MEASUREMENTS
    assert medians(found)[0] == 1.001
    assert medians(found)[-1] == 1.02


def test_a_figure_that_moved_starts_the_measurements_anew() -> None:
    known = baseline(variant(60.0, latency=series(1.0, 1.0)))
    found = accept(known, baseline(variant(50.0, latency=series(1.01))), {})
    assert medians(found.baseline) == [1.01]
    assert found.notes == {KEY: "replaced, because of outputs y sqnr_db 60 -> 50 dB, worse"}
    assert medians(accept(known, baseline(variant(50.0, latency=series(1.01))), {"sqnr_db": 20.0}).baseline)[0] == 1.0


def test_an_engine_that_is_slower_or_faster_starts_anew() -> None:
    known = baseline(variant(latency=series(1.0, 1.0, 1.0)))
    for ms in (0.5, 2.0):
        assert medians(accept(known, baseline(variant(latency=series(ms))), {}).baseline) == [ms]


def test_a_run_without_latency_keeps_that_of_an_engine_that_agrees_alone() -> None:
    known = baseline(variant(60.0, latency=series(1.0)))
    assert medians(accept(known, baseline(variant(60.1)), {}).baseline) == [1.0]
    assert accept(known, baseline(variant(50.0)), {}).baseline.variants[KEY].latency == {}


def test_latency_alone_keeps_the_other_figures() -> None:
    new = baseline(VariantFigures(latency={64: series(1.0)}), feeds_sha256="")
    found = accept(baseline(variant(60.0)), new, {}).baseline
    assert found.variants[KEY].figures == variant(60.0).figures
    assert found.feeds_sha256 == baseline().feeds_sha256
    assert medians(found) == [1.0]


def test_a_batch_size_more_leaves_the_others() -> None:
    new = baseline(VariantFigures(latency={1: series(0.1)}))
    found = accept(baseline(variant(latency=series(1.0))), new, {}).baseline.variants[KEY]
    assert sorted(found.latency) == [1, 64]


def test_another_mode_starts_its_batch_size_anew() -> None:
    new = baseline(variant(latency=series(1.0, cuda_graph=True)))
    assert medians(accept(baseline(variant(latency=series(1.0, 1.0))), new, {}).baseline) == [1.0]


def test_variants_that_were_not_run_stay() -> None:
    known = baseline(variants={KEY: variant(), "int8@tensorrt": variant(30.0)})
    found = accept(known, baseline(variant(60.1)), {}).baseline
    assert set(found.variants) == {KEY, "int8@tensorrt"}


def test_another_model_or_case_or_other_feeds_start_everything_anew() -> None:
    known = baseline(variants={KEY: variant(), "int8@tensorrt": variant(30.0)})
    for other in ({"model_sha256": "bb"}, {"feeds_sha256": "dd"}, {"case": "renamed"}):
        found = accept(known, replace(baseline(), **other), {})
        assert found.baseline == replace(baseline(), **other)
        assert "dropped int8@tensorrt" in found.notes[KEY]
