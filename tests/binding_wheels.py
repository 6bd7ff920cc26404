"""TensorRT's real Python bindings without TensorRT: the wheels of the bindings alone, over libraries that do nothing.

The bindings link three libraries, of which they call nine functions. Stubs of these return null, so enums, classes and
subclasses are the true ones while a builder, a runtime, a parser or a refitter cannot exist.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = ("10.16.1.11", "11.4.0.106")
REQUIRED = "PARITY_REQUIRE_BINDINGS"
"""Set to 1 where a missing wheel or compiler is a failure and no reason to skip."""

_PACKAGE = "tensorrt-cu13-bindings"
_LIMIT_S = 120
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
_FUNCTIONS = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL",
    "getBuilderPluginRegistry",
    "getNvOnnxParserVersion",
    "getPluginRegistry",
    "initLibNvInferPlugins",
)


class MissingError(Exception):
    """The bindings cannot be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Bindings:
    """Bindings that ``import tensorrt_bindings`` finds in an environment."""

    release: str
    packages: Path
    libraries: Path

    def environment(self) -> dict[str, str]:
        """Return a child process's environment; nothing of this machine's own TensorRT is in it."""
        kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "LD_PRELOAD"}}
        return {**kept, "PYTHONPATH": str(self.packages), "LD_LIBRARY_PATH": str(self.libraries)}


def get_bindings(release: str, cache: Path) -> Bindings:
    """Return a release's bindings for this interpreter, downloaded once into a folder that stays.

    Raises
    ------
    MissingError
        There is no package index, no wheel for this interpreter, or no C compiler.
    """
    if sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"}:
        raise MissingError(f"{_PACKAGE} is for Linux on x86-64 and Arm; this is {sys.platform} on {platform.machine()}")
    folder = cache / f"{release}-cp{sys.version_info.major}{sys.version_info.minor}"
    bindings = Bindings(release, folder / "packages", folder / "libraries")
    with FileLock(cache / f"{folder.name}.lock"):
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _unpack(_download(release, folder), bindings.packages)
            _compile(bindings)
            (folder / "complete").touch()
    return bindings


def _download(release: str, folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ]
    _call([*command, "--dest", str(folder), f"{_PACKAGE}=={release}"], f"{_PACKAGE}=={release} cannot be downloaded")
    return next(folder.glob("*.whl"))


def _unpack(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)


def _compile(bindings: Bindings) -> None:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        raise MissingError("there is no C compiler (cc, gcc or clang) for the stub libraries")
    bindings.libraries.mkdir()
    source = bindings.libraries / "stub.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS), encoding="ascii")
    major = bindings.release.partition(".")[0]
    for name in _LIBRARIES:
        target = bindings.libraries / f"lib{name}.so.{major}"
        _call([compiler, "-shared", "-fPIC", "-o", str(target), str(source)], f"{target.name} cannot be compiled")


def _call(command: list[str], failure: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise MissingError(f"{failure}: no end within {_LIMIT_S} s") from None
    if done.returncode != 0:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise MissingError(f"{failure}: {last.strip()}")
