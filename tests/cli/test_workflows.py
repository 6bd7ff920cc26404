"""The files for CI are YAML, and every command of parity in them has options that exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.doc_commands import read_options
from tests.pages import ROOT, blocks, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKFLOWS = {
    path.name: path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("parity-*.yml")
}
(GITLAB,) = blocks(read("docs/nightly.md"), "yaml")
FILES = {**WORKFLOWS, "gitlab": GITLAB}


def scripts(content: object) -> Iterator[str]:
    """Yield the shell scripts of a workflow, at any depth."""
    if isinstance(content, dict):
        for name, value in content.items():
            if name in {"run", "script", "after_script"}:
                yield from [value] if isinstance(value, str) else value
            else:
                yield from scripts(value)
    elif isinstance(content, list):
        for value in content:
            yield from scripts(value)


def commands(script: str) -> list[list[str]]:
    """Return the commands of parity and pytest in a script, each as its words."""
    found = re.findall(r"(?:^|do |; )\s*((?:parity|pytest) [^;|>\n]*)", script, re.MULTILINE)
    return [shlex.split(command) for command in found]


def steps(name: str) -> list[dict[str, Any]]:
    (job,) = yaml.safe_load(WORKFLOWS[name])["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_command_has_options_that_exist(name: str) -> None:
    found = [words for script in scripts(yaml.safe_load(FILES[name])) for words in commands(script)]
    assert {words[1] for words in found} >= ({"run"} if name != "gitlab" else {"run", "doctor", "history"})
    for words in found:
        read_options(words)


def test_the_commands_of_a_script_are_found() -> None:
    script = (
        'for run in r/*; do\n  parity report "$run" --github || true\n  cat x >> y\ndone\nparity doctor; parity run a'
    )
    assert commands(script) == [
        ["parity", "report", "$run", "--github"],
        ["parity", "doctor"],
        ["parity", "run", "a"],
    ]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_job_found_is_told_and_kept_whatever_failed(name: str) -> None:
    found = steps(name)
    told = [step for step in found if "GITHUB_STEP_SUMMARY" in step.get("run", "")]
    kept = [step for step in found if step.get("uses", "").startswith("actions/upload-artifact")]
    assert len(told) == len(kept) == 1
    assert told[0]["if"] == kept[0]["if"] == "always()"
    assert "--github" in told[0]["run"]


def test_the_night_runs_on_a_gpu_and_keeps_engines_history_and_baselines() -> None:
    text = WORKFLOWS["parity-nightly.yml"]
    (job,) = yaml.safe_load(text)["jobs"].values()
    assert job["runs-on"] == ["self-hosted", "gpu"]
    restored = next(step for step in steps("parity-nightly.yml") if step.get("uses", "").endswith("restore@v4"))
    assert "hashFiles" in restored["with"]["key"]
    (run,) = [words for script in scripts(yaml.safe_load(text)) for words in commands(script) if words[1] == "run"]
    assert {"--history", "--baseline", "check", "tensorrt"} <= set(run)


def test_a_night_tells_each_run_that_has_a_summary_and_stays_below_githubs_limit(tmp_path: Path) -> None:
    (script,) = [step["run"] for step in steps("parity-nightly.yml") if "GITHUB_STEP_SUMMARY" in step.get("run", "")]
    for name, size in (("1-nightly", 900_000), ("2-a-latency", 500_000), ("3-b-latency", 100_000)):
        (tmp_path / "reports" / name).mkdir(parents=True)
        (tmp_path / "reports" / name / "summary.md").write_text("x" * size, encoding="utf-8")
    (tmp_path / "reports" / "4-c-latency").mkdir()
    stand_in = tmp_path / "bin" / "parity"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "told $2"\nexit 1\n', encoding="utf-8")
    stand_in.chmod(0o755)
    summary = tmp_path / "summary"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "told",
        "reports/1-nightly",
        "told",
        "reports/2-a-latency",
        "told",
        "reports/3-b-latency",
    ]
    assert summary.stat().st_size == 1_000_000
