"""`parity run` as a process, on what TensorRT answered on a GPU."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from parity.run_file import load_run
from tests.recorded_run import CASE, INTERPRETER, JUDGED, VERDICTS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity


def test_a_recording_is_judged_as_its_gpu_was(run_parity: RunParity, tmp_path: Path) -> None:
    process = run_parity("run", CASE, "--tensorrt-python", INTERPRETER, cwd=tmp_path)
    assert (process.returncode, process.stderr) == (2, "")
    [folder] = (tmp_path / "reports").iterdir()
    found = {(o.variant.removesuffix("@tensorrt-8.6"), o.check): o.verdict for o in load_run(folder).outcomes}
    assert found == VERDICTS
    assert process.stdout.splitlines()[-1] == f"report: reports/{folder.name}/report.html"


def test_without_the_precision_that_the_release_lacks_everything_agrees(run_parity: RunParity, tmp_path: Path) -> None:
    variants = [word for name in JUDGED for word in ("--variant", name)]
    process = run_parity("run", CASE, "--tensorrt-python", INTERPRETER, "--json", *variants, cwd=tmp_path)
    assert (process.returncode, json.loads(process.stdout)["exit_code"]) == (0, 0)
