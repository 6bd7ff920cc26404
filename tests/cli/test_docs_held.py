"""Commands of the documentation that are not run as they stand, each held by a test that fails where it would.

- What ``.ci/run`` executes (``pytest``, the linters, ``pip install -e`` with the extras for work without a GPU) has to
  stand there word for word; of the extras, all have to be among those that it installs.
- Of any other ``pip install``, every requirement has a release on the package index that fits it, for the Python whose
  pip the line calls. Nothing is downloaded: TensorRT alone is 0.8 GB, and refuses to be resolved without a driver. The
  index is asked by ``pip index versions``; without one these tests are skipped, and fail where
  ``PARITY_REQUIRE_INDEX=1``.
- Virtual environments are made and activated by a shell, with this Python in place of another release's.
- Benchmarks at full length take minutes or a GPU: ``.ci/run`` has the smoke form of each ``bench_*.py``, and of the
  others the command line is parsed by their own parser; ``tests/unit/test_nights.py`` runs ``nights.py --smoke``.
- What names a board behind ssh logs in to an sshd of the tests' own, called as on the page.
- The run that makes the committed samples has one image, one precision, and the classifier in the detector's place.
"""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from parity.backends.tensorrt.interpreter import VARIABLE
from tests.conversations import toy_conversation
from tests.doc_commands import (
    NOT_RUN,
    WITH_COMMANDS,
    copy_checkout,
    inline_commands,
    is_not_run,
    run_in,
    simple_commands,
)
from tests.pages import PAGES, ROOT, blocks, read
from tests.ssh_server import ssh_on_path, ssh_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.ssh_server import SshServer

REQUIRE_INDEX = "PARITY_REQUIRE_INDEX"
LIMIT_S = 60
# What pip finds is what it prints, which a machine's own settings must not keep from it.
TALKING = {"PIP_QUIET": "0"}
EXTRAS = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
CI = "\n".join(line for line in read(".ci/run").splitlines() if not re.match(r"\s*#|heading ", line))
# What is neither done by .ci/run nor asked of the index: it installs from the repository itself.
FROM_SOURCE = re.compile(r'"trt-parity\[(\w+)\] @ git\+\$PARITY_SOURCE"')


def held_texts() -> list[str]:
    """Return every command that is not run as it stands: of blocks, of inline code, and the installs of CI files."""
    console = [command.text for page in WITH_COMMANDS for command in simple_commands(page) if is_not_run(command)]
    inline = [text for page in PAGES for text in inline_commands(page.read_text(encoding="utf-8"))]
    (gitlab,) = blocks(read("docs/nightly.md"), "yaml")
    return list(dict.fromkeys([*console, *inline, *re.findall(r"- (pip install .*)", gitlab)]))


HELD = held_texts()


def matching(pattern: str) -> list[str]:
    return [text for text in HELD if re.match(pattern, text)]


def stands_in_ci(text: str) -> bool:
    return re.search(rf"(?:^|&& |\{{ ){re.escape(text)}(?:$|;| &&)", CI, re.MULTILINE) is not None


def extras(text: str) -> set[str]:
    """Return the extras of this project that an editable install names; none where it installs something else."""
    found = re.search(r"-e \"\.\[([\w,-]+)\]\"", text)
    return set(found[1].split(",")) if found else set()


@pytest.mark.parametrize("text", matching(r"pytest$|ruff |mypy$|lint-imports$"))
def test_what_examines_the_project_stands_in_the_ci_script(text: str) -> None:
    assert stands_in_ci(text)


def test_a_command_that_is_not_in_the_ci_script_is_told() -> None:
    assert not any(map(stands_in_ci, ("ruff", "ruff format .", "mypy --strict", "import-linter", "everything")))


INSTALLED_BY_CI = set().union(*map(extras, CI.splitlines()))
INSTALLS = matching(r"pip install|~/trt86/bin/pip install")


def test_every_install_is_done_by_the_ci_script_or_asked_of_the_index_or_made_from_source() -> None:
    assert {"cpu", "test", "dev"} <= INSTALLED_BY_CI
    names = set().union(*map(extras, INSTALLS), *[FROM_SOURCE.findall(text) for text in INSTALLS])
    assert names - set(EXTRAS) == set()
    rest = [text for text in INSTALLS if not (extras(text) and extras(text) <= INSTALLED_BY_CI)]
    assert [text for text in rest if not (requirements(text) or FROM_SOURCE.search(text))] == []


def requirements(text: str) -> list[Requirement]:
    """Return what an install brings beside this project and what ``.ci/run`` installs."""
    if FROM_SOURCE.search(text):
        return []
    if named := extras(text):
        return [Requirement(line) for name in sorted(named - INSTALLED_BY_CI) for line in EXTRAS[name]]
    return [Requirement(word) for word in shlex.split(text)[2:]]


