"""The judge before the judged: faults that float32 does not see are planted into trained models and must be found.

Each runs the whole way: a case folder, its forecast in ONNX Runtime, its own tolerances, one feed of four images.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from parity.backends import get_backend
from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.graph import load_model, model_interface
from parity.options import SessionOptions
from parity.runner.case_judge import open_case_judge
from parity.runner.settings import JudgeSettings
from parity.verdict import Verdict
from tests import plant

if TYPE_CHECKING:
    from collections.abc import Callable

    from parity.results import Outcome

    Benches = Callable[[str], "Bench"]
    Judged = Callable[[str, str, int], Outcome]

ROOT = Path(__file__).parents[2]
SEED = 2026
PLACES = 5


@dataclass(frozen=True)
class Architecture:
    """A trained model and the case whose inputs and tolerances judge it."""

    case: Path
    model: Path


ARCHITECTURES = {
    "residual": Architecture(ROOT / "cases/shapes_classifier", ROOT / "cases/shapes_classifier/model.onnx"),
    "detector": Architecture(ROOT / "cases/shapes_yolo", ROOT / "cases/shapes_yolo/model.onnx"),
    "transformer": Architecture(ROOT / "cases/shapes_classifier", ROOT / "tests/data/shapes_vit/model.onnx"),
}
FAULTS = {
    "overflow": (plant.overflow, "fp16"),
    "underflow": (plant.underflow, "fp16"),
    "cancellation": (plant.cancellation, "fp16"),
    "outlier_channel": (plant.outlier_channel, "int8"),
}
FOLDED = {"folded_overflow": plant.folded_overflow, "folded_underflow": plant.folded_underflow}


@cache
def trained(architecture: str) -> ModelProto:
    return load_model(ARCHITECTURES[architecture].model)


@cache
def feed(architecture: str) -> dict[str, np.ndarray]:
    case = load_case(ARCHITECTURES[architecture].case)
    feeds = open_feeds(case.evaluation, model_interface(load_model(case.model)), batch_size=4)
    return dict(next(iter(feeds)).tensors)


@cache
def places(architecture: str) -> list[plant.Place]:
    return plant.seeded_places(plant.find_places(trained(architecture), feed(architecture)), SEED, PLACES)


@cache
def convolutions(architecture: str) -> list[str]:
    names = [node.name for node in trained(architecture).graph.node if node.op_type == "Conv"]
    return [names[i] for i in np.random.default_rng(SEED).permutation(len(names))[:PLACES]]


def outputs(model: ModelProto, architecture: str) -> dict[str, np.ndarray]:
    with get_backend("onnxruntime").open(model, SessionOptions()) as session:
        return session.run(feed(architecture))


@cache
def clean_outputs(architecture: str) -> dict[str, np.ndarray]:
    return outputs(trained(architecture), architecture)


def sqnr_db(model: ModelProto, architecture: str) -> float:
    """How far a planted model's float32 outputs are from the clean model's."""
    clean, planted = clean_outputs(architecture), outputs(model, architecture)
    noise = max(np.linalg.norm(planted[name].astype(np.float64) - clean[name]) for name in clean)
    signal = min(np.linalg.norm(clean[name].astype(np.float64)) for name in clean)
    return float("inf") if noise == 0 else float(20 * np.log10(signal / noise))


class Bench:
    """A case folder that is given one model after the other; its file, which stays as it is, is read once."""

    def __init__(self, folder: Path, architecture: str) -> None:
        source = ARCHITECTURES[architecture].case
        text = (source / "case.toml").read_text()
        text = text.replace("batch_size = 16", "batch_size = 4").replace("count = 64", "count = 16")
        shutil.copy(source / "data.py", folder)
        (folder / "case.toml").write_text(text)
        onnx.save(trained(architecture), folder / "model.onnx")
        # What the outputs decode to is judged elsewhere, and would take most of the time here.
        self.case = replace(load_case(folder), decoding=None)

    def judge(self, model: ModelProto, variant: str) -> Outcome:
        onnx.save(model, self.case.model)
        chosen = next(v for v in self.case.variants if v.name == variant)
        with open_case_judge(self.case, JudgeSettings(limit=1)) as judge:
            [outcome] = judge.judge_variant(chosen, get_backend("onnxruntime"))
            return outcome


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Benches:
    return cache(lambda architecture: Bench(tmp_path_factory.mktemp(architecture), architecture))


@pytest.fixture(scope="module")
def judged(benches: Benches) -> Judged:
    """Return what a faulty model is judged to be: once, whoever looks at the outcome."""
    return cache(
        lambda architecture, fault, position: benches(architecture).judge(*planted(architecture, fault, position))
    )


@cache
def planted(architecture: str, fault: str, position: int) -> tuple[ModelProto, str]:
    """Return a faulty model, and the variant that shows the fault."""
    if fault in FAULTS:
        planter, variant = FAULTS[fault]
        return planter(trained(architecture), places(architecture)[position]), variant
    return FOLDED[fault](trained(architecture), convolutions(architecture)[position]), "fp16"


@pytest.mark.parametrize("variant", ["fp32", "tf32", "fp16", "bf16", "int8", "fp8"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_clean_model_passes(benches: Benches, architecture: str, variant: str) -> None:
    outcome = benches(architecture).judge(trained(architecture), variant)
    assert outcome.verdict is Verdict.PASS, outcome.message


@pytest.mark.parametrize("position", range(PLACES))
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fault_that_float32_does_not_see_fails(judged: Judged, architecture: str, fault: str, position: int) -> None:
    model, _ = planted(architecture, fault, position)
    assert sqnr_db(model, architecture) > 70
    assert judged(architecture, fault, position).verdict is Verdict.FAIL


@pytest.mark.parametrize("fault", FOLDED)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fault_that_tensorrt_folds_away_passes(judged: Judged, architecture: str, fault: str) -> None:
    for position, convolution in enumerate(convolutions(architecture)):
        model, _ = planted(architecture, fault, position)
        assert sqnr_db(model, architecture) == float("inf")
        outcome = judged(architecture, fault, position)
        assert outcome.verdict is Verdict.PASS, (convolution, outcome.message)


@pytest.mark.parametrize("fault", [*FAULTS, *FOLDED])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_renaming_everything_changes_no_figure(benches: Benches, judged: Judged, architecture: str, fault: str) -> None:
    model, variant = planted(architecture, fault, 0)
    named = judged(architecture, fault, 0)
    renamed = benches(architecture).judge(plant.rename_everything(model), variant)
    assert renamed.verdict is named.verdict
    # Held as text, because the figures of an overflow are NaN, which equals nothing.
    assert repr([t.difference for t in renamed.tensors]) == repr([t.difference for t in named.tensors])


def test_an_overflow_is_said_to_be_one(judged: Judged) -> None:
    outcome = judged("residual", "overflow", 0)
    assert "non-finite" in outcome.message or "NaN" in outcome.message
