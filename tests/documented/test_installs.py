"""Every install of the documentation is run by pip, in a fresh virtual environment, and everything it needs is found.

Downloading all of it costs gigabytes, so that ``--dry-run`` is appended: pip resolves the whole environment against the
package index, builds the metadata of what has only sources, and says what it would install. ``PARITY_DOCUMENTED=full``
leaves it away. One package is stood in for then by an empty one of the same name and release: ``tensorrt_cuNN_libs``,
which on PyPI is a script that fetches 2 GB from NVIDIA's own index. What ``.ci/run`` installs is not run again here.

Without a package index the tests are skipped, and fail where ``PARITY_REQUIRE_INDEX=1``. Without a ``python3.10`` the
line for TensorRT 8.6 is skipped.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.doc_commands import CI, FULL, held_texts, matching, stands_in_ci
from tests.pages import ROOT, blocks, read
from tests.repositories import git_in

REQUIRE_INDEX = "PARITY_REQUIRE_INDEX"
LIMIT_S = 3600 if FULL else 600
pytestmark = pytest.mark.timeout(LIMIT_S)
# An address without a host is none to pip: git is told where this one is.
SOURCE = "https://git.example/trt-parity"
EXTRAS = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
# What an installation from a copy of the sources reads.
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "parity")
OLD_PYTHON = "python3.10"
IN_OLD_PYTHON = "~/trt86/bin/pip "
(_GITLAB,) = blocks(read("docs/nightly.md"), "yaml")
INSTALLS = [
    *matching(rf"pip install|{re.escape(IN_OLD_PYTHON)}"),
    *dict.fromkeys(re.findall(r"- (pip install .*)", _GITLAB)),
]


def extras(text: str) -> set[str]:
    """Return the extras of this project that an install names; none where it installs something else."""
    found = re.search(r"\"(?:\.|trt-parity)\[([\w,-]+)\]", text)
    return set(found[1].split(",")) if found else set()


# Nothing but the README's table names some extras.
OFFERED = [f'pip install -e ".[{name}]"' for name in EXTRAS]
_DONE_BY_CI = set().union(*(extras(line) for line in CI.splitlines() if "pip install -e" in line))
RUN = [
    text
    for text in dict.fromkeys([*INSTALLS, *OFFERED])
    if not (text.startswith("pip install -e") and extras(text) <= _DONE_BY_CI)
]


def test_the_ci_script_installs_what_is_not_installed_here() -> None:
    assert {"cpu", "test", "dev"} <= _DONE_BY_CI
    assert not {"gpu", "gpu-trt10"} & _DONE_BY_CI
    assert set().union(*map(extras, INSTALLS)) - set(EXTRAS) == set()
    assert len(RUN) >= 6
    left = [text for text in held_texts() if "pip install" in text and text not in RUN]
    assert left
    assert [text for text in left if not (stands_in_ci(text) or extras(text) <= _DONE_BY_CI)] == []


def run_shell(text: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line in a folder that is also the home; what pip has loaded once it takes from the machine's cache."""
    # What pip resolves is what it prints, which a machine's own settings must not keep from it.
    kept = {**os.environ, "PIP_QUIET": "0", "PIP_CACHE_DIR": str(_CACHE), "HOME": str(home), **variables}
    return subprocess.run(
        ["bash", "-c", text],
        cwd=home,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )


