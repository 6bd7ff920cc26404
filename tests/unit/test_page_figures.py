"""Figures of a page against those that ONNX Runtime, NumPy, SciPy and pycocotools give for the same models and images.

Nothing of the package is asked what a figure should be: models are executed, decoded, matched and measured here, by the
formulas of docs/judging.md, docs/decoders.md and docs/layers.md, and held against the text that a reader sees.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
import onnx
import pytest

from tests.measured_anew import (
    SHOWN,
    SIZE,
    alone,
    coarsen,
    coco_precision,
    decibels,
    decode,
    every_tensor,
    execute,
    pairs_of,
)
from tests.page_reading import PageText, Table, number
from tests.pages import ROOT

if TYPE_CHECKING:
    from pathlib import Path

YOLO = ROOT / "cases" / "shapes_yolo"
BATCH, COUNT = 2, 8
NAMES = ("circle", "square", "triangle", "star", "cross")
CASE = f"""\
model = "model.onnx"
batch_size = {BATCH}

[inputs]
kind = "images"
files = ["images/*.png"]
tensor = "images"
preprocess = {{ preset = "yolo", size = [{SIZE}, {SIZE}] }}

[decode]
name = "yolov8"
class_names = {list(NAMES)}

[variants.coarse]
precision = "fp32"
model = "coarse.onnx"
"""


@dataclass(frozen=True)
class Judged:
    """A case, its first feed, its page, read and as written, and what both models gave: (feeds, batch, 9, places)."""

    case: Path
    feed: np.ndarray
    page: PageText
    text: str
    reference: np.ndarray
    candidate: np.ndarray

    def sides(self) -> list[list[np.ndarray]]:
        """Return the detections of the reference and of the candidate, image by image: x1 y1 x2 y2 score class."""
        return [[decode(image) for feed in side for image in feed] for side in (self.reference, self.candidate)]


def photos() -> list[np.ndarray]:
    """Return images as large as the tensor, so that nothing is scaled or padded: (320, 320, 3) uint8 BGR."""
    spec = importlib.util.spec_from_file_location("shapes_yolo_data", YOLO / "data.py")
    data = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = data
    spec.loader.exec_module(data)
    return [cv2.resize(image, (SIZE, SIZE)) for image in data.evaluation(COUNT)]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judged:
    folder = tmp_path_factory.mktemp("coarse")
    images = photos()
    (folder / "images").mkdir()
    for place, image in enumerate(images):
        (folder / "images" / f"{place:02d}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    shutil.copyfile(YOLO / "model.onnx", folder / "model.onnx")
    coarse = coarsen(onnx.load(YOLO / "model.onnx"))
    onnx.save(coarse, folder / "coarse.onnx")
    (folder / "case.toml").write_text(CASE, encoding="utf-8")
    page, text = page_of(folder)
    tensors = [(image[:, :, ::-1].transpose(2, 0, 1) / np.float32(255)).astype(np.float32) for image in images]
    feeds = [np.stack(tensors[first : first + BATCH]) for first in range(0, COUNT, BATCH)]
    sides = (execute(model, feeds) for model in (onnx.load(folder / "model.onnx"), coarse))
    reference, candidate = (np.stack([outputs[0] for outputs in side]).astype(np.float64) for side in sides)
    return Judged(folder, feeds[0], page, text, reference, candidate)


def page_of(case: Path, command: str = "run", *options: str) -> tuple[PageText, str]:
    """Return the page that a command leaves, read and as it is written."""
    out = case / f"reports-{command}"
    given = [sys.executable, "-m", "parity", command, str(case), "--out", str(out), "--no-diagnosis", *options]
    done = subprocess.run(
        given, cwd=case, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )
    assert done.returncode == 1, done.stderr.decode()
    [folder] = out.iterdir()
    text = (folder / "report.html").read_text(encoding="utf-8")
    return PageText(text), text


def shown(text: str, expected: float, digits: int) -> None:
    """Assert that a page shows a figure, rounded to so many digits."""
    unit = 10.0 ** (math.floor(math.log10(abs(expected))) + 1 - digits) if expected else 0.0
    assert number(text) == pytest.approx(expected, rel=1e-9, abs=0.5001 * unit), text


def test_the_outputs_table_shows_what_numpy_makes_of_both_models(judged: Judged) -> None:
    table = judged.page.tables["Outputs"]
    error = np.abs(judged.candidate - judged.reference)
    rtol, atol = map(float, re.search(r"Tolerance: rtol ([\d.e-]+), atol ([\d.e-]+)", judged.text).groups())
    bound = atol + rtol * np.abs(judged.reference)
    missed = int(np.count_nonzero(error > bound))
    sqnr_db = 10 * np.log10((judged.reference**2).sum() / (error**2).sum())
    assert number(table.cell("output0", "SQNR dB")) == pytest.approx(sqnr_db, abs=0.051)
    told, total, percent = re.fullmatch(
        r"([\d,]+) / ([\d,]+) \(([\d.]+) %\)", table.cell("output0", "mismatches")
    ).groups()
    assert number(total) == error.size
    # The page's atol has five digits: elements at the very bound may fall on either side of it.
    assert number(told) == pytest.approx(missed, rel=1e-4)
    assert float(percent) == pytest.approx(100 * missed / error.size, abs=0.011)
    shown(table.cell("output0", "headroom"), (error / bound).max(), 3)
    shown(table.cell("output0", "largest absolute"), error.max(), 5)
    with np.errstate(divide="ignore", invalid="ignore"):
        shown(
            table.cell("output0", "largest relative"),
            np.nanmax(np.where(judged.reference != 0, error / np.abs(judged.reference), np.nan)),
            5,
        )


def test_the_worst_elements_are_where_numpy_finds_them(judged: Judged) -> None:
    table = judged.page.tables["Worst elements"]
    error = np.abs(judged.candidate - judged.reference)
    relative = np.divide(error, np.abs(judged.reference), out=np.zeros_like(error), where=judged.reference != 0)
    for name, sizes, told in (("largest absolute", error, error), ("largest relative", relative, relative)):
        feed, *index = np.unravel_index(sizes.argmax(), sizes.shape)
        assert table.cell(name, "feed") == str(feed)
        assert table.cell(name, "index") == str([int(place) for place in index])
        shown(table.cell(name, "candidate"), judged.candidate[feed, *index], 5)
        shown(table.cell(name, "reference"), judged.reference[feed, *index], 5)
        shown(table.cell(name, "error"), told[feed, *index], 5)


def test_the_facts_of_an_output_are_those_of_numpy(judged: Judged) -> None:
    difference = judged.candidate - judged.reference
    products = (judged.reference**2).sum(), (judged.candidate**2).sum()
    facts = judged.page.facts
    shown(facts["RMS error"], np.sqrt((difference**2).mean()), 5)
    shown(facts["bias"], difference.mean(), 5)
    shown(facts["mean absolute"], np.abs(difference).mean(), 5)
    shown(facts["cosine"], (judged.reference * judged.candidate).sum() / np.sqrt(np.prod(products)), 5)
    low, high = facts["reference range"].split(" … ")
    shown(low, judged.reference.min(), 5)
    shown(high, judged.reference.max(), 5)
    steps = np.spacing(np.abs(judged.reference).astype(np.float32)).astype(np.float64)
    shown(facts["largest error in ULP"], (np.abs(difference) / steps).max(), 5)


def test_the_bars_of_an_output_are_those_of_numpy(judged: Judged) -> None:
    error = np.abs(judged.candidate - judged.reference).reshape(-1)
    sizes = {label: value for (title, label), value in judged.page.bars.items() if title == "Sizes of the errors"}
    for label, percent in (("median", 50), ("99 %", 99), ("99.9 %", 99.9), ("largest", 100)):
        exact = np.percentile(error, percent, method="inverted_cdf")
        # The page says that percentiles are up to 0.78 % too large; the last of five digits is rounded.
        assert exact * (1 - 1e-4) <= number(sizes[label]) <= exact * 1.0079
    bars = [(label, value) for (title, label), value in judged.page.bars.items() if title == "Histogram of the errors"]
    exponents = [round(np.log2(float(label.removeprefix("≥ ")))) for label, _ in bars]
    edges = [2.0**exponent for exponent in exponents] + [np.inf]
    counted = np.histogram(error[error > 0], edges)[0]
    assert [number(value) for _, value in bars] == counted.tolist()


def test_the_agreement_of_detections_is_that_of_scipy_and_numpy(judged: Judged) -> None:
    figures = judged.page.tables["Decoded results"]
    reference, candidate = judged.sides()
    pairs = [pair for sides in zip(reference, candidate, strict=True) for pair in pairs_of(*sides)]
    counts = [sum(int((image[:, 4] >= SHOWN).sum()) for image in side) for side in (reference, candidate)]
    assert 10 < len(pairs) < counts[0], "coarse weights lose some detections and keep others"
    steps = np.array([second[4] - first[4] for first, second, _ in pairs])
    ious = np.array([iou for *_, iou in pairs])
    corners = [np.hypot(*(second[:4] - first[:4])[[[0, 0, 2, 2], [1, 3, 1, 3]]]).max() for first, second, _ in pairs]
    expected = {
        "reference_count": counts[0],
        "candidate_count": counts[1],
        "matched_share": 100 * len(pairs) / counts[0],
        "f1": 200 * len(pairs) / sum(counts),
        "iou_mean": ious.mean(),
        "iou_p5": np.percentile(ious, 5),
        "iou_min": ious.min(),
        "score_bias": steps.mean(),
        "score_difference_mean": np.abs(steps).mean(),
        "score_difference_p99": np.percentile(np.abs(steps), 99),
        "corner_shift_p50": np.median(corners),
        "corner_shift_max": np.max(corners),
    }
    for name, value in expected.items():
        shown(figures.cell(name, "value"), value, 4)


def test_the_average_precision_of_detections_is_that_of_pycocotools(judged: Judged) -> None:
    reference, candidate = judged.sides()
    truth = [image[image[:, 4] >= SHOWN] for image in reference]
    classes = sorted({int(row[5]) for rows in truth for row in rows})
    found = coco_precision(truth, candidate, classes)
    figures, by_class = judged.page.tables["Decoded results"], judged.page.tables["Agreement by class"]
    for name, value in {"ap": found.mean(), "ap50": found[0], "ap75": found[5]}.items():
        shown(figures.cell(name, "value"), value, 4)
    assert 0.1 < found.mean() < 0.95
    for one in classes:
        of_class = ([rows[rows[:, 5] == one] for rows in side] for side in (truth, candidate))
        shown(by_class.cell(NAMES[one], "ap"), coco_precision(*of_class, [one]).mean(), 4)
        shown(by_class.cell(NAMES[one], "reference_count"), sum(int((rows[:, 5] == one).sum()) for rows in truth), 4)


def test_the_least_agreeing_images_are_those_of_numpy(judged: Judged) -> None:
    """Of all objects of either side, the mean of IoU times one less the score difference: 0 without a partner."""
    table = judged.page.tables["Least agreeing images"]
    assert "borderline 0" in table.column("counts")[0]
    for name, agreement, counts in zip(*map(table.column, ("image", "agreement", "counts")), strict=True):
        if "borderline 0" not in counts:
            continue
        first, second = (side[int(name.removesuffix(".png"))] for side in judged.sides())
        pairs = pairs_of(first, second)
        total = sum(int((image[:, 4] >= SHOWN).sum()) for image in (first, second)) - len(pairs)
        flips = int(re.search(r"class flip (\d+)", counts)[1])
        kept = sum(iou * (1 - abs(other[4] - one[4])) for one, other, iou in pairs)
        shown(agreement, kept / (total - flips), 4)


def layer_rows(page: PageText) -> Table:
    """Return the table of observed layers, those of one node with one output alone."""
    [(_, table)] = [item for item in page.tables.items() if item[0].startswith("Layers of ")]
    places = [table.headings.index(name) for name in ("layer", "nodes")]
    names = [row[places[0]] for row in table.rows]
    single = [row for row in table.rows if not row[places[1]] and names.count(row[places[0]]) == 1]
    return Table(table.headings, single)


def test_the_errors_of_layers_are_those_of_the_tensors_inside_both_models(judged: Judged) -> None:
    table = layer_rows(page_of(judged.case, "layers", "--variant", "coarse", "--limit", "1")[0])
    models = [onnx.load(judged.case / name) for name in ("model.onnx", "coarse.onnx")]
    reference, candidate = (every_tensor(model, judged.feed) for model in models)
    nodes = {node.name: node for node in models[1].graph.node}
    levels = {name: decibels(reference[name], candidate[name]) for name in reference}
    headings = ("layer", "operators", "inherited dB", "injected dB", "gain dB", "reference range")
    rows = [cells for cells in zip(*map(table.column, headings), strict=True) if nodes[cells[0]].output[0] in levels]
    assert len(rows) > 150
    for name, operator, inherited, injected, gain, span in rows:
        node = nodes[name]
        before, after = [levels[given] for given in node.input if given in levels], levels[node.output[0]]
        expected = reference[node.output[0]]
        assert float(inherited) == pytest.approx(after, abs=0.051), name
        shown_range = [float(end) for end in span.split(" … ")]
        assert shown_range == pytest.approx([expected.min(), expected.max()], rel=1e-4, abs=1e-9), name
        if before and max(after, *before) < math.inf:
            assert float(gain) == pytest.approx(min(before) - after, abs=0.051), name
        if operator == "Conv" and before:
            own = decibels(expected, alone(models[1], node, reference[node.input[0]]))
            assert float(injected) == pytest.approx(own, abs=0.051), name
        elif operator in {"Sigmoid", "Mul"} and before:
            assert injected == "inf", f"{name}: the same arithmetic on the same numbers"
