"""The command line as a process."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.tiny_cases import parity_command, process_environment
from tests.warm_process import run_warm

if TYPE_CHECKING:
    from pathlib import Path


class RunParity(Protocol):
    def __call__(
        self, *words: str | Path, cwd: Path, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def run_parity(tmp_path_factory: pytest.TempPathFactory) -> RunParity:
    """Run the command line in a folder and return what it printed and its exit code.

    An environment of its own may decide how an interpreter starts, so that asks for a new one.
    """
    cache = str(tmp_path_factory.mktemp("cache"))

    def run(
        *words: str | Path, cwd: Path, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        variables = process_environment(PARITY_CACHE_DIR=cache, **(environment or {}))
        if environment is None:
            return run_warm("parity", [*map(str, words)], cwd, variables)
        return subprocess.run(
            parity_command(*words),
            cwd=cwd,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run
