"""A node run again alone, in float32: what becomes of an error in what it reads."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from parity.backends import get_backend
from parity.errors import ParityError
from parity.layers.extract import cut, expose
from parity.layers.reference import OBSERVING, inputs_of
from parity.layers.walk import Walk
from parity.precision.assignment import HALF_TYPES, round_array
from parity.precision.edit import reads
from parity.precision.scope import UNKNOWN, open_scope
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from onnx import NodeProto

    from parity.diagnose.evidence import Evidence

    Tensors = Mapping[str, np.ndarray]

_LARGEST_HALF = 65504.0
_ABOUT = 2.0
"""Values that are this much larger have not just taken the last step to the end of the range."""
_JUMP = 8.0
"""So many times the error of what it reads, no element changes where a node is not steep."""


@dataclass(slots=True)
class Passage:
    """What one error became in a node, over all feeds.

    Attributes
    ----------
    entering, leaving
        By tensor: the sums of squares of the error and of the reference.
    lost
        Elements that leave the range of the format, NaN included, where those of the reference are well inside.
    moved, count
        Elements that are other numbers than the reference's, of how many; of whole numbers and truth values where it
        gives any.
    """

    largest: float
    entering: dict[str, tuple[float, float]] = field(default_factory=dict)
    leaving: dict[str, tuple[float, float]] = field(default_factory=dict)
    lost: int = 0
    moved: int = 0
    count: int = 0

    @property
    def error_in(self) -> float:
        """The relative error of the worst tensor that it reads; 0 where none errs."""
        return _worst(self.entering)

    @property
    def error_out(self) -> float:
        """The relative error of the worst tensor that it gives, over what is finite on both sides."""
        return _worst(self.leaving)

    @property
    def amplification(self) -> float:
        """How many times as large the relative error is behind the node; 0 where nothing errs before it."""
        return self.error_out / self.error_in if self.error_in else 0.0

    def add(self, given: Tensors, exact: Tensors, answer: Tensors, expected: Tensors) -> None:
        """Add one feed: what the node was given and what it should have been, what it answered and should have."""
        for name, values in given.items():
            if values.dtype.kind == "f":
                self.entering[name] = _added(self.entering.get(name, (0.0, 0.0)), values, exact[name])
        chosen = [name for name, values in expected.items() if values.dtype.kind != "f"] or list(expected)
        for name, values in expected.items():
            if answer[name].shape != values.shape:
                self.moved, self.count = self.moved + values.size, self.count + values.size
                continue
            if values.dtype.kind == "f":
                self.leaving[name] = _added(self.leaving.get(name, (0.0, 0.0)), answer[name], values)
                self.lost += int(np.count_nonzero(self._is_lost(answer[name], values)))
            if name in chosen:
                self.moved += int(np.count_nonzero(self._has_jumped(answer[name], values)))
                self.count += values.size

    def _has_jumped(self, answer: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Return which elements are other numbers, beyond what an error that is merely handed on makes of them."""
        is_whole = expected.dtype.kind != "f" or bool((expected == np.rint(expected)).all())
        reach = 0.0 if is_whole else _JUMP * self.error_in * float(np.abs(expected).max(initial=0.0))
        with np.errstate(invalid="ignore", over="ignore"):
            jumped: np.ndarray = answer != expected if is_whole else np.abs(answer - expected) > reach
        return jumped

    def _is_lost(self, answer: np.ndarray, expected: np.ndarray) -> np.ndarray:
        """Return which elements have left the range, and not by the last step of values that were about to."""
        with np.errstate(invalid="ignore"):
            held = np.abs(answer) <= np.maximum(self.largest, _ABOUT * np.abs(expected))
            lost: np.ndarray = ~held & (np.abs(expected) <= self.largest)
        return lost


@dataclass(frozen=True, slots=True)
class Rerun:
    """A node's passages, each with the exact values of everything but the floating tensors that it reads.

    Attributes
    ----------
    rounded
        Of the reference's values, rounded once to the precision; empty where that is no half format.
    handed
        Of the values that the forecast hands to the node.
    """

    node: NodeProto
    rounded: Passage
    handed: Passage

    @property
    def worse(self) -> Passage:
        """The passage in which the error grows more."""
        return max(self.rounded, self.handed, key=lambda one: one.amplification)


