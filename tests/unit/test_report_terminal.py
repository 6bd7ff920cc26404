from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parity.report import print_run, summary_json
from parity.verdict import Verdict
from tests.layer_examples import DIAGNOSIS
from tests.run_examples import BROKEN, DIFFERENCE, EVERYTHING, FAILING, GOOD_TENSOR, PASSING, TENSOR, make_run

if TYPE_CHECKING:
    from parity.results import Run


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Pipe(io.StringIO):
    encoding = "utf-8"


def shown(run: Run, stream: io.StringIO | None = None) -> str:
    stream = stream or Pipe()
    print_run(run, Path("reports/x/report.html"), stream)
    return stream.getvalue()


def test_table_fits_100_columns_whatever_the_names() -> None:
    long_names = replace(FAILING, case="case_" * 30, variant="variant_" * 30 + "@onnxruntime", headline="word " * 90)
    lines = shown(make_run(long_names, *EVERYTHING.outcomes)).splitlines()
    assert max(map(len, lines)) <= 100


def test_causes_fit_100_columns_and_a_command_is_never_broken() -> None:
    long = replace(DIAGNOSIS, evidence=("a figure and what it means; " * 12,), remedy="keep these nodes " * 20)
    command = f"parity run {'cases/far/away/' * 12} --variant fp16"
    text = shown(make_run(replace(FAILING, diagnoses=(long,), diagnosis_notes=("no time " * 30,), replay=command)))
    assert [line for line in text.splitlines() if len(line) > 100] == [f"    {command}"]
    assert " ".join(long.evidence[0].split()) in " ".join(text.split())


def test_a_name_of_24_characters_is_not_broken_and_the_output_gives_way() -> None:
    name, output = "case_of_24_characters_xx", "output0[:, 4:, 1600:2000]"
    tensor = replace(TENSOR, output=output, verdict=Verdict.INCONCLUSIVE)
    undecided = replace(FAILING, case=name, verdict=Verdict.INCONCLUSIVE, tensors=(tensor,))
    table = shown(make_run(undecided, PASSING)).splitlines()[2:4]
    assert [row.split()[0] for row in table] == [name, PASSING.case]
    assert re.search(r" fp16@onnxruntime  \? inconclusive  out\S*\.\.\.\S*00\] ", table[0])
    assert max(map(len, table)) <= 100


def test_an_output_is_told_whole_where_there_is_room() -> None:
    tensor = replace(TENSOR, output="output0[:, 4:, :800]")
    assert "  output0[:, 4:, :800]  " in shown(make_run(replace(FAILING, tensors=(tensor,))))


def test_what_both_sides_share_is_told_of_a_pass() -> None:
    tensor = replace(GOOD_TENSOR, notes=("The reference holds 3 NaN.",))
    text = shown(make_run(replace(PASSING, tensors=(tensor,))))
    assert "shapes / fp32@onnxruntime / logits: The reference holds 3 NaN." in text


def test_table_stands_worst_first() -> None:
    text = shown(EVERYTHING)
    places = [text.index(variant) for variant in ("fp16@", "int8@", "bf16@", "fp32@", "fp8@")]
    assert places == sorted(places)


def test_the_report_path_stands_last() -> None:
    assert shown(EVERYTHING).splitlines()[-1] == "report: reports/x/report.html"


def test_figures_stand_in_the_row_of_their_variant() -> None:
    [row] = [line for line in shown(EVERYTHING).splitlines() if "fp16@onnxruntime" in line and "31.5" in line]
    assert row.split() == ["shapes", "fp16@onnxruntime", "✗", "fail", "logits", "31.5", "inf", "12", "(0.6", "%)"]


def test_headline_replay_rounding_and_what_a_forecast_proves_stand_below_the_table() -> None:
    text = " ".join(shown(EVERYTHING).split())
    for part in (FAILING.headline, BROKEN.headline, FAILING.replay, "rounding fused", "does not show what an engine"):
        assert part in text


def test_an_error_is_told_whole_but_not_without_end() -> None:
    mistakes = "\n".join(["case.toml: 99 mistakes", *(f"  mistake {number}" for number in range(99))])
    lines = shown(make_run(replace(BROKEN, headline="case.toml: 99 mistakes", message=mistakes))).splitlines()
    assert "    mistake 0" in lines
    assert "    mistake 18" in lines
    assert "    mistake 19" not in lines


def test_what_left_its_baseline_is_told_whole_with_the_layers_that_slowed() -> None:
    message = "latency batch 64 1 -> 2 ms: is not what was accepted\nslower layer: conv1: 0.4 ms -> 1.4 ms"
    left = replace(FAILING, check="baseline", headline="latency", message=message, tensors=(), replay="")
    assert "    slower layer: conv1: 0.4 ms -> 1.4 ms\n" in shown(make_run(left))


def test_failures_beyond_ten_are_counted() -> None:
    many = make_run(*(replace(FAILING, case=f"case{i:02d}") for i in range(13)))
    assert "3 more are in the report" in shown(many)


def test_colour_is_for_terminals_only() -> None:
    assert "\x1b[" not in shown(EVERYTHING)
    assert "\x1b[" in shown(EVERYTHING, Screen())


def test_a_name_cannot_send_escape_sequences_or_rich_markup() -> None:
    text = shown(make_run(replace(FAILING, case="[red]x\x1b[2Jy", headline="[/nonsense] \x1b]0;t\x07")))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]x\\x1b[2Jy" in text
    assert "[/nonsense]" in text


@pytest.mark.parametrize("run", [EVERYTHING, make_run()])
def test_a_stream_without_unicode_gets_ascii_signs(run: Run) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_run(run, Path("r.html"), stream)
    stream.flush()
    assert raw.getvalue().decode("ascii").endswith("report: r.html\n")


def test_machine_summary_is_strict_json_worst_first_with_non_finite_figures_as_strings() -> None:
    infinite = replace(FAILING, tensors=(replace(TENSOR, difference=replace(DIFFERENCE, headroom=float("inf"))),))
    text = summary_json(make_run(PASSING, infinite), Path("reports/x"))

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    summary = json.loads(text, parse_constant=refuse)
    assert "\n" not in text
    assert (summary["exit_code"], summary["folder"]) == (1, "reports/x")
    assert [outcome["verdict"] for outcome in summary["outcomes"]] == ["fail", "pass"]
    [output] = summary["outcomes"][0]["outputs"]
    assert (output["headroom"], output["sqnr_db"], output["mismatch_count"]) == ("Infinity", 31.47, 12)
