"""A failing feed goes to Polygraphy's own command line, which finds what the run found."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
from polygraphy.comparator import RunResults
from polygraphy.json import load_json, save_json

from parity.run_file import load_run
from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity


def polygraphy(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a line that was printed, with the Polygraphy of this interpreter."""
    program, *words = shlex.split(command)
    assert program == "polygraphy"
    code = "import sys; from polygraphy.tools import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def judged(run_parity: RunParity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Judge a case whose fp16 overflows, and return the folder it was judged in."""
    root = tmp_path_factory.mktemp("judged")
    write_matmul_case(root / "cases" / "hot", scale=1e6)
    assert run_parity("run", "--out", "out", cwd=root).returncode == 1
    return root


@pytest.fixture
def failed(judged: Path, tmp_path: Path) -> Path:
    """Return the folder of the failed run, copied with its case."""
    shutil.copytree(judged, tmp_path, dirs_exist_ok=True)
    [folder] = (tmp_path / "out").iterdir()
    return folder


def test_what_is_written_is_taken_by_polygraphy_which_finds_the_same(
    run_parity: RunParity, tmp_path: Path, failed: Path
) -> None:
    process = run_parity("export", f"out/{failed.name}", "--polygraphy", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    *written, agreeing, failing = process.stdout.splitlines()
    folder = next((failed / "polygraphy").iterdir())
    assert [line.rpartition("/")[2] for line in written] == ["inputs.json", "reference.json", "candidate.json"]

    [feed] = load_json(str(folder / "inputs.json"))
    with np.load(next((failed / "feeds").iterdir())) as saved:
        np.testing.assert_array_equal(feed["x"], saved["x"])
    reference = RunResults.load(str(folder / "reference.json"))["reference"][0]["y"]
    candidate = RunResults.load(str(folder / "candidate.json"))["fp16@onnxruntime"][0]["y"]
    [outcome] = [o for o in load_run(failed).outcomes if o.verdict == "fail"]
    assert outcome.tensors[0].difference is not None
    assert not np.isfinite(candidate).all()
    assert np.isfinite(reference).all()

    passed = polygraphy(agreeing, tmp_path)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "Pass Rate: 100.00%" in passed.stdout
    told = polygraphy(failing, tmp_path)
    assert told.returncode == 1, told.stdout + told.stderr
    assert "fp16@onnxruntime vs. reference" in told.stdout
    assert f"--rtol y:{outcome.tensors[0].tolerance.rtol:g}" in failing  # type: ignore[union-attr]


def test_the_files_written_are_a_case_again(run_parity: RunParity, tmp_path: Path, failed: Path) -> None:
    run_parity("export", failed, "--polygraphy", cwd=tmp_path)
    case = write_matmul_case(
        tmp_path / "again" / "case",
        scale=1e6,
        inputs='[inputs]\nkind = "polygraphy"\nfiles = ["inputs.json"]\n'
        '[reference]\nkind = "recorded"\nfiles = ["reference.json"]\n',
    )
    for file in next((failed / "polygraphy").iterdir()).iterdir():
        (case / file.name).write_bytes(file.read_bytes())
    process = run_parity("run", case, "--json", cwd=tmp_path)
    assert process.returncode == 1
    [again] = (tmp_path / "reports").iterdir()
    assert [outcome.verdict for outcome in load_run(again).outcomes] == ["pass", "fail"]


def test_of_several_failing_feeds_one_is_named(run_parity: RunParity, tmp_path: Path) -> None:
    for name in ("hot", "hotter"):
        write_matmul_case(tmp_path / "cases" / name, scale=1e6)
    assert run_parity("run", "--out", "out", cwd=tmp_path).returncode == 1
    [folder] = (tmp_path / "out").iterdir()
    process = run_parity("export", folder, "--polygraphy", cwd=tmp_path)
    assert process.returncode == 2
    assert "has 2 failing feeds; name one with --feed" in process.stderr
    [feed] = (folder / "feeds").glob("hotter-*")
    assert run_parity("export", folder, "--polygraphy", "--feed", feed, cwd=tmp_path).returncode == 0
    assert [path.name for path in (folder / "polygraphy").iterdir()] == [feed.stem]


def test_a_case_that_moved_is_named_and_one_that_changed_is_refused(
    run_parity: RunParity, tmp_path: Path, failed: Path
) -> None:
    (tmp_path / "cases").rename(tmp_path / "moved")
    assert "cases/hot" in run_parity("export", failed, "--polygraphy", cwd=tmp_path).stderr
    words = ("export", failed, "--polygraphy", "--case", "moved/hot")
    assert run_parity(*words, cwd=tmp_path).returncode == 0
    with (tmp_path / "moved/hot/case.toml").open("a", encoding="utf-8") as stream:
        stream.write("\n# changed\n")
    process = run_parity(*words, cwd=tmp_path)
    assert process.returncode == 2
    assert "its case file or model is not what" in process.stderr


def test_a_run_without_a_failing_feed_and_a_form_that_is_not_named_are_told(
    run_parity: RunParity, tmp_path: Path
) -> None:
    write_matmul_case(tmp_path / "cases" / "cool")
    assert run_parity("run", "--out", "out", cwd=tmp_path).returncode == 0
    [folder] = (tmp_path / "out").iterdir()
    assert "no failing feed" in run_parity("export", folder, "--polygraphy", cwd=tmp_path).stderr
    process = run_parity("export", folder, cwd=tmp_path)
    assert process.returncode == 2
    assert "--polygraphy" in process.stderr


def test_what_polygraphy_saves_is_judged_against_what_it_answered(run_parity: RunParity, tmp_path: Path) -> None:
    case = write_matmul_case(
        tmp_path / "case",
        inputs='[inputs]\nkind = "polygraphy"\nfiles = ["inputs.json"]\n'
        '[reference]\nkind = "recorded"\nfiles = ["outputs.json"]\nrunner = "onnxrt-*"\n',
        variants='[variants.fp32]\nprecision = "fp32"\n',
    )
    saving = "polygraphy run model.onnx --onnxrt --iterations 3 --save-inputs inputs.json --save-outputs outputs.json"
    assert polygraphy(saving, case).returncode == 0
    assert run_parity("run", "case", cwd=tmp_path).returncode == 0
    results = RunResults.load(str(case / "outputs.json"))
    [runner] = results.keys()
    results[runner][2]["y"][:] += 1
    save_json(results, str(case / "outputs.json"))
    assert run_parity("run", "case", cwd=tmp_path).returncode == 1
