"""A real Chromium for the tests of this folder, or the reason why there is none.

With ``PARITY_REQUIRE_BROWSER=1`` a missing part fails instead of skipping. Whatever a test does, a page that logs an
error, throws, or asks for anything but itself fails it.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from parity.report import write_text
from parity.report.html import report_html
from parity.report.pictures import embedded_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from parity.results import Run

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return one Chromium for all tests."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        _do_without("no playwright: pip install playwright")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        _do_without(f"no Chromium: none of {', '.join(NAMES)} is on the path")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield launched
        launched.close()


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("PARITY_REQUIRE_BROWSER") == "1":
        pytest.fail(f"PARITY_REQUIRE_BROWSER=1, and {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def visit(open_html: Callable[..., Page], tmp_path: Path) -> Callable[..., Page]:
    """Return a function that renders a run and opens its report; ``options`` are those of a context."""

    def open_report(run: Run, fragment: str = "", **options: Any) -> Page:
        return open_html(report_html(run, embedded_pictures(run, tmp_path)), fragment, **options)

    return open_report


@pytest.fixture
def open_html(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a page by its text; ``options`` are those of a context."""
    problems: list[str] = []
    contexts = []

    def open_text(text: str, fragment: str = "", **options: Any) -> Page:
        file = write_text(tmp_path / "page.html", text)
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
        contexts.append(context)
        context.set_default_timeout(30_000)
        page = context.new_page()
        address = file.as_uri()
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"thrown: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))

        def admit(route: Any) -> None:
            if route.request.url.startswith(address):
                route.continue_()
            else:
                problems.append(f"request: {route.request.url}")
                route.abort()

        context.route("**/*", admit)
        page.goto(f"{address}{fragment}")
        return page

    yield open_text
    for context in contexts:
        context.close()
    assert problems == []
