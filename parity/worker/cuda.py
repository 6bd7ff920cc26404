"""CUDA by PyCUDA: the retained primary context, and what a failed call means for the worker."""

from __future__ import annotations

import atexit
import sys
from contextlib import contextmanager
from typing import Any, Iterator

from .errors import CudaLost, Unavailable, WorkerError

_MIB = 1 << 20

# What cuGetErrorString says of errors that every later call in the context repeats.
_LOST_TEXTS = (
    "illegal memory access",
    "unspecified launch failure",
    "launch timed out",
    "device-side assert",
    "hardware stack error",
    "illegal instruction",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "over nvlink or a hardware error",
    "context is destroyed",
    "driver shutting down",
    "(unknown error)",
    "failed: unknown error",
)


class _Held:
    """The primary contexts that this process retains, by device, and the device whose context is current."""

    def __init__(self) -> None:
        self.contexts: dict[int, Any] = {}
        self.current: int | None = None


_held = _Held()


def is_lost(text: str) -> bool:
    """Return whether an error's text, PyCUDA's or TensorRT's, says that the context cannot be used any more."""
    lowered = text.lower()
    return any(sign in lowered for sign in _LOST_TEXTS)


def driver() -> Any:
    """Return ``pycuda.driver``, initialized, on a machine with at least one GPU.

    Raises
    ------
    Unavailable
        PyCUDA, the driver or a GPU is missing, or the driver is too old; with what mends it.
    """
    loaded = _imported()
    try:
        loaded.init()
        count = loaded.Device.count()
    except loaded.Error as error:
        raise Unavailable(_init_advice(str(error))) from error
    if count == 0:
        raise Unavailable(_init_advice("no CUDA-capable device is detected"))
    return loaded


def _imported() -> Any:
    try:
        import pycuda.driver
    except ImportError as error:
        raise Unavailable(_import_advice(error)) from error
    return pycuda.driver


def _import_advice(error: ImportError) -> str:
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == "pycuda":
        return f"PyCUDA is not installed in {sys.executable}: run `{sys.executable} -m pip install pycuda`."
    if "libcuda.so" in text:
        return (
            f"No NVIDIA driver is on this machine ({text}): install one until `nvidia-smi` answers, and start a "
            "container with `docker run --gpus all`."
        )
    if "undefined symbol: cu" in text:
        return (
            f"The NVIDIA driver is older than the CUDA that PyCUDA was compiled for ({text}): update the driver, or "
            f"compile PyCUDA here with `{sys.executable} -m pip install --force-reinstall --no-binary pycuda pycuda`."
        )
    return (
        f"PyCUDA cannot be imported in {sys.executable} ({text}): run "
        f"`{sys.executable} -m pip install --force-reinstall pycuda`."
    )


def _init_advice(text: str) -> str:
    lowered = text.lower()
    if "no cuda-capable device" in lowered:
        return (
            f"No GPU can be used by this process ({text}): `nvidia-smi -L` lists the GPUs, CUDA_VISIBLE_DEVICES hides "
            "those that it does not name, and a container needs `docker run --gpus all`."
        )
    if any(sign in lowered for sign in ("insufficient", "driver combination", "forward compatibility")):
        return (
            f"The NVIDIA driver is too old for the CUDA in use ({text}): `nvidia-smi` shows its version; update it, or "
            "install TensorRT and PyCUDA for that version's CUDA."
        )
    return f"CUDA cannot be initialized ({text}): `nvidia-smi` says whether the driver and the GPU answer."


def device(index: int = 0) -> Any:
    """Return a ``pycuda.driver.Device``.

    Raises
    ------
    Unavailable
        As ``driver``, or there is no such device.
    """
    loaded = driver()
    count = loaded.Device.count()
    if not 0 <= index < count:
        raise Unavailable(f"GPU {index} was asked for and {count} are visible, numbered from 0: see `nvidia-smi -L`.")
    return loaded.Device(index)


def context(index: int | None = None) -> Any:
    """Make a device's primary context current, retained once in a process, and return it.

    Parameters
    ----------
    index
        The device; where None, that of the current context, or 0 if there is none yet.

    Raises
    ------
    Unavailable, WorkerError
        As ``device``; the context cannot be made.
    """
    wanted = current() if index is None else index
    if _held.current == wanted:
        return _held.contexts[wanted]
    if wanted not in _held.contexts:
        chosen = device(wanted)
        with mapped_errors(f"the CUDA context of GPU {wanted}"):
            retained = chosen.retain_primary_context()
        if not _held.contexts:
            # PyCUDA aborts the interpreter if a context is still pushed when its modules are taken down.
            atexit.register(release)
        _held.contexts[wanted] = retained
    _pop()
    _held.contexts[wanted].push()
    _held.current = wanted
    return _held.contexts[wanted]


def current() -> int:
    """Return the device of the current context; 0 before there is one."""
    return _held.current or 0


def _pop() -> None:
    if _held.current is not None:
        _held.contexts[_held.current].pop()
        _held.current = None


def release() -> None:
    """Pop the current context and let every retained one go; called once more, it does nothing."""
    _pop()
    _held.contexts.clear()


@contextmanager
def mapped_errors(what: str) -> Iterator[None]:
    """Turn PyCUDA's errors into the worker's.

    Parameters
    ----------
    what
        What is done inside, as a message begins: ``"the buffers of input 'images'"``.

    Raises
    ------
    CudaLost
        The context cannot be used any more.
    WorkerError
        Any other CUDA error; out of memory is told with how much is free.
    """
    loaded = _imported()
    try:
        yield
    except loaded.MemoryError as error:
        raise WorkerError(f"{what}: out of memory, {_memory_text(loaded)} ({error})") from error
    except loaded.Error as error:
        if is_lost(str(error)) or _is_stuck(loaded):
            raise CudaLost(f"{what}: {error}; the CUDA context cannot be used any more") from error
        raise WorkerError(f"{what}: {error}") from error


def _is_stuck(loaded: Any) -> bool:
    """Return whether a call that has nothing to do fails as well."""
    try:
        loaded.Context.synchronize()
    except loaded.Error:
        return True
    return False


def _memory_text(loaded: Any) -> str:
    try:
        free, total = loaded.mem_get_info()
    except loaded.Error:
        return "and the GPU does not say how much is free"
    return f"{free // _MIB} of the GPU's {total // _MIB} MiB are free: end other processes, or use smaller batches"


def memory(state: Any, request: dict[str, Any]) -> dict[str, int]:  # noqa: ARG001 - every operation is called so
    """Answer ``memory``: ``free_bytes`` and ``total_bytes`` of the current device.

    Raises
    ------
    Unavailable, WorkerError, CudaLost
        As ``context`` and ``mapped_errors``.
    """
    context()
    with mapped_errors("the GPU's memory"):
        free, total = _imported().mem_get_info()
    return {"free_bytes": int(free), "total_bytes": int(total)}
