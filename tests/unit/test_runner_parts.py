"""The parts of the runner: tensors on disk, saved feeds with their note, the run's folder, settings."""

from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

from parity.case import Variant
from parity.errors import FeedError, RunError
from parity.options import PrecisionOptions, Provider, SessionOptions
from parity.preprocess import Geometry
from parity.results import Environment, Run
from parity.run_file import load_run
from parity.runner import (
    JudgeSettings,
    Origin,
    RunFolder,
    RunSettings,
    cache_folder,
    create_run_folder,
    run_cases,
)
from parity.runner.replay import NOTE_KEY, FeedNote, read_feed, write_feed
from parity.runner.settings import MADE_BY, relative_path, selection_of, with_selection, without_current_folder
from parity.runner.store import TensorStore
from parity.tolerance import Precision
from parity.verdict import Verdict
from tests.tiny_graphs import model_of
from tests.tiny_models import write_case

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN = Run("name", NOW.isoformat(), (), Environment("3.11", "Linux", "a processor", 2))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.array([1.5, -2.0], ml_dtypes.bfloat16),
        np.array([0.5], ml_dtypes.float8_e4m3fn),
        np.zeros((0, 4), np.float32),
        np.array(3, np.int64),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(2.5, ml_dtypes.bfloat16),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_tensors_come_back_from_disk_as_they_were_and_read_only(array: np.ndarray) -> None:
    with TensorStore() as store:
        stored = store.put({"a/b": array})
        found = stored["a/b"]
        assert list(stored) == ["a/b"]
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert isinstance(found, np.memmap)
        assert not found.flags.writeable
        np.testing.assert_array_equal(found, array)


def test_a_full_temporary_folder_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_keywords: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "save", full)
    with TensorStore() as store, pytest.raises(RunError, match=r"No space left on device.*set TMPDIR"):
        store.put({"x": np.zeros(1)})


def test_a_saved_feed_comes_back_with_its_note(tmp_path: Path) -> None:
    tensors = {"x": np.array([1, 2], ml_dtypes.bfloat16), "file": np.arange(3)}
    dtypes = {name: tensor.dtype.name for name, tensor in tensors.items()}
    geometry = (Geometry(60, 100, 0.1 + 0.2, 1 / 3, 4.5, -1), Geometry(1, 1))
    note = FeedNote("case", "fp16", 7, "feed0007", {"y[rest]": 0.1 + 0.2}, dtypes, geometry, ("a.png", "b.png"))
    write_feed(tmp_path / "feed.npz", tensors, note)
    found, found_note = read_feed(tmp_path / "feed.npz")
    assert found_note == note
    assert {name: tensor.dtype for name, tensor in found.items()} == {n: t.dtype for n, t in tensors.items()}
    np.testing.assert_array_equal(found["x"], tensors["x"])


def test_a_feed_that_no_run_saved_has_no_note(tmp_path: Path) -> None:
    np.savez(tmp_path / "feed.npz", x=np.arange(3))
    tensors, note = read_feed(tmp_path / "feed.npz")
    assert list(tensors) == ["x"]
    assert note is None


def test_a_note_from_before_geometry_was_kept_still_reads(tmp_path: Path) -> None:
    old = {"case": "c", "variant": "fp16", "feed": 3, "name": "feed0003", "scales": {}, "dtypes": {"x": "int64"}}
    content = {"x": np.arange(3), NOTE_KEY: np.frombuffer(json.dumps(old).encode(), np.uint8)}
    np.savez(tmp_path / "feed.npz", **content)
    _, note = read_feed(tmp_path / "feed.npz")
    assert note == FeedNote("c", "fp16", 3, "feed0003", {}, {"x": "int64"}, None, ())


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"unknown": 1}', '{"dtypes": {}}', '{"dtypes": {"x": "no-such"}}', '{"dtypes": 1}'),
        '{"dtypes": {"x": "int64"}, "geometry": [{"original_height": 1, "original_width": 2}], "sources": []}',
        '{"dtypes": {"x": "int64"}, "geometry": [{"original_height": "high", "original_width": 2}], "sources": ["a"]}',
    ],
)
def test_a_damaged_note_is_told(text: str, tmp_path: Path) -> None:
    content = {"x": np.arange(3), NOTE_KEY: np.frombuffer(text.encode(), np.uint8)}
    np.savez(tmp_path / "feed.npz", **content)
    with pytest.raises(FeedError, match="its note is damaged") as caught:
        read_feed(tmp_path / "feed.npz")
    assert "\n" not in str(caught.value)


