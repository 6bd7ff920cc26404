"""Every bad input: one clear sentence, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.run_file import load_run
from tests.tiny_cases import RANDOM_INPUTS, ROOT, two_matmuls, write_matmul_case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from subprocess import CompletedProcess

    from tests.cli.conftest import RunParity

ONLY_FP32 = '[variants.fp32]\nprecision = "fp32"\n'
NPZ_INPUTS = '[inputs]\nkind = "npz"\nfiles = ["feed.npz"]\n'
IMAGE_INPUTS = (
    '[inputs]\nkind = "images"\nfiles = ["a.png"]\n'
    'preprocess = [{ step = "resize", size = [2, 4] }, { step = "scale", divisor = 255 }, '
    '{ step = "layout", order = "nchw" }]\n'
)


def with_model(change: Callable[[onnx.ModelProto], None]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        model = two_matmuls(1.0)
        change(model)
        (folder / "model.onnx").write_bytes(model.SerializeToString())

    return write


def with_bytes(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "model.onnx").write_bytes(content) and None


def with_feed(**arrays: np.ndarray) -> Callable[[Path], None]:
    return lambda folder: np.savez(folder / "feed.npz", allow_pickle=True, **arrays)


def without_model(folder: Path) -> None:
    (folder / "model.onnx").unlink()


def escape(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def future_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 999


def unknown_operator(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    model.graph.node[0].op_type = "Mystery"
    model.graph.node[0].domain = "com.example"


def with_broken_image(folder: Path) -> None:
    flat = helper.make_node("Flatten", ["image"], ["flat"], "flat")
    product = helper.make_node("MatMul", ["flat", "w"], ["y"], "product")
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 2, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])
    weights = numpy_helper.from_array(np.eye(24, 2, dtype=np.float32), "w")
    graph = helper.make_graph([flat, product], "images", [image], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    (folder / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes()[:80])


X = np.zeros((4, 8), np.float32)
BAD = {
    "missing": (RANDOM_INPUTS, without_model, r"model\.onnx: cannot be read \(No such file"),
    "empty": (RANDOM_INPUTS, with_bytes(b""), r"model\.onnx: is empty"),
    "truncated": (RANDOM_INPUTS, with_bytes(two_matmuls(1.0).SerializeToString()[:-40]), r"model\.onnx: .*truncated"),
    "no-onnx": (RANDOM_INPUTS, with_bytes(b"PK\x03\x04 this is an archive"), r"model\.onnx: is not an ONNX model"),
    "escaping-weights": (RANDOM_INPUTS, with_model(escape), r"'a' .*\.\./\.\./etc/passwd.*outside"),
    "opset": (RANDOM_INPUTS, with_model(future_opset), r"opset 999"),
    "operator": (RANDOM_INPUTS, with_model(unknown_operator), r"operator Mystery"),
    "wrong-name": (NPZ_INPUTS, with_feed(wrong=X), r"feed\.npz: input 'x' is missing.*'wrong' is no input"),
    "wrong-rank": (NPZ_INPUTS, with_feed(x=X[0]), r"feed\.npz: input 'x': found float32 \(8,\)"),
    "wrong-dtype": (NPZ_INPUTS, with_feed(x=X.astype(np.int64)), r"feed\.npz: input 'x': found int64"),
    "pickle": (NPZ_INPUTS, with_feed(x=np.array([{"a": 1}], dtype=object)), r"feed\.npz: .*pickled"),
    "image": (IMAGE_INPUTS, with_broken_image, r"a\.png"),
}


class Bad(NamedTuple):
    root: Path
    process: CompletedProcess[str]


@pytest.fixture(scope="module")
def bad(run_parity: RunParity, tmp_path_factory: pytest.TempPathFactory) -> Bad:
    """Judge all bad cases and a good one in one process: none of them may keep the good one from its verdict."""
    root = tmp_path_factory.mktemp("bad")
    for name, (inputs, spoil, _) in BAD.items():
        spoil(write_matmul_case(root / "cases" / name, inputs=inputs, variants=ONLY_FP32))
    write_matmul_case(root / "cases" / "good", variants=ONLY_FP32)
    return Bad(root, run_parity("run", cwd=root))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_case_is_an_error_in_one_sentence(bad: Bad, name: str) -> None:
    run = load_run(next((bad.root / "reports").iterdir()))
    [outcome] = [outcome for outcome in run.outcomes if outcome.case == name]
    assert outcome.verdict == "error", outcome.headline
    assert re.search(BAD[name][2], outcome.message, re.I | re.S), outcome.message
    assert "unexpected" not in outcome.message
    assert "Traceback" not in outcome.message
    assert str(bad.root) not in outcome.message


def test_bad_cases_leave_with_2_and_without_a_traceback(bad: Bad) -> None:
    assert bad.process.returncode == 2
    assert "Traceback" not in bad.process.stdout
    # Nor a word of a library on what the outcomes tell: OpenCV warns of the damaged image.
    assert bad.process.stderr == ""


def test_no_file_of_the_saved_run_holds_a_path_of_the_machine(bad: Bad) -> None:
    [folder] = (bad.root / "reports").iterdir()
    files = list(folder.iterdir())
    assert len(files) == 4
    assert [file.name for file in files if str(bad.root) in file.read_text(encoding="utf-8")] == []


def test_a_good_case_among_bad_ones_is_judged(bad: Bad) -> None:
    run = load_run(next((bad.root / "reports").iterdir()))
    assert [outcome.verdict for outcome in run.outcomes if outcome.case == "good"] == ["pass"]
    assert run.is_complete


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), r"cases"),
        (("run", "nowhere"), r"nowhere"),
        (("run", "good", "--variant", "fp9"), r"fp9.*fp32@onnxruntime"),
        (("run", "good", "--backend", "tensorflow"), r"tensorflow.*onnxruntime-tensorrt"),
        (("run", "good", "--tensorrt-python", "nowhere/python"), r"nowhere/python.*no such file.*path of a Python"),
        (("run", "good", "--engine", "nowhere.plan", "--precision", "fp16"), r"nowhere\.plan.*engine file"),
        (("run", "good", "--resume", "x"), r"resume"),
        (("run", "--resume", "nowhere"), r"nowhere.*run\.json"),
        (("run", "good", "--out", "taken"), r"taken"),
        (("run", "--unknown"), r"--unknown"),
        (("report", "nowhere"), r"nowhere.*run\.json"),
        (("schema", "--out", "nowhere/schema.json"), r"nowhere/schema\.json.*written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_on_the_command_line_is_one_message_and_exit_code_2(
    run_parity: RunParity, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    write_matmul_case(tmp_path / "good")
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    process = run_parity(*words, cwd=tmp_path)
    assert process.returncode == 2
    assert re.search(said, process.stderr, re.S)
    assert process.stdout == ""
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "reports").exists()


def test_debug_shows_the_traceback(run_parity: RunParity, tmp_path: Path) -> None:
    process = run_parity("run", "nowhere", "--debug", cwd=tmp_path)
    assert process.returncode == 2
    assert "Traceback" in process.stderr


def test_a_disk_that_fills_while_reports_are_written_is_told_and_leaves_the_run_readable(
    run_parity: RunParity, tmp_path: Path
) -> None:
    write_matmul_case(tmp_path / "good", variants=ONLY_FP32)
    hook = tmp_path / "hook"
    hook.mkdir()
    # What a full disk does to the second report: some bytes arrive, then the call fails.
    (hook / "sitecustomize.py").write_text(
        "import errno, pathlib\n"
        "real = pathlib.Path.write_text\n"
        "def full(path, text, *words, **options):\n"
        "    if 'summary.md' not in path.name:\n"
        "        return real(path, text, *words, **options)\n"
        "    real(path, text[:5], *words, **options)\n"
        "    raise OSError(errno.ENOSPC, 'No space left on device', str(path))\n"
        "pathlib.Path.write_text = full\n",
        encoding="utf-8",
    )
    process = run_parity("run", "good", cwd=tmp_path, environment={"PYTHONPATH": f"{hook}:{ROOT}"})
    assert process.returncode == 2
    assert re.search(r"summary\.md: cannot be written \(No space left on device\)", process.stderr)
    [folder] = (tmp_path / "reports").iterdir()
    assert {path.name for path in folder.iterdir()} == {"run.json", "outputs.csv"}
    assert load_run(folder).is_complete


@pytest.fixture
def make_read_only(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Take the permission to write from folders, and give it back in the end."""
    folders: list[Path] = []

    def take(folder: Path) -> None:
        folder.chmod(0o555)
        folders.append(folder)

    yield take
    for folder in folders:
        folder.chmod(0o755)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_case_folder_without_write_permission_is_judged_and_left_as_it_was(
    run_parity: RunParity, tmp_path: Path, make_read_only: Callable[[Path], None]
) -> None:
    # Root may write anywhere, so what stands in the folder is compared as well.
    case = write_matmul_case(tmp_path / "good", scale=1e6)
    before = contents(case)
    make_read_only(case)
    assert run_parity("run", "good", cwd=tmp_path).returncode == 1
    assert contents(case) == before


