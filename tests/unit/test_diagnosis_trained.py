"""Faults planted into the trained classifier are explained, and the nodes that are said to be kept mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.diagnose.engine import diagnose
from parity.graph import load_model, model_interface
from parity.options import PrecisionOptions
from parity.precision.names import name_nodes
from parity.tolerance import Precision
from tests import plant
from tests.diagnosing import evidence_of, is_failing

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

CLASSIFIER = Path(__file__).parents[2] / "cases" / "shapes_classifier"
FP16 = PrecisionOptions(Precision.FP16)


@pytest.fixture(scope="module")
def classifier() -> tuple[ModelProto, dict[str, np.ndarray]]:
    case = load_case(CLASSIFIER)
    model = load_model(case.model)
    name_nodes(model.graph)
    feeds = open_feeds(case.evaluation, model_interface(model), case.batch_size)
    return model, {name: values[:4] for name, values in next(iter(feeds)).tensors.items()}


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (plant.overflow, "fp16-overflow"),
        (plant.underflow, "underflow"),
        (plant.cancellation, "fp16-accumulation"),
    ],
    ids=["overflow", "underflow", "cancellation"],
)
def test_a_fault_in_a_trained_model_is_explained_and_mended_by_the_nodes_that_are_named(
    classifier: tuple[ModelProto, dict[str, np.ndarray]], fault: plant.Planter, cause: str
) -> None:
    model, feed = classifier
    [place] = plant.seeded_places(plant.find_places(model, feed), 5, 1)
    evidence = evidence_of(fault(model, place), feed, FP16)
    assert is_failing(evidence)
    [found] = diagnose(evidence)
    assert (found.cause, found.is_confirmed) == (cause, True)
    assert all(name.startswith("planted_") for name in (*found.nodes, *found.keep))
    assert evidence.probes.outputs(keep=found.keep)["logits"] > 55.0


def test_a_fault_that_an_engine_folds_away_has_no_cause(
    classifier: tuple[ModelProto, dict[str, np.ndarray]],
) -> None:
    model, feed = classifier
    conv = next(node.name for node in model.graph.node if node.op_type == "Conv")
    evidence = evidence_of(plant.folded_overflow(model, conv), feed, FP16)
    assert diagnose(evidence) == ()
