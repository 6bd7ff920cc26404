"""Files of trtexec through the command line."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import pytest

from tests.tiny_cases import ROOT, write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity

TRTEXEC, INSPECTOR = ROOT / "tests" / "data" / "trtexec", ROOT / "tests" / "data" / "inspector"
LAYERS, PROFILE = INSPECTOR / "tensorrt-8.6-fp16.json", TRTEXEC / "profile-8.6-fp16.json"
TIMES = TRTEXEC / "times-8.6.json"


def test_layers_are_shown_with_their_time_and_times_are_summed_up(run_parity: RunParity, tmp_path: Path) -> None:
    process = run_parity("import", "trtexec", "--layers", LAYERS, "--profile", PROFILE, "--times", TIMES, cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    lines = [line.split() for line in process.stdout.splitlines()]
    assert ["s0b0a", "+", "s0b0a_relu", "fp16", "0.006656", "2.8%"] in lines
    assert ["latency", "20", "0.4437", "0.4453", "0.4458", "0.491", "2.38"] in lines
    assert "lock the clocks" in process.stdout
    assert max(map(len, process.stdout.splitlines()[:-1])) <= 100


def test_the_slowest_layer_comes_first_where_that_is_asked(run_parity: RunParity, tmp_path: Path) -> None:
    words = ("import", "trtexec", "--layers", TRTEXEC / "layers-10.json", "--profile", TRTEXEC / "profile-10.json")
    process = run_parity(*words, "--by-time", cwd=tmp_path)
    assert process.stdout.splitlines()[2].split()[-2:] == ["0.03815", "70.2%"]


def test_files_and_json_hold_the_same_rows(run_parity: RunParity, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    words = ("import", "trtexec", "--layers", LAYERS, "--profile", PROFILE, "--times", TIMES)
    process = run_parity(*words, "--json", "--out", "out", cwd=tmp_path)
    found = json.loads(process.stdout)
    with (tmp_path / "out" / "layers.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["layer"] for row in rows] == [layer["layer"] for layer in found["layers"]]
    assert [float(row["median_ms"]) for row in rows] == [layer["median_ms"] for layer in found["layers"]]
    with (tmp_path / "out" / "times.csv").open(encoding="utf-8") as stream:
        assert [float(row["p99"]) for row in csv.DictReader(stream)] == [times["p99"] for times in found["times"]]
    assert not (tmp_path / "out" / "census.csv").exists()


@pytest.mark.parametrize(("name", "code", "verdict"), [("fp16", 0, "pass"), ("fp32", 1, "fail")])
def test_an_engine_is_held_against_what_its_case_asks(
    run_parity: RunParity, tmp_path: Path, name: str, code: int, verdict: str
) -> None:
    write_matmul_case(tmp_path / "case")
    (tmp_path / "out").mkdir()
    layers, profile = INSPECTOR / f"tensorrt-8.6-{name}.json", TRTEXEC / f"profile-8.6-{name}.json"
    words = ("import", "trtexec", "--layers", layers, "--profile", profile, "--out", "out", "--case", "case")
    process = run_parity(*words, "--variant", "fp16", cwd=tmp_path)
    assert process.returncode == code
    assert f"\n{verdict}: fp16 runs" in process.stdout
    assert (tmp_path / "out" / "census.csv").is_file()


def test_a_variant_that_is_not_there_is_told_with_those_that_are(run_parity: RunParity, tmp_path: Path) -> None:
    write_matmul_case(tmp_path / "case")
    process = run_parity("import", "trtexec", "--layers", LAYERS, "--case", "case", "--variant", "int8", cwd=tmp_path)
    assert process.returncode == 2
    assert "variant 'int8' is none of fp32, fp16" in process.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give a file of trtexec"),
        (("--profile", PROFILE, "--case", "case"), "--case needs --layers"),
        (("--layers", "nowhere.json"), "nowhere.json: cannot be read"),
        (("--layers", LAYERS, "--profile", TRTEXEC / "profile-10.json"), "files of one engine"),
        (("--times", TIMES, "--out", "nowhere"), "nowhere/times.csv: cannot be written"),
    ],
)
def test_a_mistake_is_one_message(
    run_parity: RunParity, tmp_path: Path, words: tuple[str | Path, ...], said: str
) -> None:
    process = run_parity("import", "trtexec", *words, cwd=tmp_path)
    assert process.returncode == 2
    assert said in " ".join(process.stderr.split())
    assert "Traceback" not in process.stderr