def test_a_reports_folder_without_write_permission_is_told_and_holds_nothing(
    run_parity: RunParity, tmp_path: Path, make_read_only: Callable[[Path], None]
) -> None:
    write_matmul_case(tmp_path / "good", variants=ONLY_FP32)
    locked = tmp_path / "locked"
    locked.mkdir()
    make_read_only(locked)
    environment = {"PYTHONPATH": f"{refusing_hook(tmp_path, locked)}:{ROOT}"} if os.access(locked, os.W_OK) else {}
    process = run_parity("run", "good", "--out", "locked", cwd=tmp_path, environment=environment)
    assert process.returncode == 2
    assert process.stderr.startswith("parity: locked: cannot be written (Permission denied); free space or choose")
    assert process.stdout == ""
    assert list(locked.iterdir()) == []


def refusing_hook(root: Path, locked: Path) -> Path:
    """Return a folder for PYTHONPATH that lets a process of root fail where permissions would stop anybody else."""
    hook = root / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import errno, os\n"
        "real = os.mkdir\n"
        "def refuse(path, *words, **options):\n"
        f"    if os.path.dirname(os.path.abspath(path)) == {str(locked)!r}:\n"
        "        raise PermissionError(errno.EACCES, 'Permission denied', str(path))\n"
        "    real(path, *words, **options)\n"
        "os.mkdir = refuse\n",
        encoding="utf-8",
    )
    return hook


def test_a_reports_folder_below_a_file_is_told(run_parity: RunParity, tmp_path: Path) -> None:
    write_matmul_case(tmp_path / "good", variants=ONLY_FP32)
    (tmp_path / "file").touch()
    process = run_parity("run", "good", "--out", "file/reports", cwd=tmp_path)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("parity: file/reports: cannot be written (Not a directory)")
