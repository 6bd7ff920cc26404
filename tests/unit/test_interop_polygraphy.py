"""Polygraphy itself is the oracle: what is written here loads there, what it saves is read here bit for bit."""

from __future__ import annotations

import base64
import io
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from polygraphy.comparator import RunResults
from polygraphy.json import from_json, save_json, to_json

from parity.errors import ForeignFileError
from parity.interop.arrays import decode_array, encode_array
from parity.interop.json_file import LIMIT_BYTES
from parity.interop.polygraphy import (
    TensorFiles,
    inputs_json,
    pick_runner,
    read_inputs,
    read_results,
    results_json,
)
from tests.texts import any_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

X = np.arange(6, dtype=np.float32).reshape(2, 3)
PLAIN = st.one_of(
    hnp.floating_dtypes(sizes=(16, 32, 64)), hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.boolean_dtypes()
)
ARRAYS = PLAIN.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)


def same(actual: np.ndarray, expected: np.ndarray) -> bool:
    return actual.dtype == expected.dtype and actual.shape == expected.shape and actual.tobytes() == expected.tobytes()


@given(ARRAYS)
def test_an_array_written_here_is_the_same_array_there(array: np.ndarray) -> None:
    assert same(from_json(json.dumps(encode_array(array))), array)


@given(ARRAYS)
def test_an_array_written_there_is_the_same_array_here(array: np.ndarray) -> None:
    assert same(decode_array(json.loads(to_json(array))), array)


def test_columns_before_rows_are_read_as_they_were() -> None:
    assert np.array_equal(decode_array(json.loads(to_json(np.asfortranarray(X)))), X)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_dtypes_that_the_format_cannot_name_are_widened_exactly(dtype: Any) -> None:
    array = np.array([1.5, -0.25, 448.0], dtype)
    assert same(from_json(json.dumps(encode_array(array))), array.astype(np.float32))


def test_results_written_here_load_there(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(results_json("reference", [{"y": X, "z": X[0]}, {"y": X + 1, "z": X[1]}]), encoding="utf-8")
    loaded = RunResults.load(str(path))
    assert list(loaded.keys()) == ["reference"]
    first, second = loaded["reference"]
    assert list(first) == ["y", "z"]
    assert same(first["y"], X)
    assert same(second["z"], X[1])
    assert second.runner_name == "reference"


def test_results_saved_there_are_read_here(tmp_path: Path) -> None:
    results = RunResults()
    results.add([{"y": X}, {"y": X + 1}], runtime=0.5, runner_name="onnxrt-runner")
    results.add([{"y": X.astype(np.float16)}], runner_name="trt-runner")
    results.save(str(tmp_path / "results.json"))
    runners = read_results(tmp_path / "results.json")
    assert [runner.runner for runner in runners] == ["onnxrt-runner", "trt-runner"]
    assert same(runners[0].iterations[1].decode()["y"], X + 1)
    assert same(runners[1].iterations[0].decode()["y"], X.astype(np.float16))


@pytest.mark.parametrize("one", [False, True], ids=["list", "one feed"])
def test_feeds_saved_there_are_read_here(tmp_path: Path, one: bool) -> None:
    feeds = [{"x": X, "ids": np.array([1, 2])}, {"x": X + 1, "ids": np.array([3, 4])}]
    save_json(feeds[0] if one else feeds, str(tmp_path / "inputs.json"))
    found = [feed.decode() for feed in read_inputs(tmp_path / "inputs.json")]
    assert len(found) == (1 if one else 2)
    assert same(found[-1]["x"], feeds[0 if one else 1]["x"])
    assert same(found[0]["ids"], feeds[0]["ids"])


def test_feeds_written_here_are_equal_there() -> None:
    [feed] = from_json(inputs_json([{"x": X}]))
    assert same(feed["x"], X)


def test_a_tensor_of_any_name_makes_the_way_and_back(tmp_path: Path) -> None:
    name = 'outer/"inner":0\n\u00e9\ud800'
    (tmp_path / "inputs.json").write_text(inputs_json([{name: X}]), encoding="utf-8")
    assert list(read_inputs(tmp_path / "inputs.json")[0].decode()) == [name]


def test_files_are_numbered_through(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    paths[0].write_text(inputs_json([{"x": X}, {"x": X + 1}]), encoding="utf-8")
    paths[1].write_text(inputs_json([{"x": X + 2}]), encoding="utf-8")
    files = TensorFiles(paths, read_inputs)
    assert len(files) == 3
    assert [float(feed.decode()["x"][0, 0]) for feed in map(files.__getitem__, range(3))] == [0, 1, 2]


MARKED = st.sampled_from(["RunResults", "IterationResult", "LazyArray", "ndarray", "Tensor", ""])
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | any_text(max_size=8) | MARKED | st.just(encode_array(X)),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(["polygraphy_class", "lst", "outputs", "values", "array", "x", ""]), inside | MARKED
        )
    ),
    max_leaves=12,
)


@given(ANY_JSON)
def test_whatever_a_file_holds_is_arrays_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    for read in (read_inputs, lambda path: [one for run in read_results(path) for one in run.iterations]):
        # Any other exception than the sentence fails the test.
        with suppress(ForeignFileError):
            tensors = [array for entry in read(path) for array in entry.decode().values()]
            assert all(isinstance(array, np.ndarray) for array in tensors)


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=allow_pickle)
    return content.getvalue()


