from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from tests.recorded_run import CASE, CHECKS, INTERPRETER, JUDGED, REFUSED, recorded_engines

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import RunPytest

OPTIONS = ("--parity-backend", "tensorrt", "--parity-tensorrt-python", INTERPRETER, "--junitxml", "junit.xml")


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_items_judge_a_recording_and_name_its_engines_to_junit(
    run_pytest: RunPytest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    # The recording is of GPU 0, which all workers of a machine with one GPU share.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    shutil.copytree(CASE, pytester.path / "recorded_case")
    run_pytest(*workers, *OPTIONS).assert_outcomes(passed=len(JUDGED) * len(CHECKS), failed=len(CHECKS))
    properties = _properties(pytester.path / "junit.xml")
    engines = recorded_engines()
    hashes = {item: found["engine.sha256"] for item, found in properties.items() if "engine.sha256" in found}
    assert hashes == {(f"{variant}@tensorrt", check): engines[variant] for variant in JUDGED for check in CHECKS}
    assert set(properties) - set(hashes) == {(f"{REFUSED}@tensorrt", check) for check in CHECKS}
    assert float(properties["tf32@tensorrt", "outputs"]["logits.total_sqnr_db"]) == pytest.approx(50.2, abs=1.0)


def _properties(junit: Path) -> dict[tuple[str, str], dict[str, str]]:
    """Return the properties of each item in JUnit's file by its variant and check."""
    return {
        (case.attrib["classname"].rpartition(".")[2], case.attrib["name"]): {
            entry.attrib["name"]: entry.attrib["value"] for entry in case.iter("property")
        }
        for case in ET.parse(junit).iter("testcase")
    }
