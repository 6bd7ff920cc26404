"""Feeds that failed are run again: on the forecast, on an engine, and of runs that pytest saved."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from tiny_case import write_case

from parity.backends.tensorrt.backend import TensorRTBackend
from parity.commands.interop import export_polygraphy
from parity.errors import RunError
from parity.interop.polygraphy import read_results
from parity.run_file import load_run
from parity.runner import RunSettings, open_run
from parity.runner.export import ExportSettings, recompute
from parity.runner.folder import RunFolder
from parity.runner.settings import MADE_BY
from tests.simulated_worker import Faults, SimulatedWorker
from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parity.backends import Backend, TensorRTSettings
    from parity.results import Run
    from parity.runner.run import OpenBackends

ROLLED = Faults(rolls_rows=True)


def on(faults: Faults) -> OpenBackends:
    """Open TensorRT as a simulated worker."""

    @contextmanager
    def open_backends(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        backend = TensorRTBackend(SimulatedWorker("8.6.0", faults), None)
        assert set(names) <= {"tensorrt", backend.name}
        yield (backend,)
        backend.close()

    return open_backends


def failed(settings: RunSettings, *open_backends: OpenBackends) -> Path:
    with open_run(settings, *open_backends) as opened:
        opened.judge_all()
    return opened.folder.path


def test_the_engine_that_failed_answers_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_case(tmp_path / "cases" / "tiny")
    settings = RunSettings(cases=(Path("cases/tiny"),), variants=("fp16",), backends=("tensorrt",))
    folder = failed(settings, on(ROLLED))
    found = recompute(ExportSettings(folder), on(ROLLED))
    assert found.outcome.variant == "fp16@tensorrt-8.6"
    sound = recompute(ExportSettings(folder), on(Faults()))
    logits = found.reference["logits"]
    # Half arithmetic of the simulated engine on one side, float32 on the other.
    np.testing.assert_allclose(sound.candidate["logits"], logits, rtol=0.05, atol=0.05)
    np.testing.assert_array_equal(found.candidate["logits"], np.roll(sound.candidate["logits"], 1, axis=0))


@pytest.fixture
def hot(tmp_path: Path) -> RunFolder:
    """Return the folder of a run whose fp16 overflowed."""
    write_matmul_case(tmp_path / "hot", scale=1e6)
    return RunFolder(failed(RunSettings(cases=(tmp_path / "hot",), out=tmp_path / "out")))


def with_changes(folder: RunFolder, **changes: object) -> Run:
    run = replace(load_run(folder.path), **changes)  # type: ignore[arg-type]
    folder.save(run)
    return run


def test_a_run_that_pytest_saved_needs_to_be_told_where_its_case_is(tmp_path: Path, hot: RunFolder) -> None:
    with_changes(hot, selection={MADE_BY: ["pytest"], "variants": [], "backends": ["onnxruntime"]})
    with pytest.raises(RunError, match="does not say where case 'hot' is; name its folder with --case"):
        recompute(ExportSettings(hot.path))
    found = recompute(ExportSettings(hot.path, case=tmp_path / "hot"))
    assert not np.isfinite(found.candidate["y"]).all()


def test_a_feed_that_did_not_fail_is_refused_with_those_that_did(tmp_path: Path, hot: RunFolder) -> None:
    with pytest.raises(RunError, match=r"other\.npz: is no failing feed of .*; it has .*hot-fp16@onnxruntime-\d\.npz"):
        recompute(ExportSettings(hot.path, feed=tmp_path / "other.npz"))


def test_a_variant_that_is_gone_is_told_with_those_that_are_there(hot: RunFolder) -> None:
    run = load_run(hot.path)
    gone = tuple(replace(outcome, variant=outcome.variant.replace("fp16", "half")) for outcome in run.outcomes)
    with_changes(hot, outcomes=gone)
    with pytest.raises(RunError, match="no variant half@onnxruntime any more; it has fp32@onnxruntime, fp16@onnxr"):
        recompute(ExportSettings(hot.path))


def test_a_dtype_that_the_format_cannot_name_is_told_and_widened(
    hot: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = recompute(ExportSettings(hot.path))
    half = replace(found, candidate={"y": found.reference["y"].astype(ml_dtypes.bfloat16)})
    monkeypatch.setattr("parity.runner.export.recompute", lambda _: half)
    exported = export_polygraphy(ExportSettings(hot.path))
    assert exported.notes == (
        "output of fp16@onnxruntime 'y': is bfloat16, which .npy cannot name; written as float32, exactly",
    )
    [runner] = read_results(exported.files[2])
    np.testing.assert_array_equal(runner.iterations[0].decode()["y"], half.candidate["y"].astype(np.float32))
