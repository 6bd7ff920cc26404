"""What trtexec measured: ``--exportLayerInfo``, ``--exportProfile`` and ``--exportTimes`` of TensorRT 8.6 to 11."""

from __future__ import annotations

import math
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from parity.errors import BackendError, ForeignFileError
from parity.inspector import EngineInspection, parse_inspection
from parity.interop.json_file import parse_json, read_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from parity.inspector import EngineLayer

# 8.6 marks the layers of every optimization profile but the first.
_PROFILE = re.compile(r" \[profile (\d+)\]$")

_MEASURED = {
    "latency": "latencyMs",
    "GPU compute": "computeMs",
    "host to device": "h2dMs",
    "device to host": "d2hMs",
}
_ENQUEUE = ("startEnqMs", "endEnqMs")
_STAMP_DIGITS = 6
"""Of a number that a C++ stream writes, unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One layer of a profile; times in ms over all iterations, ``share`` of the profile's total, 0 to 1.

    ``median_ms`` is None where the release did not write it.
    """

    name: str
    total_ms: float
    average_ms: float
    median_ms: float | None
    share: float

    @property
    def typical_ms(self) -> float:
        """The median, the average where there is none."""
        return self.average_ms if self.median_ms is None else self.median_ms


@dataclass(frozen=True, slots=True)
class Profile:
    """Layers in order of execution, each measured ``iteration_count`` times."""

    iteration_count: int
    rows: tuple[ProfileRow, ...]


@dataclass(frozen=True, slots=True)
class MeasuredLayer:
    """A layer with its time. Of what one file has alone, the other half is None."""

    layer: EngineLayer | None
    row: ProfileRow | None

    @property
    def name(self) -> str:
        """The layer's name, from whichever file has it."""
        return self.layer.name if self.layer is not None else self.row.name if self.row is not None else ""


def read_layers(path: Path) -> EngineInspection:
    """Read ``--exportLayerInfo``, which is the engine inspector's JSON.

    Raises
    ------
    ForeignFileError
        It cannot be read, or is of an engine that was built without ``--profilingVerbosity=detailed``.
    """
    try:
        return parse_inspection(read_text(path))
    except BackendError as error:
        raise ForeignFileError(f"{path}: {error}") from error


def read_profile(path: Path) -> Profile:
    """Read ``--exportProfile``.

    Raises
    ------
    ForeignFileError
        It cannot be read, or is no profile.
    """
    entries = _objects(path, "--exportProfile", 'a first entry {"count": …} and one entry for each layer')
    count = entries[0].get("count")
    if type(count) is not int or count < 1:
        raise ForeignFileError(f'{path}: begins without {{"count": …}}; expected what trtexec --exportProfile writes')
    rows = tuple(_row(entry, f"{path}: entry {number}") for number, entry in enumerate(entries[1:], start=1))
    if not rows:
        raise ForeignFileError(f"{path}: has no layer; profile the engine again")
    return Profile(count, rows)


@dataclass(frozen=True, slots=True)
class Times:
    """What ``--exportTimes`` holds.

    Attributes
    ----------
    by_kind
        Times in ms by what took them, one for each inference, in its order: ``latency`` (both transfers and compute),
        ``GPU compute``, ``host to device``, ``device to host`` and, of the host, ``enqueue``.
    enqueue_step_ms
        How finely ``enqueue`` is known: it is the difference of two time stamps, which are written with six digits, so
        that after 100 s they are 0.1 ms apart. The other times are written as they are.
    """

    by_kind: dict[str, tuple[float, ...]]
    enqueue_step_ms: float


def read_times(path: Path) -> Times:
    """Read ``--exportTimes``.

    Raises
    ------
    ForeignFileError
        It cannot be read, or holds no times.
    """
    entries = list(enumerate(_objects(path, "--exportTimes", "one entry for each inference")))
    times = {
        name: tuple(_number(entry, key, f"{path}: entry {number}") for number, entry in entries)
        for name, key in _MEASURED.items()
    }
    times["enqueue"] = tuple(_enqueue(entry, f"{path}: entry {number}") for number, entry in entries)
    latest = max(_number(entry, _ENQUEUE[1], f"{path}: entry {number}") for number, entry in entries)
    return Times(times, _step(latest))


def _step(stamp: float) -> float:
    """Return the distance of two numbers beside a stamp, as they are written."""
    return 10.0 ** (math.floor(math.log10(stamp)) + 1 - _STAMP_DIGITS) if stamp else 0.0


def layers_of(inspection: EngineInspection, profile: Profile | None) -> tuple[EngineLayer, ...]:
    """Return the layers of the optimization profile that was measured: 8.6 has each once for every profile."""
    marks = (_PROFILE.search(row.name) for row in profile.rows) if profile is not None else ()
    return inspection.of_profile(next((int(mark.group(1)) for mark in marks if mark), 0))


def join_layers(layers: Sequence[EngineLayer], rows: Sequence[ProfileRow]) -> tuple[MeasuredLayer, ...]:
    """Join layers with their times by name; where names repeat, the order of execution tells them apart.

    Returns
    -------
    The layers in their order, then the times that belong to none of them.

    Raises
    ------
    ForeignFileError
        Both are there, and not one name is in both.
    """
    waiting: defaultdict[str, list[ProfileRow]] = defaultdict(list)
    for row in rows:
        waiting[row.name].append(row)
    joined = [MeasuredLayer(layer, waiting[layer.name].pop(0) if waiting[layer.name] else None) for layer in layers]
    if layers and rows and all(found.row is None for found in joined):
        names = f"{layers[0].name!r}, {rows[0].name!r}"
        raise ForeignFileError(f"layers and profile have no name in common ({names}); give files of one engine")
    left = {id(row) for rows_left in waiting.values() for row in rows_left}
    return (*joined, *(MeasuredLayer(None, row) for row in rows if id(row) in left))


def _objects(path: Path, option: str, expected: str) -> list[dict[str, Any]]:
    entries = parse_json(read_text(path), str(path))
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ForeignFileError(f"{path}: is no list of entries; expected trtexec's {option}: {expected}")
    return entries


def _row(entry: Mapping[str, Any], where: str) -> ProfileRow:
    name = entry.get("name")
    if not isinstance(name, str):
        raise ForeignFileError(f"{where} has no name; expected what trtexec --exportProfile writes")
    return ProfileRow(
        name,
        _number(entry, "timeMs", where),
        _number(entry, "averageMs", where),
        _number(entry, "medianMs", where) if "medianMs" in entry else None,
        _number(entry, "percentage", where) / 100,
    )


def _enqueue(entry: Mapping[str, Any], where: str) -> float:
    start, end = (_number(entry, key, where) for key in _ENQUEUE)
    if end < start:
        raise ForeignFileError(f"{where}: {_ENQUEUE[1]} lies before {_ENQUEUE[0]}; the file is damaged")
    return end - start


def _number(entry: Mapping[str, Any], key: str, where: str) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise ForeignFileError(f"{where}: {key} is {value!r}; expected a number of at least 0")
    return float(value)
