"""``parity baseline update``, ``parity run --baseline`` and ``parity compare`` as processes."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.tiny_cases import write_matmul_case
from tests.unit.tiny_case import make_model, write_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity

LATENCY = ("--latency", "--measurements", "2", "--seconds", "0.02")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return write_matmul_case(tmp_path / "tiny")


@pytest.fixture(scope="module")
def accepted(run_parity: RunParity, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the case and a baseline of it; tests alter copies."""
    root = tmp_path_factory.mktemp("accepted")
    write_matmul_case(root / "tiny")
    assert run_parity("baseline", "update", "tiny", cwd=root).returncode == 0
    return root / "tiny"


def edited(file: Path, **figures: float) -> None:
    """Alter accepted figures of output y."""
    content = json.loads(file.read_text(encoding="utf-8"))
    for variant in content["variants"].values():
        variant["figures"]["outputs"]["y"] |= figures
    file.write_text(json.dumps(content), encoding="utf-8")


def test_a_baseline_is_missing_made_kept_and_left(run_parity: RunParity, case: Path, tmp_path: Path) -> None:
    missing = run_parity("run", "tiny", "--baseline", "check", cwd=tmp_path)
    assert missing.returncode == 1
    assert "parity baseline update tiny --variant fp16@onnxruntime" in " ".join(missing.stdout.split())
    made = run_parity("baseline", "update", "tiny", cwd=tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    [file] = (case / "baseline").glob("*.json")
    assert f"tiny / fp16@onnxruntime: accepted; in tiny/baseline/{file.name}" in made.stdout
    assert run_parity("run", "tiny", "--baseline", "check", cwd=tmp_path).returncode == 0
    edited(file, sqnr_db=300.0)
    left = run_parity("run", "tiny", "--baseline", "check", "--json", cwd=tmp_path)
    assert left.returncode == 1
    failed = [row for row in json.loads(left.stdout)["outcomes"] if row["verdict"] == "fail"]
    assert {row["check"] for row in failed} == {"baseline"}
    assert all("outputs y sqnr_db 300 -> " in row["message"] for row in failed)
    accepted = run_parity("run", "tiny", "--baseline", "update", cwd=tmp_path)
    assert accepted.returncode == 0
    assert "replaced, because of outputs y sqnr_db" in " ".join(accepted.stdout.split())
    assert run_parity("run", "tiny", "--baseline", "check", cwd=tmp_path).returncode == 0


def test_measurements_and_saved_runs_add_up(run_parity: RunParity, case: Path, tmp_path: Path) -> None:
    made = run_parity("baseline", "update", "tiny", "--variant", "fp32", *LATENCY, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    short = ("--variant", "fp32", "--seconds", "0.02", "--warm-up-ms", "0", "--out", "timed")
    assert run_parity("latency", "tiny", *short, cwd=tmp_path).returncode == 0
    [run] = (tmp_path / "timed").iterdir()
    added = run_parity("baseline", "update", "tiny", "--from", run, cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    [file] = (case / "baseline").glob("*.json")
    [latency] = json.loads(file.read_text(encoding="utf-8"))["variants"]["fp32@onnxruntime"]["latency"].values()
    # A busy machine may have made the third one another engine's: then it stands alone.
    assert len(latency["measurements_ms"]) in {1, 3}


@pytest.mark.parametrize(
    ("content", "told"),
    [('{"format_version": 9}', "has format version 9, this release reads 1"), ("{", "is no baseline")],
)
def test_a_file_that_cannot_be_read_is_exit_code_2(
    run_parity: RunParity, accepted: Path, tmp_path: Path, content: str, told: str
) -> None:
    case = shutil.copytree(accepted, tmp_path / "tiny")
    [file] = (case / "baseline").glob("*.json")
    file.write_text(content, encoding="utf-8")
    checked = run_parity("run", "tiny", "--baseline", "check", cwd=tmp_path)
    assert checked.returncode == 2
    assert told in " ".join(checked.stdout.split())
    updated = run_parity("baseline", "update", "tiny", cwd=tmp_path)
    assert updated.returncode == 2
    assert told in updated.stderr
    assert file.read_text(encoding="utf-8") == content
    assert run_parity("baseline", "update", "tiny", "--replace", cwd=tmp_path).returncode == 0


def test_a_case_renamed_since_is_exit_code_1(run_parity: RunParity, accepted: Path, tmp_path: Path) -> None:
    shutil.copytree(accepted, tmp_path / "renamed")
    checked = run_parity("run", "renamed", "--baseline", "check", cwd=tmp_path)
    assert checked.returncode == 1
    assert "was taken of case 'tiny', which is called 'renamed' now" in " ".join(checked.stdout.split())


def test_what_cannot_be_accepted_is_exit_code_2(run_parity: RunParity, case: Path, tmp_path: Path) -> None:
    (case / "baseline").write_text("a file", encoding="utf-8")
    refused = run_parity("baseline", "update", "tiny", cwd=tmp_path)
    assert refused.returncode == 2
    assert "cannot be written" in refused.stderr
    other = write_matmul_case(tmp_path / "other")
    run_parity("run", other, cwd=tmp_path)
    [run] = (tmp_path / "reports").glob("*other")
    foreign = run_parity("baseline", "update", "tiny", "--from", run, cwd=tmp_path)
    assert foreign.returncode == 2
    assert "judged no case 'tiny'; expected one of other" in foreign.stderr
    assert run_parity("baseline", "update", "tiny", "--from", run, "--latency", cwd=tmp_path).returncode == 2


def test_a_failing_variant_is_accepted_with_a_warning(run_parity: RunParity, tmp_path: Path) -> None:
    write_matmul_case(tmp_path / "hot", scale=1e6)
    made = run_parity("baseline", "update", "hot", cwd=tmp_path)
    assert made.returncode == 0
    assert "hot / fp16@onnxruntime / outputs: failed, and is accepted as it is" in made.stderr
    checked = run_parity("run", "hot", "--baseline", "check", "--no-diagnosis", cwd=tmp_path)
    assert checked.returncode == 1
    assert "1 fail, 3 pass" in checked.stdout


def test_data_that_shows_nothing_is_accepted_with_a_warning(run_parity: RunParity, tmp_path: Path) -> None:
    write_case(tmp_path / "dead", model=make_model(scale=0.0))
    made = run_parity("baseline", "update", "dead", cwd=tmp_path)
    assert made.returncode == 0
    assert "dead / fp16@onnxruntime / outputs: was inconclusive, and is accepted as it is" in made.stderr


def test_two_runs_are_compared(run_parity: RunParity, case: Path, tmp_path: Path) -> None:
    for _ in range(2):
        run_parity("run", "tiny", cwd=tmp_path)
    first, second = sorted((tmp_path / "reports").iterdir())
    equal = run_parity("compare", first, second, "--markdown", "changes.md", cwd=tmp_path)
    assert equal.returncode == 0, equal.stderr
    assert "✓ nothing got worse" in equal.stdout
    assert (tmp_path / "changes.md").read_text(encoding="utf-8").startswith("# ✓ parity compare: nothing got worse")
    gone = run_parity("run", "tiny", "--variant", "fp32", "--out", "fewer", cwd=tmp_path)
    assert gone.returncode == 0
    worse = run_parity("compare", first, "fewer", "--json", cwd=tmp_path)
    assert worse.returncode == 1
    assert json.loads(worse.stdout)["exit_code"] == 1
    nothing = run_parity("compare", first, tmp_path / "nothing", cwd=tmp_path)
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "expected a run's folder" in nothing.stderr


def test_a_baseline_is_of_the_cases_own_variants(run_parity: RunParity, case: Path, tmp_path: Path) -> None:
    refused = run_parity("run", "tiny", "--engine", "x.plan", "--baseline", "check", cwd=tmp_path)
    assert refused.returncode == 2
    assert "leave out --engine or --baseline" in " ".join(refused.stderr.split())
