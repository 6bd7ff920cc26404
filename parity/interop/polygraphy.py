"""Polygraphy's JSON: feeds (``--load-inputs``, ``--save-inputs``) and ``RunResults`` (the same of outputs).

As Polygraphy 0.53 writes it. Its older encodings (``polygraphy_serialized_json_type``, zipped arrays) are refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.errors import ForeignFileError
from parity.interop.arrays import MARKER, class_of, decode_array, encode_array
from parity.interop.json_file import parse_json, read_text

if TYPE_CHECKING:
    from pathlib import Path

Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class EncodedTensors:
    """The tensors of one feed or iteration, decoded when asked for."""

    where: str
    values: Mapping[str, Any]

    def decode(self) -> dict[str, np.ndarray]:
        """Return every array by name, of the caller's own.

        Raises
        ------
        ForeignFileError
            One is damaged, pickled, or no NumPy array.
        """
        return {name: self._decoded(name, value) for name, value in self.values.items()}

    def _decoded(self, name: str, value: Any) -> np.ndarray:
        try:
            return decode_array(value).copy()
        except ValueError as error:
            raise ForeignFileError(f"{self.where}: {name!r} {error}") from error


@dataclass(frozen=True, slots=True)
class RunnerOutputs:
    """What one runner answered, iteration by iteration."""

    runner: str
    iterations: tuple[EncodedTensors, ...]


def read_inputs(path: Path) -> tuple[EncodedTensors, ...]:
    """Read the feeds of a file: a list of mappings of input name to array, or one such mapping.

    Raises
    ------
    ForeignFileError
        The file cannot be read, or holds something else.
    """
    found = parse_json(read_text(path), str(path))
    if class_of(found) == "RunResults":
        raise ForeignFileError(
            f"{path}: holds outputs (RunResults); expected feeds, as polygraphy run --save-inputs writes them"
        )
    feeds = found if isinstance(found, list) else [found]
    if not feeds:
        raise ForeignFileError(f"{path}: holds no feed; expected a list of at least one")
    return tuple(_tensors(feed, f"{path}: feed {number}") for number, feed in enumerate(feeds))


def read_results(path: Path) -> tuple[RunnerOutputs, ...]:
    """Read the runners of a ``RunResults`` file, in its order.

    Raises
    ------
    ForeignFileError
        The file cannot be read, or holds something else.
    """
    found = parse_json(read_text(path), str(path))
    runners = found.get("lst") if class_of(found) == "RunResults" else None
    if not isinstance(runners, list) or not runners:
        raise ForeignFileError(
            f"{path}: holds no RunResults with a runner; expected what polygraphy run --save-outputs writes"
        )
    return tuple(_runner(entry, f"{path}: runner {number}") for number, entry in enumerate(runners))


def pick_runner(runners: Sequence[RunnerOutputs], wanted: str, where: str) -> RunnerOutputs:
    """Return the one runner of a file that a name or wildcard chooses; the only one if ``wanted`` is empty.

    Raises
    ------
    ForeignFileError
        None or several are chosen. ``where`` stands before the message.
    """
    chosen = [runner for runner in runners if not wanted or fnmatchcase(runner.runner, wanted)]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(runner.runner for runner in runners)
    asked = f"runner {wanted!r} chooses {len(chosen)} of them" if wanted else "no runner is chosen"
    raise ForeignFileError(f"{where}: has the outputs of {names}; {asked}; name one, or a wildcard that fits one alone")


def inputs_json(feeds: Iterable[Tensors]) -> str:
    """Return feeds as ``polygraphy run --load-inputs`` reads them."""
    return json.dumps([{name: encode_array(tensor) for name, tensor in feed.items()} for feed in feeds])


def results_json(runner: str, iterations: Iterable[Tensors]) -> str:
    """Return one runner's outputs as ``polygraphy run --load-outputs`` reads them; how long they took is left open."""
    encoded = [
        {
            "outputs": {
                name: {"values": encode_array(tensor), MARKER: "LazyArray"} for name, tensor in outputs.items()
            },
            "runtime": None,
            "runner_name": runner,
            MARKER: "IterationResult",
        }
        for outputs in iterations
    ]
    return json.dumps({"lst": [[runner, encoded]], MARKER: "RunResults"})


class TensorFiles:
    """Tensors in several files, numbered through: each file gives as many as it has feeds or iterations.

    Raises ``ForeignFileError`` here and when tensors are asked for, as ``read`` does. One file is held at a time, so
    that a folder of one file for each iteration costs the memory of one; each is read once now, to be counted.
    """

    def __init__(self, paths: Iterable[Path], read: Callable[[Path], tuple[EncodedTensors, ...]]) -> None:
        self._read = read
        self._held: tuple[Path | None, tuple[EncodedTensors, ...]] = (None, ())
        self._places = [(path, number) for path in paths for number in range(len(self._entries(path)))]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> EncodedTensors:
        path, number = self._places[index]
        return self._entries(path)[number]

    def _entries(self, path: Path) -> tuple[EncodedTensors, ...]:
        if self._held[0] != path:
            self._held = (path, self._read(path))
        return self._held[1]


def _runner(entry: Any, where: str) -> RunnerOutputs:
    if (
        not isinstance(entry, list)
        or len(entry) != 2
        or not isinstance(entry[0], str)
        or not isinstance(entry[1], list)
    ):
        raise ForeignFileError(f"{where} is damaged; expected a name and a list of iterations")
    name, iterations = entry
    return RunnerOutputs(
        name,
        tuple(_iteration(item, f"{where}, iteration {number}") for number, item in enumerate(iterations)),
    )


def _iteration(item: Any, where: str) -> EncodedTensors:
    if class_of(item) != "IterationResult":
        raise ForeignFileError(f"{where} is {class_of(item) or type(item).__name__}; expected an IterationResult")
    return _tensors(item.get("outputs"), where)


def _tensors(value: Any, where: str) -> EncodedTensors:
    if not isinstance(value, dict) or not value or MARKER in value:
        found = class_of(value) or ("nothing" if value == {} else type(value).__name__)
        raise ForeignFileError(f"{where} is {found}; expected a mapping of name to array")
    return EncodedTensors(where, value)
