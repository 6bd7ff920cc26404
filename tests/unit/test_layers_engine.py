"""Observing engines: faults are found where they were planted, and an engine that showing changes is said to be."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from parity.backends.engine import EngineFile, EngineRequest, OnnxSource
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.build_options import BuildOptions, Quantization, ShapeProfile
from parity.errors import ModelError
from parity.layer_table import Role, Validity
from parity.layers import engine
from parity.layers.engine import OBSERVED_BY, Limits, ObservedEngine, observe_engine, show
from parity.layers.validity import ALLOWED_DB
from parity.options import PrecisionOptions
from parity.precision import forecast
from parity.tolerance import Precision
from tests import plant
from tests.simulated_worker import Faults, SimulatedWorker
from tests.tiny_graphs import array, looped, model_of, node

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import ModelProto

    from parity.layer_table import LayerReport, LayerRow

GENEROUS = 2**30
BATCH, SIZE, WIDTH = 2, 8, 8
TENSOR_BYTES = 4 * BATCH * WIDTH * SIZE * SIZE
RELEASES = {"8.6.0": "output", "10.16.1.11": "unfused debug tensor", "11.4.0.106": "unfused debug tensor"}


@cache
def network(depth: int = 4) -> ModelProto:
    """Return x -> y through convolutions conv0, conv1, … with a Tanh behind each: t0, a0, t1, a1, …, y."""
    generator = np.random.default_rng(0)
    nodes, weights, last = [], {}, "x"
    for number in range(depth):
        weights[f"w{number}"] = generator.standard_normal((WIDTH, WIDTH, 3, 3)).astype(np.float32) / 8
        end = "y" if number == depth - 1 else f"a{number}"
        nodes.append(node("Conv", [last, f"w{number}"], [f"t{number}"], f"conv{number}", pads=[1, 1, 1, 1]))
        nodes.append(node("Tanh", [f"t{number}"], [end], f"tanh{number}"))
        last = end
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, WIDTH, SIZE, SIZE]) for name in "xy"]
    return model_of(nodes, sides[:1], sides[1:], weights)


def feeds() -> list[dict[str, np.ndarray]]:
    shape = (BATCH, WIDTH, SIZE, SIZE)
    return [{"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)} for seed in (1, 2)]


def request_for(model: ModelProto, precision: Precision = Precision.FP16, **options: Any) -> EngineRequest:
    typed = model if precision is Precision.FP32 else forecast(model, PrecisionOptions(precision), feeds).typed
    return EngineRequest(OnnxSource(model, typed), precision, Precision.FP32, BuildOptions(**options))


@contextmanager
def open_backend(
    release: str = "8.6.0", lacks: str = "", **faults: Any
) -> Iterator[tuple[TensorRTBackend, SimulatedWorker]]:
    worker = SimulatedWorker(release, Faults(**faults))
    worker.capabilities |= {lacks: False} if lacks else {}
    backend = TensorRTBackend(worker, None)
    try:
        yield backend, worker
    finally:
        backend.close()


def observe(
    model: ModelProto,
    release: str = "8.6.0",
    *,
    budget_bytes: int = GENEROUS,
    request: EngineRequest | None = None,
    limits: dict[str, Any] | None = None,
    **faults: Any,
) -> LayerReport:
    with open_backend(release, **faults) as (backend, _):
        observed = ObservedEngine(model, request or request_for(model))
        return observe_engine(observed, backend, feeds, Limits(budget_bytes, 60.0, **(limits or {})))


def row_of(report: LayerReport, tensor: str) -> LayerRow:
    return next(row for row in report.rows if row.tensor == tensor)


@pytest.mark.parametrize(("release", "observed_by"), RELEASES.items())
def test_a_healthy_engine_is_observed_whole_and_has_no_source(release: str, observed_by: str) -> None:
    report = observe(network(), release)
    assert (report.validity, report.validity_reason, report.sources) == (Validity.VALID, "", ())
    assert (report.coverage, report.unobserved, report.build_count) == (1.0, (), 1)
    assert [row.tensor for row in report.rows] == ["t0", "a0", "t1", "a1", "t2", "a2", "t3", "y"]
    assert {row.role for row in report.rows} <= {Role.CLEAN, Role.VICTIM}
    assert {row.observed_by for row in report.rows[:-1]} == {observed_by}
    assert report.rows[-1].observed_by == "output"


def test_a_row_names_the_engines_layer_its_nodes_its_precision_and_its_time() -> None:
    row = row_of(observe(network()), "t1")
    assert (row.layer, row.nodes, row.operators, row.inputs) == ("conv1", ("conv1",), ("Conv",), ("a0",))
    assert (row.precision, row.shape, row.reduction_depth) == ("fp16", (BATCH, WIDTH, SIZE, SIZE), 9 * WIDTH)
    assert row.time_ms == pytest.approx(0.03)
    assert row.injected is None


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("wrong", ["conv1", "tanh2", "conv0"])
def test_the_layer_that_errs_is_the_first_source(release: str, wrong: str) -> None:
    report = observe(network(), release, wrong_node=wrong, wrong_by=0.02)
    first = next(row for row in report.rows if row.position == report.sources[0])
    assert first.nodes == (wrong,)
    assert (first.role, report.validity) == (Role.SOURCE, Validity.VALID)
    assert first.injected is not None
    assert first.injected.sqnr_db == pytest.approx(34.0, abs=1.0)


def test_only_layers_where_the_error_grows_are_built_alone_and_no_more_than_asked() -> None:
    report = observe(network(), wrong_node="conv1", wrong_by=0.02)
    assert [row.tensor for row in report.rows if row.injected is not None] == ["t1"]
    none = observe(network(), wrong_node="conv1", wrong_by=0.02, limits={"most_alone": 0})
    assert row_of(none, "t1").role is Role.UNKNOWN
    assert (report.build_count, none.build_count) == (2, 1)


def test_a_budget_splits_the_builds_where_outputs_are_marked_and_changes_no_figure() -> None:
    whole = observe(network())
    split = observe(network(), budget_bytes=(3 * 2 + 2) * TENSOR_BYTES)
    assert (whole.build_count, split.build_count) == (1, 3)
    assert [row.tensor for row in split.rows] == [row.tensor for row in whole.rows]
    assert all(row.inherited.sqnr_db > 55 for row in split.rows)


def test_a_budget_splits_the_runs_of_debug_tensors_and_not_the_build() -> None:
    with open_backend("10.16.1.11") as (backend, worker):
        observed = ObservedEngine(network(), request_for(network()))
        report = observe_engine(observed, backend, feeds, Limits((3 * 2 + 2) * TENSOR_BYTES, 60.0))
        asked = [asked.fields["debug"] for asked in worker.asked if "debug" in asked.fields]
    assert report.build_count == 1
    assert [sorted(names) for names in asked[::2]] == [["a0", "t0", "t1"], ["a1", "a2", "t2"], ["t3"]]
    assert len(report.rows) == 8


@pytest.mark.parametrize("release", RELEASES)
def test_an_engine_that_showing_changes_is_invalid_and_says_how_much(release: str) -> None:
    report = observe(network(), release, shown_limit=0)
    assert report.validity is Validity.INVALID
    assert "y: verdict pass plain, fail observed; SQNR " in report.validity_reason
    assert "dB plain, 26.0 dB observed" in report.validity_reason
    assert not report.is_nearer_observed
    assert len(report.rows) == 8


def test_fewer_tensors_a_build_are_tried_until_the_engine_is_the_plain_one() -> None:
    report = observe(network(), shown_limit=4)
    assert (report.validity, report.build_count) == (Validity.VALID, 3)
    assert all(row.inherited.sqnr_db > 55 for row in report.rows)


def test_tries_are_bounded() -> None:
    report = observe(network(), shown_limit=0, limits={"most_retries": 2, "most_alone": 0})
    assert (report.validity, report.build_count) == (Validity.INVALID, 3)
    assert "showing 3 tensors, t0 first" in report.validity_reason


def test_on_10_0_debug_tensors_are_marked_by_name() -> None:
    with open_backend("10.16.1.11", lacks="unfused_debug_tensors") as (backend, worker):
        report = observe_engine(
            ObservedEngine(network(), request_for(network())), backend, feeds, Limits(GENEROUS, 60.0)
        )
        observe = worker.last("build")["observe"]
    assert (observe["how"], observe["half"], len(observe["tensors"])) == ("debug", [], 7)
    assert report.rows[0].observed_by == "debug tensor"


def test_what_the_plain_engine_holds_as_half_leaves_as_half_and_the_plain_build_is_as_ever() -> None:
    with open_backend() as (backend, worker):
        observe_engine(ObservedEngine(network(), request_for(network())), backend, feeds, Limits(GENEROUS, 60.0))
        plain, shown = [asked.fields for asked in worker.asked if asked.operation == "build"]
    assert "observe" not in plain
    assert shown["observe"]["half"] == shown["observe"]["tensors"]
    assert shown["timing_cache"] == plain["timing_cache"]


def test_an_overflow_is_the_first_source_and_what_follows_its_victims() -> None:
    [place] = plant.seeded_places(plant.find_places(network(), feeds()[0]), 0, 1)
    report = observe(plant.overflow(network(), place))
    first = next(row for row in report.rows if row.position == report.sources[0])
    assert first.nodes[0].startswith("planted_")
    assert first.nonfinite_candidate
    assert row_of(report, "planted_2_y").role is Role.VICTIM


def test_a_tensor_that_the_network_does_not_have_is_told() -> None:
    with open_backend() as (backend, worker):
        infer = worker.answers["infer"]

        def forgetful(fields: dict[str, Any]) -> dict[str, Any]:
            answer = infer(fields)
            return {**answer, "tensors": {name: array for name, array in answer["tensors"].items() if name != "a1"}}

        load = worker.answers["load"]

        def lacking(fields: dict[str, Any]) -> dict[str, Any]:
            answer = load(fields)
            return {**answer, "bindings": [one for one in answer["bindings"] if one["name"] != "a1"]}

        worker.answers |= {"infer": forgetful, "load": lacking}
        report = observe_engine(
            ObservedEngine(network(), request_for(network())), backend, feeds, Limits(GENEROUS, 60.0)
        )
    assert report.unobserved == ("a1: the engine does not show it",)
    assert report.coverage == pytest.approx(7 / 8)
    assert "a1" not in [row.tensor for row in report.rows]


def test_a_build_that_tensorrt_refuses_costs_its_tensors_and_not_the_report() -> None:
    with open_backend() as (backend, worker):
        build = worker.answers["build"]

        def refusing(fields: dict[str, Any]) -> dict[str, Any]:
            if "a1" in fields.get("observe", {}).get("tensors", ()):
                raise ModelError("a1 is inside of a loop")
            return build(fields)

        worker.answers["build"] = refusing
        report = observe_engine(
            ObservedEngine(network(), request_for(network())), backend, feeds, Limits(GENEROUS, 60.0)
        )
    assert report.validity is Validity.VALID
    assert report.unobserved == ("a1: TensorRT could not show it: a1 is inside of a loop",)
    assert len(report.rows) == 7


def test_an_engine_file_is_observed_at_its_outputs_and_says_why(tmp_path: Path) -> None:
    with open_backend() as (backend, worker):
        plan = tmp_path / "model.plan"
        with backend.open_engine(request_for(network()), 60.0):
            plan.write_bytes(worker.last("load")["plan"].path.read_bytes())
        request = EngineRequest(EngineFile(plan), Precision.FP16, Precision.FP32)
        report = observe_engine(ObservedEngine(network(), request), backend, feeds, Limits(GENEROUS, 60.0))
    assert [row.tensor for row in report.rows] == ["y"]
    assert len(report.unobserved) == 7
    assert "was built elsewhere" in report.unobserved[0]
    assert report.build_count == 0


def test_a_layer_of_an_implicitly_quantized_engine_is_not_built_alone_and_says_why() -> None:
    request = EngineRequest(
        OnnxSource(network(), network()),
        Precision.INT8,
        Precision.FP32,
        BuildOptions(quantization=Quantization.IMPLICIT),
        calibration=feeds,
    )
    report = observe(network(), request=request, wrong_node="conv1", wrong_by=0.9)
    assert any("cannot be built alone" in note for note in report.notes)


def test_outputs_of_other_names_are_refused_with_what_to_do() -> None:
    other = model_of([node("Abs", ["x"], ["z"], "abs")], ["x"], ["z"])
    with pytest.raises(ModelError, match="name them alike"):
        observe(other, request=request_for(network()))


def test_progress_is_told_build_by_build() -> None:
    heard: list[tuple[int, int]] = []
    with open_backend(shown_limit=4) as (backend, _):
        observed = ObservedEngine(network(), request_for(network()))
        observe_engine(observed, backend, feeds, Limits(GENEROUS, 60.0), lambda *told: heard.append(told))
    assert heard == [(1, 3), (2, 3), (3, 3)]


def test_a_reference_of_nan_ends_in_rows_without_a_role() -> None:
    model = model_of(
        [node("Log", ["x"], ["t"], "log"), node("Neg", ["t"], ["y"], "neg")],
        *([helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])] for name in "xy"),
    )
    with open_backend() as (backend, _):
        observed = ObservedEngine(model, request_for(model, Precision.FP32))
        negative = -np.ones((2, 3), np.float32)
        report = observe_engine(observed, backend, lambda: [{"x": negative}], Limits(GENEROUS, 60.0))
    assert [(row.tensor, row.role, row.nonfinite_reference) for row in report.rows] == [
        ("t", Role.UNKNOWN, 6),
        ("y", Role.UNKNOWN, 6),
    ]
    assert (report.sources, report.validity) == ((), Validity.VALID)


def test_the_inside_of_a_loop_is_told() -> None:
    model = looped([node("Abs", ["before"], ["after"], "inner")], 2)
    with open_backend() as (backend, _):
        request = replace(request_for(model, Precision.FP32), profiles=({"x": ShapeProfile((2,), (2,), (2,))},))
        observed = ObservedEngine(model, request)
        report = observe_engine(observed, backend, lambda: [{"x": array(1.0, 2.0)}], Limits(GENEROUS, 60.0))
    assert any("tensors of the graphs inside it" in sentence for sentence in report.unobserved)


def test_a_layer_that_reads_the_inputs_alone_is_not_built_once_more() -> None:
    report = observe(network(), wrong_node="conv0", wrong_by=0.02)
    first = row_of(report, "t0")
    assert first.injected == first.inherited
    assert report.build_count == 1


def test_an_empty_tensor_is_told_and_not_judged() -> None:
    shape = [0, 3]
    model = model_of(
        [node("Exp", ["x"], ["t"], "exp"), node("Neg", ["t"], ["y"], "neg")],
        *([helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)] for name in "xy"),
    )
    with open_backend() as (backend, _):
        observed = ObservedEngine(model, request_for(model, Precision.FP32))
        report = observe_engine(observed, backend, lambda: [{"x": np.zeros(shape, np.float32)}], Limits(GENEROUS, 60.0))
    assert report.rows == ()
    assert set(report.unobserved) == {"t: holds no element in any feed", "y: holds no element in any feed"}


def test_the_documentation_names_each_way_of_showing_and_what_is_allowed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tensorrt.md").read_text(encoding="utf-8")
    section = page.partition("## Inside an engine")[2].partition("\n## ")[0]
    assert [way for way in OBSERVED_BY.values() if f"`{way}`" not in section] == []
    defaults = Limits(1, 1.0)
    assert f"within {ALLOWED_DB:.0f} dB" in section
    assert (defaults.most_retries, "six at most" in section) == (6, True)
    assert (defaults.most_alone, "up to four layers" in section) == (4, True)


def test_layers_that_showing_tensors_changed_are_counted_and_one_is_named() -> None:
    with open_backend() as (backend, worker):
        inspect = worker.answers["inspect"]

        def changed(fields: dict[str, Any]) -> dict[str, Any]:
            answer = inspect(fields)
            is_plain = fields["engine"] == 1
            return (
                answer if is_plain else {"json": answer["json"].replace('"Name": "conv1"', '"Name": "conv1 (split)"')}
            )

        worker.answers["inspect"] = changed
        observed = ObservedEngine(network(), request_for(network()))
        report = observe_engine(observed, backend, feeds, Limits(GENEROUS, 60.0))
    assert report.notes == (
        "with 7 tensors shown the engine has 8 layers for 8; 1 of the plain one's are not in it, among them 'conv1'",
    )


def test_values_that_fill_masked_places_do_not_widen_what_two_engines_are_held_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, held = onnx.ModelProto(), []
    model.CopyFrom(network())
    model.graph.node[-1].output[0] = "bare"
    model.graph.node.append(node("Where", ["mask", "bare", "fill"], ["y"], "where"))
    constants = {"mask": np.arange(SIZE) < SIZE // 2, "fill": np.float32(-1e9)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(one), name) for name, one in constants.items())
    monkeypatch.setattr(engine, "show", lambda task, *rest: held.append(task.tolerances) or show(task, *rest))
    observe(model, request=request_for(model, Precision.FP32))
    assert held[0]["y"].atol < 1e-4
