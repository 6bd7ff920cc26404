"""Debug tensors of an inference: copied while TensorRT shows them, for they are gone when its callback returns."""

from __future__ import annotations

import ctypes
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Collection, Iterator

import numpy as np

from .bindings import extent
from .dtypes import name_of, storage
from .errors import PrecisionMissing, WorkerError
from .tensor import CARRIERS, Tensor

if TYPE_CHECKING:
    from .engine import LoadedEngine


def make_debug_listener(trt: Any, driver: Any, wanted: Collection[str]) -> Any:
    """Make a ``trt.IDebugListener``; keep it alive as long as a context knows it.

    ``take()`` gives the copies by name, of a loop's tensor the last, or raises the first exception of a copy: what the
    callback returns TensorRT ignores, and what it raises is printed and forgotten.

    Parameters
    ----------
    driver
        ``pycuda.driver``.
    wanted
        Names of tensors that are copied; others pass.
    """

    class DebugListener(trt.IDebugListener):  # type: ignore[misc]  # the class of whichever TensorRT is given
        def __init__(self) -> None:
            trt.IDebugListener.__init__(self)
            self.tensors: dict[str, Tensor] = {}
            self.failure: BaseException | None = None

        def process_debug_tensor(
            self, address: int, location: Any, dtype: Any, shape: Any, name: str, _stream: int
        ) -> bool:
            if name in wanted and self.failure is None:
                try:
                    self.tensors[name] = _copy(driver, address, str(location.name), name_of(dtype), extent(shape))
                except Exception as failure:  # noqa: BLE001 - kept, and raised after the enqueue; here TensorRT swallows it
                    self.failure = failure
            return True

        def take(self) -> dict[str, Tensor]:
            if self.failure is not None:
                raise self.failure
            # A context may know its listener for as long as it lives.
            taken, self.tensors = self.tensors, {}
            return taken

    return DebugListener()


def _copy(driver: Any, address: int, location: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    carrier = storage(dtype)
    if dtype not in CARRIERS:
        raise WorkerError(f"tensors of {dtype} cannot be told to the harness; observe others")
    array = np.empty(math.prod(shape), carrier)
    if array.size and location == "HOST":
        ctypes.memmove(array.ctypes.data, address, array.nbytes)
    elif array.size:
        # Whatever stream it was computed in, which may be one of TensorRT's own that PyCUDA has no object for.
        driver.Context.synchronize()
        driver.memcpy_dtoh(array, address)
    return Tensor(array.reshape(shape), dtype)


@contextmanager
def listening(engine: LoadedEngine, context: Any, wanted: Collection[str]) -> Iterator[Any]:
    """Have an execution context show its debug tensors inside of the block; give the listener.

    Raises
    ------
    PrecisionMissing
        This TensorRT has none.
    WorkerError
        TensorRT takes no listener.
    """
    if not hasattr(context, "set_debug_listener"):
        raise PrecisionMissing(f"debug: TensorRT {engine.trt.__version__} has no debug tensors; observe outputs")
    listener = make_debug_listener(engine.trt, engine.driver, frozenset(wanted))
    if not context.set_debug_listener(listener):
        raise engine.failed("TensorRT takes no listener of debug tensors")
    engine.debug_listener = listener
    _show(engine.native, context, wanted, is_on=True)
    try:
        yield listener
    finally:
        _show(engine.native, context, wanted, is_on=False)


def _show(native: Any, context: Any, wanted: Collection[str], *, is_on: bool) -> None:
    if not hasattr(native, "is_debug_tensor") or not hasattr(context, "set_tensor_debug_state"):
        return
    marked = [name for name in wanted if native.is_debug_tensor(name)]
    for name in marked:
        context.set_tensor_debug_state(name, is_on)
    # Tensors that survived fusion have one state together, and the engine does not call them debug tensors.
    if len(marked) < len(wanted) and hasattr(context, "unfused_tensors_debug_state"):
        context.unfused_tensors_debug_state = is_on
