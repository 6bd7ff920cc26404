"""The files of a recording: what a worker was asked and what it answered, with a check over everything.

``conversation.jsonl``
    A line for each request: ``body`` (its fields by ``fingerprint``, and the answer or the failure) and ``chain``, the
    SHA-256 of the previous line's chain and this body.
``blobs.zip``
    Arrays and long texts of answers, deflated, each once and under its own SHA-256. Feeds are not in it.
``seal.json``
    How many lines there are, and the last chain. A line or a blob that was changed, moved, added or taken away no
    longer fits it.

The check finds damage and edits by hand. It is no signature: whoever rewrites all three files can seal them again.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ml_dtypes  # noqa: F401 - teaches numpy.dtype() the names bfloat16 and float8_*
import numpy as np

from parity.backends.tensorrt.fingerprint import FileIdentity, array_bytes
from parity.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

FORMAT = 1
_LINES, _BLOBS, _SEAL = "conversation.jsonl", "blobs.zip", "seal.json"
_LONG_TEXT = 1000  # characters; an inspector's answer has 10,000 and more, and deflates to a tenth
_START = hashlib.sha256(f"parity recording {FORMAT}".encode()).hexdigest()
_ARRAY_KEYS, _TEXT_KEYS = {"sha256", "dtype", "shape"}, {"sha256", "characters"}


@dataclass(frozen=True, slots=True)
class Failure:
    """What a request failed with: the name of the exception and its message."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and what came back: an answer and files, or a failure.

    Attributes
    ----------
    fields
        The request as ``fingerprint`` writes it; ``sha256`` is its fingerprint.
    answer
        Plain data and arrays; None where it failed.
    files
        What the worker wrote, by the name of the request's field.
    """

    operation: str
    fields: Mapping[str, Any]
    sha256: str
    answer: Mapping[str, Any] | None = None
    files: Mapping[str, FileIdentity] = field(default_factory=dict)
    failure: Failure | None = None


class RecordingWriter:
    """Writes a recording, complete after every exchange.

    Raises
    ------
    BackendError
        The folder is not empty, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._chain = _START
        self._blobs: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise BackendError(f"{folder}: a recording needs an empty folder; delete what is in it or name another")
        except OSError as error:
            raise BackendError(f"{folder}: cannot be written to: {error.strerror}; name another folder") from error

    def add(self, exchange: Exchange) -> None:
        """Append an exchange.

        Raises
        ------
        BackendError
            The answer holds what cannot be recorded, or the folder cannot be written to any more.
        """
        try:
            self._add(exchange)
        except OSError as error:
            raise BackendError(
                f"{self._folder}: the recording cannot be written to ({error.strerror or error}); make room and record "
                "again"
            ) from error

    def _add(self, exchange: Exchange) -> None:
        body = {
            "operation": exchange.operation,
            "fields": exchange.fields,
            "sha256": exchange.sha256,
            "answer": self._stored(exchange.answer),
            "files": {name: [item.sha256, item.size_bytes] for name, item in exchange.files.items()},
            "failure": None if exchange.failure is None else [exchange.failure.kind, exchange.failure.message],
        }
        try:
            self._chain = _next_chain(self._chain, body)
        except TypeError as error:
            raise BackendError(f"{exchange.operation}: the answer cannot be recorded: {error}") from error
        self._count += 1
        line = _text({"body": body, "chain": self._chain})
        with (self._folder / _LINES).open("a", encoding="ascii", newline="\n") as stream:
            stream.write(f"{line}\n")
        self._seal()

    def _seal(self) -> None:
        text = json.dumps({"format": FORMAT, "exchanges": self._count, "sha256": self._chain}, indent=1)
        unfinished = self._folder / f"{_SEAL}.part"
        unfinished.write_text(f"{text}\n", encoding="ascii")
        unfinished.replace(self._folder / _SEAL)

    def _stored(self, value: object) -> object:
        """Return an answer as JSON has it, with arrays and long texts put into the blobs."""
        if isinstance(value, dict):
            return {key: self._stored(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._stored(part) for part in value]
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, np.ndarray):
            digest = self._store_blob(array_bytes(value))
            return {"$array": {"sha256": digest, "dtype": value.dtype.name, "shape": list(value.shape)}}
        if isinstance(value, str) and len(value) > _LONG_TEXT:
            return {"$text": {"sha256": self._store_blob(value.encode()), "characters": len(value)}}
        return value

    def _store_blob(self, content: bytes | memoryview) -> str:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._blobs:
            # The default date, 1980, keeps the time of the recording out of the file.
            entry = zipfile.ZipInfo(digest)
            with zipfile.ZipFile(self._folder / _BLOBS, "a") as archive:
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED, compresslevel=9)
            self._blobs.add(digest)
        return digest


