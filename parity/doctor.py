"""``parity doctor``: is this machine ready to judge, and if not, which command mends it."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from parity.environment import naming_advice, onnxruntime_conflict, package_versions
from parity.errors import ParityError
from parity.options import Provider, SessionOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_OLDEST_PYTHON = (3, 11)
_HELLO_LIMIT_S = 60.0  # CUDA's first start reads gigabytes of libraries
_REQUIRED = (
    *("execnet", "filelock", "jinja2", "ml-dtypes", "numpy", "onnx", "pandas"),
    *("platformdirs", "pydantic", "rich", "scipy", "tomlkit", "typer"),
)
# Each of these brings the module cv2; opencv-python also needs a display library, which servers lack.
_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")


class State(StrEnum):
    """How one part of the machine stands."""

    GOOD = "good"
    BAD = "bad"
    NOT_NEEDED = "not needed"
    """Missing, and asked for by nothing that was requested."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report; ``detail`` of a bad one names the command that mends it."""

    state: State
    subject: str
    detail: str

    @property
    def text(self) -> str:
        """The line behind the state."""
        return f"{self.subject}: {self.detail}"

    def __str__(self) -> str:
        return f"{self.state:<10}  {self.text}"


def examine(reports: Path, interpreters: Sequence[str] = ()) -> Iterator[Finding]:
    """Yield what was found, part by part.

    Parameters
    ----------
    reports
        The folder where runs are to be saved.
    interpreters
        Named for TensorRT: paths or execnet specs.
    """
    parts = [_python(), *(_package((name,)) for name in _REQUIRED), _opencv()]
    yield from parts
    if any(part.state is State.BAD for part in parts):
        # What follows imports these packages.
        return
    from parity.runner import cache_folder

    yield from _onnxruntime()
    yield from _gpus()
    yield from _tensorrt(interpreters)
    yield from _names()
    yield _cache(cache_folder())
    yield _folder("reports folder", reports)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= _OLDEST_PYTHON:
        return Finding(State.GOOD, "python", version)
    oldest = ".".join(map(str, _OLDEST_PYTHON))
    return Finding(State.BAD, "python", f"{version}; make a virtual environment with Python {oldest} or later")


def _names() -> Iterator[Finding]:
    if advice := naming_advice():
        yield Finding(State.NOT_NEEDED, "file names", f"{advice}; needed where a case names a file in other letters")


def _package(alternatives: tuple[str, ...]) -> Finding:
    found = package_versions(alternatives)
    if found:
        name, version = next(iter(found.items()))
        return Finding(State.GOOD, name, version)
    return Finding(State.BAD, alternatives[0], f"is not installed; run: pip install {alternatives[0]}")


def _opencv() -> Finding:
    found = package_versions(_OPENCV)
    # Of one version they hold the same module, whichever was unpacked last.
    if len(set(found.values())) < 2:
        return _package(_OPENCV)
    mend = f"pip uninstall -y {' '.join(found)} && pip install {next(iter(found))}"
    return Finding(State.BAD, " and ".join(found), f"overwrite each other's files; run: {mend}")


def _onnxruntime() -> Iterator[Finding]:
    conflict = onnxruntime_conflict()
    if conflict:
        subject, _, detail = conflict.partition(": ")
        yield Finding(State.BAD, subject, detail)
        return
    yield _provider(Provider.CPU, State.BAD)
    yield _provider(Provider.CUDA, State.NOT_NEEDED)
    yield _provider(Provider.TENSORRT, State.NOT_NEEDED)


def _provider(provider: Provider, state_without: State) -> Finding:
    """Load a model of one node: a provider that is compiled in may still miss its libraries."""
    from onnx import TensorProto, helper

    from parity.backends import get_backend

    subject = f"onnxruntime on {provider.upper()}"
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "probe", value[:1], value[1:])
    # The oldest pair that every supported runtime reads.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    try:
        backend = get_backend("onnxruntime")
        with backend.open(model, SessionOptions(provider=provider)):
            return Finding(State.GOOD, subject, backend.version)
    except ParityError as error:
        return Finding(state_without, subject, str(error))


