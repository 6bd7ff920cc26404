"""The worker's sources: fit for the oldest Python, and for an interpreter that has nothing of the harness."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import parity.worker
from parity.backends.tensorrt.archive import PACKAGE, worker_archive

FOLDER = Path(parity.worker.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
THIRD_PARTY = {"numpy", "tensorrt", "pycuda", "polygraphy"}
ALLOWED = THIRD_PARTY | set(sys.stdlib_module_names)
HEAVY = THIRD_PARTY - {"numpy"}
# Modules of the standard library that came after 3.8.
TOO_NEW = {"graphlib", "zoneinfo", "tomllib", "compression", "annotationlib", "concurrent.interpreters"}


def imported(tree: ast.AST) -> set[str]:
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return names | {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_source_parses_as_python_3_8(file: Path) -> None:
    ast.parse(file.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_a_source_that_is_too_new_would_be_found() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("match x:\n    case 1: pass\n", feature_version=(3, 8))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_imports_are_relative_or_from_the_short_list(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = imported(tree)
    # The function that execnet sends alone finds the package by its name over there.
    expected = ALLOWED | ({PACKAGE} if file.stem == "bootstrap" else set())
    assert {name.partition(".")[0] for name in names} <= expected
    assert not names & TOO_NEW


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_annotations_are_never_evaluated(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    has_annotations = any(isinstance(node, ast.arg | ast.AnnAssign | ast.FunctionDef) for node in ast.walk(tree))
    assert not has_annotations or "from __future__ import annotations" in file.read_text(encoding="utf-8")


def test_the_archive_holds_every_source_and_its_bytes_repeat() -> None:
    data = worker_archive()
    assert data == worker_archive()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert found == {f"{PACKAGE}/{file.relative_to(FOLDER)}": file.read_bytes() for file in FILES}


def test_extra_sources_lie_in_the_package() -> None:
    with zipfile.ZipFile(io.BytesIO(worker_archive({"toys.py": b"1"}))) as archive:
        assert archive.read(f"{PACKAGE}/toys.py") == b"1"


def test_the_archive_imports_where_nothing_of_the_harness_is(tmp_path: Path) -> None:
    (tmp_path / "worker.zip").write_bytes(worker_archive())
    names = [PACKAGE, *(f"{PACKAGE}.{file.stem}" for file in FILES if file.stem != "__init__")]
    code = (
        "import importlib, sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('parity', 'execnet', 'ml_dtypes', 'onnx'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"sys.path.insert(0, {str(tmp_path / 'worker.zip')!r})\n"
        f"[importlib.import_module(name) for name in {names}]\n"
        f"assert not {HEAVY} & set(sys.modules), 'heavy modules are imported where they are used'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_operation_of_the_contract_has_a_handler_and_the_other_way_round() -> None:
    from parity.worker import files, handlers

    documented = re.findall(r"^``(\w+)``  ", parity.worker.__doc__ or "", re.MULTILINE)
    assert sorted(documented) == sorted([*handlers.HANDLERS, *files.HANDLERS])