def test_a_model_that_gives_text_is_an_error_that_names_the_output(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    inputs, outputs = [value("x", TensorProto.FLOAT, [1, 4])], [value("word", TensorProto.STRING, [1, 4])]
    model = model_of([helper.make_node("Cast", ["x"], ["word"], "cast", to=TensorProto.STRING)], inputs, outputs)
    case = write_case(
        tmp_path / "words", 'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 1\n', model
    )
    [outcome] = run_cases(RunSettings((case,), ("fp32",), out=tmp_path / "reports")).outcomes
    assert outcome.verdict is Verdict.ERROR
    assert outcome.headline == "output 'word': holds text; expected numbers, expose what the text is chosen by"


def test_a_run_folder_is_named_by_time_and_name_and_never_shared(tmp_path: Path) -> None:
    folders = [create_run_folder(tmp_path / "a" / "reports", "../my case", NOW) for _ in range(3)]
    names = [folder.path.name for folder in folders]
    assert names == ["20260102-030405--my-case", "20260102-030405--my-case-2", "20260102-030405--my-case-3"]
    assert {folder.path.parent for folder in folders} == {tmp_path / "a" / "reports"}


def no_space(*_arguments: object, **_keywords: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def no_permission(*_arguments: object, **_keywords: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@pytest.mark.parametrize("fail", [no_space, no_permission])
@pytest.mark.parametrize("where", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
def test_a_save_that_fails_leaves_the_old_file_whole_and_nothing_beside_it(
    where: str, fail: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.save(RUN)
    with monkeypatch.context() as patch:
        patch.setattr(where, fail)
        with pytest.raises(RunError, match=r"run\.json: cannot be written \((No space|Permission)"):
            folder.save(Run("other", "", (), RUN.environment))
    assert load_run(tmp_path) == RUN
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_names_of_feeds_stay_inside_the_folder(tmp_path: Path) -> None:
    path = RunFolder(tmp_path).feed_path("../../case", "a/b@fake", 3)
    assert path.parent == tmp_path / "feeds"
    assert path.name == "-..-case-a-b@fake-3.npz"


def test_a_selection_survives_being_saved() -> None:
    session = SessionOptions(provider=Provider.CUDA, thread_count=3, timeout_s=1.5)
    judging = JudgeSettings(session=session, limit=7, feed=Path("a.npz"))
    settings = RunSettings(cases=(Path("c"),), variants=("fp16*",), backends=("fake",), judging=judging)
    assert with_selection(RunSettings(), selection_of(settings)) == settings


def test_a_saved_selection_does_not_decide_whether_python_runs() -> None:
    selection = selection_of(RunSettings(allow_python=True))
    assert not with_selection(RunSettings(allow_python=False), selection).allow_python


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("onnxruntime", "--variant fp16@onnxruntime"),
        ("onnxruntime-cuda", "--variant fp16@onnxruntime-cuda --backend onnxruntime-cuda"),
        ("onnxruntime-tensorrt", "--variant fp16@onnxruntime-tensorrt --backend onnxruntime-tensorrt"),
        ("tensorrt-8.6", "--variant fp16@tensorrt-8.6 --backend tensorrt --tensorrt-python trt/python"),
        ("tensorrt-8.6-2", "--variant fp16@tensorrt-8.6-2 --backend tensorrt --tensorrt-python trt/python"),
    ],
)
def test_a_variant_is_selected_again_where_it_ran(backend: str, words: str) -> None:
    variant = Variant("fp16", PrecisionOptions(Precision.FP16))
    assert " ".join(Origin(("trt/python",)).words(variant, backend)) == words
    assert "--tensorrt-python" not in Origin().words(variant, backend)


def test_an_engine_of_the_case_is_selected_by_its_name(tmp_path: Path) -> None:
    variant = Variant("mine", PrecisionOptions(Precision.INT8), engine=tmp_path / "mine.plan")
    given = Origin(engines=(tmp_path / "other.plan",))
    assert given.words(variant, "tensorrt-8.6")[:2] == ["--variant", "mine@tensorrt-8.6"]


def test_the_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PARITY_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("PARITY_CACHE_DIR")
    assert "trt-parity" in str(cache_folder())


def test_paths_below_the_current_folder_are_told_from_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative_path(tmp_path / "cases" / "a") == "cases/a"
    assert relative_path(Path("cases/a")) == "cases/a"
    assert relative_path(Path("/elsewhere/a")) == "/elsewhere/a"


def test_a_message_tells_paths_below_the_current_folder_from_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"model: {tmp_path}/cases/a/model.onnx: is empty; {tmp_path}-b/c and /mnt{tmp_path}/d are elsewhere"
    told = f"model: cases/a/model.onnx: is empty; {tmp_path}-b/c and /mnt{tmp_path}/d are elsewhere"
    assert without_current_folder(text) == told
    monkeypatch.chdir("/")
    assert without_current_folder(text) == text


def test_a_run_that_another_program_saved_names_the_one_that_resumes_it() -> None:
    with pytest.raises(RunError, match=r"reports/x: was saved by pytest; run pytest again"):
        with_selection(RunSettings(resume=Path("reports/x")), {MADE_BY: ["pytest"], "variants": []})
