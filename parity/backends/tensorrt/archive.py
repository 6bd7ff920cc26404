"""The worker's sources as one zip: what travels to the interpreter that has TensorRT."""

from __future__ import annotations

import io
import zipfile
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "parity_worker"
"""The package's name over there, where importing ``parity`` would run code for a newer Python."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold


def worker_archive(extra: Mapping[str, bytes] | None = None) -> bytes:
    """Return the archive; the same sources give the same bytes.

    Parameters
    ----------
    extra
        More modules, by file name inside the package.
    """
    folder = resources.files("parity.worker")
    sources = {item.name: item.read_bytes() for item in folder.iterdir() if item.name.endswith(".py")}
    buffer = io.BytesIO()
    # Stored: what zlib makes of the same bytes changes with its version.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, source in sorted({**sources, **(extra or {})}.items()):
            archive.writestr(zipfile.ZipInfo(f"{PACKAGE}/{name}", _EPOCH), source)
    return buffer.getvalue()