_CACHE = Path(
    subprocess.run(
        [sys.executable, "-m", "pip", "cache", "dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
)


def releases(name: str) -> list[str]:
    """Return all releases of a package that the index has for this Python; none where there is no answer."""
    words = [sys.executable, "-m", "pip", "index", "versions", name]
    done = subprocess.run(words, env={**os.environ, "PIP_QUIET": "0"}, capture_output=True, text=True, check=False)
    found = re.search(r"^Available versions: (.*)$", done.stdout, re.MULTILINE)
    return found[1].split(", ") if found else []


@pytest.fixture(scope="module")
def tensorrt_releases() -> list[str]:
    """Return TensorRT's releases on the index; the test is skipped where there is no index."""
    found = releases("tensorrt")
    if not found:
        skip_or_fail("no package index answers `pip index versions tensorrt`")
    return found


def skip_or_fail(reason: str) -> None:
    if os.environ.get(REQUIRE_INDEX) == "1":
        pytest.fail(f"{REQUIRE_INDEX}=1, and {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def stand_ins(tensorrt_releases: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an empty wheel for the library of every TensorRT on the index."""
    folder = tmp_path_factory.mktemp("stand_ins")
    for cuda in ("cu12", "cu13"):
        for release in tensorrt_releases:
            write_empty_wheel(folder, f"tensorrt_{cuda}_libs", release)
    return folder


def write_empty_wheel(folder: Path, name: str, release: str) -> None:
    info = f"{name}-{release}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{release}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a folder with a copy of the sources, to be the home and the working directory of a shell."""
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    return tmp_path


def make_environment(text: str, home: Path) -> None:
    """Make the virtual environment whose pip an install calls, by the pages' own lines."""
    [here, old] = matching(r"python3(?:\.10)? -m venv")
    if not text.startswith(IN_OLD_PYTHON):
        made = run_shell(here.replace("python3", shlex.quote(sys.executable), 1), home)
    elif folder := folder_of(OLD_PYTHON):
        made = run_shell(f"PATH={shlex.quote(folder)}:$PATH {old}", home)
    else:
        pytest.skip(f"there is no {OLD_PYTHON}")
    assert made.returncode == 0, made.stdout
    if not FULL:
        # The one that Python brings may load whole wheels for a dry run as well.
        pip = text.partition(" install ")[0] if text.startswith(IN_OLD_PYTHON) else ".venv/bin/pip"
        newer = run_shell(f"{pip.removesuffix('pip')}python -m pip install --upgrade pip", home)
        assert newer.returncode == 0, newer.stdout


def folder_of(program: str) -> str | None:
    """Return the folder of a Python itself, which may be started through a script that reads the user's home."""
    words = [program, "-c", "import sys; print(sys.executable)"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return str(Path(done.stdout.strip()).parent)


def make_repository(folder: Path) -> None:
    """Make a repository of the sources in a folder: the checkout may be none, or shallow, or another user's."""
    for words in (["init", "-q"], ["add", *SOURCES], ["commit", "-q", "-m", "sources"]):
        subprocess.run([*git_in(folder), *words], check=True)


def install(text: str, home: Path, stand_ins: Path) -> subprocess.CompletedProcess[str]:
    [activated] = matching("source ")
    line = text if text.startswith(IN_OLD_PYTHON) else f"{activated} && {text}"
    places = {"PARITY_SOURCE": SOURCE, "GIT_CONFIG_COUNT": "1"}
    if "git+" in text:
        make_repository(home)
    places |= {"GIT_CONFIG_KEY_0": f"url.file://{home}.insteadOf", "GIT_CONFIG_VALUE_0": SOURCE}
    if not FULL:
        line = f"{line} --dry-run"
        # Of a wheel's gigabytes its metadata alone is read.
        places["PIP_USE_FEATURE"] = "fast-deps"
        places["PIP_FIND_LINKS"] = f"{os.environ.get('PIP_FIND_LINKS', '')} {stand_ins}".strip()
    return run_shell(line, home, **places)


def wanted(text: str) -> set[str]:
    """Return the packages that an install is written for, by their names on the index."""
    if named := extras(text):
        return {"trt-parity", *(Requirement(line).name for name in named for line in EXTRAS[name])}
    return {Requirement(word).name for word in shlex.split(text)[2:]}


def named_in(printed: str) -> set[str]:
    """Return what pip says that it would install, or has installed."""
    [line] = re.findall(r"^(?:Would install|Successfully installed) (.*)$", printed, re.MULTILINE)
    return {re.sub(r"-[^-]+$", "", word).replace("_", "-").lower() for word in line.split()}


@pytest.mark.parametrize("text", RUN)
def test_an_install_of_the_pages_finds_everything_it_needs(text: str, home: Path, stand_ins: Path) -> None:
    make_environment(text, home)
    done = install(text, home, stand_ins)
    assert done.returncode == 0, done.stdout[-4000:]
    assert wanted(text) - named_in(done.stdout) == set()


def test_an_install_that_asks_for_what_no_release_gives_is_told(home: Path, stand_ins: Path) -> None:
    settings = home / "pyproject.toml"
    text = settings.read_text(encoding="utf-8")
    settings.write_text(text.replace('"polygraphy>=', '"polygraphy<0.1,>='), encoding="utf-8")
    [gpu] = [text for text in RUN if text == 'pip install -e ".[gpu]"']
    make_environment(gpu, home)
    done = install(gpu, home, stand_ins)
    assert done.returncode != 0
    assert "polygraphy" in done.stdout


def test_this_project_is_on_no_index_so_that_no_page_installs_it_by_its_name(tensorrt_releases: list[str]) -> None:
    assert releases("trt-parity") == []
    assert [text for text in INSTALLS if re.search(r"install \"?trt-parity(?!\[\w+\] @ git\+)", text)] == []
