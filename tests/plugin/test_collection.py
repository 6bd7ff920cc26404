from __future__ import annotations

from typing import TYPE_CHECKING

from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.plugin.conftest import RunPytest

IDS = [
    "cases/good/case.toml::fp32@onnxruntime::outputs",
    "cases/good/case.toml::fp16@onnxruntime::outputs",
]


def collected(result: pytest.RunResult) -> list[str]:
    return [line for line in result.outlines if "::" in line]


def test_every_variant_and_check_is_an_item_with_its_place_in_the_id(run_pytest: RunPytest, good: Path) -> None:
    assert collected(run_pytest("--collect-only", "-q")) == IDS


def test_an_id_selects_its_item(run_pytest: RunPytest, good: Path) -> None:
    run_pytest(IDS[1]).assert_outcomes(passed=1)


def test_an_id_without_its_check_selects_the_variant(run_pytest: RunPytest, good: Path) -> None:
    assert collected(run_pytest("--collect-only", "-q", IDS[0].removesuffix("::outputs"))) == IDS[:1]


def test_keywords_select_by_variant_and_by_case(run_pytest: RunPytest, good: Path, hot: Path) -> None:
    assert collected(run_pytest("--collect-only", "-q", "-k", "fp16 and good")) == IDS[1:]


def test_the_marker_tells_checks_from_other_tests(run_pytest: RunPytest, good: Path, pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_other(): pass")
    assert collected(run_pytest("--collect-only", "-q", "-m", "parity", "--strict-markers")) == IDS
    assert len(collected(run_pytest("--collect-only", "-q", "-m", "not parity"))) == 1


def test_all_mistakes_of_a_case_file_are_one_collection_error_without_a_traceback(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    write_matmul_case(pytester.path / "bad", variants='[variants.int9]\nprecision = "int9"\n[[tolerances]]\nrtl = 1\n')
    result = run_pytest()
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert "variants.int9.precision" in text
    assert "tolerances" in text
    assert "Traceback" not in text
    assert ".py:" not in text
    assert result.ret == 2


def test_a_file_that_is_no_toml_is_a_collection_error_where_it_was_named(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    (pytester.path / "case.toml").write_text("model = = \n", encoding="utf-8")
    run_pytest("case.toml").assert_outcomes(errors=1)


def test_another_projects_case_toml_is_left_alone_unless_it_is_named(
    run_pytest: RunPytest, pytester: pytest.Pytester
) -> None:
    (pytester.path / "case.toml").write_text("[computer]\nwidth = 3\n", encoding="utf-8")
    run_pytest().assert_outcomes()
    run_pytest("case.toml").assert_outcomes(errors=1)


def test_the_ini_option_turns_collection_off(run_pytest: RunPytest, good: Path, pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nparity_collect = false\n")
    assert collected(run_pytest("--collect-only", "-q")) == []


def test_the_header_has_the_versions(run_pytest: RunPytest) -> None:
    run_pytest().stdout.re_match_lines([r"parity: \d+\.\d+\.\d+, onnxruntime \d.*, onnx \d.*, numpy \d.*"])