def releases(name: str, python: str) -> list[str]:
    """Return a package's releases on the index, for a release of Python; none where there is no answer."""
    words = [sys.executable, "-m", "pip", "index", "versions", name, "--python-version", python, "--pre"]
    words += ["--only-binary=:all:"] if python != _PYTHON and name != "pycuda" else []
    done = subprocess.run(
        words, env={**os.environ, **TALKING}, capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    found = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    return found[1].split(", ") if found else []


_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def index() -> None:
    """Skip without a package index."""
    if not releases("numpy", _PYTHON):
        reason = "no package index answers `pip index versions numpy`"
        if os.environ.get(REQUIRE_INDEX) == "1":
            pytest.fail(f"{REQUIRE_INDEX}=1, and {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.mark.parametrize("text", [text for text in INSTALLS if requirements(text)])
def test_the_index_has_a_release_for_every_requirement_of_an_install(index: None, text: str) -> None:
    wanted = requirements(text)
    python = "3.10" if text.startswith("~/trt86/") else _PYTHON
    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(wanted, pool.map(lambda one: releases(one.name, python), wanted), strict=True))
    assert [str(one) for one, known in found.items() if not any(one.specifier.contains(v) for v in known)] == []


def test_a_release_that_the_index_does_not_have_is_told(index: None) -> None:
    assert not any(
        Requirement("polygraphy==0.0.1").specifier.contains(known) for known in releases("polygraphy", "3.10")
    )
    # This project is on no index, so that no page may install it by its name.
    assert releases("trt-parity", _PYTHON) == []


def test_an_install_from_source_takes_the_repository_that_a_variable_names(index: None, tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this copy is no git repository")
    [line] = {text for text in INSTALLS if FROM_SOURCE.search(text) and "[cpu]" in text}
    words = f"{sys.executable} -m {line} --dry-run --no-deps --ignore-installed"
    # An address without a host is none to pip: git is told where this one is.
    address = "https://git.example/trt-parity"
    place = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{ROOT}.insteadOf", "GIT_CONFIG_VALUE_0": address}
    done = run_shell(words, tmp_path, PARITY_SOURCE=address, **place)
    assert re.search(r"Would install trt-parity-[\d.]+$", done.stdout, re.MULTILINE), done.stdout


def run_shell(text: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a folder that is also the home, with this Python as ``python3``."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        ["bash", "-c", text],
        cwd=home,
        env={**os.environ, **TALKING, "PATH": path, "HOME": str(home), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


def test_the_virtual_environments_of_the_pages_are_made_and_activated(tmp_path: Path) -> None:
    made = [re.sub(r"^python3\.10 ", "python3 ", text) for text in matching(r"python3(?:\.10)? -m venv")]
    [activated] = matching("source ")
    # What pip is called by afterwards; bringing pip itself takes most of the time, and one of both shows it.
    [here, there] = made
    done = run_shell(f"{here} && {activated} && pip --version && {there} --without-pip && ls ~/trt86/bin", tmp_path)
    assert done.returncode == 0, done.stdout
    assert f"{tmp_path}/.venv/" in done.stdout
    assert "python3\n" in done.stdout


BENCHMARKS = matching("python benchmarks/")


def test_the_ci_script_runs_the_smoke_form_of_every_bench() -> None:
    assert "for benchmark in benchmarks/bench_*.py; do" in CI
    assert 'python "$benchmark" --smoke' in CI
    for text in BENCHMARKS:
        assert (ROOT / shlex.split(text)[1]).is_file()


def unknown_words(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """Return which words a script's own parser does not know, beside one that none knows and that ends it."""
    monkeypatch.setattr("sys.argv", [*words, "--no-such-option"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / words[0]), run_name="__main__")
    return capsys.readouterr().err.rpartition("error: ")[2].strip()


@pytest.mark.parametrize("text", [text for text in BENCHMARKS if len(shlex.split(text)) > 2 or "/bench_" not in text])
def test_a_benchmarks_parser_takes_what_the_page_gives_it(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(text)[1:]
    assert unknown_words(words, monkeypatch, capsys) == "unrecognized arguments: --no-such-option"


def test_an_option_that_a_benchmark_does_not_have_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = unknown_words(["benchmarks/try_exports.py", "--job", "x"], monkeypatch, capsys)
    assert "invalid int value: 'x'" in told
    told = unknown_words(["benchmarks/try_exports.py", "--outt", "x"], monkeypatch, capsys)
    assert told == "unrecognized arguments: --outt --no-such-option"


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


def test_the_variable_that_the_pages_export_is_the_one_that_is_read() -> None:
    assert matching("export ") == [f"export {VARIABLE}=~/trt86/bin/python"]


def test_the_committed_samples_are_made_by_the_pages_command(tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path, 1)
    shutil.copytree(checkout / "cases/shapes_classifier", checkout / "cases/shapes_yolo")
    [text] = matching("parity run cases/shapes_classifier cases/shapes_yolo ")
    made = run_in(checkout, "python -m tests.planted_case reports/hot_classifier", tmp_path / "cache")
    assert made.returncode == 0, made.stdout
    done = run_in(checkout, f"{text} --variant fp16 --limit 1 --no-diagnosis", tmp_path / "cache")
    # The planted overflow shows on a later image.
    assert done.returncode == 0, done.stdout
    assert list((checkout / "reports/samples").glob("*-sample/report.html"))[-1].stat().st_size > 0


def test_every_reason_not_to_run_a_command_has_commands_and_a_test_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    taken = re.findall(r'matching\(r?"([^"]+)"\)', here)
    assert [text for text in HELD if is_not_run_text(text) and not any(re.match(one, text) for one in taken)] == []


def is_not_run_text(text: str) -> bool:
    return any(re.match(pattern, text) for pattern in NOT_RUN)
