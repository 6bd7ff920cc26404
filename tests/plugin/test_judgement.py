from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import onnx

from tests.plugin.conftest import PLAIN_AND_XDIST
from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.plugin.conftest import RunPytest


@PLAIN_AND_XDIST
def test_the_variant_that_overflows_fails_and_the_others_pass(
    run_pytest: RunPytest, good: Path, hot: Path, workers: tuple[str, ...]
) -> None:
    result = run_pytest(*workers, "-rA")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["FAILED cases/hot/case.toml::fp16@onnxruntime::outputs*"])


def test_a_failing_item_prints_the_message_and_nothing_of_the_code(run_pytest: RunPytest, hot: Path) -> None:
    lines = run_pytest("-k", "fp16").outlines
    first = next(i for i, line in enumerate(lines) if "hot: fp16@onnxruntime: outputs" in line) + 1
    message = lines[first : next(i for i in range(first, len(lines)) if lines[i].startswith("==="))]
    text = "\n".join(message)
    assert "40 / 40" in text
    assert "hot / fp16@onnxruntime / outputs" in text
    assert "parity run cases/hot --variant fp16@onnxruntime" in text
    assert ".py" not in text
    assert "Error" not in message[0]


def test_a_case_that_cannot_be_judged_fails_with_the_word_error(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    folder = write_matmul_case(pytester.path / "broken", inputs='[inputs]\nkind = "npz"\nfiles = ["feed.npz"]\n')
    (folder / "feed.npz").write_bytes(b"no archive")
    result = run_pytest("-k", "fp32")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"ERROR: .*feed\.npz.*"])


def test_data_that_shows_nothing_fails_with_the_word_inconclusive(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    folder = write_matmul_case(pytester.path / "constant")
    model = onnx.load(folder / "model.onnx")
    model.graph.initializer[1].raw_data = bytes(len(model.graph.initializer[1].raw_data))
    onnx.save(model, folder / "model.onnx")
    result = run_pytest("-k", "fp16")
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"INCONCLUSIVE: .*"])


@PLAIN_AND_XDIST
def test_junit_carries_the_figures_of_every_output(
    run_pytest: RunPytest, good: Path, pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    run_pytest(*workers, "--junit-xml", "junit.xml", "-k", "fp16")
    [case] = ET.parse(pytester.path / "junit.xml").iter("testcase")
    figures = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
    assert 40 < float(figures["y.sqnr_db"]) < 90
    assert 0 < float(figures["y.headroom"]) < 1
    assert 0 < float(figures["y.max_absolute"]) < 1
    assert figures["y.mismatch_count"] == "0"


def test_last_failed_runs_the_failure_alone(run_pytest: RunPytest, hot: Path) -> None:
    run_pytest()
    run_pytest("--lf").assert_outcomes(failed=1)


def test_groups_keep_a_case_in_one_worker(run_pytest: RunPytest, good: Path, hot: Path) -> None:
    result = run_pytest("-n", "2", "--dist", "loadgroup", "-v")
    result.assert_outcomes(passed=3, failed=1)
    workers = {}
    for line in result.outlines:
        if line.startswith("[gw") and "case.toml" in line:
            workers.setdefault(line.split("/")[1], set()).add(line[:5])
    assert {name: len(found) for name, found in workers.items()} == {"good": 1, "hot": 1}


def test_items_of_a_case_share_its_reference(run_pytest: RunPytest, pytester: pytest.Pytester) -> None:
    folder = write_matmul_case(
        pytester.path / "counted", inputs='[inputs]\nkind = "python"\nfunction = "feeds.py:make"\ncount = 1\n'
    )
    (folder / "feeds.py").write_text(
        "from pathlib import Path\n"
        "import numpy as np\n"
        "def make(count):\n"
        "    with (Path(__file__).parent / 'calls').open('a') as log:\n"
        "        log.write('x')\n"
        "    yield {'x': np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)}\n",
        encoding="utf-8",
    )
    run_pytest().assert_outcomes(passed=2)
    calls = len((folder / "calls").read_text(encoding="utf-8"))
    (folder / "calls").unlink()
    run_pytest("-k", "fp32").assert_outcomes(passed=1)
    assert calls == len((folder / "calls").read_text(encoding="utf-8"))
