from __future__ import annotations

import re
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from parity.run_file import load_run
from tests.tiny_cases import parity_command, process_environment, write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity

# Waits for ever in its first run, and answers at once when the file "go" is there.
SLOW_FEEDS = """
import time
from pathlib import Path
import numpy as np

def make(count):
    here = Path(__file__).parent
    (here / "started").touch()
    while not (here / "go").exists():
        time.sleep(0.01)
    yield {"x": np.linspace(-1, 1, 32, dtype=np.float32).reshape(4, 8)}
"""


def test_ctrl_c_leaves_a_readable_run_that_the_printed_command_finishes(run_parity: RunParity, tmp_path: Path) -> None:
    write_matmul_case(tmp_path / "cases" / "first")
    slow = write_matmul_case(
        tmp_path / "cases" / "slow", inputs='[inputs]\nkind = "python"\nfunction = "feeds.py:make"\ncount = 1\n'
    )
    (slow / "feeds.py").write_text(SLOW_FEEDS, encoding="utf-8")
    process = subprocess.Popen(
        parity_command("run"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=process_environment(PARITY_CACHE_DIR=str(tmp_path / "cache")),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (slow / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 2
    assert "Traceback" not in output + errors
    [folder] = (tmp_path / "reports").iterdir()
    partial = load_run(folder)
    assert [outcome.case for outcome in partial.outcomes] == ["first", "first"]
    assert not partial.is_complete
    assert "This run was interrupted" in (folder / "report.html").read_text(encoding="utf-8")

    command = re.search(r"parity (run --resume \S+)", errors)
    assert command
    (slow / "go").touch()
    resumed = run_parity(*command[1].split(), cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    whole = load_run(folder)
    assert whole.is_complete
    assert whole.outcomes[:2] == partial.outcomes
    assert [outcome.case for outcome in whole.outcomes] == ["first", "first", "slow", "slow"]