def encoded(content: bytes) -> dict[str, str]:
    return {"array": base64.b64encode(content).decode(), "polygraphy_class": "ndarray"}


def with_header(shape: str, descr: str = "'<f4'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(24)


BAD_ARRAYS = {
    "base64": ({"array": "a%b", "polygraphy_class": "ndarray"}, "is not base64"),
    "pickle": (encoded(npy(np.array([{"a": 1}], object), allow_pickle=True)), "pickled objects"),
    "no npy": (encoded(b"PK\x03\x04 an archive"), "is not an .npy"),
    "short": (encoded(npy(X)[:-4]), "has 20 bytes; the file is damaged"),
    "long": (encoded(npy(X) + b"more"), "has 28 bytes; the file is damaged"),
    "huge": (encoded(with_header("(10**15,)".replace("10**15", str(10**15)))), "has 24 bytes; the file is damaged"),
    "negative": (encoded(with_header("(-2, -3)")), "has 24 bytes; the file is damaged"),
    "records": (encoded(with_header("(6,)", "[('a', '<f4')]")), "expected numbers"),
    "text": (encoded(npy(np.array(["a"]))), "has dtype <U1; expected numbers"),
    "code in the header": (encoded(with_header("__import__('os').system('true')")), "is not an .npy"),
    "torch": ({"tensor": "", "polygraphy_class": "Tensor"}, "PyTorch tensor"),
    "other class": ({"array": {}, "shape": [1], "polygraphy_class": "FormattedArray"}, "is FormattedArray"),
    "odd class": ({"polygraphy_class": []}, "is dict; expected an array"),
    "number": (3, "is int; expected an array"),
    "no text": ({"array": 3, "polygraphy_class": "ndarray"}, "expected an array"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_a_bad_array_is_refused_in_a_sentence_that_names_it(tmp_path: Path, name: str) -> None:
    value, said = BAD_ARRAYS[name]
    (tmp_path / "inputs.json").write_text(json.dumps([{"x": value}]), encoding="utf-8")
    [feed] = read_inputs(tmp_path / "inputs.json")
    with pytest.raises(ForeignFileError) as caught:
        feed.decode()
    assert f"inputs.json: feed 0: 'x' {said}" in str(caught.value) or said in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'inputs.json'}: feed 0: 'x' ")


RESULTS = results_json("runner", [{"y": X}])
BAD_FILES: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "no json": (read_inputs, "{", "is not JSON"),
    "too deep": (read_inputs, "[" * 200_000, "RecursionError"),
    "twice": (read_inputs, '[{"x": 1, "x": 2}]', "has the key 'x' twice"),
    "no feed": (read_inputs, "[]", "holds no feed"),
    "empty feed": (read_inputs, "[{}]", "feed 0 is nothing"),
    "number": (read_inputs, "[3]", "feed 0 is int"),
    "outputs for inputs": (read_inputs, RESULTS, "holds outputs"),
    "inputs for outputs": (read_results, inputs_json([{"x": X}]), "holds no RunResults"),
    "no runner": (read_results, '{"lst": [], "polygraphy_class": "RunResults"}', "holds no RunResults with a runner"),
    "damaged runner": (read_results, '{"lst": [["a"]], "polygraphy_class": "RunResults"}', "runner 0 is damaged"),
    "no iteration": (
        read_results,
        '{"lst": [["a", [{"y": 1}]]], "polygraphy_class": "RunResults"}',
        "runner 0, iteration 0 is dict; expected an IterationResult",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    read, text, said = BAD_FILES[name]
    (tmp_path / "file.json").write_text(text, encoding="utf-8")
    with pytest.raises(ForeignFileError, match=rf"file\.json.*{said}"):
        read(tmp_path / "file.json")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "inputs.json"
    path.touch()
    os.truncate(path, LIMIT_BYTES + 1)
    with pytest.raises(ForeignFileError, match=r"has 2\.0 GiB; at most 2 GiB"):
        read_inputs(path)


def test_what_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "inputs.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ForeignFileError, match="no UTF-8 text"):
        read_inputs(tmp_path / "inputs.json")
    with pytest.raises(ForeignFileError, match="No such file"):
        read_inputs(tmp_path / "other.json")


def test_a_runner_is_chosen_by_name_or_wildcard(tmp_path: Path) -> None:
    results = RunResults()
    for name in ("onnxrt-runner-N0-11/21/26", "trt-runner-N0-11/21/26"):
        results.add([{"y": X}], runner_name=name)
    results.save(str(tmp_path / "results.json"))
    runners = read_results(tmp_path / "results.json")
    assert pick_runner(runners, "trt-*", "results").runner == "trt-runner-N0-11/21/26"
    assert pick_runner(runners[:1], "", "results") is runners[0]
    with pytest.raises(ForeignFileError, match="no runner is chosen"):
        pick_runner(runners, "", "results")
    with pytest.raises(ForeignFileError, match=r"'\*-runner-\*' chooses 2 of them"):
        pick_runner(runners, "*-runner-*", "results")
