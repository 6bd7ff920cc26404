"""Two processes never time one device at once."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from parity.backends.gpu_lock import only_here
from parity.errors import BackendTimeout, RunError
from tests.tiny_cases import process_environment

if TYPE_CHECKING:
    from pathlib import Path

OTHER = """
import sys
from pathlib import Path
from parity.backends.gpu_lock import only_here
with only_here(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_device_that_another_process_holds_is_waited_for_and_others_are_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path), "GPU-1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=process_environment(),
    ) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(BackendTimeout, match=r"GPU-1: another process has measured latency there for 0\.05 s"),
            only_here(tmp_path, "GPU-1", 0.05),
        ):
            pass
        with only_here(tmp_path, "GPU-2", 0.05):
            pass
        other.stdin.write("\n")
        other.stdin.flush()
        with only_here(tmp_path, "GPU-1", 30):
            pass


def test_a_name_leads_out_of_no_folder(tmp_path: Path) -> None:
    with only_here(tmp_path / "cache", "../../out"):
        assert [path.name for path in (tmp_path / "cache" / "latency").iterdir()] == ["..-..-out.lock"]


def test_a_folder_where_no_lock_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"cannot be made .* PARITY_CACHE_DIR"), only_here(tmp_path / "file", "cpu"):
        pass
