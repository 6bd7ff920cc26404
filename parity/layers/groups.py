"""Which tensors are held in memory together."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Of each tensor: the reference's, the variant's, the layer's own, and the one that its runtime still holds.
_COPIES = 4
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
    used = 0
    for tensor in tensors:
        more = {tensor, *inputs[tensor]} - held
        cost = _COPIES * sizes[tensor] + sum(sizes[name] for name in more if name != tensor)
        if not groups or used + cost > budget_bytes:
            groups.append([])
            held, used = set(), 0
            more = {tensor, *inputs[tensor]}
            cost = _COPIES * sizes[tensor] + sum(sizes[name] for name in more if name != tensor)
        groups[-1].append(tensor)
        held |= more
        used += cost
    return tuple(tuple(group) for group in groups)
