"""The pages of comparisons and histories in a real Chromium: what logs an error or asks for another file fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from parity.baseline.comparison import compare_sides
from parity.baseline.sides import load_side
from parity.history import Asked, append_run, read_history
from parity.report.comparison import comparison_html
from parity.report.history_page import history_html
from tests.accepted import gpu_run, outputs_outcome
from tests.history_runs import nights
from tests.run_examples import save as save_run

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

Open = Callable[..., Any]


def comparison(folder: Path) -> str:
    """Return the page of two runs of which the newer is worse."""
    sides = []
    for name, sqnr_db in (("old", 60.0), ("new", 40.0)):
        (folder / name).mkdir()
        save_run(gpu_run(outputs_outcome(sqnr_db)), folder / name)
        sides.append(load_side(folder / name))
    return comparison_html(compare_sides(*sides))


def history(folder: Path) -> str:
    """Return the page of twelve nights, of which the last four were slower."""
    for run in nights([1.0] * 8 + [1.2] * 4):
        append_run(folder / "history.db", run)
    return history_html(read_history(folder / "history.db", Asked("shapes")))


each_page = pytest.mark.parametrize("make", [comparison, history], ids=lambda make: make.__name__)


def as_it_opens(page: Page) -> tuple[str, int]:
    """Return the heading, and by how many pixels the page scrolls sideways."""
    over = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    return page.locator("h1").inner_text(), over


@each_page
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_opens_without_an_error_and_never_scrolls_sideways(
    make: Callable[[Path], str], width: int, scheme: str, open_html: Open, tmp_path: Path
) -> None:
    page = open_html(make(tmp_path), viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    heading, over = as_it_opens(page)
    assert heading
    assert over == 0


def test_a_comparison_colours_what_got_worse_and_has_no_empty_table(open_html: Open, tmp_path: Path) -> None:
    page = open_html(comparison(tmp_path))
    worse = page.locator("#changed-table td", has_text="worse")
    medal = page.locator(".hero .medal")
    colour = "(element) => getComputedStyle(element).color"
    assert worse.evaluate(colour) == medal.evaluate(colour)
    assert all(table.locator("tbody tr").count() for table in page.locator("table").all())
    assert "time, processor, GPU and versions are the same" in page.locator("#differ").inner_text()


def test_numbers_beside_a_chart_leave_room_for_their_unit(open_html: Open, tmp_path: Path) -> None:
    page = open_html(history(tmp_path))
    widths = {
        name: page.locator("section", has=page.get_by_role("heading", name=name))
        .last.locator(".u-axis")
        .nth(1)
        .evaluate("(axis) => axis.offsetWidth")
        for name in ("size_bytes", "build_s")
    }
    assert widths["size_bytes"] >= widths["build_s"] + 20


def test_hovering_a_history_tells_the_night_and_its_value(open_html: Open, tmp_path: Path) -> None:
    page = open_html(history(tmp_path))
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    chart = page.locator(".uplot .u-over").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    told = "nightly, 2026-01-01 03:00 UTC"
    assert told not in page.locator("body").inner_text()
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] / 2)
    page.locator(".tip", has_text=told).wait_for()
