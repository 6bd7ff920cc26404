"""The pages' links, tables and examples are held against the code."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest
import typer.main

from parity.agreement import (
    BoxRecord,
    ClassAgreement,
    DecodedRecord,
    Figure,
    Finding,
    ImageAgreement,
    JudgedFigure,
)
from parity.case.mistakes import Mistakes, parse_table
from parity.case.schema import CaseTable
from parity.checks.invariants import LAWS
from parity.checks.sameness import ALLOWANCE_DB, floor_db
from parity.checks.triangulation import CLEAN_ENGINE_DB, MARGIN_DB
from parity.cli import app
from parity.decoded import Task
from parity.detect.figures import FIGURES
from parity.detect.gates import Gate, default_gates
from parity.diagnosis import Diagnosis
from parity.difference import Element, Side, TensorDifference
from parity.latency_table import (
    GpuConditions,
    JudgedBudget,
    LatencyMode,
    LatencyRecord,
    LayerLatency,
    Measurement,
)
from parity.layer_table import LayerError, LayerReport, LayerRow, Quantized, Role, Validity
from parity.pytest_settings import add_options
from parity.report.decoded_csv import DETECTIONS_COLUMNS, FIGURES_COLUMNS
from parity.report.latency import LATENCY_COLUMNS
from parity.report.layers_csv import LAYERS_COLUMNS
from parity.report.tables import CENSUS_COLUMNS, ENGINE_COLUMNS, INVARIANTS_COLUMNS
from parity.results import (
    BuildMessage,
    CaseRecord,
    Census,
    CensusRow,
    Distance,
    EngineRecord,
    Environment,
    Invariant,
    ModelRecord,
    Outcome,
    Run,
    TensorOutcome,
    Triangulation,
    WorkerRecord,
)
from parity.stats import LatencyStatistics
from parity.tolerance import DEFAULT_TOLERANCE, NOISE_FLOOR_DB, Precision, Tolerance
from parity.verdict import Verdict
from tests.pages import PAGES, ROOT, anchors, blocks, read, section, table

if TYPE_CHECKING:
    from pathlib import Path

README = read("README.md")


def option_names(rows: list[list[str]]) -> list[str]:
    return [match[1] for row in rows if (match := re.match(r"`(--[a-z-]+)`", row[0]))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    for name, anchor in targets:
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name} links to {name}"
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{page.name}: {name}#{anchor}"


def test_the_readme_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) < 300


def test_the_two_install_lines_stand_in_the_readme_and_the_second_in_the_ci_script() -> None:
    assert '$ pip install -e ".[cpu]" && parity run\n' in README
    assert '$ pip install -e ".[cpu,test]" && pytest\n' in README
    assert '{ pip install -e ".[cpu,test]" && pytest; }' in read(".ci/run")


def test_the_readmes_case_file_is_valid() -> None:
    [example] = blocks(README, "toml")
    mistakes = Mistakes()
    parse_table(CaseTable, tomllib.loads(example), mistakes)
    assert mistakes.found == []


def test_the_readme_has_every_option_of_parity_run() -> None:
    run = typer.main.get_command(app).commands["run"]  # type: ignore[attr-defined]
    known = {max(option.opts, key=len) for option in run.params if option.param_type_name == "option"}
    assert set(option_names(table(section(README, "## Command line"), "option"))) == known - {"--help"}


def test_the_readme_has_every_option_of_the_pytest_plugin() -> None:
    parser = pytest.Parser(_ispytest=True)
    add_options(parser)
    known = {name for option in parser.getgroup("parity").options for name in option.names()}
    assert set(option_names(table(section(README, "## pytest"), "option"))) == known


def test_the_readme_maps_every_module_and_package() -> None:
    mapped = set(re.findall(r"`([a-z_]+(?:\.py|/))`", section(README, "## Code map")))
    modules = {path.name for path in (ROOT / "parity").glob("*.py")} - {"__init__.py"}
    packages = {f"{path.parent.name}/" for path in (ROOT / "parity").glob("*/__init__.py")}
    assert mapped == modules | packages


def test_the_page_on_judging_has_the_default_tolerances() -> None:
    documented = {row[0]: row[1:] for row in table(read("docs/judging.md"), "precision")}
    for precision, tolerance in DEFAULT_TOLERANCE.items():
        floor, rtol, atol, sqnr, reason = documented.pop(precision)
        assert (float(rtol), float(atol)) == (tolerance.rtol, tolerance.atol)
        assert tolerance.atol_unit == "rms"
        assert float(floor) == NOISE_FLOOR_DB[precision]
        assert (float(sqnr) if sqnr else None) == tolerance.min_sqnr_db
        assert tolerance.reason == f"default for {precision}: {reason}"
    assert documented == {}


def test_the_page_on_judging_has_every_figure_that_a_gate_may_stand_on() -> None:
    documented = table(read("docs/judging.md"), "figure | of | unit")
    expected = [(f"`{spec.name}`", task, spec.unit, spec.meaning) for task in Task for spec in FIGURES[task]]
    assert list(map(tuple, documented)) == expected


def test_the_page_on_judging_has_the_default_gates() -> None:
    documented = {(row[1], row[0]): row[2:] for row in table(read("docs/judging.md"), "figure | of | fp32")}
    for task in Task:
        for gates in zip(*(default_gates(task, precision) for precision in Precision), strict=True):
            name = f"`{gates[0].figure}`" + (" \\*" if gates[0].only_if_measured else "")
            assert documented.pop((task, name)) == [allowed(gate) for gate in gates]
    assert documented == {}


def allowed(gate: Gate) -> str:
    """Return what a gate allows, as the page writes it."""
    if gate.minimum is None:
        return f"≤ {gate.maximum:g}"
    if gate.maximum is None:
        return f"≥ {gate.minimum:g}"
    assert gate.minimum == -gate.maximum
    return f"± {gate.maximum:g}"


def test_the_page_on_judging_has_every_verdict() -> None:
    assert {row[0] for row in table(read("docs/judging.md"), "verdict")} == {f"`{verdict}`" for verdict in Verdict}


@pytest.mark.parametrize("kind", [TensorDifference, Side])
def test_the_page_on_judging_has_every_figure(kind: type) -> None:
    page = section(read("docs/judging.md"), "## Figures")
    assert {field.name for field in fields(kind) if f"`{field.name}`" not in page} == set()


@pytest.mark.parametrize(
    "kind",
    [
        *(Run, Environment, CaseRecord, Outcome, ModelRecord, TensorOutcome, Tolerance, Element, WorkerRecord),
        *(Distance, Triangulation, EngineRecord, BuildMessage, Census, CensusRow, Invariant),
        *(DecodedRecord, JudgedFigure, Figure, Finding, BoxRecord, ImageAgreement, ClassAgreement),
        *(LatencyRecord, LatencyMode, Measurement, LatencyStatistics, GpuConditions, JudgedBudget, LayerLatency),
        *(LayerReport, LayerRow, LayerError, Quantized, Diagnosis),
    ],
)
def test_the_page_on_reports_has_every_field_of_a_run(kind: type) -> None:
    page = section(read("docs/reports.md"), "## run.json")
    assert {field.name for field in fields(kind) if f"`{field.name}`" not in page} == set()


def test_the_page_on_judging_has_every_law_in_its_order() -> None:
    laws = [row[0] for row in table(section(read("docs/judging.md"), "## Invariants"), "law")]
    assert laws == [f"`{law}`" for law in LAWS]


def test_the_page_on_judging_has_the_floor_of_every_precision() -> None:
    documented = {row[0]: row[1:] for row in table(section(read("docs/judging.md"), "## Invariants"), "precision")}
    assert {name: float(row[1]) for name, row in documented.items()} == {p: floor_db(p) for p in ALLOWANCE_DB}
    assert {name: float(row[0]) for name, row in documented.items()} == ALLOWANCE_DB


def test_the_page_on_judging_has_the_allowance_before_an_engine_is_blamed() -> None:
    page = section(read("docs/judging.md"), "## Whose error it is")
    assert f"{CLEAN_ENGINE_DB:.0f} dB" in page
    assert f"{CLEAN_ENGINE_DB + MARGIN_DB:.0f} dB" in page


@pytest.mark.parametrize("columns", [ENGINE_COLUMNS, CENSUS_COLUMNS, INVARIANTS_COLUMNS])
def test_the_page_on_reports_has_every_column_of_an_engine(columns: tuple[str, ...]) -> None:
    page = section(read("docs/reports.md"), "## Tables of engines")
    assert {name for name in columns if f"`{name}`" not in page} == set()


@pytest.mark.parametrize("columns", [FIGURES_COLUMNS, DETECTIONS_COLUMNS])
def test_the_page_on_reports_has_every_column_of_decoded_results(columns: tuple[str, ...]) -> None:
    page = section(read("docs/reports.md"), "## Tables of decoded results")
    assert {name for name in columns if f"`{name}`" not in page} == set()


def test_the_page_on_reports_has_every_column_of_latency() -> None:
    page = section(read("docs/reports.md"), "## Tables of latency")
    assert {name for name in LATENCY_COLUMNS if f"`{name}`" not in page} == set()


def test_the_page_on_latency_has_every_option() -> None:
    latency = typer.main.get_command(app).commands["latency"]  # type: ignore[attr-defined]
    known = {name for option in latency.params for name in (*option.opts, *option.secondary_opts) if name[:2] == "--"}
    cells = [row[0] for row in table(read("docs/latency.md"), "option")]
    assert set(re.findall(r"`(--[a-z-]+)`", " ".join(cells))) == known - {"--help"}


def test_the_page_on_history_has_every_option() -> None:
    history = typer.main.get_command(app).commands["history"]  # type: ignore[attr-defined]
    known = {max(option.opts, key=len) for option in history.params if option.param_type_name == "option"}
    assert set(option_names(table(read("docs/history.md"), "option"))) == known - {"--help"}


def test_the_page_on_latency_shows_valid_budgets() -> None:
    [example] = blocks(read("docs/latency.md"), "toml")
    mistakes = Mistakes()
    parse_table(CaseTable, tomllib.loads(example), mistakes)
    assert {mistake.path for mistake in mistakes.found} == {"model", "inputs"}


def test_the_page_on_reports_has_every_column_of_layers() -> None:
    page = section(read("docs/reports.md"), "## Tables of layers")
    assert {name for name in LAYERS_COLUMNS if f"`{name}`" not in page} == set()


def test_the_page_on_layers_has_every_role_validity_and_option() -> None:
    page = read("docs/layers.md")
    assert {row[0] for row in table(page, "role")} == {f"`{role}`" for role in Role}
    assert {word for word in Validity if str(word).upper() not in page} == set()
    command = typer.main.get_command(app).commands["layers"]  # type: ignore[attr-defined]
    known = {max(option.opts, key=len) for option in command.params if option.param_type_name == "option"}
    assert set(option_names(table(page, "option"))) == known - {"--help"}


def test_the_example_on_the_page_on_reports_draws_a_picture() -> None:
    [example] = blocks(section(read("docs/reports.md"), "## Pictures"), "python")
    names: dict[str, object] = {}
    exec(example, names)
    assert getattr(names["picture"], "ndim", 0) == 3
