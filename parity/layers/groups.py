"""Which tensors are held in memory together."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Of each tensor: the reference's, and the variant's or the layer's own.
_COPIES = 2
# Of the largest tensor, while a runtime works on its way to those that are held.
_IN_FLIGHT = 2
_MEMORY = Path("/proc/meminfo")


def free_memory_bytes() -> int:
    """Return the memory that is free on this machine, in bytes; what the kernel would give back counts as free."""
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def group_tensors(
    tensors: Sequence[str], sizes: Mapping[str, int], inputs: Mapping[str, Sequence[str]], budget_bytes: int
) -> tuple[tuple[str, ...], ...]:
    """Cut tensors into groups whose memory stays below a budget; a tensor beyond it is a group of its own.

    Parameters
    ----------
    sizes
        Bytes of each tensor.
    inputs
        The tensors that each tensor's layer reads: they are held as well.
    """
    groups: list[list[str]] = []
    held: set[str] = set()
    held_bytes = own_bytes = largest = 0
    for tensor in tensors:
        read = {tensor, *inputs[tensor]}
        more = sum(sizes[name] for name in read - held)
        own, peak = own_bytes + sizes[tensor], max(largest, sizes[tensor])
        if not groups or held_bytes + more + (_COPIES - 1) * own + _IN_FLIGHT * peak > budget_bytes:
            groups.append([])
            held, held_bytes, own, peak = set(), 0, sizes[tensor], sizes[tensor]
            more = sum(sizes[name] for name in read)
        groups[-1].append(tensor)
        held |= read
        held_bytes, own_bytes, largest = held_bytes + more, own, peak
    return tuple(tuple(group) for group in groups)


def give_memory_back() -> None:
    """Return freed memory to the system, where the C library can: glibc keeps what it thinks it will need again.

    Between groups of large tensors it keeps several times what is in use.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
