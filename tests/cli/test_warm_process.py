"""A process forked from a warm one is told from a new interpreter by its time alone."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING

import pytest

from tests.tiny_cases import write_matmul_case
from tests.warm_process import PRELOADED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity


@pytest.mark.parametrize(
    ("words", "code"), [(("run", "hot"), 1), (("run", "nowhere"), 2), (("run", "--nosuch"), 2), (("--version",), 0)]
)
def test_a_warm_process_prints_and_ends_as_a_new_one(
    run_parity: RunParity, tmp_path: Path, words: tuple[str, ...], code: int
) -> None:
    write_matmul_case(tmp_path / "hot", scale=1e6)
    warm, new = (run_parity(*words, cwd=tmp_path, environment=asked) for asked in (None, {}))
    assert warm.returncode == new.returncode == code
    for stream in ("stdout", "stderr"):
        # The folder of a run is called after its time, and a second one of that time after that.
        printed, expected = (re.sub(r"\d{8}-\d{6}-hot(-2)?", "RUN", getattr(done, stream)) for done in (warm, new))
        assert printed == expected


@pytest.mark.parametrize("name", PRELOADED)
def test_what_is_loaded_beforehand_exists(name: str) -> None:
    assert importlib.import_module(name)
