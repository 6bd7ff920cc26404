"""``report.html`` in a real browser: what a reader clicks, types, hovers and prints works, and names run nothing."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parity.verdict import Verdict
from tests.decoded_examples import DECODED, save_pictures
from tests.latency_examples import latency
from tests.layer_examples import BLANK, DIAGNOSIS
from tests.layer_examples import FAILING as FAILED_LAYERS
from tests.run_examples import (
    BROKEN,
    CENSUS,
    ENVIRONMENT,
    FAILING,
    INVARIANTS,
    JUDGED_ENGINE,
    PASSING,
    SKIPPED,
    UNDECIDED,
    WORKER,
    attack_everywhere,
    make_run,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    Visit = Callable[..., Page]

BUSY_MS = 30_000
"""How long a busy machine may take for what an expectation waits for; it takes no longer than needed."""
LAYERS = replace(BLANK, verdict=Verdict.FAIL, headline="/block/conv2 makes 40", message="found", layers=FAILED_LAYERS)
RICH = replace(
    make_run(
        *(PASSING, SKIPPED, UNDECIDED, BROKEN, replace(FAILING, diagnoses=(DIAGNOSIS,)), DECODED, LAYERS),
        *(JUDGED_ENGINE, CENSUS, INVARIANTS, latency()),
    ),
    environment=replace(ENVIRONMENT, workers=(WORKER,)),
)
ATTACKS = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>",
    "\"'><iframe src=javascript:alert(1)></iframe>{{7*7}}${7*7}<!--<script>",
    "javascript:alert(1)//\x00\x1b[2J\x7f\u202e\u2028\ud800",
    "W" * 3000,
)


def layer_table(page: Page) -> Locator:
    return page.locator("table[data-filterable]").first


def column(table: Locator, heading: str) -> list[str]:
    names = table.locator("thead th").all_inner_texts()
    place = [name.strip() for name in names].index(heading) + 1
    return [text.strip() for text in table.locator(f"tbody tr:visible td:nth-child({place})").all_inner_texts()]


def test_a_report_opens_without_an_error_and_asks_for_nothing(visit: Visit) -> None:
    page = visit(RICH)
    assert page.locator("h1").inner_text() == "A disagreement was found, and not everything could be judged"
    assert page.locator(".uplot").count() == 3


def test_a_click_on_a_heading_sorts_and_another_turns_the_order(visit: Visit) -> None:
    table = layer_table(visit(RICH))
    before = [float(text) for text in column(table, "inherited dB")]
    heading = table.locator("thead th", has_text="inherited dB")
    heading.get_by_role("button").click()
    assert [float(text) for text in column(table, "inherited dB")] == sorted(before) != before
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").click()
    assert [float(text) for text in column(table, "inherited dB")] == sorted(before, reverse=True)


def test_what_has_no_value_stands_last_in_either_order(visit: Visit) -> None:
    table = layer_table(visit(RICH))
    button = table.locator("thead th", has_text="gain dB").get_by_role("button")
    for _ in range(2):
        button.click()
        texts = column(table, "gain dB")
        assert "n/a" not in texts[: len(texts) - texts.count("n/a")]


def test_words_and_a_choice_filter_the_rows_and_are_counted(visit: Visit) -> None:
    page = visit(RICH)
    table, tools = layer_table(page), page.locator(".tools").first
    assert tools.get_by_role("status").inner_text() == f"{len(FAILED_LAYERS.rows)} of {len(FAILED_LAYERS.rows)}"
    tools.get_by_role("searchbox").fill("conv2")
    assert column(table, "layer") == ["/block/conv2"]
    tools.get_by_role("searchbox").fill("")
    tools.get_by_label("role").select_option("amplifier")
    assert set(column(table, "role")) == {"amplifier"}


def test_hovering_the_curve_tells_the_layer_and_the_same_keys_do(visit: Visit) -> None:
    page = visit(RICH)
    chart = page.locator("[data-chart$=curve]")
    chart.locator(".u-over").hover()
    tip = chart.locator(".tip")
    tip.wait_for()
    told = tip.inner_text()
    assert told.startswith("/block/conv")
    for name in ("role", "operators", "precision", "inherited dB", "injected dB", "floor dB"):
        assert name in told
    plot = chart.locator(".plot")
    plot.focus()
    page.keyboard.press("Home")
    assert tip.inner_text().startswith("/block/conv0")
    page.keyboard.press("ArrowRight")
    assert tip.inner_text().startswith("/block/conv1")
    page.keyboard.press("Enter")
    assert column(page.locator("table", has=page.locator("tr.chosen")), "layer")
    assert "/block/conv1" in page.locator("tr.chosen").inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_hovering_latency_tells_the_block_and_its_time(visit: Visit) -> None:
    page = visit(RICH)
    chart = page.locator("[data-chart*=blocks]")
    chart.locator(".plot").focus()
    page.keyboard.press("End")
    assert chart.locator(".tip").inner_text().split("\n") == [
        "block 2 of 2", "median of a block", "1.25 ms", "median of all", "1 ms",
    ]  # fmt: skip


def test_a_curve_sorted_below_still_tells_its_own_layers(visit: Visit) -> None:
    page = visit(RICH)
    button = layer_table(page).locator("thead th", has_text="inherited dB").get_by_role("button")
    button.click()
    page.locator("[data-chart$=curve] .plot").focus()
    page.keyboard.press("Home")
    assert page.locator("[data-chart$=curve] .tip").inner_text().startswith("/block/conv0")


def test_pictures_switch_between_both_sides_and_one(visit: Visit, tmp_path: Path) -> None:
    save_pictures(tmp_path, "-reference", "-candidate")
    page = visit(RICH)
    figure = page.locator(".picture")
    for name in ("reference", "candidate", "both"):
        figure.get_by_text(name, exact=True).click()
        assert [image.get_attribute("class") for image in figure.locator("img:visible").all()] == [f"view-{name}"]
    figure.get_by_role("radio").first.focus()
    page.keyboard.press("ArrowRight")
    assert figure.locator("img:visible").get_attribute("class") == "view-reference"


def test_a_command_is_copied_as_it_stands(visit: Visit) -> None:
    page = visit(RICH, permissions=["clipboard-read", "clipboard-write"])
    line = page.locator(".copy", has_text=str(FAILING.replay)).first
    line.get_by_role("button").click()
    # A label hides the text from screen readers, so that it has to say the same, and then what it said before. It says
    # so for a moment only: text and label are asked for at once.
    line.locator("[data-copy][aria-live=polite][aria-label*=Copied]", has_text="Copied").wait_for()
    line.get_by_text("Copy", exact=True).wait_for()
    button = line.locator("[data-copy]")
    assert (button.get_attribute("aria-label") or "").startswith("Copy ")
    assert page.evaluate("navigator.clipboard.readText()") == FAILING.replay


def test_dark_follows_the_system_and_the_button_turns_it(visit: Visit) -> None:
    page = visit(RICH, color_scheme="dark")

    def ground() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    dark = ground()
    page.get_by_role("button", name="Use light colours").click()
    light = ground()
    assert (dark, light) == ("rgb(14, 17, 22)", "rgb(245, 246, 249)")
    # Chromium writes a page's storage later, in another process: a reload within the same second may not meet it yet.
    deadline = time.monotonic() + 20
    page.reload()
    while ground() != light and time.monotonic() < deadline:
        page.wait_for_timeout(200)
        page.reload()
    assert ground() == light


def test_the_matrix_shows_checks_on_demand(visit: Visit) -> None:
    page = visit(RICH)
    checks = page.locator(".matrix tr.check")
    assert checks.count() > 3
    assert not checks.first.is_visible()
    page.get_by_role("button", name="Checks of shapes").click()
    assert checks.first.is_visible()
    assert "✗ fail" in page.locator(".matrix tr.check", has_text="census").inner_text()


def test_many_failures_leave_the_matrix_on_the_first_screen_and_fold_the_rest(visit: Visit) -> None:
    page = visit(make_run(*(replace(FAILING, variant=f"v{number}@onnxruntime") for number in range(40))))
    links = page.locator("#failed a")
    assert links.count() == 40
    assert page.locator(".matrix").bounding_box()["y"] < 900
    assert not links.last.is_visible()
    page.get_by_text("35 more").click()
    assert links.last.is_visible()


def test_a_long_name_of_a_variant_leaves_the_next_one_in_sight(visit: Visit) -> None:
    page = visit(make_run(replace(FAILING, variant=f"{'long_name_' * 20}@onnxruntime"), PASSING))
    assert page.locator(".scroll:has(.matrix)").evaluate("(frame) => frame.scrollWidth - frame.clientWidth") == 0


def test_a_table_that_goes_on_fades_until_its_end_is_in_sight(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit(RICH, viewport={"width": 400, "height": 800})
    frame = page.locator(".scroll:has(.matrix)")
    expect(frame).not_to_have_css("mask-image", "none", timeout=BUSY_MS)
    frame.evaluate("(frame) => frame.scrollTo(frame.scrollWidth, 0)")
    expect(frame).to_have_css("mask-image", "none", timeout=BUSY_MS)


def test_the_only_variant_of_a_run_is_open(visit: Visit) -> None:
    assert visit(make_run(PASSING)).locator("details.variant .body").is_visible()
    assert not visit(make_run(PASSING, SKIPPED)).locator("details.variant .body").first.is_visible()


def test_names_of_cases_stand_in_one_line_whether_they_open_or_not(visit: Visit) -> None:
    page = visit(make_run(*RICH.outcomes, replace(PASSING, case="alone")))
    names = page.locator(".matrix tr:not(.check) th[scope=row] > span > span").all()
    assert len({name.bounding_box()["x"] for name in names}) == 1
    assert len(names) == 2


def test_a_link_opens_the_part_it_leads_to(visit: Visit) -> None:
    page = visit(RICH, "#at-shapes-fp32@onnxruntime-outputs")
    part = page.locator('[id="at-shapes-fp32@onnxruntime-outputs"]')
    assert part.is_visible()
    page.locator('.matrix a[href="#at-shapes-fp8@onnxruntime"]').first.click()
    page.locator('[id="at-shapes-fp8@onnxruntime"] .body').wait_for()


@pytest.mark.parametrize("width", [400, 320, 1280])
def test_the_page_itself_never_scrolls_sideways(visit: Visit, width: int) -> None:
    page = visit(RICH, viewport={"width": width, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_the_keyboard_reaches_what_the_mouse_does_and_the_focus_is_seen(visit: Visit) -> None:
    page = visit(RICH)
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.matches(':focus-visible') && document.activeElement.tagName"))
        if page.evaluate("document.activeElement.matches('thead th button')"):
            break
    assert reached >= {"A", "BUTTON", "SUMMARY", "DIV"}
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_print_opens_everything_and_screens_close_it_again(visit: Visit) -> None:
    from playwright.sync_api import expect

    page = visit(RICH)
    closed = page.locator("details:not([open])")
    before = closed.count()
    assert before
    page.emulate_media(media="print")
    expect(closed).to_have_count(0, timeout=BUSY_MS)
    assert page.locator(".matrix tr.check").first.is_visible()
    assert not page.locator(".bar:visible, .navigation:visible, .tools:visible, [data-copy]:visible").count()
    heading = layer_table(page).locator("th", has_text="inherited dB")
    assert heading.is_visible()
    # A button is not painted where a heading is repeated on the next page.
    assert heading.locator("button").evaluate("(button) => getComputedStyle(button).display") == "contents"
    page.emulate_media(media="screen")
    expect(closed).to_have_count(before, timeout=BUSY_MS)


def test_no_string_of_a_run_runs_or_breaks_the_page(visit: Visit, tmp_path: Path) -> None:
    save_pictures(tmp_path)
    tags = "[...new Set([...document.querySelectorAll('*')].map((element) => element.tagName))]"
    plain = set(visit(RICH).evaluate(tags))
    for attack in ATTACKS:
        page = visit(attack_everywhere(RICH, attack))
        page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
        page.locator("[data-chart$=curve] .u-over").hover()
        tip = page.locator("[data-chart$=curve] .tip")
        tip.wait_for()
        assert attack[:4] in tip.inner_text()
        assert set(page.evaluate(tags)) <= plain
        assert page.evaluate("document.documentElement.scrollWidth") == 1280
