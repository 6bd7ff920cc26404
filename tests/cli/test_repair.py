"""``parity repair`` and ``parity sensitivity`` as a process: what they print, write, and give as exit codes."""

from __future__ import annotations

import csv
import io
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.repair_cases import three_products, write_products_case
from tests.tiny_cases import write_matmul_case

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import RunParity

PYTHON_INPUTS = '[inputs]\nkind = "python"\nfunction = "data.py:feeds"\ncount = 1\n'


def test_a_repair_prints_the_list_and_the_command_that_writes_it(run_parity: RunParity, tmp_path: Path) -> None:
    case = write_products_case(tmp_path / "products")
    before = (case / "case.toml").read_bytes()
    process = run_parity("repair", "products", "--variant", "fp16", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert '    keep = ["first", "second"]\n' in process.stdout
    assert "repaired: 2 of 3 nodes kept at fp32; none of them can be dropped" in process.stdout
    assert process.stdout.endswith("next: parity repair products --variant fp16 --write\n")
    assert (case / "case.toml").read_bytes() == before


def test_a_repeated_repair_shows_the_same_and_says_that_it_was_known(run_parity: RunParity, tmp_path: Path) -> None:
    write_products_case(tmp_path / "products", three_products(scale=2e6))
    first, second = (run_parity("repair", "products", "--variant", "fp16", cwd=tmp_path) for _ in range(2))
    assert (first.returncode, second.returncode) == (0, 0)
    told = [process.stdout.partition("none of them can be dropped (") for process in (first, second)]
    assert told[0][0] == told[1][0]
    assert told[1][2].split()[:2] == ["0", "tries,"]
    assert "known from before" in " ".join(second.stdout.split())


def test_what_is_written_passes_and_leaves_nothing_to_repair(run_parity: RunParity, tmp_path: Path) -> None:
    case = write_products_case(tmp_path / "products")
    written = run_parity("repair", "products", "--variant", "fp16@onnxruntime", "--write", cwd=tmp_path)
    assert (written.returncode, written.stdout.splitlines()[-1]) == (0, "written into products/case.toml")
    table = tomllib.loads((case / "case.toml").read_text(encoding="utf-8"))["variants"]["fp16"]
    assert table == {"precision": "fp16", "keep": ["first", "second"]}
    assert run_parity("run", "products", "--variant", "fp16", cwd=tmp_path).returncode == 0
    again = run_parity("repair", "products", "--variant", "fp16", "--write", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (
        0,
        "products / fp16@onnxruntime: nothing to repair: every check passes as it is\n",
    )


def test_what_precision_does_not_mend_gives_1_and_nothing_is_written(run_parity: RunParity, tmp_path: Path) -> None:
    case = write_matmul_case(tmp_path / "both", scale=1e6)
    before = (case / "case.toml").read_bytes()
    process = run_parity("repair", "both", "--variant", "fp16", "--write", cwd=tmp_path)
    assert process.returncode == 1
    assert "cannot be mended by precision: it passes where all 2 nodes are kept" in process.stdout.replace("\n", " ")
    assert process.stdout.endswith("next: parity run both --variant fp16@onnxruntime\n")
    assert (case / "case.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--variant", "fp16", "--tries", "1"), "the budget ended after 1 try"),
        (("--variant", "fp8"), "variant 'fp8': matches none; known are"),
        (("--variant", "fp*"), "variant 'fp*': matches fp32, fp16; name one of them"),
        (("--variant", "fp16", "--keep-precision", "fp16"), "is the variant's own; expected a higher one"),
        (("--variant", "fp16", "--tensorrt-python", "/nowhere/python"), "there is no such file"),
    ],
    ids=["budget", "unknown", "several", "not higher", "no interpreter"],
)
def test_what_could_not_be_tried_gives_2_and_a_sentence(
    words: tuple[str, ...], told: str, run_parity: RunParity, tmp_path: Path
) -> None:
    # Its own model: what is kept of another test's search would not count against the budget.
    write_products_case(tmp_path / "products", three_products(scale=3e6))
    process = run_parity("repair", "products", *words, cwd=tmp_path)
    assert process.returncode == 2
    assert told in " ".join((process.stdout + process.stderr).split())
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("command", ["repair", "sensitivity"])
def test_no_python_refuses_a_case_that_brings_code(command: str, run_parity: RunParity, tmp_path: Path) -> None:
    case = write_matmul_case(tmp_path / "coded", inputs=PYTHON_INPUTS)
    (case / "data.py").write_text("raise SystemExit('it ran')\n", encoding="utf-8")
    process = run_parity(command, "coded", "--variant", "fp16", "--no-python", cwd=tmp_path)
    assert process.returncode == 2
    assert "inputs.function" in process.stderr
    assert "it ran" not in process.stderr


