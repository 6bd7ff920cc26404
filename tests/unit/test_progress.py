"""The bar: which line is shown, and how long the work at hand will still take."""

from __future__ import annotations

import re
from io import StringIO

import pytest

from parity.pace import paced, tell_share, working
from parity.progress import ProgressBar, expected_total_s, time_left


@pytest.fixture
def bar(monkeypatch: pytest.MonkeyPatch) -> ProgressBar:
    """Return a bar on a terminal that is a text."""
    from rich.console import Console

    made = ProgressBar()
    made._bar.live.console = Console(file=StringIO(), force_terminal=True, width=120)
    return made


def shown(bar: ProgressBar) -> str:
    from rich.console import Console

    console = Console(file=StringIO(), width=120)
    console.print(bar._bar.get_renderable())
    return console.file.getvalue()  # type: ignore[attr-defined] - the StringIO above


def test_the_innermost_work_has_the_second_line(bar: ProgressBar) -> None:
    bar.start(4)
    bar.begin("shapes / fp16")
    for number in paced(range(3), "judging", 3):
        if number == 1:
            assert "1/3" in shown(bar)
            with working("looking for the cause"):
                assert "looking for the cause" in shown(bar)
                assert "judging" not in shown(bar)
            assert "judging" in shown(bar)
    bar.advance()
    assert "1/4" in shown(bar)
    assert "judging" not in shown(bar)
    bar.finish()


def test_an_expected_time_counts_down(bar: ProgressBar) -> None:
    bar.start(1)
    with working("building the engine", 125.0):
        assert "about 2:0" in shown(bar)
    bar.finish()


def test_a_share_of_a_build_is_shown_and_shortens_what_is_expected(bar: ProgressBar) -> None:
    bar.start(1)
    with working("building the engine", 400.0):
        tell_share(0.5)
        assert "50/100 %" in shown(bar)
        assert re.search(r"about 3:(19|20) left", shown(bar))
    bar.finish()


def test_a_finished_bar_hears_nothing_more(bar: ProgressBar) -> None:
    bar.start(1)
    bar.finish()
    list(paced(range(2), "judging", 2))
    assert bar._work == {}


@pytest.mark.parametrize(
    ("elapsed_s", "expected_s", "text"),
    [(0.0, 61.0, "about 1:01 left"), (60.5, 61.0, "longer than expected"), (90.0, 61.0, "longer than expected")],
)
def test_time_left_never_goes_below_nothing(elapsed_s: float, expected_s: float, text: str) -> None:
    assert time_left(elapsed_s, expected_s) == text


@pytest.mark.parametrize(
    ("elapsed_s", "done", "last_s", "expected_s"),
    [
        (10.0, 0.25, None, 40.0),  # nothing like it was built before: as long again for each quarter
        (10.0, 0.25, 20.0, 25.0),  # three quarters of what the last one took are left
        (90.0, 0.75, 20.0, 95.0),  # never less than what has passed, however short the last one was
        (20.0, 1.0, 40.0, 20.0),
    ],
)
def test_steps_tell_how_much_is_left_of_what_the_last_build_took(
    elapsed_s: float, done: float, last_s: float | None, expected_s: float
) -> None:
    assert expected_total_s(elapsed_s, done, last_s) == expected_s
