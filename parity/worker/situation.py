"""What an execution context has to be told before it knows every shape: the profile, input shapes and host values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

from .errors import FeedRefused
from .profiles import check_profile

if TYPE_CHECKING:
    from .bindings import Binding, Extent
    from .engine import LoadedEngine


@dataclass(frozen=True)
class Situation:
    """A profile with the shapes of one feed.

    Attributes
    ----------
    shapes
        By input that has a dynamic dimension.
    values
        By input that TensorRT reads on the host; arrays of this object's own, for the context keeps their addresses.
    """

    profile: int
    shapes: Mapping[str, Extent]
    values: Mapping[str, np.ndarray]

    def apply(self, engine: LoadedEngine, context: Any) -> None:
        """Tell a context.

        Raises
        ------
        FeedRefused
            TensorRT refuses a shape, or cannot infer the others from them.
        WorkerError
            TensorRT refuses the profile.
        """
        if context.active_optimization_profile != self.profile:
            if not context.set_optimization_profile_async(self.profile, engine.stream.handle):
                raise engine.failed(f"optimization profile {self.profile} could not be chosen")
            engine.stream.synchronize()
        for name, shape in self.shapes.items():
            if not context.set_input_shape(name, shape):
                raise FeedRefused(f"TensorRT refuses the shape {shape} of {name}. {engine.quote()}")
        for name, array in self.values.items():
            context.set_tensor_address(name, int(array.ctypes.data))
        _infer_shapes(engine, context)


def situation_of(
    bindings: Sequence[Binding], feed: Mapping[str, np.ndarray], profile: int, profile_count: int
) -> Situation:
    """Take a feed's shapes and host values, held to the profile.

    Raises
    ------
    FeedRefused
        The feed does not fit the profile.
    """
    check_profile(bindings, feed, profile, profile_count)
    dynamic = [b.name for b in bindings if b.is_input and min(b.shape, default=0) < 0]
    values: dict[str, np.ndarray] = {b.name: np.array(feed[b.name]) for b in bindings if b.is_input and b.on_host}
    return Situation(profile, {name: feed[name].shape for name in dynamic}, values)


def _infer_shapes(engine: LoadedEngine, context: Any) -> None:
    try:
        missing = context.infer_shapes()
    except RuntimeError as error:
        raise FeedRefused(f"TensorRT cannot infer shapes from the feed: {error}. {engine.quote()}") from error
    if missing:
        raise FeedRefused(f"TensorRT wants more of {', '.join(missing)}. {engine.quote()}")
