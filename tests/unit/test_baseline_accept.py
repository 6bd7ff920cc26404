"""What becomes of a baseline: agreeing runs add a measurement, others take its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parity.baseline.accept import accept
from parity.baseline.files import from_json, to_json
from parity.baseline.model import KEPT_MEASUREMENTS, Baseline, LatencySeries, VariantFigures
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


def updated(known: Baseline, day: int, latency: LatencySeries, **overrides: float) -> tuple[Baseline, str]:
    new = replace(baseline(variant(60.0 + 0.01 * day, latency=latency)), taken=f"2026-02-{day:02}T03:04:05+00:00")
    found = accept(known, new, overrides)
    return found.baseline, found.notes[KEY]


@pytest.mark.parametrize(("step", "way"), [(1.02, "worse"), (1 / 1.02, "better")])
def test_a_latency_that_creeps_from_update_to_update_is_told_and_its_measurements_replaced(
    step: float, way: str
) -> None:
    known, notes = baseline(variant(latency=series(1.0))), list[str]()
    for day in range(1, 12):
        known, note = updated(known, day, series(step**day))
        notes.append(note)
    assert notes[0] == "agrees; latency measurements: 2"
    assert notes[1] == f"agrees; latency measurements: 3; batch 64 {step**2 - 1:+.1%} since 2026-01-02"
    [(day, told)] = [(day, note) for day, note in enumerate(notes, 1) if "replaced" in note]
    value = f"latency batch 64 median_ms 1 -> {step**day:.5g} ms ({step**day - 1:+.1%}), {way} since 2026-01-02"
    assert f"measurements replaced, because of {value}, by steps that were each allowed" in told
    assert day < KEPT_MEASUREMENTS, "before the first measurement is forgotten"
    assert medians(known)[0] == pytest.approx(step**day, rel=1e-5)
    assert notes[-1].endswith(f"since 2026-02-{day:02}")
    assert known.variants[KEY].figures["outputs"]["y"]["sqnr_db"] == 60.0, "other figures are as accepted"


def test_a_latency_that_does_not_creep_is_not_replaced() -> None:
    known = baseline(variant(latency=series(1.0)))
    for day in range(1, 28):
        known, note = updated(known, day, series(1.0 + 0.02 * (-1) ** day))
        assert "replaced" not in note
    first = known.variants[KEY].latency[64].first
    assert first is not None
    assert (first.taken, first.measurements_ms) == ("2026-01-02T03:04:05+00:00", series(1.0).measurements_ms)
    assert from_json(to_json(known), "file").variants[KEY].latency[64].first is not None


def test_the_case_says_how_far_small_steps_may_lead() -> None:
    known = baseline(variant(latency=series(1.0)))
    for day in range(1, 12):
        known, note = updated(known, day, series(1.02**day), median_ms=0.5)
        assert "replaced" not in note


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