class RecordingReader:
    """A recording that passed its check; arrays are read when they are asked for.

    Attributes
    ----------
    exchanges
        In their order; answers are as stored, see ``answer``.
    sha256
        The seal: the SHA-256 over everything.

    Raises
    ------
    BackendError
        There is no recording, it is of another format, or it was altered.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sha256, count = _read_seal(folder)
        self.exchanges = _read_lines(folder, self.sha256, count)
        for exchange in self.exchanges:
            self.answer(exchange)

    def answer(self, exchange: Exchange) -> dict[str, Any]:
        """Return an exchange's answer with its arrays, which are the caller's own.

        Raises
        ------
        BackendError
            An array or a text was altered.
        """
        return {name: self._restored(value) for name, value in (exchange.answer or {}).items()}

    def _restored(self, value: object) -> object:
        if isinstance(value, list):
            return [self._restored(part) for part in value]
        if not isinstance(value, dict):
            return value
        if (reference := _reference(value, "$array", _ARRAY_KEYS)) is not None:
            return self._array(**reference)
        if (reference := _reference(value, "$text", _TEXT_KEYS)) is not None:
            return self._blob(reference["sha256"]).decode()
        return {key: self._restored(part) for key, part in value.items()}

    def _array(self, sha256: str, dtype: str, shape: list[int]) -> np.ndarray:
        try:
            return np.frombuffer(self._blob(sha256), np.dtype(dtype)).reshape(shape).copy()
        except (TypeError, ValueError) as error:
            raise _altered(self._folder, f"an array is not {dtype} of shape {shape}") from error

    def _blob(self, sha256: str) -> bytes:
        try:
            with zipfile.ZipFile(self._folder / _BLOBS) as archive:
                content = archive.read(sha256)
        except (OSError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise _altered(self._folder, f"{_BLOBS} does not give {sha256[:12]}: {error}") from error
        if hashlib.sha256(content).hexdigest() != sha256:
            raise _altered(self._folder, f"{sha256[:12]} in {_BLOBS} has other content than its name says")
        return content


def _read_seal(folder: Path) -> tuple[str, int]:
    """Return the last chain and the count of exchanges."""
    try:
        seal = json.loads((folder / _SEAL).read_text(encoding="ascii"))
        if seal["format"] != FORMAT:
            raise BackendError(f"{folder}: is a recording of format {seal['format']}, not {FORMAT}; record again")
        return seal["sha256"], seal["exchanges"]
    except OSError as error:
        raise BackendError(f"{folder}: holds no recording ({_SEAL}: {error.strerror}); check the path") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _altered(folder, f"{_SEAL} cannot be read") from error


def _read_lines(folder: Path, sha256: str, count: int) -> tuple[Exchange, ...]:
    try:
        lines = (folder / _LINES).read_text(encoding="ascii").splitlines()
        exchanges = tuple(_linked(folder, lines))
        last = json.loads(lines[-1])["chain"] if lines else _START
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _altered(folder, f"{_LINES} cannot be read") from error
    if len(exchanges) != count or last != sha256:
        raise _altered(folder, f"{len(exchanges)} exchanges do not fit the seal, which is over {count}")
    return exchanges


def _linked(folder: Path, lines: Iterable[str]) -> Iterable[Exchange]:
    """Yield the exchanges while each line continues the chain."""
    chain = _START
    for number, line in enumerate(lines, 1):
        entry = json.loads(line)
        chain = _next_chain(chain, entry["body"])
        if chain != entry["chain"]:
            raise _altered(folder, f"line {number} of {_LINES} does not continue the chain")
        yield _exchange(entry["body"])


def _exchange(body: dict[str, Any]) -> Exchange:
    files = {name: FileIdentity(*identity) for name, identity in body["files"].items()}
    failure = None if body["failure"] is None else Failure(*body["failure"])
    return Exchange(body["operation"], body["fields"], body["sha256"], body["answer"], files, failure)


def _next_chain(chain: str, body: object) -> str:
    return hashlib.sha256(f"{chain}{_text(body)}".encode("ascii")).hexdigest()


def _text(value: object) -> str:
    """Return JSON on one line; keys stay in their order, which for outputs is the engine's."""
    return json.dumps(value, separators=(",", ":"))


def _reference(value: dict[str, Any], tag: str, keys: set[str]) -> dict[str, Any] | None:
    """Return what a stored answer refers to; an output that happens to be called like the tag refers to nothing."""
    inner = value.get(tag) if len(value) == 1 else None
    return inner if isinstance(inner, dict) and inner.keys() == keys else None


def _altered(folder: Path, what: str) -> BackendError:
    return BackendError(f"{folder}: the recording is damaged or was altered: {what}; restore it or record again")
