"""TensorRT's bindings and the worker's sources, as a process of ``inside.py`` has them.

Nothing of this project is installed there: the worker's sources become the package ``parity_worker``, as in a worker.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

# A TensorRT of this machine would be found by its own wheel, and its libraries would be loaded for the stubs.
sys.modules["tensorrt_libs"] = None  # type: ignore[assignment]
import tensorrt_bindings as trt  # noqa: E402 - after the line above

sys.modules["tensorrt"] = trt

WORKER = Path(__file__).parents[2] / "parity" / "worker"


def load_worker() -> None:
    """Make the worker's sources importable as ``parity_worker``."""
    spec = importlib.util.spec_from_file_location(
        "parity_worker", WORKER / "__init__.py", submodule_search_locations=[str(WORKER)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["parity_worker"] = package
    spec.loader.exec_module(package)


def worker(module: str) -> Any:
    """Import a module of the worker."""
    return importlib.import_module(f"parity_worker.{module}")
