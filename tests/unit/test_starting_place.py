"""A first case on disk: whole, readable, with a reason beside every guess, and nothing written over."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest

from parity.case.annotations import open_truth
from parity.case.feeds import image_names, open_feeds
from parity.case.loader import load_case
from parity.case.model import ImageSource, RandomSource
from parity.decode import FAMILIES
from parity.errors import RunError
from parity.graph import model_interface
from parity.starting.case_toml import Paths, case_text
from parity.starting.decoders import Reading
from parity.starting.draft import Asked, Draft, examine
from parity.starting.guess import Guess
from parity.starting.place import put, require_free, rewrite
from parity.starting.proposals import Proposal, Proposed
from tests.tiny_cases import two_matmuls
from tests.tiny_graphs import model_of
from tests.tiny_models import conv_relu, write_images

if TYPE_CHECKING:
    from pathlib import Path

    from parity.decode import DecodeSettings

PROPOSED = Proposed((Proposal("fp16", "logits", 0.001, 0.02, 55.0, "measured"),), ("int8: the default bounds stay",))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "given" / "best.onnx"
    path.parent.mkdir()
    onnx.save(conv_relu(), str(path))
    return path


def drafted(model: Path, *, images: bool = True) -> Draft:
    folder = model.parent / "photos"
    if images:
        write_images(folder, [f"{number} [a].png" for number in range(9)])
    return examine(Asked(model, folder if images else None), lambda _what: None)


def test_what_is_written_is_a_case_that_loads(model: Path, tmp_path: Path) -> None:
    draft = drafted(model)
    placed = put(draft, tmp_path / "cases" / "best")
    case = load_case(placed.folder, allow_python=False)
    assert isinstance(case.evaluation, ImageSource)
    assert isinstance(case.calibration, ImageSource)
    assert len(case.evaluation.files) == 6
    assert not set(case.evaluation.files) & set(case.calibration.files)
    assert [variant.name for variant in case.variants] == ["fp32", "fp16", "int8"]
    assert case.model.read_bytes() == model.read_bytes()


def test_every_guess_has_its_reason_beside_it(model: Path, tmp_path: Path) -> None:
    draft = drafted(model)
    text = put(draft, tmp_path / "case").file.read_text(encoding="utf-8")
    assert draft.recipe is not None
    comments = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("#"))
    assert "Preprocessing is not in an ONNX file." in comments
    assert draft.recipe.evidence[0] in comments
    assert "segmentation" in comments


def test_without_images_the_inputs_are_random_and_the_file_asks(model: Path, tmp_path: Path) -> None:
    placed = put(drafted(model, images=False), tmp_path / "case")
    text = placed.file.read_text(encoding="utf-8")
    case = load_case(placed.folder)
    assert isinstance(case.evaluation, RandomSource)
    assert isinstance(case.calibration, RandomSource)
    assert case.evaluation.seed != case.calibration.seed
    assert "# Which images?" in text
    assert "# Warning: the inputs are random" in text


def test_a_decoder_in_a_comment_is_one_when_the_marks_are_taken_off(model: Path) -> None:
    draft = drafted(model, images=False)
    settings: DecodeSettings | None = None
    reading = Reading("lanes", settings, {"cells": 10})
    text = case_text(replace(draft, decoders=(Guess(reading, 0.8, ("why",), "how?"),)), Paths("best.onnx"))
    assert "decode" not in tomllib.loads(text)
    block = text[text.index("# [decode]") : text.index("[variants.fp32]")]
    bare = [line.removeprefix("# ") for line in block.splitlines()]
    keys = [line for line in bare if line.startswith("[") or "=" in line]
    assert tomllib.loads("\n".join(keys)) == {"decode": {"name": "lanes", "cells": 10}}


def test_only_outputs_that_the_decoder_reads_are_left_to_it(model: Path) -> None:
    draft = drafted(model, images=False)
    settings = FAMILIES["yolov10"].settings.model_validate({"name": "yolov10"})
    reading = Reading("yolov10", settings, {}, ("rows", "more rows"))
    text = case_text(replace(draft, decoders=(Guess(reading, 0.99, ("why",)),)), Paths("best.onnx"))
    left = tomllib.loads(text)["tolerances"]
    assert [(entry["output"], entry["judged"]) for entry in left] == [("rows", "decoded"), ("more rows", "decoded")]


def test_names_from_models_cannot_leave_their_string_or_comment(model: Path) -> None:
    attack = 'x"\n[variants.evil]\nprecision = "fp8'
    draft = drafted(model, images=False)
    names = Guess((attack,), 0.9, (attack,))
    decoder = Guess(
        Reading("yolov10", draft.decoders[0].value.settings, {"outputs": {"detections": attack}}), 0.9, (attack,)
    )
    tables = tomllib.loads(
        case_text(replace(draft, decoders=(decoder,), class_names=names), Paths(f"{attack}.onnx"), PROPOSED)
    )
    assert set(tables["variants"]) == {"fp32", "fp16", "int8"}
    assert tables["model"] == f"{attack}.onnx"
    assert tables["decode"]["class_names"] == [attack]


def test_a_model_in_the_folder_is_referred_to_and_one_elsewhere_copied(model: Path, tmp_path: Path) -> None:
    inside = put(drafted(model), model.parent)
    assert inside.paths.model == "best.onnx"
    assert sorted(path.name for path in model.parent.iterdir()) == ["best.onnx", "case.toml", "photos"]
    outside = put(drafted(model), tmp_path / "case")
    assert sorted(path.name for path in outside.folder.iterdir()) == ["best.onnx", "case.toml"]


def test_external_data_is_copied_with_its_model(tmp_path: Path) -> None:
    source = tmp_path / "given"
    (source / "data").mkdir(parents=True)
    onnx.save_model(
        two_matmuls(1.0), source / "m.onnx", save_as_external_data=True, location="data/w.bin", size_threshold=0
    )
    placed = put(examine(Asked(source / "m.onnx"), lambda _what: None), tmp_path / "case")
    assert (placed.folder / "data/w.bin").read_bytes() == (source / "data/w.bin").read_bytes()
    load_case(placed.folder)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["case.toml"], r"case\.toml: exists, and is not written over; choose another folder with --out"),
        (["notes.txt"], "exists and is not empty"),
    ],
    ids=["case", "other files"],
)
def test_what_is_there_is_never_written_over(files: list[str], told: str, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    folder.mkdir()
    for name in files:
        (folder / name).write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=told):
        put(drafted(model), folder)
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} == dict.fromkeys(files, "mine")


def test_a_name_that_no_case_file_can_hold_is_told_and_leaves_none(model: Path, tmp_path: Path) -> None:
    renamed = model.rename(model.with_name("best\udcff.onnx"))
    with pytest.raises(RunError, match="is no UTF-8"):
        put(drafted(renamed, images=False), tmp_path / "case")
    assert not (tmp_path / "case").exists()


def test_a_folder_that_is_a_file_is_an_error(model: Path, tmp_path: Path) -> None:
    (tmp_path / "case").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match=r"is a file|cannot be looked into"):
        require_free(tmp_path / "case", model)


def test_proposals_are_written_into_the_file_and_load(model: Path, tmp_path: Path) -> None:
    draft = drafted(model)
    placed = put(draft, tmp_path / "case")
    rewrite(placed, draft, PROPOSED)
    [rule] = load_case(placed.folder).tolerances
    assert (rule.variant, rule.output, rule.tolerance.atol, rule.tolerance.min_sqnr_db) == (
        "fp16",
        "logits",
        0.02,
        55.0,
    )
    assert "# int8: the default bounds stay." in placed.file.read_text(encoding="utf-8")


def test_a_file_that_was_changed_meanwhile_is_left_as_it_is(model: Path, tmp_path: Path) -> None:
    draft = drafted(model)
    placed = put(draft, tmp_path / "case")
    placed.file.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="was changed meanwhile"):
        rewrite(placed, draft, PROPOSED)
    assert placed.file.read_text(encoding="utf-8") == "mine"


def test_images_are_read_again_from_the_paths_that_are_written(model: Path, tmp_path: Path) -> None:
    placed = put(drafted(model), tmp_path / "case")
    case = load_case(placed.folder)
    assert isinstance(case.evaluation, ImageSource)
    found = {path.resolve() for path in case.evaluation.files}
    assert found <= {path.resolve() for path in (model.parent / "photos").iterdir()}
    assert np.all([path.is_file() for path in found])


def test_images_that_share_a_name_keep_their_annotations_apart(tmp_path: Path) -> None:
    onnx.save(classifier(), str(tmp_path / "m.onnx"))
    names = [f"{folder}/{number}.png" for folder in ("day", "night") for number in range(6)]
    for folder in ("day", "night"):
        write_images(tmp_path / "photos" / folder, [f"{number}.png" for number in range(6)])
    content = {
        "images": [{"id": index, "file_name": name} for index, name in enumerate(names)],
        "annotations": [{"image_id": index, "category_id": index % 2} for index in range(12)],
        "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
    }
    (tmp_path / "what.json").write_text(json.dumps(content), encoding="utf-8")
    asked = Asked(tmp_path / "m.onnx", tmp_path / "photos", tmp_path / "what.json")
    placed = put(examine(asked, lambda _what: None), tmp_path / "case")
    case = load_case(placed.folder)
    truths = open_truth(case, image_names(case.evaluation))
    assert len(truths.by_image) == 8
    assert all(int(truth.classes[0]) == names.index(name) % 2 for name, truth in truths.by_image.items())
    assert truths.notes == ()


def classifier() -> onnx.ModelProto:
    """Return images (n, 3, 8, 8) -> scores (n, 2) by the mean of the first two channels."""
    nodes = [
        onnx.helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        onnx.helper.make_node("Flatten", ["mean"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "w"], ["scores"]),
    ]
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "classifier",
        [value("images", onnx.TensorProto.FLOAT, ["n", 3, 8, 8])],
        [value("scores", onnx.TensorProto.FLOAT, ["n", 2])],
        [onnx.numpy_helper.from_array(np.eye(3, 2, dtype=np.float32), "w")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(("side", "count"), [(64, 4), (4096, 1)])
def test_random_feeds_are_few_where_each_is_large(side: int, count: int, model: Path) -> None:
    draft = drafted(model, images=False)
    facts = replace(draft.facts, sizes=dict.fromkeys(draft.facts.sizes, (1, 3, side, side)))
    tables = tomllib.loads(case_text(replace(draft, facts=facts), Paths("m.onnx")))
    assert (tables["inputs"]["count"], tables["calibration"]["count"]) == (count, count)


def recurrent(*inputs: tuple[str, list[int | str]]) -> onnx.ModelProto:
    """Return a model that takes its length before its batch, as exporters write recurrent layers."""
    value = onnx.helper.make_tensor_value_info
    given = [value(name, onnx.TensorProto.FLOAT, dims) for name, dims in inputs]
    nodes = [onnx.helper.make_node("Neg", [name], [f"{name}_out"]) for name, _ in inputs]
    results = [value(f"{name}_out", onnx.TensorProto.FLOAT, dims) for name, dims in inputs]
    return model_of(nodes, given, results)


@pytest.mark.parametrize(
    ("other", "sizes", "drawn"),
    [
        (("lengths", ["n"]), (1, 5), {"x": (1, 5), "lengths": (5,)}),
        (("lengths", ["n"]), (6, 2), {"x": (6, 2), "lengths": (2,)}),
        (("state", [1, "n"]), (6, 2), {"x": (6, 2), "state": (1, 2)}),
        (("lengths", ["n"]), (3, 3), {"x": (3, 3), "lengths": (3,)}),
    ],
    ids=["one step", "several steps", "a state that is fixed first", "as many steps as rows"],
)
def test_a_length_that_stands_before_the_batch_is_drawn_as_it_was_named(
    other: tuple[str, list[int | str]], sizes: tuple[int, ...], drawn: dict[str, tuple[int, ...]], tmp_path: Path
) -> None:
    model = tmp_path / "recurrent.onnx"
    onnx.save(recurrent(("x", ["length", "n"]), other), str(model))
    placed = put(examine(Asked(model, shapes={"x": sizes}), lambda _what: None), tmp_path / "case")
    case = load_case(placed.folder, allow_python=False)
    feeds = open_feeds(case.evaluation, model_interface(onnx.load(str(case.model))), case.batch_size)
    assert {name: tensor.shape for name, tensor in next(iter(feeds)).tensors.items()} == drawn


def test_a_model_that_is_quantized_already_is_its_own_int8_variant(tmp_path: Path) -> None:
    nodes = [
        onnx.helper.make_node("QuantizeLinear", ["x", "s"], ["q"], "quantize"),
        onnx.helper.make_node("DequantizeLinear", ["q", "s"], ["y"], "dequantize"),
    ]
    onnx.save(model_of(nodes, ["x"], ["y"], {"s": 0.1}), str(tmp_path / "pairs.onnx"))
    draft = examine(Asked(tmp_path / "pairs.onnx"), lambda _what: None)
    variants = {one.name: one for one in load_case(put(draft, tmp_path / "case").folder, allow_python=False).variants}
    assert variants["int8"].typed_model == tmp_path / "case" / "pairs.onnx"


def test_labels_without_scores_are_left_to_what_they_decode_to(tmp_path: Path) -> None:
    value = onnx.helper.make_tensor_value_info
    given, labels = value("x", onnx.TensorProto.FLOAT, [1, 3, 32, 32]), value("y", onnx.TensorProto.INT64, [1, 32, 32])
    choose = onnx.helper.make_node("ArgMax", ["x"], ["y"], "choose", axis=1, keepdims=0)
    onnx.save(model_of([choose], [given], [labels]), str(tmp_path / "labels.onnx"))
    draft = examine(Asked(tmp_path / "labels.onnx"), lambda _what: None)
    text = tomllib.loads(put(draft, tmp_path / "case").file.read_text(encoding="utf-8"))
    assert text["decode"]["name"] == "segmentation"
    assert [(rule["output"], rule["judged"]) for rule in text["tolerances"]] == [("*", "decoded")]


@pytest.mark.parametrize(
    ("images", "begun"), [(False, "; it began with random inputs."), (True, "; it began with a placeholder")]
)
def test_a_report_of_inputs_that_are_not_as_meant_says_so_by_the_description(
    images: bool, begun: str, model: Path, tmp_path: Path
) -> None:
    draft = drafted(model, images=images)
    assert not draft.is_fed_as_meant
    assert begun in load_case(put(draft, tmp_path / "case").folder, allow_python=False).description
