"""What this interpreter has installed, and what mends it where something is missing."""

from __future__ import annotations

import re
import sys
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import Unavailable

if TYPE_CHECKING:
    from .heard import Listener

_PROC_VERSION = Path("/proc/driver/nvidia/version")
_WHEEL_CUDAS = (11, 12, 13, 14)
"""Major versions of CUDA that TensorRT's wheels are, or will be, built for."""


def tensorrt() -> Any:
    """Import ``tensorrt``.

    Raises
    ------
    Unavailable
        It is not installed, or its libraries cannot be loaded; with the command that mends it.
    """
    try:
        import tensorrt as trt
    except ModuleNotFoundError as error:
        raise Unavailable(_missing_advice(error)) from error
    except (ImportError, OSError) as error:
        raise Unavailable(
            f"TensorRT is installed in {sys.executable}, and its libraries cannot be loaded ({error}): put their "
            f"folder on LD_LIBRARY_PATH, or run `{sys.executable} -m pip install --force-reinstall tensorrt`."
        ) from error
    return trt


def _missing_advice(error: ModuleNotFoundError) -> str:
    if error.name == "tensorrt":
        return (
            f"There is no tensorrt in {sys.executable}: run `{sys.executable} -m pip install tensorrt`, or name an "
            "interpreter that has it with --tensorrt-python."
        )
    return (
        f"TensorRT is incomplete in {sys.executable} ({error}): run "
        f"`{sys.executable} -m pip install --force-reinstall tensorrt`."
    )


def make_builder(trt: Any, heard: Listener) -> Any:
    """Return a ``trt.Builder``, which starts CUDA: where that fails, a ``trt.Runtime`` of 8.6 would end the process.

    Raises
    ------
    Unavailable
        TensorRT cannot start on this machine.
    """
    try:
        return trt.Builder(heard.logger)
    except TypeError as error:
        # The bindings' only sign of a null pointer; TensorRT logs the cause, a code of CUDA's runtime, as a warning.
        told = "; ".join(message["text"] for message in heard.heard.told()) or "it logs no reason"
        raise Unavailable(
            f"TensorRT cannot start on this machine: {told}. See that `nvidia-smi` answers, and that the CUDA version "
            "there is not below the one that TensorRT was built for."
        ) from error


def packages(trt: Any) -> dict[str, str]:
    """Return the versions of what the worker needs.

    Raises
    ------
    Unavailable
        Polygraphy is missing.
    """
    import numpy as np

    try:
        polygraphy = metadata.version("polygraphy")
    except metadata.PackageNotFoundError as error:
        raise Unavailable(
            f"Polygraphy is not installed in {sys.executable}: run `{sys.executable} -m pip install polygraphy`."
        ) from error
    import pycuda

    return {
        "tensorrt": str(trt.__version__),
        "pycuda": str(pycuda.VERSION_TEXT),
        "numpy": np.__version__,
        "polygraphy": polygraphy,
    }


def cuda_version(number: int) -> str:
    """Return ``12.2`` for the driver's 12020."""
    return f"{number // 1000}.{number % 1000 // 10}"


def require_driver(driver_cuda: str) -> None:
    """Refuse a driver that is older than the CUDA of TensorRT's wheel.

    Parameters
    ----------
    driver_cuda
        The newest CUDA that the driver offers, such as ``12.2``.

    Raises
    ------
    Unavailable
        The driver is too old.
    """
    wheel = max((major for major in _WHEEL_CUDAS if _is_installed(f"tensorrt-cu{major}-bindings")), default=0)
    major = int(driver_cuda.partition(".")[0])
    if wheel > major:
        raise Unavailable(
            f"The NVIDIA driver is too old: it offers CUDA {driver_cuda}, and TensorRT here was built for CUDA "
            f"{wheel}; update the driver, or run `{sys.executable} -m pip install tensorrt-cu{major}`."
        )


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def driver_version() -> str:
    """Return the driver's version by NVML, or by the kernel module where NVML is not installed; ``unknown`` else."""
    return _nvml_version() or _module_version() or "unknown"


def _nvml_version() -> str:
    try:
        pynvml: Any = import_module("pynvml")
    except ImportError:
        return ""
    try:
        pynvml.nvmlInit()
        version = pynvml.nvmlSystemGetDriverVersion()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return ""
    # Older NVML bindings give bytes.
    return version.decode() if isinstance(version, bytes) else str(version)


def _module_version() -> str:
    try:
        text = _PROC_VERSION.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"Module\b.*?\s(\d+(?:\.\d+)+)", text)
    return found.group(1) if found else ""
