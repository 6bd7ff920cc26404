"""What a request asks, as text that is the same on every machine: how recordings are looked up.

Arrays and files count by their content, never by their path; files that the worker writes count by being asked for;
engine handles count by the load that made them. So a temporary folder or another worker changes no fingerprint, and
another model, feed or option always does.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.backends.tensorrt.conversation import SentFile, WrittenFile
from parity.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_STAND_IN = b"parity: stands in for a file of a replayed recording; it holds no engine\n"
_STAND_IN_LIMIT = 4096  # A stand-in is its first line and some 100 bytes of JSON; plans are larger.

# Measured tactics are read and written by every build, so their content is a memory of the machine, not an option.
_BY_PRESENCE = frozenset({"timing_cache"})
_LEAVES = (frozenset({"sha256", "dtype", "shape"}), frozenset({"sha256", "size_bytes"}), frozenset({"loaded_by"}))


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What a file is, wherever it lies."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A request as plain data, and the SHA-256 of it."""

    operation: str
    fields: Mapping[str, Any]
    sha256: str


def canonical_json(value: object) -> bytes:
    """Return the one spelling of plain data: keys sorted, no spaces, ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")


def take_fingerprint(operation: str, fields: Mapping[str, Any], loads: Mapping[Any, str]) -> Fingerprint:
    """Return the fingerprint of a request.

    Parameters
    ----------
    loads
        The fingerprint's SHA-256 of the ``load`` that made each engine handle.

    Raises
    ------
    BackendError
        A field is neither plain data nor an array nor a file, or a file cannot be read.
    """
    plain = {name: _plain_field(name, value, loads) for name, value in fields.items()}
    digest = hashlib.sha256(canonical_json([operation, plain])).hexdigest()
    return Fingerprint(operation, plain, digest)


def array_bytes(array: np.ndarray) -> memoryview:
    """Return an array's elements in C order as bytes; without a copy where the array is contiguous."""
    # ml_dtypes arrays have no buffer of their own, so theirs is that of the same bytes.
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def differences(asked: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """Return one text for each field in which two requests differ, such as ``profile: asked 1, recorded 0``."""
    left, right = dict(_leaves(asked)), dict(_leaves(recorded))
    names = [*left, *(name for name in right if name not in left)]
    return [
        f"{name}: asked {left.get(name, 'nothing')}, recorded {right.get(name, 'nothing')}"
        for name in names
        if left.get(name) != right.get(name)
    ]


def files_written(fields: Mapping[str, Any]) -> dict[str, Path]:
    """Return the paths of what the worker is asked to make, by the name of their field.

    Measured tactics are left out: a replay that wrote a stand-in there would take those of this machine away.
    """
    kept = {name: value for name, value in fields.items() if name not in _BY_PRESENCE}
    return {name: value.path for name, value in _flat(kept) if isinstance(value, WrittenFile)}


def files_named(fields: Mapping[str, Any]) -> list[Path]:
    """Return every path of a request."""
    return [value.path for _, value in _flat(fields) if isinstance(value, (SentFile, WrittenFile))]


def identify(path: Path) -> FileIdentity:
    """Return a file's hash and size; of a stand-in, those of the file that it stands for.

    Raises
    ------
    BackendError
        The file cannot be read.
    """
    try:
        size = path.stat().st_size
        if size <= _STAND_IN_LIMIT and (content := path.read_bytes()).startswith(_STAND_IN):
            return FileIdentity(**json.loads(content[len(_STAND_IN) :]))
        with path.open("rb") as stream:
            return FileIdentity(hashlib.file_digest(stream, "sha256").hexdigest(), size)
    except OSError as error:
        raise BackendError(f"{path}: cannot be read: {error.strerror}; TensorRT was to be given it") from error
    except (ValueError, TypeError) as error:
        raise BackendError(f"{path.name}: is a damaged stand-in of a replayed recording; delete it") from error


def write_stand_in(path: Path, identity: FileIdentity) -> None:
    """Write a file that says which recorded file it stands for."""
    path.write_bytes(_STAND_IN + canonical_json({"sha256": identity.sha256, "size_bytes": identity.size_bytes}))


def _plain_field(name: str, value: object, loads: Mapping[Any, str]) -> object:
    if name == "engine":
        return {"loaded_by": loads.get(value, "")}
    if name in _BY_PRESENCE:
        return value is not None
    return _plain(name, value)


def _plain(name: str, value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(f"{name}.{key}", part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(f"{name}[{i}]", part) for i, part in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    return _plain_leaf(name, value)


def _plain_leaf(name: str, value: object) -> object:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest = hashlib.sha256(array_bytes(value)).hexdigest()
        return {"sha256": digest, "dtype": value.dtype.name, "shape": list(value.shape)}
    if isinstance(value, SentFile):
        identity = identify(value.path)
        return {"sha256": identity.sha256, "size_bytes": identity.size_bytes}
    if isinstance(value, WrittenFile):
        return "written"
    raise BackendError(
        f"{name}: a {type(value).__name__} cannot be recorded; requests hold plain data, arrays, SentFile, WrittenFile"
    )


def _flat(value: object, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what is neither dict nor list, with its name such as ``calibration.feeds[0].images``."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _flat(part, f"{name}.{key}" if name else key)
    elif isinstance(value, (list, tuple)):
        for i, part in enumerate(value):
            yield from _flat(part, f"{name}[{i}]")
    else:
        yield name, value


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield what a reader compares: plain values, and arrays and files as one text each."""
    if isinstance(value, dict) and value and value.keys() not in _LEAVES:
        for key, part in value.items():
            yield from _leaves(part, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(part, (dict, list)) for part in value):
        for i, part in enumerate(value):
            yield from _leaves(part, f"{name}[{i}]")
    else:
        yield name, _told(value)


def _told(value: object) -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    if "dtype" in value:
        return f"{value['dtype']} {value['shape']} of SHA-256 {value['sha256'][:12]}"
    if "size_bytes" in value:
        return f"a file of {value['size_bytes']} bytes, SHA-256 {value['sha256'][:12]}"
    return f"that of load {value['loaded_by'][:12]}" if value["loaded_by"] else "one that was not loaded here"
