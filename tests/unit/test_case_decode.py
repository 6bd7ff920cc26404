"""[decode] and the tables beside it, from the file to a frozen ``Decoding``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from onnx import TensorProto, helper

from parity.case.loader import load_case
from parity.case.model import Annotations, Decoding, GateRule
from parity.case.schema import json_schema
from parity.decode import FAMILIES, Fit
from parity.decoded import Task
from parity.errors import CaseError
from tests.tiny_models import write_case, write_images
from tests.toy_decoders import RowSettings, add_toy_decoders

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

HEAD = 'model = "model.onnx"\n[inputs]\nkind = "images"\nfiles = ["*.png"]\npreprocess = "yolo"\n'
ROWS = '[decode]\nname = "toy_rows"\n'
PYTHON = '[decode]\nname = "python"\nfunction = "code.py:decode"\ntask = "detection"\n'
GATE = '[[gates]]\nfigure = "missed_share"\nmax = 0.01\nreason = "one in a hundred"\n'


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    add_toy_decoders(monkeypatch)


def model_with(*outputs: tuple[str, tuple[int | str, ...]]) -> onnx.ModelProto:
    """Return a model whose outputs claim these shapes; it is read, never run."""
    nodes = [helper.make_node("Identity", ["images"], [name]) for name, _ in outputs]
    value = helper.make_tensor_value_info
    shown = [value(name, TensorProto.FLOAT, shape) for name, shape in outputs]
    images = value("images", TensorProto.FLOAT, ["batch", 3, 8, 8])
    return helper.make_model(helper.make_graph(nodes, "graph", [images], shown))


def write(folder: Path, text: str, model: onnx.ModelProto | None = None) -> Path:
    write_case(folder, HEAD + text, model or model_with(("rows", ("batch", 20, 6))))
    write_images(folder, ["a.png", "b.png"])
    (folder / "code.py").write_text("raise RuntimeError('loading a case must not run its code')\n")
    (folder / "truth.json").write_text("not read when the case is")
    return folder


def mistakes_of(folder: Path, **options: bool) -> list[str]:
    with pytest.raises(CaseError) as caught:
        load_case(folder, **options)
    return [str(mistake) for mistake in caught.value.mistakes]


def decoding_of(folder: Path) -> Decoding:
    decoding = load_case(folder).decoding
    assert decoding is not None
    return decoding


def test_a_decoder_becomes_its_settings_with_everything_beside_it(tmp_path: Path) -> None:
    text = (
        f'{ROWS}stride = 4\nscore_threshold = 0.4\nclass_names = ["a", "b"]\n[decode.outputs]\nrows = "rows"\n'
        "[agreement]\nmatch_iou = 0.6\nborderline_cap = 0.01\npictures = 0\n"
        f'{GATE}[[gates]]\nvariant = "fp*"\nfigure = "true_ap_drop"\nmin = -0.01\nmax = 1\nreason = "both ways"\n'
        '[annotations]\nfile = "truth.json"\n'
    )
    folder = write(tmp_path, text)
    assert decoding_of(folder) == Decoding(
        settings=RowSettings(stride=4, score_threshold=0.4, class_names=["a", "b"], outputs={"rows": "rows"}),
        function="",
        task=Task.DETECTION,
        class_names=("a", "b"),
        score_threshold=0.4,
        match_iou=0.6,
        borderline_cap=0.01,
        small_margin=0.02,
        picture_count=0,
        gates=(
            GateRule("*", "missed_share", None, 0.01, "one in a hundred"),
            GateRule("fp*", "true_ap_drop", -0.01, 1, "both ways"),
        ),
        annotations=Annotations(folder.resolve() / "truth.json"),
    )


def test_a_function_decodes_and_another_knows_the_truth_and_neither_is_loaded(tmp_path: Path) -> None:
    folder = write(tmp_path, f'{PYTHON}score_threshold = 0.5\n[annotations]\nfunction = "code.py:truth"\n')
    decoding = decoding_of(folder)
    assert (decoding.settings, decoding.function, decoding.score_threshold) == (None, "code.py:decode", 0.5)
    assert decoding.annotations == Annotations(function="code.py:truth")


def test_a_case_without_decode_has_no_decoding(tmp_path: Path) -> None:
    assert load_case(write(tmp_path, "")).decoding is None


def test_a_task_without_scores_of_boxes_has_no_threshold(tmp_path: Path) -> None:
    model = model_with(("scores", ("batch", 5)))
    assert decoding_of(write(tmp_path, '[decode]\nname = "toy_scores"\n', model)).score_threshold == 0


@pytest.mark.parametrize("shape", [("batch", "n", 6), (None, None, 6), ()], ids=str)
def test_a_shape_that_the_model_leaves_open_is_judged_when_it_runs(tmp_path: Path, shape: tuple[int | str]) -> None:
    assert decoding_of(write(tmp_path, ROWS, model_with(("rows", shape)))).task is Task.DETECTION


def test_many_mistakes_in_decoded_results_are_told_at_once(tmp_path: Path) -> None:
    text = f"""
