"""Text for laws: hypothesis's own asks Python about each of a million code points, in each process of a fresh clone."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_ENCODABLE = st.characters(exclude_categories=["Cs"])


def any_text(**sizes: Any) -> st.SearchStrategy[str]:
    """Return what ``st.text`` draws: any text that UTF-8 can hold."""
    return st.text(_ENCODABLE, **sizes)
