"""Commands of the documentation that neither stand in a block that is run nor are this project's own.

- What examines the whole project has to stand word for word in ``.ci/run``, which executes it.
- What names a board behind ssh logs in to an sshd of the tests' own, called as on the page.
- Installs and scripts take minutes: ``tests/documented`` runs them, and ``.ci/run`` runs that.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from parity.backends.tensorrt.interpreter import VARIABLE
from tests.conversations import toy_conversation
from tests.doc_commands import CI, NOT_RUN, matching, stands_in_ci
from tests.pages import PAGES, ROOT, read
from tests.ssh_server import ssh_on_path, ssh_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.ssh_server import SshServer

LIMIT_S = 60


@pytest.mark.parametrize("text", matching(r"pytest(?: tests/documented)?$|ruff |mypy$|lint-imports$"))
def test_what_examines_the_project_stands_in_the_ci_script(text: str) -> None:
    assert stands_in_ci(text)


def test_a_command_that_is_not_in_the_ci_script_is_told() -> None:
    assert not any(map(stands_in_ci, ("ruff", "ruff format .", "mypy --strict", "import-linter", "everything")))


def test_every_folder_of_tests_is_run_by_pytest_or_by_the_ci_script() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    by_itself = set(tomllib.loads(read("pyproject.toml"))["tool"]["pytest"]["testpaths"])
    rest = {folder for folder in folders if not any(f"{folder}/".startswith(f"{path}/") for path in by_itself)}
    assert rest == {"tests/documented"}
    assert re.search(r"^pytest .*tests/documented$", CI, re.MULTILINE)


def test_each_file_that_is_said_to_run_a_command_names_it() -> None:
    for pattern, where in NOT_RUN.items():
        [file] = re.findall(r"^[\w./]+", where)
        beginning = re.split(r"[|(\\$]", pattern)[0].strip()
        assert beginning in read(file), f"{file} does not have {beginning}"


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as running:
        yield running


def test_the_board_of_the_pages_is_reached_as_they_say(
    board: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", ssh_on_path(board, tmp_path))
    [text] = matching("ssh ")
    done = subprocess.run(shlex.split(text), capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert re.fullmatch(r"Python 3\.\d+\.\d+\S*\n", done.stdout)
    assert done.stderr == ""


def ways_over_ssh() -> list[str]:
    """Return what pages write after ``--tensorrt-python`` to name a board."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    found = re.findall(r"(?<=`)ssh=[^`]*jetson//[^`]*(?=`)|(?<=--tensorrt-python )ssh=\S+", text)
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("way", ways_over_ssh())
def test_every_spec_of_a_board_starts_a_worker_there(
    board: SshServer, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "-F ci/ssh_config" in way:
        # The words before the host are ssh's own: only the port is another.
        (tmp_path / "ci").mkdir()
        shutil.copyfile(board.config, tmp_path / "ci/ssh_config")
        monkeypatch.chdir(tmp_path)
    else:
        monkeypatch.setenv("PATH", ssh_on_path(board, tmp_path))
    spec = way.replace("-p 2222", f"-p {board.port}")
    spec = re.sub(r"python=\S+", f"python={sys.executable}", spec)
    toys = toy_conversation(spec)
    assert toys.ask("echo", {"way": way}, 30.0) == {"way": way}
    toys.close()


def test_the_variable_that_the_pages_export_is_the_one_that_is_read(tmp_path: Path) -> None:
    [text] = matching("export ")
    words = ["bash", "-c", f'{text}; echo "${VARIABLE}"']
    done = subprocess.run(words, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/trt86/bin/python\n"
