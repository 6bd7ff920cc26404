"""Pages on paper and without scripts: nothing is cut off, nothing is missing, and sheets are not wasted."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parity.results import BuildMessage
from tests.browser.test_other_pages_in_browser import each_page
from tests.browser.test_report_in_browser import BUSY_MS, RICH
from tests.decoded_examples import DECODED
from tests.layer_examples import DIAGNOSIS
from tests.run_examples import ENGINE, FAILING, JUDGED_ENGINE, PASSING, TENSOR, make_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

    from parity.results import Run

    Visit = Callable[..., Page]

PAPER = {"width": 688, "height": 1000}
"""A4 less the margins that the style sheet asks for, in CSS pixels."""
FORTY = make_run(*(replace(FAILING, variant=f"fp16_kept_{number}@onnxruntime") for number in range(40)))
LONG = replace(
    JUDGED_ENGINE,
    engine=replace(ENGINE, messages=(BuildMessage("warning", "kind_" * 9, "W" * 57, 1),)),
    tensors=(replace(TENSOR, output="output_" * 9),),
)
ENDLESS = make_run(
    *(
        replace(one, case="case_" * 40, variant=f"{'variant_' * 6}{number}@onnxruntime")
        for number in range(7)
        for one in (LONG, DECODED)
    )
)
BEYOND = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.getBoundingClientRect().width && element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => `${element.tagName} ${element.textContent.trim().slice(0, 40)}`)"""


def on_paper(visit: Visit, run: Run) -> Page:
    """Return a page as it is laid out on A4."""
    from playwright.sync_api import expect

    page = visit(run, viewport=PAPER)
    page.emulate_media(media="print")
    # Waiting for an expression evaluates text, which the page's own policy forbids.
    expect(page.locator("details:not([open])")).to_have_count(0, timeout=BUSY_MS)
    return page


@pytest.mark.parametrize(
    "run",
    [RICH, FORTY, make_run(PASSING), ENDLESS],
    ids=["rich", "forty failures", "a pass", "names without an end"],
)
def test_nothing_of_a_page_lies_beyond_the_edge_of_the_paper(visit: Visit, run: Run) -> None:
    assert on_paper(visit, run).evaluate(BEYOND) == []


@each_page
def test_nothing_of_another_page_lies_beyond_the_edge_of_the_paper(
    make: Callable[[Path], str], open_html: Visit, tmp_path: Path
) -> None:
    page = open_html(make(tmp_path), viewport=PAPER)
    page.emulate_media(media="print")
    assert page.evaluate(BEYOND) == []


def test_headings_that_sort_are_printed_as_small_as_their_table(visit: Visit) -> None:
    headings = on_paper(visit, RICH).locator(".tall thead th:has(button)")
    # The button itself is not painted, but its text takes what it inherits from it.
    style = "(element) => [getComputedStyle(element).fontSize, getComputedStyle(element).whiteSpace]"
    assert headings.count()
    for heading in headings.all():
        assert heading.locator("button").evaluate(style) == heading.evaluate(style)


def test_a_matrix_wider_than_paper_is_a_list_that_names_every_variant(visit: Visit) -> None:
    cells = on_paper(visit, FORTY).locator(".matrix td:visible")
    named = "(cell) => getComputedStyle(cell, '::before').content"
    assert [cell.evaluate(named) for cell in cells.all()] == [
        f'"fp16_kept_{number}@onnxruntime"' for number in range(40)
    ]
    assert all("fail" in cell.inner_text() for cell in cells.all())


def test_a_matrix_as_wide_as_paper_stays_a_table(visit: Visit) -> None:
    page = on_paper(visit, RICH)
    assert page.locator(".matrix thead").is_visible()
    assert page.locator(".matrix").evaluate("(table) => getComputedStyle(table).display") == "table"


def test_forty_failures_with_their_causes_take_fewer_sheets_than_there_are_failures(visit: Visit) -> None:
    page = visit(replace(FORTY, outcomes=tuple(replace(one, diagnoses=(DIAGNOSIS,)) for one in FORTY.outcomes)))
    sheets = re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4", prefer_css_page_size=True))
    assert 20 < len(sheets) < 40


def test_paper_leaves_out_a_message_whose_cause_and_figures_stand_beside_it(visit: Visit) -> None:
    page = on_paper(
        visit, make_run(replace(FAILING, diagnoses=(DIAGNOSIS,)), replace(FAILING, variant="bf16"), DECODED)
    )
    assert page.get_by_text("The whole message").count() == 3
    assert page.locator("pre:visible").count() == 2


def test_a_table_that_fits_does_not_fade(visit: Visit) -> None:
    page = visit(make_run(DECODED))
    # The last of its columns is numeric: its heading ends where the table ends.
    frame = page.get_by_role("region", name="Agreement by class")
    assert frame.evaluate("(frame) => frame.scrollWidth - frame.clientWidth") == 0


def test_without_scripts_all_is_there_and_nothing_waits_to_be_clicked(visit: Visit) -> None:
    page = visit(RICH, java_script_enabled=False)
    assert page.locator(".matrix tr.check").first.is_visible()
    assert page.locator(".failures li").count() == 8
    assert page.locator("button:visible").count() == 0
    told = page.locator(".plot:visible").all_inner_texts()
    # Medians of blocks stand in no table.
    assert set(told) == {"Charts need scripts; the table has the same figures.", "Charts need scripts."}
