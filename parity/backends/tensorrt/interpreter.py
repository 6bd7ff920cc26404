"""What ``--tensorrt-python`` and ``PARITY_TENSORRT_PYTHON`` name: interpreters that have TensorRT."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parity.errors import BackendUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from execnet import XSpec

VARIABLE = "PARITY_TENSORRT_PYTHON"
REPLAY_PREFIX = "recording="
"""Begins the name of a recording, which answers in place of an interpreter."""
_EXPECTED = "expected the path of a Python, or an execnet spec such as ssh=jetson//python=python3"
_SPEC_BEGINNINGS = ("popen", "ssh=", "socket=", "vagrant_ssh=", "via=", "python=")


@dataclass(frozen=True, slots=True)
class Interpreter:
    """Where a worker is to run.

    Attributes
    ----------
    spec
        execnet's, or a recording's name.
    label
        What the user named: for messages.
    is_local
        Whether it runs on this machine, so that files and memory can be shared.
    """

    spec: str
    label: str
    is_local: bool


def names_of_interpreters(options: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the options, or else of the variable; empty where nobody named one.

    In the variable several are separated by ``os.pathsep``; a spec that has that character in it goes into an option.
    """
    return tuple(options) or tuple(filter(None, environment.get(VARIABLE, "").split(os.pathsep)))


def named_interpreters(options: Sequence[str], environment: Mapping[str, str]) -> tuple[Interpreter, ...]:
    """Return the interpreters of the options, or else of the variable, or else this one; each of them once.

    Raises
    ------
    BackendUnavailable
        One is not there or cannot be executed.
    """
    names = names_of_interpreters(options, environment) or (sys.executable,)
    return tuple(dict.fromkeys(map(parse_interpreter, names)))


def parse_interpreter(name: str) -> Interpreter:
    """Read a path, an execnet spec, or ``recording=FOLDER``.

    Raises
    ------
    BackendUnavailable
        It is not there or cannot be executed, or the spec has a mistake.
    """
    if name.startswith(REPLAY_PREFIX):
        return Interpreter(name, name, is_local=True)
    if name.startswith(_SPEC_BEGINNINGS) and not Path(name).exists():
        return _parse_spec(name)
    path = _executable(name)
    return Interpreter(f"popen//python={shlex.quote(path)}", path, is_local=True)


def _parse_spec(name: str) -> Interpreter:
    from execnet import XSpec

    try:
        spec = XSpec(name)
    except (AttributeError, IndexError, ValueError) as error:
        raise BackendUnavailable(
            f"TensorRT's interpreter {name!r}: is no execnet spec ({error}); {_EXPECTED}"
        ) from None
    if spec.ssh and not spec.via:
        _require_ssh(name)
        return Interpreter(name, name, is_local=False)
    if spec.popen and not spec.via:
        return _with_python(name, spec)
    raise BackendUnavailable(f"TensorRT's interpreter {name!r}: only ssh= and popen are possible; {_EXPECTED}")


def _require_ssh(name: str) -> None:
    if shutil.which("ssh") is None:
        raise BackendUnavailable(f"TensorRT's interpreter {name!r}: there is no ssh on this machine; install OpenSSH")


def _with_python(name: str, spec: XSpec) -> Interpreter:
    if spec.python is None:
        # execnet would import itself from this process's folders otherwise.
        return Interpreter(f"{name}//python={shlex.quote(sys.executable)}", name, is_local=True)
    try:
        words = shlex.split(spec.python)
    except ValueError as error:
        raise BackendUnavailable(f"TensorRT's interpreter {name!r}: python= cannot be read ({error})") from None
    _executable(words[0] if words else "")
    return Interpreter(name, name, is_local=True)


def _executable(name: str) -> str:
    """Return an absolute path; symbolic links stay, because a virtual environment's Python is one."""
    if not name.strip():
        raise BackendUnavailable(
            f"TensorRT's interpreter: its name is empty, as a variable without a value is; {_EXPECTED}"
        )
    path = Path(name).expanduser()
    if len(path.parts) == 1 and not path.exists():
        found = shutil.which(name)
        if found is None:
            raise BackendUnavailable(f"TensorRT's interpreter {name!r}: there is no such file or command; {_EXPECTED}")
        path = Path(found)
    problem = _problem(path)
    if problem:
        raise BackendUnavailable(f"TensorRT's interpreter {name!r}: {problem}")
    # execnet's specs separate their parts by two slashes.
    return os.path.normpath(path.absolute())


def _problem(path: Path) -> str:
    if path.is_dir():
        return f"is a folder; expected a file in it, such as {path / 'bin' / 'python'}"
    if not path.exists():
        return f"there is no such file; {_EXPECTED}"
    if not os.access(path, os.X_OK):
        return f"cannot be executed; run: chmod +x {path}, or name a Python"
    return ""
