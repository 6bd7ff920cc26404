"""What a reader sees on a page, as text by its place: tables, names with values, bars. Knows markup, and no run."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Table:
    """A table: its headings, and rows of as many cells."""

    headings: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def column(self, heading: str) -> list[str]:
        """Return the cells below a heading."""
        place = self.headings.index(heading)
        return [row[place] for row in self.rows]

    def cell(self, row: str, heading: str) -> str:
        """Return the cell below a heading of the row that begins with ``row``."""
        [found] = [cells for cells in self.rows if cells[0] == row]
        return found[self.headings.index(heading)]


class PageText(HTMLParser):
    """Reads a page.

    Attributes
    ----------
    tables
        By the label of the region that each scrolls in. Where a label or a name occurs twice, here and below, the last.
    facts
        Values by their names.
    bars
        Values by the titles of their groups and their labels.
    """

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tables: dict[str, Table] = {}
        self.facts: dict[str, str] = {}
        self.bars: dict[tuple[str, str], str] = {}
        self._region = self._group = self._name = self._kind = ""
        self._text: list[str] = []
        self._table = Table()
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a table, a row, or text of a kind."""
        given = dict(attrs)
        if tag in {"th", "td", "tr"}:
            # A cell ends where the next begins, as HTML allows.
            self._end()
        if self._kind in {"th", "td"}:
            return
        if given.get("role") == "region":
            self._region = given.get("aria-label") or ""
        if tag == "table":
            self._table = self.tables[self._region] = Table()
        elif tag == "tr" and self._table.headings:
            self._table.rows.append([])
        elif tag in {"th", "td", "dt", "dd", "h5"} or (tag == "span" and given.get("class") in {None, "value"}):
            self._kind, self._text = ("value" if given.get("class") == "value" else tag), []

    def handle_endtag(self, tag: str) -> None:
        """End what is open."""
        if tag in {"th", "td", "dt", "dd", "h5", "tr", "table"} or (tag == "span" and self._kind in {"span", "value"}):
            self._end()

    def handle_data(self, data: str) -> None:
        """Take text."""
        self._text.append(data)

    def _end(self) -> None:
        text, kind = " ".join("".join(self._text).split()), self._kind
        self._kind, self._text = "", []
        if kind == "th":
            self._table.headings.append(text)
        elif kind == "td":
            self._table.rows[-1].append(text)
        elif kind == "h5":
            self._group = text
        elif kind in {"dt", "span"}:
            self._name = text
        elif kind == "dd":
            self.facts[self._name] = text
        elif kind == "value":
            self.bars[self._group, self._name] = text


def number(text: str) -> float:
    """Return the first number of a text, thousands apart by commas or not."""
    return float(text.replace(",", "").split()[0])
