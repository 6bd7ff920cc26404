"""Names of any bytes, locales that lack them and terminals that lack signs: a verdict or a sentence, no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from parity.run_file import load_run
from tests.tiny_cases import PLUGIN, process_environment, two_matmuls, write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": ""}
WORDS = "this Python takes names of files as ascii, as the locale says: set PYTHONUTF8=1"


def _named_so(folder: Path) -> Path:
    """Write a case whose model is called as its folder, and return that."""
    write_matmul_case(folder)
    (folder / "model.onnx").rename(folder / "Übung_模型.onnx")
    text = (folder / "case.toml").read_text(encoding="utf-8")
    (folder / "case.toml").write_text(text.replace("model.onnx", "Übung_模型.onnx"), encoding="utf-8")
    return folder


def test_a_model_that_an_ascii_locale_cannot_name_is_told_with_what_to_set(
    run_parity: RunParity, tmp_path: Path
) -> None:
    _named_so(tmp_path / "Übung_模型")
    done = run_parity("run", "Übung_模型", cwd=tmp_path, environment=ASCII)
    assert done.returncode == 2
    assert "holds '\\xdcbung_\\u6a21\\u578b.onnx', and" in done.stdout
    assert WORDS in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr
    begun = run_parity("init", "Übung_模型/Übung_模型.onnx", "--no-run", cwd=tmp_path, environment=ASCII)
    assert begun.returncode == 2
    assert WORDS in begun.stderr
    assert "Traceback" not in begun.stderr


def test_weights_that_an_ascii_locale_cannot_name_are_told(run_parity: RunParity, tmp_path: Path) -> None:
    import onnx

    folder = write_matmul_case(tmp_path / "case")
    onnx.save(two_matmuls(1.0), folder / "model.onnx", save_as_external_data=True, location="模.data", size_threshold=0)
    done = run_parity("run", "case", cwd=tmp_path, environment=ASCII)
    assert done.returncode == 2
    assert "keeps its data in '\\u6a21.data'" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr


def test_a_folder_in_an_ascii_locale_is_judged_under_its_name(run_parity: RunParity, tmp_path: Path) -> None:
    write_matmul_case(tmp_path / "Übung_模型", scale=1e6)
    done = run_parity("run", "Übung_模型", "--history", "h.db", cwd=tmp_path, environment=ASCII)
    assert (done.returncode, done.stderr) == (1, "")
    [folder] = (tmp_path / "reports").iterdir()
    assert {outcome.case for outcome in load_run(folder).outcomes} == {"Übung_模型"}
    shown = run_parity("history", "Übung_模型", "--history", "h.db", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr


def test_a_test_in_an_ascii_locale_says_what_to_set(tmp_path: Path) -> None:
    _named_so(tmp_path / "Übung_模型")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:cacheprovider", "-q", "Übung_模型"],
        cwd=tmp_path,
        env=process_environment(**ASCII),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert WORDS.encode() in done.stdout
    assert b"Traceback" not in done.stdout


def test_a_folder_whose_name_is_no_text_has_history_and_baseline(run_parity: RunParity, tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/case_\xdc")
    write_matmul_case(tmp_path / "case").rename(folder)
    words = (folder, "--variant", "fp32")
    done = run_parity("run", *words, "--history", "h.db", "--baseline", "update", "--name", "\udcdc", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "accepted" in done.stdout + done.stderr
    shown = run_parity("history", folder, "--history", "h.db", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "case_\\xdc" in shown.stdout


def test_a_terminal_that_lacks_signs_costs_no_verdict(run_parity: RunParity, tmp_path: Path) -> None:
    write_matmul_case(tmp_path / "模型", scale=1e6)
    latin = {"PYTHONIOENCODING": "latin-1"}
    done = run_parity("run", "模型", "--variant", "fp16", "--no-diagnosis", cwd=tmp_path, environment=latin)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\\u6a21\\u578b / fp16@onnxruntime" in done.stdout
