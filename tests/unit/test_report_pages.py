"""The frame of HTML pages: what is allowed to run, and data that cannot leave its script element."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.report.charts import Chart, Series, drawable
from parity.report.pages import content_policy, embedded_json, render_page, toml_names
from tests.pages import ROOT
from tests.texts import any_text

CHART = Chart("a trend", "ms", "run", (Series("median", (1.0, None, 3.0)),), names=("</script>", "b", "c"))


def page(**charts: Chart) -> str:
    return render_page("base.html", charts=charts)


@given(
    st.recursive(
        any_text() | st.none() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(any_text(), inner)
    )
)
def test_embedded_data_reads_back_and_holds_nothing_that_ends_a_script(content: object) -> None:
    text = embedded_json(content)
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text) == content


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_figure_that_json_does_not_have_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        embedded_json([value])


def test_only_the_scripts_and_styles_of_the_page_itself_are_allowed_by_their_hashes() -> None:
    text = page(trend=CHART)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    bodies = re.findall(r"<script>(.*?)</script>", text, re.S)
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert len(bodies) == 2
    assert style is not None
    for body in (*bodies, style[1]):
        assert f"sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}" in policy[1].replace(
            "&#39;", "'"
        )
    assert "unsafe" not in policy[1]
    assert content_policy(("a",), "b").startswith("default-src 'none';")


def test_a_page_without_charts_does_not_carry_the_library() -> None:
    assert "uPlot" in page(trend=CHART)
    assert len(page()) < 40_000
    assert "var uPlot" not in page()


def test_the_chart_library_is_the_one_that_its_page_names() -> None:
    assets = ROOT / "parity" / "report" / "assets"
    digest = hashlib.sha256((assets / "uplot.js").read_bytes()).hexdigest()
    page, library = ((assets / name).read_text(encoding="utf-8") for name in ("README.md", "uplot.js"))
    assert f"`{digest}`" in page
    assert re.findall(r"1\.\d+\.\d+", page) == re.findall(r"\(v([\d.]+)\)", library)


def test_nothing_of_a_chart_ends_the_element_that_holds_it() -> None:
    assert "\\u003c/script\\u003e" in page(trend=CHART)


def test_what_cannot_be_drawn_breaks_the_line_and_what_is_infinite_is_held_at_the_limit() -> None:
    assert drawable([1.23456789, float("nan"), None, float("inf"), -500.0], 160) == (1.23457, None, None, 160.0, -160.0)
    assert drawable([float("inf")]) == (None,)


@given(st.lists(any_text()))
def test_names_to_keep_are_an_array_that_toml_reads(names: list[str]) -> None:
    import tomllib

    assert tomllib.loads(f"keep = {toml_names(names)}")["keep"] == names


def _luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = (value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels)
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_colour_of_text_stands_out_from_every_ground_as_wcag_asks(scheme: int) -> None:
    style = (ROOT / "parity" / "report" / "assets" / "page.css").read_text(encoding="utf-8")
    both = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", style)
    colours = {name: _luminance(pair[scheme]) for name, *pair in both}
    texts = ("ink", "faint", "accent", "second", "pass", "fail", "error", "inconclusive", "skipped")
    for text in texts:
        # A badge has a ground of its own verdict.
        for ground in {"ground", "surface", "raised", f"{text}-ground"} & set(colours):
            high, low = sorted((colours[text], colours[ground]), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, f"{text} on {ground}"
