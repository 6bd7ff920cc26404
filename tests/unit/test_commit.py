from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from parity.commit import commit_of
from tests.repositories import git_in

if TYPE_CHECKING:
    from pathlib import Path

HASH = "0123456789abcdef" * 2 + "01234567"


@pytest.mark.parametrize("name", ["GITHUB_SHA", "CI_COMMIT_SHA"])
def test_what_ci_says_comes_first(tmp_path: Path, name: str) -> None:
    assert commit_of(tmp_path, {name: HASH}) == HASH


@pytest.mark.parametrize("told", ["", "main", "$(touch x)", f"{HASH}; rm"])
def test_what_is_no_hash_is_not_taken_for_one(tmp_path: Path, told: str) -> None:
    assert commit_of(tmp_path, {"GITHUB_SHA": told}) == ""


def test_else_git_is_asked_in_the_folder_or_beside_the_file(tmp_path: Path) -> None:
    git = git_in(tmp_path)
    subprocess.run([*git, "init", "--quiet"], check=True)
    assert commit_of(tmp_path, {}) == ""
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "first"], check=True)
    shown = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    (tmp_path / "case.toml").touch()
    assert commit_of(tmp_path, {}) == commit_of(tmp_path / "case.toml", {}) == shown


def test_without_git_the_commit_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_of(tmp_path, {}) == ""
