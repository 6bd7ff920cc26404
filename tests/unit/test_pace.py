"""Work is told to whoever listens: begun, stepped and ended, also where it fails or is given up."""

from __future__ import annotations

import pytest

from parity.pace import listening, paced, tell_share, working


class Heard:
    """A listener that writes down what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._count = 0

    def enter(self, what: str, total: int | None, expected_s: float | None) -> int:
        self._count += 1
        self.lines.append(f"{self._count} {what} of {total}, {expected_s} s")
        return self._count

    def step(self, work: int) -> None:
        self.lines.append(f"{work} step")

    def share(self, work: int, done: float) -> None:
        self.lines.append(f"{work} at {done:.0%}")

    def leave(self, work: int) -> None:
        self.lines.append(f"{work} ends")


def test_items_pass_unchanged_where_nobody_listens() -> None:
    assert list(paced(iter("abc"), "reading")) == ["a", "b", "c"]
    with working("building"):
        pass


def test_work_within_work_is_told_in_its_order() -> None:
    heard = Heard()
    with listening(heard):
        for _ in paced(range(2), "judging", 2):
            with working("building", 9.0):
                pass
    inner = ["2 building of None, 9.0 s", "2 ends", "1 step", "3 building of None, 9.0 s", "3 ends", "1 step"]
    assert heard.lines == ["1 judging of 2, None s", *inner, "1 ends"]


def test_a_failure_ends_the_work_and_a_step_that_failed_is_not_done() -> None:
    heard = Heard()

    def judge() -> None:
        for number in paced(range(3), "judging", 3):
            if number == 1:
                raise ValueError

    with listening(heard), pytest.raises(ValueError):  # noqa: PT011 - the test's own
        judge()
    assert heard.lines == ["1 judging of 3, None s", "1 step", "1 ends"]


def test_a_share_is_of_the_innermost_work_that_has_no_steps() -> None:
    heard = Heard()
    tell_share(0.1)
    with listening(heard):
        tell_share(0.2)
        with working("building"):
            with working("calibrating"):
                tell_share(0.3)
            tell_share(0.4)
        tell_share(0.5)
    assert [line for line in heard.lines if "at" in line and "ating of" not in line] == ["2 at 30%", "1 at 40%"]


def test_nobody_is_told_behind_the_end_of_listening() -> None:
    heard = Heard()
    with listening(heard):
        pass
    list(paced(range(2), "judging"))
    assert heard.lines == []
