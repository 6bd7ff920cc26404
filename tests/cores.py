"""The suite or a folder of it takes every core; a file or test that is named stays in one process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from parity.environment import THREADS_VARIABLE, gpu_count

if TYPE_CHECKING:
    import pytest

TESTS = Path(__file__).resolve().parent
# With a process on each core, a second thread of one waits for the core of another, and spins meanwhile.
ONE_THREAD = {THREADS_VARIABLE: "1", "OPENBLAS_NUM_THREADS": "1"}


def spread(config: pytest.Config) -> None:
    """Choose how many processes of pytest-xdist there are, where nobody has; before they are started."""
    option = config.option
    # A worker reads the same configuration and starts no others; without pytest-xdist there is nothing to choose.
    if hasattr(config, "workerinput") or not hasattr(option, "numprocesses"):
        return
    if option.numprocesses is None and _is_large(config):
        option.numprocesses = "auto"
    if not option.numprocesses:
        return
    if option.dist == "no":
        # Neighbours stay in one process, which has what they share, and none is idle at the end.
        option.dist = "worksteal"
    for name, value in ONE_THREAD.items():
        os.environ.setdefault(name, value)


def _is_large(config: pytest.Config) -> bool:
    """Tell whether folders of tests are asked for, and may run side by side.

    What is not captured would be lost in a worker, and tests of one GPU would time each other.
    """
    folders = all(_is_folder_of_tests(config.invocation_params.dir / name) for name in config.args)
    return folders and config.option.capture != "no" and gpu_count() == 0


def _is_folder_of_tests(path: Path) -> bool:
    return path.is_dir() and path.resolve().is_relative_to(TESTS)
