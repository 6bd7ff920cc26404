"""The feed that failed is saved, and judged again alone by the bound of its run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.backends import get_backend
from parity.backends.fake import FlipElement, ScaleOutput
from parity.case import load_case
from parity.errors import FeedError
from parity.options import SessionOptions
from parity.preprocess import Geometry
from parity.runner import JudgeSettings, run_cases
from parity.runner.reference import prepare_case
from parity.runner.replay import FeedNote, read_feed, write_feed
from parity.runner.store import TensorStore
from parity.verdict import Verdict
from tests.runner_examples import FAKE, SETTINGS, enter_tiny_case, judge_with, replay, with_inputs
from tests.tiny_models import write_case as write_image_case
from tests.tiny_models import write_images
from tests.unit.tiny_case import make_model, write_case

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own that has the tiny case."""
    return enter_tiny_case(tmp_path, monkeypatch)


def test_without_a_failure_no_feed_is_saved(tmp_path: Path) -> None:
    run_cases(SETTINGS)
    assert not list(tmp_path.glob("reports/*/feeds"))


def test_a_replay_judges_the_failing_feed_alone_by_the_same_bound_and_fails_again() -> None:
    first = judge_with(ScaleOutput(factor=1.01))
    again = replay(first, ScaleOutput(factor=1.01))
    assert (again.verdict, again.feed_count) == (Verdict.FAIL, 1)
    assert [tensor.tolerance for tensor in again.tensors] == [tensor.tolerance for tensor in first.tensors]
    assert replay(first).verdict is Verdict.PASS


def test_a_saved_feed_keeps_what_its_images_are_called_and_where_they_lie(in_folder: Path) -> None:
    inputs = 'kind = "images"\nfiles = ["*.png"]\npreprocess = { preset = "yolo", size = [8, 8] }'
    text = 'model = "model.onnx"\nbatch_size = 2\n[inputs]\n' + inputs + '\n[variants.fp32]\nprecision = "fp32"\n'
    folder = write_image_case(in_folder / "cases" / "seen", text)
    write_images(folder, ["a.png", "b.png", "c.png"], (4, 16))
    settings = replace(FAKE, cases=(folder,))
    outcome = judge_with(FlipElement(feed=1), settings=settings)
    assert outcome.failing_feed is not None
    (saved,) = in_folder.glob(f"reports/*/{outcome.failing_feed}")
    case = load_case(folder)
    with TensorStore() as store:
        made = prepare_case(case, JudgeSettings(), store).feeds
        (again,) = prepare_case(case, JudgeSettings(feed=saved), store).feeds
    assert [feed.sources for feed in made] == [("a.png", "b.png"), ("c.png",)]
    assert made[1].geometry == (Geometry(4, 16, 0.5, 0.5, 0, 3),)
    assert (again.number, again.name, again.sources, again.geometry) == (1, "feed0001", ("c.png",), made[1].geometry)


def test_a_replay_names_the_feed_by_its_number_in_the_run() -> None:
    first = judge_with(FlipElement(feed=2))
    again = replay(first, FlipElement())
    difference = again.tensors[0].difference
    assert difference is not None
    assert difference.worst_absolute is not None
    assert difference.worst_absolute.feed == 2


def test_a_replay_keeps_the_scale_of_the_run_where_the_feed_alone_would_forgive(tmp_path: Path) -> None:
    folder = tmp_path / "cases" / "tiny"
    sizes = (1000.0, 1.0, 1.0, 1.0)
    generator = np.random.default_rng(1)
    feeds = [(size * generator.normal(size=(2, 4))).astype(np.float32) for size in sizes]
    for i, feed in enumerate(feeds):
        np.savez(folder / f"{i}.npz", x=feed)
    tolerance = '[[tolerances]]\nrtol = 0.0\natol_rms = 0.01\nreason = "for this test"\n'
    write_case(folder, with_inputs('kind = "npz"\nfiles = ["*.npz"]') + tolerance)
    # Over all four feeds the scale is half of feed 0's own: an error of 0.0075 of its own scale lies between the two.
    logits = get_backend("onnxruntime").open(make_model(), SessionOptions()).run({"x": feeds[0]})["logits"]
    factor = 1 + 0.0075 * float(np.sqrt(np.mean(logits**2)) / np.abs(logits).max())
    first = judge_with(ScaleOutput(factor=factor, feed=0))
    assert first.verdict is Verdict.FAIL
    assert replay(first, ScaleOutput(factor=factor)).verdict is Verdict.FAIL
    alone = replace(FAKE, judging=JudgeSettings(feed=folder / "0.npz"))
    assert judge_with(ScaleOutput(factor=factor), settings=alone).verdict is Verdict.PASS


def test_a_feed_of_another_case_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    first = judge_with(FlipElement())
    write_case(tmp_path / "cases" / "other")
    assert first.replay is not None
    before = list((tmp_path / "reports").iterdir())
    with pytest.raises(FeedError, match="is a feed of case 'tiny', not of other"):
        replay(replace(first, replay=first.replay.replace("cases/tiny", "cases/other")))
    assert list((tmp_path / "reports").iterdir()) == before


def test_a_feed_that_no_run_saved_is_judged_by_its_own_scale(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=np.arange(8, dtype=np.float32).reshape(2, 4))
    outcome = judge_with(settings=replace(FAKE, judging=JudgeSettings(feed=tmp_path / "mine.npz")))
    assert (outcome.verdict, outcome.feed_count) == (Verdict.PASS, 1)


def test_a_saved_feed_that_cannot_be_read_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "feed.npz").write_bytes(b"not a zip")
    with pytest.raises(FeedError, match=r"feed\.npz"):
        run_cases(replace(SETTINGS, judging=JudgeSettings(feed=tmp_path / "feed.npz")))
    assert not (tmp_path / "reports").exists()


def test_a_saved_feed_of_an_image_whose_name_is_no_text_is_read_back(tmp_path: Path) -> None:
    note = FeedNote(name="\udcdc.png", sources=("\udcdc.png",), dtypes={"x": "float32"}, geometry=None)
    write_feed(tmp_path / "feed.npz", {"x": np.ones(2, np.float32)}, note)
    _, read = read_feed(tmp_path / "feed.npz")
    assert read is not None
    assert (read.name, read.sources) == ("\\udcdc.png", ("\\udcdc.png",))