[decode]
name = "toy_rows"
stryde = 2
score_threshold = 2
outputs = {{ rows = "row" }}
[agreement]
match_iou = 0
pictures = -1
[variants.fp16]
precision = "fp16"
{GATE.replace("missed_share", "mised_share")}
[[gates]]
variant = "fp61"
figure = "ap"
min = 0.9
max = 0.8
reason = " "
[[gates]]
figure = "ap"
[[gates]]
figure = "true_ap_drop"
min = "x"
reason = "no annotations"
[latency]
"""
    found = mistakes_of(write(tmp_path, text))
    assert [mistake for mistake in found if "expected one of image_count" in mistake] == [
        mistake for mistake in found if mistake.startswith("gates[0].figure: ")
    ]
    assert {mistake for mistake in found if not mistake.startswith("gates[0].figure: ")} == {
        "decode.stryde: unknown key; did you mean 'stride'?",
        "decode.score_threshold: expected less than or equal to 1; got 2",
        "decode.outputs.rows: expected one of rows; got 'row'; did you mean 'rows'?",
        "agreement.match_iou: expected greater than 0; got 0",
        "agreement.pictures: expected greater than or equal to 0; got -1",
        "gates[1].variant: expected one of fp16; got 'fp61'; did you mean 'fp16'?",
        "gates[1].min: expected at most max, 0.8; got 0.9",
        "gates[1].reason: expected string should match pattern '\\S'; got ' '",
        "gates[2]: expected min, max or both; a gate without a limit lets everything through",
        "gates[2].reason: is missing",
        "gates[3].figure: true_ap_drop is measured against what is really in the images; add [annotations]",
        "gates[3].min: expected a valid number; got 'x'",
    }
    assert any("got 'mised_share'; did you mean 'missed_share'?" in mistake for mistake in found)


TRUTH = '[annotations]\nfile = "truth.json"\n'
SCORES = '[decode]\nname = "toy_scores"\n'

# Each: what stands in the file, and the one mistake it makes.
MISTAKES = {
    "a decoder that is not there": (
        ROWS.replace("rows", "row"),
        "decode.name: expected one of toy_rows, toy_scores, python; got 'toy_row'; did you mean 'toy_rows'?",
    ),
    "a decoder without a name": ("[decode]\nstride = 2\n", "decode.name: is missing"),
    "a decoder that is no table": ("decode = 1\n", "decode.name: is missing"),
    "agreement without a decoder": ("[agreement]\n", "agreement: has a meaning beside [decode] only"),
    "gates without a decoder": (GATE, "gates: has a meaning beside [decode] only"),
    "annotations without a decoder": (TRUTH, "annotations: has a meaning beside [decode] only"),
    "gates beside a decoder with a mistake": (f"{ROWS}max_detections = 0\n{GATE}", "decode.max_detections: expected"),
    "another model": (
        SCORES,
        "decode.name: decoder 'toy_scores': found rows ('batch', 20, 6); expected (images, classes); decode.name",
    ),
    "a part that the decoder does not have": (
        f'{ROWS}outputs = {{ boxes = "rows", rows = "rows" }}\n',
        "decode.outputs.boxes: expected one of rows; got 'boxes'",
    ),
    "a part by another name": (
        f'{ROWS}outputs = {{ row = "rows" }}\n',
        "decode.outputs.row: expected one of rows; got 'row'; did you mean 'rows'?",
    ),
    "gates that are no tables": (f"gates = [1]\n{ROWS}", "gates[0]: expected a valid table; got 1"),
    "gates that are no list": (f"gates = 1\n{ROWS}", "gates: expected a valid list; got 1"),
    "a gate for a figure of another task": (
        ROWS + GATE.replace("missed_share", "top1_agreement"),
        "gates[0].figure: expected one of image_count",
    ),
    "neither file nor function": (f"{ROWS}[annotations]\n", "annotations: expected either file or function"),
    "both file and function": (
        f'{ROWS}{TRUTH}function = "code.py:truth"\n',
        "annotations: expected either file or function",
    ),
    "a file that is not there": (
        ROWS + TRUTH.replace("truth", "lies"),
        "annotations.file: 'lies.json' does not exist",
    ),
    "a file outside the case folder": (
        ROWS + TRUTH.replace("truth", "../truth"),
        "annotations.file: '../truth.json' leads out of the case folder",
    ),
    "a function outside the case folder": (
        PYTHON.replace("code.py", "../code.py"),
        "decode.function: '../code.py' lies outside the case folder",
    ),
    "a function that is not named as such": (
        f'{ROWS}[annotations]\nfunction = "code.truth"\n',
        "annotations.function: expected file.py:function; got 'code.truth'",
    ),
    "a function without a task": (PYTHON.replace('task = "detection"\n', ""), "decode.task: is missing"),
    "an unknown task": (
        PYTHON.replace("detection", "detecton"),
        "decode.task: expected one of detection, classification, lanes, segmentation; got 'detecton'",
    ),
    "annotations of lanes": (
        PYTHON.replace("detection", "lanes") + TRUTH,
        "annotations: have a meaning for detection and classification only; leave them out of lanes",
    ),
    "pairs of boxes where there are none": (
        f"{PYTHON.replace('detection', 'classification')}[agreement]\nmatch_iou = 0.6\n",
        "agreement.match_iou: has a meaning for detection only; leave it out of classification",
    ),
    "a threshold where nothing is thresholded": (
        f"{PYTHON.replace('detection', 'lanes')}score_threshold = 0.6\n",
        "decode.score_threshold: has a meaning for detection only; leave it out of lanes",
    ),
}


@pytest.mark.parametrize(("text", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_alone_and_with_its_path(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "truth.json").touch()
    (tmp_path / "code.py").touch()
    folder = write(tmp_path / "case", "")
    # A key of the file itself has to stand before the first table.
    key, tables = ("", text) if text.startswith("[") else text.split("\n", 1)
    (folder / "case.toml").write_text(f"{key}\n{HEAD}{tables}")
    found = mistakes_of(folder)
    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_annotations_need_inputs_that_are_images(tmp_path: Path) -> None:
    folder = write(tmp_path, "")
    random = 'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'
    (folder / "case.toml").write_text(random + ROWS + TRUTH)
    assert mistakes_of(folder) == ["annotations: need inputs that are images: kind images, or python with preprocess"]


def test_without_leave_for_python_decoders_and_annotations_of_it_are_mistakes(tmp_path: Path) -> None:
    folder = write(tmp_path, f'{PYTHON}[annotations]\nfunction = "code.py:truth"\n')
    found = mistakes_of(folder, allow_python=False)
    assert [mistake.partition(":")[0] for mistake in found] == ["decode.function", "annotations.function"]
    assert all("--no-python" in mistake for mistake in found)


def test_the_json_schema_has_every_decoder_with_its_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = add_toy_decoders(monkeypatch).model_json_schema()
    branches = [branch["$ref"].rpartition("/")[2] for branch in schema["properties"]["decode"]["anyOf"][0]["oneOf"]]
    tables = {schema["$defs"][name]["properties"]["name"]["const"]: schema["$defs"][name] for name in branches}
    assert set(tables) == {"toy_rows", "toy_scores", "python"}
    assert tables["toy_rows"]["properties"]["stride"]["description"] == "What coordinates are multiplied by."
    assert tables["python"]["required"] == ["name", "function", "task"]


def test_the_published_schema_names_every_decoder_of_the_registry() -> None:
    text = json.dumps(json_schema()["$defs"])
    families = set(FAMILIES) - {"toy_rows", "toy_scores"}
    assert {name for name in {*families, "python"} if f'"const": "{name}"' not in text} == set()


def test_a_misfit_says_what_would_fit(tmp_path: Path) -> None:
    (found,) = mistakes_of(write(tmp_path, SCORES))
    assert "toy_rows" in found.partition("decode.name that would fit: ")[2].split(", ")


def test_some_of_several_parts_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = replace(FAMILIES["toy_rows"], layout=lambda _shapes: Fit({"rows": "rows", "counts": "counts"}, 1, ""))
    monkeypatch.setitem(FAMILIES, "toy_rows", two)
    model = model_with(("rows", ("batch", 20, 6)), ("counts", ("batch", 1)))
    assert mistakes_of(write(tmp_path, f'{ROWS}outputs = {{ rows = "rows" }}\n', model)) == [
        "decode.outputs: lacks counts; name all of rows, counts, or none"
    ]


LEFT = '[[tolerances]]\noutput = "*"\njudged = "decoded"\nreason = "rows change places"\n'
BOUND = '[[tolerances]]\noutput = "counts"\nrtol = 0\natol = 0\nreason = "counts are counts"\n'
UNREAD = model_with(("rows", ("batch", 20, 6)), ("counts", ("batch", 4)))


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (ROWS + LEFT + BOUND, UNREAD),
        (ROWS + LEFT.replace("*", "rows"), UNREAD),
        (ROWS + LEFT, model_with(("rows", ("batch", 20, 6)))),
        (PYTHON + LEFT, UNREAD),
    ],
    ids=["a bound behind", "its own output", "one output", "a function reads what it likes"],
)
def test_outputs_that_something_judges_may_be_left_to_decoding(
    tmp_path: Path, text: str, model: onnx.ModelProto
) -> None:
    text = text.replace('"toy_rows"\n', '"toy_rows"\noutputs = { rows = "rows" }\n')
    assert load_case(write(tmp_path, text, model)).decoding is not None


@pytest.mark.parametrize("rules", [LEFT, BOUND + LEFT, LEFT.replace('"*"', '"counts[:, 1:]"')])
@pytest.mark.parametrize("named", ["", 'outputs = { rows = "rows" }\n'], ids=["found", "named"])
def test_an_output_that_the_decoder_does_not_read_is_not_left_to_it(tmp_path: Path, rules: str, named: str) -> None:
    [mistake] = mistakes_of(write(tmp_path, ROWS + named + rules, UNREAD))
    assert mistake == (
        "tolerances: leave 'counts' to decoding, and decoder \"toy_rows\" reads rows alone; add an entry with a bound "
        "for 'counts' behind them"
    )
