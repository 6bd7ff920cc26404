"""A backend with faults on order: the judge is tested before the judged.

It answers with another backend, or with a function, and then breaks the answer in a named way. Nothing is random, so a
test that plants a fault finds the same fault on every machine.

Examples
--------
>>> import numpy as np
>>> from parity.backends.fake import FlipElement
>>> FlipElement().change(np.array([1.0, -3.0, 2.0]))
array([1., 3., 2.])
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parity.backends.validation import check_feed
from parity.errors import BackendCrash, BackendTimeout
from parity.graph import TensorInfo, model_interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from onnx import ModelProto

    from parity.backends import Backend, Session
    from parity.options import SessionOptions

    Outputs = dict[str, np.ndarray]
    Function = Callable[[Mapping[str, np.ndarray]], Outputs]


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of a feed so far, and the sound outputs of the feed before (empty on the first)."""

    outputs: Outputs
    previous: Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault(ABC):
    """Something that goes wrong.

    Attributes
    ----------
    feed
        The feed of a session on which it happens, counting from 0; every feed if None.
    session
        The session of the backend in which it happens, counting from 0; every session if None.
    """

    feed: int | None = None
    session: int | None = None

    @abstractmethod
    def apply(self, answer: Answer, /) -> Outputs:
        """Return the outputs as the faulty runtime gives them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFault(Fault):
    """A fault of one output: the named one, or the first."""

    output: str | None = None

    def apply(self, answer: Answer, /) -> Outputs:
        """Return the outputs with the one output changed."""
        name = self.output if self.output is not None else next(iter(answer.outputs))
        return {**answer.outputs, name: self.change(answer.outputs[name])}

    @abstractmethod
    def change(self, array: np.ndarray) -> np.ndarray:
        """Return what the faulty runtime gives instead of the array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipElement(OutputFault):
    """One element with its sign turned (0 becomes 1; booleans and integers: every bit turned).

    ``index`` counts in C order; by default it is the element of the largest magnitude.
    """

    index: int | None = None

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return the array with one element flipped."""
        changed = array.copy()
        flat = changed.reshape(-1)
        index = self.index if self.index is not None else int(np.argmax(np.abs(flat.astype(np.float64))))
        if array.dtype.kind in "biu":
            flat[index] = np.invert(flat[index])
        else:
            flat[index] = -flat[index] if flat[index] != 0 else 1
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplaceElement(OutputFault):
    """One element replaced, by NaN unless told otherwise."""

    value: float = float("nan")
    index: int = 0

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return the array with one element replaced."""
        changed = array.copy()
        changed.reshape(-1)[self.index] = self.value
        return changed


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantOutput(OutputFault):
    """An output filled with one value: a buffer that nobody wrote."""

    value: float = 0.0

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return an array of the same shape and dtype, filled with the value."""
        return np.full_like(array, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOutput(OutputFault):
    """An output multiplied by a factor: a scale that was applied twice, or not at all."""

    factor: float = 2.0

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return the scaled array in its own dtype."""
        return (array * self.factor).astype(array.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermuteRows(OutputFault):
    """An output whose rows moved by one along the batch axis: answers that went to the wrong images."""

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return the array with its last row first."""
        return np.roll(array, 1, axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongDtype(OutputFault):
    """An output in another dtype, its values as near as that dtype allows."""

    dtype: str = "float64"

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return the array in the wrong dtype."""
        return array.astype(self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongShape(OutputFault):
    """An output with the right values and one axis too many."""

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return the array with a leading axis of 1."""
        return array[None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SwapOutputs(Fault):
    """Two outputs under each other's name."""

    first: str
    second: str

    def apply(self, answer: Answer, /) -> Outputs:
        """Return the outputs with two of them exchanged."""
        outputs = answer.outputs
        return {**outputs, self.first: outputs[self.second], self.second: outputs[self.first]}


@dataclass(frozen=True, slots=True, kw_only=True)
class DropOutput(Fault):
    """An output that is not there."""

    output: str

    def apply(self, answer: Answer, /) -> Outputs:
        """Return the outputs without one."""
        return {name: array for name, array in answer.outputs.items() if name != self.output}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraOutput(Fault):
    """An output that the reference does not have, a copy of the first."""

    output: str = "extra"

    def apply(self, answer: Answer, /) -> Outputs:
        """Return the outputs and one more."""
        return {**answer.outputs, self.output: next(iter(answer.outputs.values()))}


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleOutputs(Fault):
    """The outputs of the feed before, where there was one: buffers that were read too early."""

    def apply(self, answer: Answer, /) -> Outputs:
        """Return the previous outputs."""
        return answer.previous or answer.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAnswer(Fault):
    """No answer in time. Nothing really waits."""

    def apply(self, _answer: Answer, /) -> Outputs:
        """Raise what a backend raises when its deadline passes."""
        raise BackendTimeout("fake: gave no answer in time; a late answer was planted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash(Fault):
    """The process behind the backend died."""

    def apply(self, _answer: Answer, /) -> Outputs:
        """Raise what a backend raises when its process dies."""
        raise BackendCrash("fake: its process died; a crash was planted")


class FakeBackend:
    """A backend that answers with another one, or with a function, and breaks the answers as ``faults`` say.

    Parameters
    ----------
    faults
        Applied in order; none by default, which makes a sound backend.
    inner
        Who answers; ONNX Runtime by default.
    function
        Answers instead of a runtime: outputs from a feed. The model then only says what goes in and out.
    """

    def __init__(
        self, faults: Sequence[Fault] = (), *, inner: Backend | None = None, function: Function | None = None
    ) -> None:
        self._faults = tuple(faults)
        self._inner = inner
        self._function = function
        self._session_count = 0

    @property
    def name(self) -> str:
        """What stands behind the @ of a variant."""
        return "fake"

    @property
    def version(self) -> str:
        """The version of this backend's behaviour."""
        return "1"

    def open(self, model: ModelProto, options: SessionOptions) -> FakeSession:
        """Make a session; errors are those of the inner backend."""
        number = self._session_count
        self._session_count += 1
        inner = _FunctionSession(model, self._function) if self._function else self._open_inner(model, options)
        return FakeSession(inner, tuple(fault for fault in self._faults if fault.session in {None, number}))

    def _open_inner(self, model: ModelProto, options: SessionOptions) -> Session:
        if self._inner is None:
            from parity.backends.onnxruntime import OnnxRuntimeBackend

            self._inner = OnnxRuntimeBackend()
        return self._inner.open(model, options)


class FakeSession:
    """A session whose answers are broken on order."""

    def __init__(self, inner: Session, faults: tuple[Fault, ...]) -> None:
        self._inner = inner
        self._faults = faults
        self._feed_count = 0
        self._previous: Outputs = {}

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """The model's inputs, in its order."""
        return self._inner.inputs

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The model's outputs, in its order."""
        return self._inner.outputs

    def run(self, feed: Mapping[str, np.ndarray]) -> Outputs:
        """Run one feed and apply the faults that are due on it.

        Raises
        ------
        FeedError
            The feed's names, ranks or dtypes are not the model's.
        BackendTimeout, BackendCrash
            Where such a fault is planted.
        """
        sound = self._inner.run(feed)
        outputs = sound
        for fault in self._faults:
            if fault.feed in {None, self._feed_count}:
                outputs = fault.apply(Answer(outputs, self._previous))
        self._previous = sound
        self._feed_count += 1
        return outputs

    def __enter__(self) -> FakeSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)


class _FunctionSession:
    """A function as a session, with the inputs and outputs of a model."""

    def __init__(self, model: ModelProto, function: Function) -> None:
        interface = model_interface(model)
        self.inputs = interface.inputs
        self.outputs = interface.outputs
        self._function = function

    def run(self, feed: Mapping[str, np.ndarray]) -> Outputs:
        check_feed(self.inputs, feed)
        return self._function(feed)

    def __enter__(self) -> _FunctionSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""
