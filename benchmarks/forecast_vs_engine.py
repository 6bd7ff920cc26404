"""Holds forecasts against engines: clean models and planted faults, each judged in ONNX Runtime and in TensorRT.

Usage: ``python benchmarks/forecast_vs_engine.py [--out FILE.md] [--architectures residual detector]`` on a
machine with a GPU and TensorRT, whose interpreter ``PARITY_TENSORRT_PYTHON`` names. Each row is one feed of 4 images.
Exits with 1 where more than two verdicts differ; ``--smoke`` plants and forecasts one fault and needs no GPU.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[1]))

from parity.backends import TensorRTSettings, get_backend, open_backends
from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.graph import load_model, model_interface
from parity.runner import JudgeSettings, cache_folder, open_case_judge
from tests import plant

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto

    from parity.backends import Backend
    from parity.results import Outcome

ROOT = Path(__file__).parents[1]
SEED = 2026
MODELS = {
    "residual": ("cases/shapes_classifier", "cases/shapes_classifier/model.onnx"),
    "detector": ("cases/shapes_yolo", "cases/shapes_yolo/model.onnx"),
    "transformer": ("cases/shapes_classifier", "tests/data/shapes_vit/model.onnx"),
}
FAULTS: dict[str, tuple[Callable[[ModelProto, plant.Place], ModelProto], str]] = {
    "overflow": (plant.overflow, "fp16"),
    "underflow": (plant.underflow, "fp16"),
    "cancellation": (plant.cancellation, "fp16"),
    "outlier channel": (plant.outlier_channel, "int8"),
}
FOLDED = {"folded overflow": plant.folded_overflow, "folded underflow": plant.folded_underflow}
ALLOWED_DIFFERENCES = 2


@dataclass(frozen=True, slots=True)
class Row:
    """What is judged: ``position`` is the number of the seeded place."""

    architecture: str
    fault: str
    variant: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict with the lowest SQNR in dB; ``seconds`` include the build."""

    verdict: str
    sqnr_db: float
    seconds: float
    headline: str


def rows_of(architectures: list[str], positions: int) -> list[Row]:
    """Return every row of the table."""
    clean = [Row(name, "none", variant) for name in architectures for variant in ("fp16", "int8")]
    planted = [
        Row(name, fault, variant, position)
        for name in architectures
        for fault, variant in [*((fault, FAULTS[fault][1]) for fault in FAULTS), *((fault, "fp16") for fault in FOLDED)]
        for position in range(positions)
    ]
    return clean + planted


def planted_model(row: Row) -> ModelProto:
    """Return the trained model with the row's fault in it."""
    case_folder, model_file = (ROOT / path for path in MODELS[row.architecture])
    model = load_model(model_file)
    if row.fault in FOLDED:
        names = [node.name for node in model.graph.node if node.op_type == "Conv"]
        order = np.random.default_rng(SEED).permutation(len(names))
        return FOLDED[row.fault](model, names[order[row.position]])
    if row.fault in FAULTS:
        case = load_case(case_folder)
        feed = next(iter(open_feeds(case.evaluation, model_interface(load_model(case.model)), batch_size=4)))
        places = plant.seeded_places(plant.find_places(model, dict(feed.tensors)), SEED, row.position + 1)
        return FAULTS[row.fault][0](model, places[row.position])
    return model


def judge(row: Row, folder: Path, backend: Backend) -> Answer:
    """Judge a row's model on one feed of four images."""
    source = ROOT / MODELS[row.architecture][0]
    text = (
        (source / "case.toml")
        .read_text()
        .replace("batch_size = 16", "batch_size = 4")
        .replace("count = 64", "count = 16")
    )
    shutil.copy(source / "data.py", folder)
    (folder / "case.toml").write_text(text)
    onnx.save(planted_model(row), folder / "model.onnx")
    case = load_case(folder)
    variant = next(variant for variant in case.variants if variant.name == row.variant)
    # Few tactics are measured: which kernel is fastest matters nothing here, and a build takes seconds.
    variant = replace(variant, build=replace(variant.build, optimization_level=1))
    start = time.perf_counter()
    with open_case_judge(case, JudgeSettings(limit=1, debug=True)) as opened:
        outcome = next(iter(opened.judge_variant(variant, backend)))
    return answer_of(outcome, time.perf_counter() - start)


def answer_of(outcome: Outcome, seconds: float) -> Answer:
    """Return an outcome in short."""
    figures = [t.difference.sqnr_db for t in outcome.tensors if t.difference and not math.isnan(t.difference.sqnr_db)]
    return Answer(str(outcome.verdict), min(figures, default=math.nan), seconds, outcome.headline)


def judge_both(row: Row, engine: Backend) -> tuple[Row, Answer, Answer]:
    """Judge a row in ONNX Runtime and in TensorRT."""
    with tempfile.TemporaryDirectory() as scratch:
        forecast = judge(row, Path(scratch), get_backend("onnxruntime"))
        return row, forecast, judge(row, Path(scratch), engine)


def table(answers: list[tuple[Row, Answer, Answer]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| model | fault | place | precision | forecast | dB | engine | dB | verdicts |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row, forecast, engine in answers:
        agree = "agree" if forecast.verdict == engine.verdict else "differ"
        cells = (row.architecture, row.fault, row.position + 1 if row.fault != "none" else "", row.variant)
        figures = (forecast.verdict, f"{forecast.sqnr_db:.1f}", engine.verdict, f"{engine.sqnr_db:.1f}", agree)
        lines.append("| " + " | ".join(str(cell) for cell in (*cells, *figures)) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Judge the rows, print the table and tell whether the verdicts agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--positions", type=int, default=1)
    parser.add_argument("--architectures", nargs="+", choices=list(MODELS), default=["residual", "detector"])
    options = parser.parse_args()
    if options.smoke:
        with tempfile.TemporaryDirectory() as scratch:
            print(judge(Row("residual", "overflow", "fp16"), Path(scratch), get_backend("onnxruntime")))
        return 0
    answers = []
    # One after the other: builders that share a GPU slow each other down tenfold, and share no measured tactics.
    with open_backends(("tensorrt",), TensorRTSettings(cache=cache_folder())) as (engine, *_):
        for row in rows_of(options.architectures, options.positions):
            answers.append(judge_both(row, engine))
            print(*answers[-1], flush=True)
            if options.out:
                options.out.write_text(table(answers))
    print(table(answers))
    differing = [row for row, forecast, engine in answers if forecast.verdict != engine.verdict]
    print(f"{len(answers)} rows, {len(differing)} verdicts differ")
    return 1 if len(differing) > ALLOWED_DIFFERENCES else 0


if __name__ == "__main__":
    sys.exit(main())
