"""What rows of a history hold becomes values; a file that others have written to is told, not believed."""

from __future__ import annotations

import json
import math

from parity.agreement import Better
from parity.errors import HistoryError


class RowError(HistoryError):
    """A row that no run has written."""


def names_of(text: object) -> dict[str, str]:
    """Return words by name, from JSON.

    Raises
    ------
    RowError
        It is something else, as are all errors here.
    """
    found = _json(text)
    if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
        return found
    raise RowError(f"holds {_shown(text)} where words by name are expected")


def samples_of(text: object) -> tuple[float, ...]:
    """Return numbers, from JSON."""
    found = _json(text)
    if isinstance(found, list) and all(isinstance(value, int | float) for value in found):
        return tuple(found)
    raise RowError(f"holds {_shown(text)} where samples are expected")


def number_of(value: object) -> float:
    """Return a figure's value, NaN where SQLite has none."""
    if value is None:
        return math.nan
    if isinstance(value, int | float):
        return float(value)
    raise RowError(f"holds {_shown(value)} where a number is expected")


def better_of(word: object) -> Better:
    """Return which way a figure improves."""
    try:
        return Better(str(word))
    except ValueError as error:
        raise RowError(f"holds {_shown(word)} where a figure says which way is better") from error


def _json(text: object) -> object:
    try:
        found: object = json.loads(text) if isinstance(text, str | bytes) else None
    except (ValueError, RecursionError) as error:
        raise RowError(f"holds {_shown(text)} where JSON is expected") from error
    return found


def _shown(value: object) -> str:
    return repr(value)[:60]
