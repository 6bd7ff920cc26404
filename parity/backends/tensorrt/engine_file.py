"""Engine files from elsewhere: a plan, or a plan behind the header that Ultralytics writes.

That header is 4 bytes, the little-endian length of a JSON text, and the text. A plan begins with a tag of its own, and
where its serialization version is 0 the TensorRT that built it stands in bytes 24 to 27 (``trtexec
--getPlanVersionOnly`` reads the same place).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from parity.errors import BackendError

if TYPE_CHECKING:
    from pathlib import Path

_PLAN_TAG = b"ftrt"
_PLAN_HEAD_BYTES = 28
# Metadata of exporters is a few KiB; a longer "length" is the beginning of something else, such as a plan's tag.
_MAX_METADATA_BYTES = 16 * 2**20
_OTHER_FORMATS = (
    (re.compile(rb"PK\x03\x04"), "a zip archive, such as a PyTorch checkpoint"),
    (re.compile(rb"\x08[\x01-\x1f][\x12:]"), "an ONNX model; name it by the key model, an engine is built from it"),
    (re.compile(rb"\x93NUMPY"), "a NumPy array"),
    (re.compile(rb"\s*[\[{<][\t\n\r -~]*\Z"), "a text"),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS; run: git lfs pull"),
)


@dataclass(frozen=True, slots=True)
class EngineFileHeader:
    """What stands before a plan, and what the plan's first bytes tell.

    Attributes
    ----------
    offset
        Where the plan begins, in bytes.
    metadata
        The header's JSON; empty without one.
    built_by
        The TensorRT that built the plan, such as ``8.6.0.12``; empty where the plan does not tell.
    """

    offset: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    built_by: str = ""


def read_header(path: Path) -> EngineFileHeader:
    """Read what stands before an engine file's plan.

    Raises
    ------
    BackendError
        The file is missing, empty, a folder, cut off, or recognized as something that is no engine.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            return _read(stream, size, path)
    except IsADirectoryError as error:
        raise BackendError(f"{path}: is a folder; expected an engine file (.plan, .engine)") from error
    except OSError as error:
        raise BackendError(f"{path}: cannot be read ({error.strerror}); expected an engine file") from error


def _read(stream: BinaryIO, size: int, path: Path) -> EngineFileHeader:
    if size == 0:
        raise BackendError(f"{path}: is empty; expected an engine file, build it again")
    metadata = _read_metadata(stream, size)
    offset = stream.tell()
    head = stream.read(_PLAN_HEAD_BYTES)
    _require_plan(head, path)
    return EngineFileHeader(offset, metadata, _version_of(head))


def _read_metadata(stream: BinaryIO, size: int) -> dict[str, Any]:
    """Return the JSON of a header and stand behind it, or return nothing and stand at the beginning."""
    length = int.from_bytes(stream.read(4), "little")
    if 0 < length <= min(size - 4, _MAX_METADATA_BYTES):
        found = _parse(stream.read(length))
        if found is not None:
            return found
    stream.seek(0)
    return {}


def _parse(content: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _require_plan(head: bytes, path: Path) -> None:
    other = next((name for pattern, name in _OTHER_FORMATS if pattern.match(head)), None)
    if other is not None:
        raise BackendError(f"{path}: is no engine but {other}")
    if len(head) < _PLAN_HEAD_BYTES:
        raise BackendError(
            f"{path}: holds {len(head)} bytes of a plan, less than its first {_PLAN_HEAD_BYTES}; it was cut off, "
            "copy or build it again"
        )


def _version_of(head: bytes) -> str:
    is_known = head[:4] == _PLAN_TAG and head[4:8] == bytes(4)
    return ".".join(str(part) for part in head[24:28]) if is_known else ""
