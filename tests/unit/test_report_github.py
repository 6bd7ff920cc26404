from __future__ import annotations

from dataclasses import replace

from hypothesis import given

from parity.report.github import MAX_ANNOTATIONS, github_annotations
from tests.run_examples import BROKEN, EVERYTHING, FAILING, PASSING, UNDECIDED, make_run
from tests.texts import any_text


def unescaped(text: str) -> str:
    for code, sign in (("%0A", "\n"), ("%0D", "\r"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(code, sign)
    return text


def test_errors_come_worst_first_and_what_is_inconclusive_is_a_warning() -> None:
    lines = github_annotations(EVERYTHING)
    assert [line.partition("::shapes")[0].split(" ")[0] for line in lines] == ["::error", "::error", "::warning"]
    assert lines[0].startswith("::error title=fail%3A shapes / fp16@onnxruntime / outputs::Output logits")
    assert unescaped(lines[0].rpartition("::")[2]) == FAILING.message


def test_a_run_that_passes_has_none() -> None:
    assert github_annotations(make_run(PASSING)) == []


def test_a_case_file_of_the_repository_is_named() -> None:
    for folder, named in (("cases/shapes", True), ("/home/me/shapes", False), ("../shapes", False)):
        run = replace(make_run(BROKEN), selection={"cases": ["cases/other", folder]})
        (line,) = github_annotations(run)
        assert line.startswith(f"::error file={folder}/case.toml,title=") is named


@given(any_text())
def test_no_message_leaves_its_line_or_begins_a_command(text: str) -> None:
    (line,) = github_annotations(make_run(replace(FAILING, variant=text, message=text or "x")))
    assert len(line.splitlines()) == 1
    properties, _, message = line.removeprefix("::error ").partition("::")
    assert "::" not in properties
    assert properties.count(",") == 0
    assert "\n" not in message


def test_more_than_github_shows_are_counted() -> None:
    many = make_run(*(replace(FAILING, variant=f"v{number}") for number in range(MAX_ANNOTATIONS + 1)), UNDECIDED)
    lines = github_annotations(many)
    assert len(lines) == MAX_ANNOTATIONS + 1
    assert lines[MAX_ANNOTATIONS - 1] == "::error title=parity::2 more are in summary.md and report.html"
    assert lines[-1].startswith("::warning ")