def test_a_sensitivity_lists_the_worst_and_writes_every_node(run_parity: RunParity, tmp_path: Path) -> None:
    write_products_case(tmp_path / "products", three_products(scale=1.0))
    process = run_parity("sensitivity", "products", "--variant", "fp16", "--out", "nodes.csv", cwd=tmp_path)
    assert (process.returncode, process.stderr) == (0, "")
    assert "products / fp16: pass as it is" in process.stdout
    assert process.stdout.endswith("table: nodes.csv\n")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "nodes.csv").read_text(encoding="utf-8"))))
    assert [row["node"] for row in rows] == ["first", "second", "third"]


def test_a_sensitivity_whose_budget_ends_says_so_and_gives_2(run_parity: RunParity, tmp_path: Path) -> None:
    write_products_case(tmp_path / "products")
    process = run_parity("sensitivity", "products", "--variant", "fp16", "--tries", "2", cwd=tmp_path)
    assert process.returncode == 2
    assert "the budget ended: 2 of 3 nodes were not measured" in process.stdout
    assert process.stdout.endswith("next: parity repair products --variant fp16\n")


def test_a_repair_writes_the_sets_that_were_tried_with_all_their_nodes(run_parity: RunParity, tmp_path: Path) -> None:
    write_products_case(tmp_path / "products")
    process = run_parity("repair", "products", "--variant", "fp16", "--out", "front.csv", cwd=tmp_path)
    assert process.returncode == 0
    assert process.stdout.endswith("table: front.csv\nnext: parity repair products --variant fp16 --write\n")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "front.csv").read_text(encoding="utf-8"))))
    assert [(row["kept_count"], row["verdict"]) for row in rows] == [("0", "fail"), ("2", "pass")]
    assert [row["nodes"] for row in rows] == ["", "first second"]
    assert {(row["case"], row["variant"], row["median_ms"]) for row in rows} == {("products", "fp16@onnxruntime", "")}


def test_a_repair_whose_budget_ends_names_the_command_that_goes_on(run_parity: RunParity, tmp_path: Path) -> None:
    write_products_case(tmp_path / "products", three_products(scale=5e6))
    words = ("--variant", "fp16", "--keep-precision", "bf16", "--limit", "1", "--minutes", "3")
    process = run_parity("repair", "products", *words, "--tries", "1", cwd=tmp_path)
    again = "parity repair products --variant fp16 --keep-precision bf16 --limit 1 --tries 2 --minutes 6"
    assert process.stdout.endswith(f"next: {again}\n")


@pytest.mark.parametrize("command", ["repair", "sensitivity"])
def test_a_reference_of_nan_is_told_and_gives_2(run_parity: RunParity, tmp_path: Path, command: str) -> None:
    write_products_case(tmp_path / "nan", three_products(scale=float("nan")))
    done = run_parity(command, "nan", "--variant", "fp16", cwd=tmp_path)
    assert done.returncode == 2
    assert "Nothing is finite" in " ".join(done.stdout.split())
    assert "Traceback" not in done.stdout + done.stderr
