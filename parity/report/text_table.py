"""A table of text, which terminal, Markdown and HTML show alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text. ``numeric`` are the numbers of the columns that stand to the right."""

    title: str
    note: str
    headings: tuple[str, ...]
    numeric: frozenset[int]
    rows: tuple[tuple[str, ...], ...]
