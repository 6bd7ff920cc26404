"""Observing rounded graphs: the budget changes nothing that is found, and faults are found where they were planted."""

from __future__ import annotations

from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.errors import ModelError
from parity.graph import load_model, model_interface
from parity.layer_table import Role
from parity.layers.observe import Observed, observe
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.precision.names import name_nodes
from parity.tolerance import Precision
from tests import plant
from tests.tiny_graphs import array, half_options, model_of, node, pointwise

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto

    from parity.layer_table import LayerReport

CLASSIFIER = Path(__file__).parents[2] / "cases" / "shapes_classifier"
GENEROUS = 2**30
IMAGES = 16


@cache
def _classifier() -> tuple[ModelProto, dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    case = load_case(CLASSIFIER)
    model = load_model(case.model)
    name_nodes(model.graph)
    interface = model_interface(model)
    feeds = [feed.tensors for feed in islice(open_feeds(case.evaluation, interface, IMAGES), 1)]
    assert case.calibration is not None
    calibration = [dict(feed.tensors) for feed in islice(open_feeds(case.calibration, interface, 1), 4)]
    return model, {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}, calibration


@cache
def _places() -> list[plant.Place]:
    model, feed, _ = _classifier()
    return plant.find_places(model, feed)


def _observe(
    model: ModelProto, precision: Precision, budget_bytes: int = GENEROUS, images: int | None = None
) -> LayerReport:
    _, whole, calibration = _classifier()
    feed = {name: tensor[:images] for name, tensor in whole.items()}
    made = forecast(model, PrecisionOptions(precision), lambda: calibration)
    return observe(Observed(model, made.rounded, precision), lambda: [feed], budget_bytes)


@pytest.mark.parametrize("precision", [Precision.FP16, Precision.INT8])
def test_a_healthy_model_has_no_source(precision: Precision) -> None:
    report = _observe(_classifier()[0], precision)
    assert (report.sources, report.coverage, report.unobserved) == ((), 1.0, ())
    assert {row.role for row in report.rows} <= {Role.CLEAN, Role.VICTIM}
    assert all(row.injected is not None for row in report.rows)


def test_the_budget_changes_the_groups_and_nothing_that_is_found() -> None:
    # A group for each tensor runs the model once for each: few images will do.
    one_by_one, together = (_observe(_classifier()[0], Precision.FP16, budget, images=8) for budget in (1, GENEROUS))
    assert one_by_one == together
    assert together.rows


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("fault", "precision"),
    [
        (plant.overflow, Precision.FP16),
        (plant.underflow, Precision.FP16),
        (plant.cancellation, Precision.FP16),
        (plant.outlier_channel, Precision.INT8),
    ],
    ids=["overflow", "underflow", "cancellation", "outlier"],
)
def test_the_first_source_is_a_planted_node(
    fault: Callable[[ModelProto, plant.Place], ModelProto], precision: Precision, seed: int
) -> None:
    model, _, _ = _classifier()
    [place] = plant.seeded_places(_places(), seed, 1)
    report = _observe(fault(model, place), precision)
    first = next(row for row in report.rows if row.position == report.sources[0])
    assert any(name.startswith("planted_") for name in first.nodes)


def test_renaming_every_node_changes_neither_roles_nor_ranking() -> None:
    model, _, _ = _classifier()
    [place] = plant.seeded_places(_places(), 2, 1)
    planted = plant.cancellation(model, place)
    renamed = plant.rename_everything(planted)
    here, there = _observe(planted, Precision.FP16), _observe_renamed(renamed)
    assert here.sources == there.sources
    assert [row.role for row in here.rows] == [row.role for row in there.rows]


def _observe_renamed(model: ModelProto) -> LayerReport:
    _, feed, _ = _classifier()
    [old], [new] = feed, [value.name for value in model.graph.input]
    made = forecast(model, PrecisionOptions(Precision.FP16))
    return observe(Observed(model, made.rounded, Precision.FP16), lambda: [{new: feed[old]}], GENEROUS)


def test_injected_error_is_the_layers_own_and_inherited_error_is_all_of_it() -> None:
    model = pointwise("Exp", "Log", "Exp")
    made = forecast(model, half_options())
    values = np.linspace(-4, 4, 1000, dtype=np.float32)
    report = observe(Observed(model, made.rounded, Precision.FP16), lambda: [{"x": values}], GENEROUS)
    first, _, last = report.rows
    assert first.injected == first.inherited
    assert last.injected is not None
    assert last.injected.sqnr_db > last.inherited.sqnr_db
    assert last.gain_db is not None


def test_feeds_of_several_sizes_are_measured_together() -> None:
    model = pointwise("Exp")
    made = forecast(model, half_options())
    feeds = [{"x": array(1.0)}, {"x": array(1.0, 2.0, 3.0)}]
    report = observe(Observed(model, made.rounded, Precision.FP16), lambda: feeds, GENEROUS)
    assert report.rows[0].reference_range == (pytest.approx(np.e), pytest.approx(np.exp(3.0), rel=1e-6))


def test_an_empty_tensor_is_told_and_not_judged() -> None:
    model = pointwise("Exp")
    made = forecast(model, half_options())
    report = observe(Observed(model, made.rounded, Precision.FP16), lambda: [{"x": array()}], GENEROUS)
    assert report.rows == ()
    assert report.unobserved == ("y: holds no element in any feed",)


def test_graphs_that_share_no_tensor_are_refused_with_what_to_do() -> None:
    other = model_of([node("Abs", ["x"], ["z"], "abs")], ["x"], ["z"])
    with pytest.raises(ModelError, match="compare their outputs alone"):
        observe(Observed(pointwise("Exp"), other, Precision.FP16), lambda: [{"x": array(1.0)}], GENEROUS)