def run_again(evidence: Evidence, node: NodeProto) -> Rerun | None:
    """Run a node of the model in float32 on what it reads: exact, rounded, and as the forecast hands it on.

    Returns
    -------
    None where it reads no floating tensor that depends on the feed, or something that is no tensor.

    Raises
    ------
    ParityError
        ONNX Runtime failed, or the time is over.
    """
    walk, scope = Walk(evidence.model.graph), open_scope(evidence.model)
    read = [name for name in sorted(reads(node)) if name and walk.is_computed(name)]
    given = [name for name in node.output if name]
    if UNKNOWN in map(scope.type_of, (*read, *given)):
        # Sequences, and what operators of others give, cannot be an input of a part.
        return None
    part, names = cut(evidence.model, given, frozenset(read) & walk.producers.keys())
    precision = evidence.options.precision
    rerun = Rerun(node, _passage(precision), _passage(precision))
    exact_feeds = _by_feed({name: evidence.probes.values(name) for name in read})
    with get_backend("onnxruntime").open(part, OBSERVING) as session:

        def answer(tensors: Tensors) -> Tensors:
            found = session.run(inputs_of(session, tensors))
            return {name: found[called] for name, called in names.items()}

        for exact, handed in zip(exact_feeds, _handed(evidence, read), strict=False):
            if not any(values.dtype.kind == "f" for values in exact.values()):
                return None
            expected = answer(exact)
            for passage, changed in ((rerun.rounded, _rounded(exact, precision)), (rerun.handed, handed)):
                if changed and all(changed[name].shape == exact[name].shape for name in changed):
                    passage.add(changed, exact, answer({**exact, **changed}), expected)
    return rerun


def run_each(evidence: Evidence, nodes: Iterable[NodeProto]) -> dict[str, Rerun]:
    """Run nodes again, each alone; one that cannot be run costs itself only.

    Returns
    -------
    By the name of the node; those that read no floating tensor are missing.

    Raises
    ------
    ParityError
        None could be run: why the first could not.
    """
    found: dict[str, Rerun] = {}
    failures: list[ParityError] = []
    for node in nodes:
        try:
            rerun = run_again(evidence, node)
        except ParityError as error:
            failures.append(error)
            continue
        if rerun is not None:
            found[node.name] = rerun
    if failures and not found:
        raise failures[0]
    return found


def _passage(precision: Precision) -> Passage:
    return Passage(_LARGEST_HALF if precision is Precision.FP16 else float(np.finfo(np.float32).max))


def _by_feed(values: Mapping[str, Iterable[np.ndarray]]) -> Iterator[dict[str, np.ndarray]]:
    for row in zip(*values.values(), strict=True):
        yield dict(zip(values, row, strict=True))


def _rounded(exact: Tensors, precision: Precision) -> dict[str, np.ndarray]:
    half = HALF_TYPES.get(precision)
    if half is None:
        return {}
    floats = {name: values for name, values in exact.items() if values.dtype == np.float32}
    return {name: round_array(values, half).astype(np.float32) for name, values in floats.items()}


def _handed(evidence: Evidence, names: list[str]) -> Iterator[dict[str, np.ndarray]]:
    """Yield what the forecast has of float32 tensors for each feed; what it folded away is missing."""
    there = {name for node in evidence.rounded.graph.node for name in node.output}
    known = [name for name in names if name in there]
    if not known:
        yield from repeat({})
        return
    with get_backend("onnxruntime").open(expose(evidence.rounded, known), OBSERVING) as session:
        for feed in evidence.feeds():
            found = session.run(inputs_of(session, feed))
            yield {name: values for name, values in found.items() if values.dtype == np.float32}


def _added(sums: tuple[float, float], actual: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    finite = np.isfinite(actual) & np.isfinite(expected)
    wide = expected[finite].astype(np.float64)
    error = actual[finite].astype(np.float64) - wide
    return sums[0] + float(error @ error), sums[1] + float(wide @ wide)


def _worst(sums: Mapping[str, tuple[float, float]]) -> float:
    return max((math.sqrt(error / signal) for error, signal in sums.values() if signal), default=0.0)
