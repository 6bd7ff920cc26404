"""Where a run is made: versions that can change a figure, and runtimes that are missing or installed twice.

Everything is read from package metadata, so that nothing heavy is imported to be described.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
from importlib.machinery import PathFinder
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from parity.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS_VARIABLE = "PARITY_THREADS"
"""The environment variable that limits ONNX Runtime's threads: processes side by side do not share cores well."""

REPORTED_PACKAGES = (
    "trt-parity",
    "numpy",
    "ml-dtypes",
    "onnx",
    "opencv-python-headless",
    "opencv-python",
    "polygraphy",
    "pycuda",
    "tensorrt",
)
"""Packages whose version can change a figure of a run; ONNX Runtime's distributions are added."""

ONNXRUNTIME_DISTRIBUTIONS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-directml",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
    "onnxruntime-training",
    "ort-nightly",
    "ort-nightly-gpu",
)
"""Distributions that all unpack into the folder ``onnxruntime``; two of them overwrite each other's files."""


def naming_advice() -> str:
    """Return what to set where this Python takes names of files in less than UTF-8; empty where it takes all."""
    encoding = sys.getfilesystemencoding()
    if encoding.lower().replace("-", "") == "utf8":
        return ""
    return f"this Python takes names of files as {encoding}, as the locale says: set PYTHONUTF8=1"


class EnvironmentValues(TypedDict):
    """The fields of ``parity.results.Environment``."""

    python: str
    platform: str
    processor: str
    core_count: int
    packages: dict[str, str]


def describe_environment() -> EnvironmentValues:
    """Return where this process runs: versions and hardware, no path, user or host name."""
    return EnvironmentValues(
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor_name(Path("/proc/cpuinfo")),
        core_count=_usable_cores(),
        packages=package_versions((*REPORTED_PACKAGES, *ONNXRUNTIME_DISTRIBUTIONS)),
    )


def package_versions(names: Sequence[str]) -> dict[str, str]:
    """Return the version of each installed distribution of ``names``, in their order."""
    versions = {}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _processor_name(cpuinfo: Path) -> str:
    # Linux leaves platform.processor() empty or repeats the architecture; the kernel's own list has the name.
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _usable_cores() -> int:
    # A container or a job scheduler often grants fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpu_count(driver: Path = Path("/proc/driver/nvidia/gpus")) -> int:
    """Return how many NVIDIA GPUs this process may use; 0 where the driver shows none.

    Parameters
    ----------
    driver
        Where the driver has a folder for each GPU.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # CUDA stops at the first entry that is no device, such as -1.
        return len(list(takewhile(lambda name: name and not name.startswith("-"), visible.split(","))))
    try:
        return sum(1 for _ in driver.iterdir())
    except OSError:
        return 0


def thread_limit(told: str | None = None) -> int:
    """Return how many threads ONNX Runtime may use for one operator; 0 where it is to choose.

    Parameters
    ----------
    told
        What says it; the environment variable ``PARITY_THREADS`` by default.

    Raises
    ------
    BackendError
        It is no whole number of threads.
    """
    told = os.environ.get(THREADS_VARIABLE) if told is None else told
    if not told:
        return 0
    if not re.fullmatch(r"[1-9][0-9]{0,3}", told):
        raise BackendError(f"{THREADS_VARIABLE}: is {told!r}; expected a number of threads such as 1, or nothing")
    return int(told)


def onnxruntime_conflict(folders: Sequence[str | Path] | None = None) -> str | None:
    """Say what is wrong with the installed ONNX Runtime, and the command that mends it.

    Parameters
    ----------
    folders
        The site-packages folders to look into; ``sys.path`` by default.

    Returns
    -------
    str or None
        None where exactly one distribution is installed per folder.
    """
    paths = [str(folder) for folder in (sys.path if folders is None else folders)]
    found = _distributions_by_folder(paths)
    for names in found.values():
        if len(names) > 1:
            return _say_how_to_separate(names)
    # A runtime built from source has no distribution, only its package.
    if not found and PathFinder.find_spec("onnxruntime", paths) is None:
        return (
            'onnxruntime: is not installed; run: pip install "trt-parity[cpu]" '
            '(on a machine with an NVIDIA GPU: pip install "trt-parity[gpu]")'
        )
    return None


def _distributions_by_folder(paths: Sequence[str]) -> dict[Path, list[str]]:
    found: dict[Path, list[str]] = {}
    for folder in dict.fromkeys(Path(path).resolve() for path in paths):
        names = [
            name
            for name in ONNXRUNTIME_DISTRIBUTIONS
            if any(importlib.metadata.distributions(name=name, path=[str(folder)]))
        ]
        if names:
            found[folder] = names
    return found


def _say_how_to_separate(names: Sequence[str]) -> str:
    # The plain CPU build comes first in the list: whoever added another one wanted that.
    wanted = names[-1]
    return (
        f"{' and '.join(names)}: are installed in one site-packages folder and overwrite each other's files; "
        f"run: pip uninstall -y {' '.join(names)} && pip install {wanted}"
    )
