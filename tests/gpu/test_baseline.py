"""Accepted figures of an engine: kept by an unchanged one, and left by one that is slower."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parity.backends import TensorRTSettings
from parity.baseline.changes import median_of
from parity.baseline.files import baseline_files, load, save
from parity.runner import JudgeSettings, RunSettings
from parity.runner.baseline_judge import BaselineMode
from parity.runner.baseline_latency import BaselineLatency
from parity.runner.baseline_run import UpdateSettings, add_baselines
from parity.runner.run import open_run
from parity.runner.settings import LatencyProtocol
from parity.verdict import Verdict
from tests.gpu.models import conv_net
from tests.gpu.rig import case_text
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from parity.backends.tensorrt.interpreter import Interpreter
    from parity.results import Outcome

    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

# Large enough that kernels are timed and not launches, and no larger: at four times the rows the GPU met its power cap.
_ROWS, _SIZE = 16, 128
_SLOWER = 1.5
_CASE = case_text(_ROWS, "fp16")


def _baseline(folder: Path, interpreter: Interpreter, mode: BaselineMode) -> Outcome:
    cache = folder.parent / "cache"
    settings = RunSettings(
        cases=(folder,),
        backends=("tensorrt",),
        tensorrt=TensorRTSettings((interpreter.label,), cache),
        out=folder.parent / "reports",
        judging=JudgeSettings(cache=cache, diagnosis_s=0.0),
    )
    with open_run(settings) as opened:
        opened.judge_all()
    latency = BaselineLatency(opened.asked, LatencyProtocol(min_s=1.0))
    add_baselines(opened, mode, latency, UpdateSettings(wants_latency=True, measurement_count=3))
    [outcome] = [outcome for outcome in opened.run.outcomes if outcome.check == "baseline"]
    return outcome


def test_an_unchanged_engine_keeps_its_baseline_and_a_slower_one_does_not(
    interpreter: Interpreter, tmp_path: Path, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARITY_CACHE_DIR", str(tmp_path / "cache"))
    folder = write_case(tmp_path / "timed", _CASE, conv_net(_ROWS, _SIZE))
    made = _baseline(folder, interpreter, BaselineMode.UPDATE)
    assert made.verdict is Verdict.PASS, made.message
    [file] = baseline_files(folder)
    accepted = load(file)
    [(name, known)] = accepted.variants.items()
    medians = [median_of(replace(known.latency[_ROWS], measurements_ms=(one,))) or 0.0 for one in _measurements(known)]
    figure("largest over smallest of three starts", max(medians) / min(medians) - 1)
    kept = _baseline(folder, interpreter, BaselineMode.CHECK)
    figure("unchanged", kept.headline)
    assert kept.verdict is Verdict.PASS, kept.message
    faster = tuple(tuple(ms / _SLOWER for ms in blocks) for blocks in _measurements(known))
    planted = replace(known, latency={_ROWS: replace(known.latency[_ROWS], measurements_ms=faster)})
    save(replace(accepted, variants={name: planted}), file)
    slower = _baseline(folder, interpreter, BaselineMode.CHECK)
    figure("accepted as faster", slower.headline)
    assert slower.verdict is Verdict.FAIL
    assert f"latency batch {_ROWS} median_ms" in slower.headline


def _measurements(known) -> tuple[tuple[float, ...], ...]:
    return known.latency[_ROWS].measurements_ms
