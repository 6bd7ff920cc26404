"""Candidates of a real case that say something else than their model fail on the command line, which names what."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from parity.run_file import load_run

if TYPE_CHECKING:
    from subprocess import CompletedProcess

    from parity.results import Outcome
    from tests.cli.conftest import RunParity

CASES = Path(__file__).parents[2] / "cases"
# output0 is (images, 9, 2100): x y w h in pixels, then the scores of circle, square, triangle, star and cross.
ROWS, PLACES = 9, 2100
SCORES, CROSS = slice(4, None), 8
EXCHANGED = [0, 1, 2, 3, 5, 4, 6, 7, 8]
IMAGE_COUNT = 4
CHECKED = "\n[[tolerances]]\noutput = '*'\njudged = 'decoded'\nreason = 'what it says of the images is the question'\n"


def moved() -> tuple[np.ndarray, np.ndarray]:
    """Return a factor and an offset for each number of the output that change none."""
    return np.ones((1, ROWS, PLACES), np.float32), np.zeros((1, ROWS, PLACES), np.float32)


def faults() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    changes = {name: moved() for name in ("shifted", "scaled", "missed", "hallucinated")}
    changes["shifted"][1][:, 0] = 4.0
    changes["scaled"][0][:, SCORES] = 0.9
    # The finest places see the small shapes: those alone are missed.
    changes["missed"][0][:, SCORES, :1600] = 0.0
    changes["hallucinated"][1][:, CROSS, 1234] = 0.97
    return changes


def write_model(path: Path, model: onnx.ModelProto, nodes: list[onnx.NodeProto], **constants: np.ndarray) -> None:
    """Write a model whose output goes through further nodes, from ``plain`` to its own name."""
    tampered = onnx.ModelProto()
    tampered.CopyFrom(model)
    name = tampered.graph.output[0].name
    for node in tampered.graph.node:
        for names in (node.input, node.output):
            names[:] = ["plain" if one == name else one for one in names]
    tampered.graph.initializer.extend(numpy_helper.from_array(value, key) for key, value in constants.items())
    nodes[-1].output[:] = [name]
    tampered.graph.node.extend(nodes)
    onnx.save_model(tampered, path)


@pytest.fixture(scope="module")
def judged(
    run_parity: RunParity, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CompletedProcess[str], dict[str, Outcome], Path]:
    """Judge a few images of ``shapes_yolo`` by models that were tampered with."""
    root = tmp_path_factory.mktemp("project")
    folder = shutil.copytree(CASES / "shapes_yolo", root / "cases" / "shapes_yolo")
    for helper_file in CASES.glob("*.py"):
        shutil.copy(helper_file, root / "cases")
    model = onnx.load(folder / "model.onnx")
    for name, (factor, offset) in faults().items():
        nodes = [
            helper.make_node("Mul", ["plain", "factor"], ["product"], "tampered_mul"),
            helper.make_node("Add", ["product", "offset"], [""], "tampered_add"),
        ]
        write_model(folder / f"{name}.onnx", model, nodes, factor=factor, offset=offset)
    gather = helper.make_node("Gather", ["plain", "order"], [""], "tampered_gather", axis=1)
    write_model(folder / "flipped.onnx", model, [gather], order=np.array(EXCHANGED))
    text = (folder / "case.toml").read_text(encoding="utf-8").partition("[variants.fp32]")[0]
    # Intervals over images and further pictures take longer than all else, and are not asked for here.
    for old, new in (
        ("count = 256", f"count = {IMAGE_COUNT}"),
        ('[annotations]\nfunction = "data.py:annotations"\n', "[agreement]\npictures = 1\n"),
    ):
        assert old in text
        text = text.replace(old, new)
    variants = [f'[variants.{name}]\nprecision = "fp32"\nmodel = "{name}.onnx"\n' for name in (*faults(), "flipped")]
    (folder / "case.toml").write_text(text + "".join(variants) + CHECKED, encoding="utf-8")
    process = run_parity("run", "cases/shapes_yolo", "--no-diagnosis", cwd=root)
    [saved] = (root / "reports").iterdir()
    outcomes = load_run(saved).outcomes
    return process, {one.variant.partition("@")[0]: one for one in outcomes if one.check == "decoded"}, saved


IMAGE = r"data\.py:evaluation\[\d+\]"
BOX = r"\[\d+\.\d \d+\.\d \d+\.\d \d+\.\d\]"
NAMED = {
    "shifted": ("iou_mean is", rf"'\w+' 0\.\d+ at {BOX} moved by [\d.]+ px \(IoU 0\.\d+\) to {BOX}"),
    "scaled": ("score_difference_p99 is", rf"'\w+' at {BOX}: score 0\.\d+ became 0\.\d+"),
    "flipped": (
        "class_flip_share is",
        rf"class flip: '(circle|square)' 0\.\d+ at {BOX} became '(circle|square)' 0\.\d+",
    ),
    "missed": ("missed_share is", rf"missed '\w+' 0\.\d+ at {BOX}; the candidate has nothing there"),
    "hallucinated": ("extra_share is", rf"extra 'cross' 0\.97 at {BOX}; the reference has nothing there"),
}


@pytest.mark.parametrize("fault", NAMED)
def test_the_message_names_gate_image_class_and_both_boxes_in_five_parts(judged, fault):
    _, outcomes, _ = judged
    gate, words = NAMED[fault]
    lines = outcomes[fault].message.splitlines()
    assert outcomes[fault].verdict == "fail"
    assert gate in lines[0]
    assert re.match(r"mismatched: \d+ / \d+ detections \([\d.]+ %\); \d+ findings? \(\d+ ", lines[1])
    assert any(re.match(rf"worst: {IMAGE}: {words}", line) for line in lines)
    assert {line.partition(":")[0] for line in lines if line.startswith("  ")} == {"  reference", "  candidate"}
    assert lines[-2:] == [f"in: shapes_yolo / {fault}@onnxruntime / decoded", f"next: {outcomes[fault].replay}"]


def test_the_terminal_names_the_worst_of_each_and_leaves_with_1(judged):
    process, outcomes, _ = judged
    assert process.returncode == 1
    for fault, outcome in outcomes.items():
        said = process.stdout.partition(f"shapes_yolo / {fault}@onnxruntime / decoded: ")[2].partition("parity run")[0]
        assert NAMED[fault][0] in said
        assert f"    worst: {outcome.decoded.findings[0].text}" in said


@pytest.mark.parametrize("fault", NAMED)
def test_the_page_shows_both_sides_of_the_worst_images_to_switch_between(judged, fault):
    _, outcomes, saved = judged
    page = (saved / "report.html").read_text(encoding="utf-8")
    picture = outcomes[fault].decoded.images[0].picture
    assert (saved / picture).is_file()
    for side in ("both", "reference", "candidate"):
        assert f'for="at-shapes_yolo-{fault}@onnxruntime-decoded-picture-1-{side}"' in page
