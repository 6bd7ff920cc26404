"""What is seen inside of real engines: whether showing it changes them, what it costs, and whether a fault is found."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parity.backends.engine import OnnxSource
from parity.build_options import Typing
from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.graph import load_model, model_interface
from parity.layer_table import Role, Validity
from parity.layers.engine import Limits, ObservedEngine, observe_engine
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.precision.names import name_nodes
from parity.tolerance import Precision
from tests import plant
from tests.gpu.models import conv_net, images
from tests.gpu.rig import request_for, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnx import ModelProto

    from parity.backends.engine import EngineRequest
    from parity.layer_table import LayerReport
    from tests.gpu.models import Feed
    from tests.gpu.rig import Rig

    Figure = Callable[[str, float | str], None]

pytestmark = pytest.mark.gpu

_CASES = Path(__file__).parents[2] / "cases"
_LIMITS = Limits(budget_bytes=16 * 2**30, timeout_s=900.0)

# Of the detector's 241 float tensors 87 vanish where a SiLU is one layer and Split and Concat are views, which leaves
# 64 %; where every SiLU goes into its convolution as well, 40 %.
_LEAST_COVERAGE = 0.35
_MOST_TIME = 1.5


@dataclass(frozen=True, slots=True)
class Subject:
    """A model of a case, with feeds of it."""

    model: ModelProto
    feeds: tuple[Feed, ...]

    def request(self, model: ModelProto | None = None, typing: Typing = Typing.AUTO) -> EngineRequest:
        """Return what asks for the model, or for a changed one, at fp16."""
        own = model or self.model
        [(name, array)] = self.feeds[0].items()
        rows = len(array)
        profile = rows_of(name, array.shape[1:], best=rows, most=2 * rows)
        source = OnnxSource(own, forecast(own, PrecisionOptions(Precision.FP16)).typed)
        return request_for(source, Precision.FP16, profiles=(profile,), typing=typing)


@cache
def subject(name: str) -> Subject:
    case = load_case(_CASES / name)
    model = load_model(case.model)
    name_nodes(model.graph)
    feeds = islice(open_feeds(case.evaluation, model_interface(model), 16), 2)
    return Subject(model, tuple(dict(feed.tensors) for feed in feeds))


def told(report: LayerReport) -> str:
    """Return a report in words, for the message of an assertion."""
    rows = (f"{r.layer}: {r.inherited.sqnr_db:.1f} dB, {r.role}, {r.nonfinite_candidate} sick" for r in report.rows)
    return "\n".join([report.validity, report.validity_reason, *report.notes, *report.unobserved, *rows])


def keep_figures(figure: Figure, name: str, report: LayerReport) -> None:
    figure(f"{name}: validity", f"{report.validity} {report.validity_reason}")
    figure(f"{name}: coverage", report.coverage)
    figure(f"{name}: rows", len(report.rows))
    figure(f"{name}: builds", report.build_count)
    figure(f"{name}: layers built alone", sum(row.injected is not None for row in report.rows))
    for note in report.notes:
        figure(f"{name}: note", note)


@pytest.mark.parametrize("typing", [Typing.AUTO, Typing.STRONG])
def test_a_sound_engine_is_observed_and_has_no_source(rig: Rig, figure: Figure, typing: Typing) -> None:
    model = conv_net()
    source = OnnxSource(model, forecast(model, PrecisionOptions(Precision.FP16)).typed)
    request = request_for(source, Precision.FP16, typing=typing)
    report = observe_engine(ObservedEngine(model, request), rig.backend, lambda: [images()], _LIMITS)
    keep_figures(figure, f"conv net, {typing}", report)
    assert (report.validity, report.sources) == (Validity.VALID, ()), told(report)
    assert len(report.rows) >= 2, told(report)
    assert {row.role for row in report.rows} <= {Role.CLEAN, Role.VICTIM}, told(report)
    assert all(row.time_ms for row in report.rows), told(report)


def warm_build_s(rig: Rig, request: EngineRequest) -> tuple[float, float]:
    """Return how long a plain engine's first build took, and one more with the tactics that the first measured."""
    with rig.backend.open_engine(request, _LIMITS.timeout_s) as first:
        cold = first.record.build_s or 0.0
        shutil.rmtree(rig.plan_of(first).parent)
    with rig.backend.open_engine(request, _LIMITS.timeout_s) as second:
        assert second.record.source == "built"
        return cold, second.record.build_s or 0.0


def test_the_detectors_report_is_valid_and_costs_little_more_than_a_build(rig: Rig, figure: Figure) -> None:
    detector = subject("shapes_yolo")
    request = detector.request()
    cold, warm = warm_build_s(rig, request)
    started = time.perf_counter()
    report = observe_engine(ObservedEngine(detector.model, request), rig.backend, lambda: detector.feeds, _LIMITS)
    took = time.perf_counter() - started
    for name, value in {"first build": cold, "build": warm, "report": took}.items():
        figure(f"detector: {name}, s", value)
    figure("detector: report over build", took / warm)
    keep_figures(figure, "detector", report)
    assert report.validity is Validity.VALID, told(report)
    assert report.coverage > _LEAST_COVERAGE, told(report)
    assert took <= _MOST_TIME * warm, f"{took:.1f} s for the report, {warm:.1f} s for a build\n{told(report)}"


def test_a_planted_overflow_is_the_first_source(rig: Rig, figure: Figure) -> None:
    classifier = subject("shapes_classifier")
    places = plant.find_places(classifier.model, dict(classifier.feeds[0]))
    [place] = plant.seeded_places(places, 0, 1)
    planted = plant.overflow(classifier.model, place)
    # Where TensorRT may choose, it might choose float32, in which nothing overflows.
    request = classifier.request(planted, Typing.STRONG)
    report = observe_engine(ObservedEngine(planted, request), rig.backend, lambda: classifier.feeds, _LIMITS)
    keep_figures(figure, "planted classifier", report)
    assert report.sources, told(report)
    first = next(row for row in report.rows if row.position == report.sources[0])
    figure("planted classifier: first source", first.layer)
    assert any(name.startswith("planted_") for name in first.nodes), told(report)
    assert first.nonfinite_candidate, told(report)
