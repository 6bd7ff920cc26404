"""Which layers got slower, where one engine fuses what another one does not.

Layers are named after the nodes that they came from (``conv1 + relu1``, ``PWN(a, b)``), so layers of two engines that
share a node are two answers to one part of the model. Such layers are put together, and the parts are compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

Layers = tuple[tuple[str, float], ...]
"""Name and median in ms, in the order of execution."""

_SHOWN_LAYERS = 5
# What TensorRT puts between and around the names of nodes.
_SEPARATORS = re.compile(r"\s*\+\s*|\s*\|\|\s*|PWN\(|[(){}\[\],]|\.\.\.|\bForeignNode\b")


@dataclass(frozen=True, slots=True)
class SlowerPart:
    """A part of a model that takes longer; ``layers`` are the new engine's, the slowest first. Times in ms."""

    layers: tuple[str, ...]
    old_ms: float
    new_ms: float

    @property
    def increase_ms(self) -> float:
        """How much longer it takes."""
        return self.new_ms - self.old_ms

    def __str__(self) -> str:
        more = f" and {len(self.layers) - 1} more" if len(self.layers) > 1 else ""
        before = f"{self.old_ms:.4g} ms" if self.old_ms else "not there"
        return f"{self.layers[0]}{more}: {before} -> {self.new_ms:.4g} ms"


@dataclass(frozen=True, slots=True)
class SlowLayers:
    """Which layers of an engine that got slower did so.

    Attributes
    ----------
    were_timed
        On both sides; else nothing is known of them.
    """

    parts: tuple[SlowerPart, ...]
    were_timed: bool

    @classmethod
    def between(cls, old: Layers, new: Layers) -> Self:
        """Compare the layers of two engines of one model."""
        return cls(slower_parts(old, new), bool(old and new))

    @property
    def lines(self) -> list[str]:
        """The largest increases in words, one line each; one line at least."""
        if not self.were_timed:
            return ["slower layers: not known; they are timed on TensorRT alone, and have to be on both sides"]
        shown = [f"slower layer: {part}" for part in self.parts[:_SHOWN_LAYERS]]
        return shown or ["slower layers: none, so that it is lost between layers or in how they are launched"]


def slower_parts(old: Layers, new: Layers) -> tuple[SlowerPart, ...]:
    """Return the parts of a model that take longer, the largest increase first; those that are new among them."""
    if not old or not new:
        return ()
    groups = _Groups()
    for name, _ in (*old, *new):
        groups.join(nodes_of(name))
    before, after = _by_group(old, groups), _by_group(new, groups)
    parts = [
        SlowerPart(
            tuple(name for name, _ in sorted(layers, key=lambda layer: -layer[1])),
            sum(ms for _, ms in before.get(group, ())),
            sum(ms for _, ms in layers),
        )
        for group, layers in after.items()
    ]
    return tuple(sorted((part for part in parts if part.increase_ms > 0), key=lambda part: -part.increase_ms))


def nodes_of(layer: str) -> tuple[str, ...]:
    """Return the names that a layer's name is made of; the whole where it is made of none."""
    found = tuple(dict.fromkeys(word.strip() for word in _SEPARATORS.split(layer) if word.strip()))
    return found or (layer,)


class _Groups:
    """Names that belong together, because some layer holds them both."""

    def __init__(self) -> None:
        self._leaders: dict[str, str] = {}

    def join(self, names: Sequence[str]) -> None:
        leader = self.of(names[0])
        for name in names[1:]:
            self._leaders[self.of(name)] = leader

    def of(self, name: str) -> str:
        self._leaders.setdefault(name, name)
        while self._leaders[name] != name:
            # Each step shortens the way of the next one.
            self._leaders[name] = name = self._leaders[self._leaders[name]]
        return name


def _by_group(layers: Layers, groups: _Groups) -> dict[str, list[tuple[str, float]]]:
    found: dict[str, list[tuple[str, float]]] = {}
    for name, ms in layers:
        found.setdefault(groups.of(nodes_of(name)[0]), []).append((name, ms))
    return found
