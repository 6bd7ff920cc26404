"""Repairs of planted models: what is found passes in a run, none of it can be dropped, all else is told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends import get_backend
from parity.case.loader import load_case
from parity.diagnose import engine
from parity.diagnosis import Diagnosis
from parity.errors import BackendError, ModelError, RunError
from parity.options import PrecisionOptions
from parity.precision import calibration, forecast
from parity.precision.names import with_names
from parity.repair import causes, workbench
from parity.repair.mend import EXIT_CODES, RepairOptions, Status, repair, suspects_of
from parity.repair.search import Budget
from parity.repair.universe import keep_pattern, units_of
from parity.runner import JudgeSettings, open_case_judge
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests import plant
from tests.repair_cases import (
    bench_of,
    planted,
    three_products,
    variant_of,
    write_classifier_case,
    write_products_case,
)
from tests.tiny_detector import CASE_FILE, write_detector_case
from tests.tiny_graphs import pointwise

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from onnx import ModelProto

    from parity.repair.mend import Repair


def verdicts_with(folder: Path, variant: str, *keeps: Sequence[str]) -> list[Verdict]:
    """Judge a variant with each of some keep-lists as ``parity run`` does."""
    case = load_case(folder)
    plain = variant_of(case, variant)
    found = []
    with open_case_judge(case, JudgeSettings(cache=folder.parent / "cache")) as judge:
        for number, keep in enumerate(keeps):
            # A name of its own: a judge plans a variant once.
            kept = replace(plain, name=f"{variant}_{number}", options=replace(plain.options, keep=tuple(keep)))
            verdicts = {outcome.verdict for outcome in judge.judge_variant(kept, get_backend("onnxruntime"))}
            failed = Verdict.FAIL in verdicts
            found.append(Verdict.FAIL if failed else max(verdicts, key=lambda one: one is not Verdict.PASS))
    return found


def repaired(folder: Path, variant: str = "fp16", options: RepairOptions | None = None) -> Repair:
    with bench_of(folder, variant) as bench:
        return repair(bench, options)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    ("fault", "variant"),
    [
        (plant.overflow, "fp16"),
        (plant.underflow, "fp16"),
        (plant.cancellation, "fp16"),
        (plant.outlier_channel, "int8"),
    ],
    ids=["overflow", "underflow", "cancellation", "outlier"],
)
def test_a_planted_fault_is_mended_by_its_own_nodes_and_none_can_be_dropped(
    fault: Callable[[ModelProto, plant.Place], ModelProto], variant: str, seed: int, tmp_path: Path
) -> None:
    folder = write_classifier_case(tmp_path / "case", planted(fault, seed))
    done = repaired(folder, variant)
    assert (done.status, EXIT_CODES[done.status]) == (Status.REPAIRED, 0)
    assert done.search is not None
    assert done.search.is_minimal
    assert all(name.startswith("planted_") for name in done.keep)
    rests = [[other for other in done.keep if other != name] for name in done.keep]
    assert rests
    assert verdicts_with(folder, variant, done.keep, *rests) == [Verdict.PASS, *[Verdict.FAIL] * len(rests)]


@pytest.mark.parametrize("variant", ["fp16", "int8"])
def test_a_variant_that_passes_has_nothing_to_repair(variant: str, tmp_path: Path) -> None:
    done = repaired(write_classifier_case(tmp_path / "case", planted(lambda model, _: model, 0)), variant)
    assert (done.status, done.keep, done.search) == (Status.NOTHING_TO_REPAIR, (), None)


def test_the_first_two_of_three_products_are_kept_together(tmp_path: Path) -> None:
    done = repaired(write_products_case(tmp_path / "case"))
    assert done.keep == ("first", "second")
    assert done.reason == "2 of 3 nodes kept at fp32; none of them can be dropped"
    assert done.search is not None
    assert [len(one.kept) for one in done.search.front][:2] == [0, 2]


def test_nodes_are_kept_at_bfloat16_where_that_is_asked(tmp_path: Path) -> None:
    with bench_of(write_products_case(tmp_path / "case"), "fp16", Precision.BF16) as bench:
        done = repair(bench)
    assert (done.keep_precision, done.keep) == (Precision.BF16, ("first", "second"))


def test_a_wrong_model_is_beyond_precision(tmp_path: Path) -> None:
    folder = tmp_path / "case"
    write_products_case(folder, more='[reference]\nkind = "recorded"\nfiles = ["expected_*.npz"]\n')
    for number in range(2):
        values = np.random.default_rng(number).standard_normal((4, 5)).astype(np.float32)
        np.savez(folder / f"expected_{number}.npz", y=values)
    done = repaired(folder)
    assert (done.status, EXIT_CODES[done.status], done.keep) == (Status.BEYOND_PRECISION, 1, ())
    assert done.reason.startswith("it fails with all 3 nodes kept at fp32")
    plain = repaired(folder, "fp32")
    assert plain.status is Status.BEYOND_PRECISION
    assert "no node computes lower than fp32" in plain.reason


def test_where_only_float32_throughout_passes_that_is_said(tmp_path: Path) -> None:
    model = three_products()
    # Without the third product every node of what is left takes part in the overflow.
    del model.graph.node[2]
    model.graph.node[1].output[0] = "y"
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 16
    del model.graph.initializer[2]
    done = repaired(write_products_case(tmp_path / "case", model))
    assert (done.status, done.keep) == (Status.BEYOND_PRECISION, ())
    assert done.reason == "it passes where all 2 nodes are kept, and not where one is left out"


def test_a_reference_of_nan_is_told_and_nothing_is_tried(tmp_path: Path) -> None:
    done = repaired(write_products_case(tmp_path / "case", three_products(scale=np.nan)))
    assert (done.status, EXIT_CODES[done.status], done.search) == (Status.NOT_TRIED, 2, None)
    assert "Nothing is finite" in done.reason


def test_a_budget_that_ends_before_anything_passes_is_no_verdict(tmp_path: Path) -> None:
    done = repaired(write_products_case(tmp_path / "case"), options=RepairOptions(Budget(tries=1)))
    assert (done.status, EXIT_CODES[done.status]) == (Status.NOT_TRIED, 2)
    assert done.reason == "the budget ended after 1 try, before a set passed; allow more"


def test_what_a_cause_wants_kept_is_tried_first_unless_its_probe_refuted_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Diagnosis("other", "", 0.2, (), (), "", "", keep=("third",))
    right = Diagnosis("fp16-overflow", "", 0.9, (), (), "", "", keep=("second", "first"))
    refuted = Diagnosis("another", "", 0.95, (), (), "", "", is_confirmed=False, keep=("third", "first"))
    monkeypatch.setattr(engine, "RULES", (lambda _evidence: (wrong, right, refuted),))
    with bench_of(write_products_case(tmp_path / "case"), "fp16") as bench:
        done = repair(bench, RepairOptions(diagnosis_s=60.0))
        assert suspects_of(done.causes) == ("second", "first", "third")
        [first, second, third] = bench.ranked_units(None, suspects_of(done.causes))
    assert done.keep == ("first", "second")
    assert (first, second, third) == (frozenset({"second"}), frozenset({"first"}), frozenset({"third"}))


def test_a_search_that_begins_with_the_nodes_of_its_cause_tries_fewer_sets(tmp_path: Path) -> None:
    model = planted(plant.overflow, 1)
    tries = {}
    for diagnosis_s in (0.0, 60.0):
        done = repaired(
            write_classifier_case(tmp_path / str(diagnosis_s) / "case", model),
            "fp16",
            RepairOptions(diagnosis_s=diagnosis_s),
        )
        assert (done.status, done.keep) == (Status.REPAIRED, ("planted_1", "planted_2"))
        assert done.search is not None
        tries[diagnosis_s] = done.search.tries
    assert done.causes[0].cause == "fp16-overflow"
    assert tries[60.0] <= tries[0.0]


def test_a_defect_of_a_rule_costs_the_order_and_not_the_repair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise BackendError("no room")

    monkeypatch.setattr(causes, "find_causes", lambda *_arguments, **_options: refuse())
    done = repaired(write_products_case(tmp_path / "case"), options=RepairOptions(diagnosis_s=60.0))
    assert done.keep == ("first", "second")
    assert done.notes == ("causes could not be looked for: no room",)


def test_without_observed_layers_the_graphs_order_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise ModelError("nothing to observe")

    monkeypatch.setattr(workbench, "observe", refuse)
    done = repaired(write_products_case(tmp_path / "case"))
    assert done.keep == ("first", "second")
    assert done.notes == ("layers were not looked at: nothing to observe",)


def test_int8_is_calibrated_once_however_many_sets_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    plain = calibration._measure

    def count(*arguments: object) -> dict[str, float]:
        counted.append(1)
        return plain(*arguments)

    monkeypatch.setattr(calibration, "_measure", count)
    folder = write_classifier_case(tmp_path / "case", planted(plant.outlier_channel, 0))
    done = repaired(folder, "int8")
    assert done.search is not None
    assert done.search.tries >= 1
    assert len(counted) == 1


def test_names_that_look_like_wildcards_are_kept_as_names(tmp_path: Path) -> None:
    names = ("op:MatMul", "a[0]*", "a0x")
    done = repaired(write_products_case(tmp_path / "case", three_products(names=names)))
    assert done.keep == ("[o]p:MatMul", "a[[]0][*]")
    assert verdicts_with(tmp_path / "case", "fp16", done.keep) == [Verdict.PASS]
    assert keep_pattern("plain/name.1") == "plain/name.1"


def test_a_product_and_the_pointwise_nodes_behind_it_are_one_unit() -> None:
    model = with_names(pointwise("Relu", "Exp", "Neg"))
    names = [node.name for node in model.graph.node]
    assert units_of(model, names) == (frozenset(names),)
    # What is not lowered binds nothing together.
    assert units_of(model, [names[0], names[2]]) == (frozenset({names[0]}), frozenset({names[2]}))


def test_variants_that_no_keep_list_changes_are_refused_with_the_reason(tmp_path: Path) -> None:
    more = '[variants.tf32]\nprecision = "tf32"\n[variants.own]\nprecision = "fp32"\nmodel = "model.onnx"\n'
    folder = write_products_case(tmp_path / "case", more=more)
    for variant, reason in (("tf32", "on or off as a whole"), ("own", "brings a model of its own")):
        with pytest.raises(RunError, match=reason), bench_of(folder, variant):
            pass


def test_what_only_decoding_shows_is_repaired_by_what_decodes(tmp_path: Path) -> None:
    # A half of 40 pixels is exact to 1/64 of one: boxes that the last node adds up overlap by less than is asked.
    strict = '\n[[gates]]\nfigure = "iou_min"\nmin = 0.9998\nreason = "tight"\n'
    folder = write_detector_case(tmp_path / "detector", text=CASE_FILE + strict)
    done = repaired(folder)
    assert done.before.verdict is Verdict.FAIL
    assert done.before.reason.startswith("decoded: ")
    assert (done.status, done.keep) == (Status.REPAIRED, ("add",))
    assert done.search is not None
    assert done.search.is_minimal


def test_a_case_whose_own_model_is_half_is_repaired_from_the_widened_one(tmp_path: Path) -> None:
    model = forecast(three_products(scale=1e3), PrecisionOptions(Precision.FP16)).typed
    folder = write_products_case(tmp_path / "case", model)
    with bench_of(folder, "fp16") as bench:
        assert bench.planned.is_own
        kept = bench.keeping(frozenset({"first"}))
    assert not kept.is_own
    assert verdicts_with(folder, "fp16", ["first"]) == [Verdict.PASS]