def _gpus() -> Iterator[Finding]:
    """Yield a line a GPU; where one is missing that an interpreter needs, that interpreter's own line is bad."""
    from parity.backends.nvml import Gpus, find_gpus

    found = find_gpus()
    if isinstance(found, Gpus) and found.names:
        for number, name in enumerate(found.names):
            yield Finding(State.GOOD, f"gpu {number}", f"{name}; driver {found.driver}, CUDA {found.cuda}")
        return
    reason = "the driver has none" if isinstance(found, Gpus) else found
    yield Finding(State.NOT_NEEDED, "gpu", f"{reason}; engines are built and run on one, forecasts need none")


def _tensorrt(interpreters: Sequence[str]) -> Iterator[Finding]:
    from parity.backends.tensorrt.interpreter import names_of_interpreters

    names = names_of_interpreters(interpreters, os.environ)
    if not names and find_spec("tensorrt") is None:
        mend = "to judge engines, name an interpreter that has it by --tensorrt-python"
        yield Finding(State.NOT_NEEDED, "tensorrt", f"is not installed; {mend}")
        return
    # Where nobody named one, TensorRT is here by chance, and this machine may well have no GPU.
    without = State.BAD if names else State.NOT_NEEDED
    yield from (_worker(name, without) for name in names or (sys.executable,))


def _worker(name: str, state_without: State) -> Finding:
    """Ask the worker in an interpreter what it finds there."""
    from parity.backends.tensorrt.interpreter import REPLAY_PREFIX, parse_interpreter
    from parity.backends.tensorrt.process import LiveConversation
    from parity.backends.tensorrt.recording import open_conversation

    subject = f"tensorrt in {name}"
    try:
        conversation = open_conversation(parse_interpreter(name), LiveConversation)
        try:
            facts = conversation.ask("hello", {"device": 0}, _HELLO_LIMIT_S)
        finally:
            conversation.close()
    except ParityError as error:
        return Finding(state_without, subject, str(error))
    recorded = "a recording of " if name.startswith(REPLAY_PREFIX) else ""
    return Finding(State.GOOD, subject, recorded + _describe(facts))


def _describe(facts: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    gpu = f"{facts['gpu']} (compute capability {facts['compute_capability']})"
    return f"{packages}; Python {facts['python']}; {gpu}; driver {facts['driver']}, CUDA {facts['cuda']}"


def _cache(folder: Path) -> Finding:
    """Say how much the cache holds; it makes room for itself."""
    found = _read_only(folder) or _folder("cache folder", folder)
    if found.state is State.BAD:
        return replace(found, detail=f"{found.detail}, or name another folder by PARITY_CACHE_DIR")
    from parity.backends.tensorrt.cache import cache_limit_bytes

    held = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    try:
        limit_gib = cache_limit_bytes() / 2**30
    except ParityError as error:
        return Finding(State.BAD, found.subject, str(error))
    room = f"holds {held / 2**30:.2f} GiB; engines may take {limit_gib:g} GiB (PARITY_CACHE_LIMIT_GIB)"
    return Finding(State.GOOD, found.subject, f"{found.detail}, {room}")


def _read_only(folder: Path) -> Finding | None:
    """Say so of a cache that was mounted to be read: it serves."""
    if not folder.is_dir() or not os.statvfs(folder).f_flag & os.ST_RDONLY:
        return None
    return Finding(State.GOOD, "cache folder", f"{folder} can only be read: what it holds is used, nothing is added")


def _folder(subject: str, folder: Path) -> Finding:
    nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        # Permission bits do not tell of read-only mounts, quotas or a full disk; a file does.
        with tempfile.TemporaryFile(dir=nearest) as probe:
            probe.write(b"0")
            probe.flush()
    except OSError as error:
        mend = f"make room in {nearest} and allow writing there"
        return Finding(State.BAD, subject, f"{folder} cannot be written ({error.strerror}); {mend}")
    return Finding(State.GOOD, subject, f"{folder} can be written")
