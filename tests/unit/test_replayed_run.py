"""A whole run on what TensorRT 8.6 answered on an H200: from the case to the report, without a GPU."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from parity.backends import TensorRTSettings
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.backends.tensorrt.conversation import infer_singly
from parity.backends.tensorrt.recording import ReplayConversation
from parity.errors import BackendError
from parity.report import render
from parity.run_file import load_run
from parity.runner import RunSettings, run_cases
from parity.verdict import Verdict
from tests.recorded_run import CASE, JUDGED, RECORDING, REFUSED, VERDICTS, recorded_engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from parity.backends import Backend
    from parity.results import Outcome, Run

# SQNR in dB that the recorded run found on the GPU's host, and how far off another host may be. Only the reference is
# computed anew; in fp32 another CPU's order of summation is as large as the engine's difference.
TOTAL_DB = {"fp32": (139.8, 6.0), "tf32": (50.2, 1.0), "fp16": (71.2, 1.0), "int8_entropy": (38.6, 1.0)}

# Layers and arithmetic layers by the precision that they run at, counted by hand in the inspector's JSON.
CENSUS = {
    "fp32": {"fp32": (6, 4)},
    "tf32": {"fp32": (4, 0), "tf32": (4, 4)},
    "fp16": {"fp32": (3, 1), "fp16": (5, 3)},
    "int8_entropy": {"fp32": (1, 0), "int8": (6, 4)},
}
_PATH = re.compile(r"(?:^|[\s\"'(=])(?:/\w|~/|[A-Za-z]:\\)|/(?:home|root|tmp|work|opt|usr|var|mnt|Users)/|file:")


@dataclass(frozen=True)
class Replayed:
    """The run of the recording as it is on disk."""

    run: Run
    folder: Path

    def outcome(self, variant: str, check: str) -> Outcome:
        [found] = [o for o in self.run.outcomes if (o.variant, o.check) == (f"{variant}@tensorrt-8.6", check)]
        return found


def settings(tmp: Path, recording: Path = RECORDING, case: Path = CASE) -> RunSettings:
    tensorrt = TensorRTSettings(interpreters=(f"recording={recording}",), cache=tmp / "cache")
    return RunSettings(cases=(case,), backends=("tensorrt",), out=tmp / "reports", tensorrt=tensorrt)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    tmp = tmp_path_factory.mktemp("replayed")
    run_cases(settings(tmp))
    [folder] = (tmp / "reports").iterdir()
    return Replayed(load_run(folder), folder)


def test_every_variant_gets_the_verdicts_that_it_had_on_the_gpu(replayed: Replayed) -> None:
    found = {(o.variant.removesuffix("@tensorrt-8.6"), o.check): o.verdict for o in replayed.run.outcomes}
    assert found == VERDICTS
    assert replayed.run.is_complete


def test_a_precision_that_the_recorded_tensorrt_lacks_is_an_error_that_names_who_has_it(replayed: Replayed) -> None:
    assert "TensorRT 9.1 or later" in replayed.outcome(REFUSED, "outputs").message


@pytest.mark.parametrize("variant", JUDGED)
def test_the_three_distances_are_near_those_of_the_recorded_run(replayed: Replayed, variant: str) -> None:
    [tensor] = replayed.outcome(variant, "outputs").tensors
    found = tensor.triangulation
    assert found is not None
    expected, allowed = TOTAL_DB[variant]
    assert found.total.sqnr_db == pytest.approx(expected, abs=allowed)
    assert not found.blames_engine
    assert {0 < part.sqnr_db < np.inf for part in (found.conversion, found.engine)} == {True}
    assert tensor.unwritten_count == 0


@pytest.mark.parametrize("variant", JUDGED)
def test_the_census_has_the_layers_of_the_recorded_engine(replayed: Replayed, variant: str) -> None:
    census = replayed.outcome(variant, "census").census
    assert census is not None
    assert {row.precision: (row.layer_count, row.arithmetic_count) for row in census.rows} == CENSUS[variant]
    # A layer that does nothing, such as a reshape behind the head, may take no time.
    assert all(row.time_ms is not None and (row.time_ms > 0 or not row.arithmetic_count) for row in census.rows)


@pytest.mark.parametrize("variant", JUDGED)
def test_every_law_was_tried_and_held(replayed: Replayed, variant: str) -> None:
    laws = replayed.outcome(variant, "invariants").invariants
    assert [law.verdict for law in laws] == [Verdict.PASS] * 8


def test_the_engines_are_those_that_tensorrt_built(replayed: Replayed) -> None:
    engines = {variant: replayed.outcome(variant, "outputs").engine for variant in JUDGED}
    assert {variant: engine.sha256 for variant, engine in engines.items() if engine} == recorded_engines()
    assert {engine.source for engine in engines.values() if engine} == {"built"}


def test_the_run_says_which_gpu_answered_and_that_it_is_a_recording(replayed: Replayed) -> None:
    [worker] = replayed.run.environment.workers
    seal = json.loads((RECORDING / "seal.json").read_text(encoding="utf-8"))["sha256"]
    assert (worker.gpu, worker.driver, worker.packages["tensorrt"]) == ("NVIDIA H200", "580.159.04", "8.6.0")
    assert worker.packages["recording"] in seal


def test_the_report_shows_every_variant_and_engine(replayed: Replayed, tmp_path: Path) -> None:
    shutil.copyfile(replayed.folder / "run.json", tmp_path / "run.json")
    render(tmp_path)
    page, summary = ((tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "summary.md"))
    for variant, engine in recorded_engines().items():
        assert f"{variant}@tensorrt-8.6" in page
        assert engine[:12] in page
    assert "TensorRT 9.1 or later" in summary


class OneRowScaled:
    """A replay in which one row of every answer of a batch is scaled: an engine that is wrong in one place."""

    def __init__(self, inner: ReplayConversation) -> None:
        self._inner = inner

    @property
    def generation(self) -> int:
        return self._inner.generation

    def ask(self, operation: str, fields: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        answer = self._inner.ask(operation, fields, timeout_s)
        if operation == "infer":
            answer["tensors"]["logits"][-1] *= np.float32(1.5)
        return answer

    def infer_all(self, batches: Iterable[Sequence[dict[str, Any]]], timeout_s: float) -> Iterator[dict[str, Any]]:
        return infer_singly(self, batches, timeout_s)

    def close(self) -> None:
        self._inner.close()


def test_one_wrong_row_in_the_recorded_answers_fails_and_the_engine_is_blamed(tmp_path: Path) -> None:
    @contextmanager
    def open_faulty(_names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        backend = TensorRTBackend(OneRowScaled(ReplayConversation(RECORDING)), tensorrt.cache)
        yield (backend,)
        backend.close()

    asked = replace(settings(tmp_path), variants=("fp32",))
    outputs, census, invariants = run_cases(asked, open_backends=open_faulty).outcomes
    assert (outputs.verdict, census.verdict, invariants.verdict) == (Verdict.FAIL, Verdict.PASS, Verdict.FAIL)
    assert outputs.tensors[0].triangulation is not None
    assert outputs.tensors[0].triangulation.blames_engine


@pytest.mark.parametrize(("old", "new"), [('"gpu_ms":0.0', '"gpu_ms":0.1'), ('"fp16"', '"fp32"')])
def test_an_altered_recording_judges_nothing(tmp_path: Path, old: str, new: str) -> None:
    altered = shutil.copytree(RECORDING, tmp_path / "altered")
    lines = altered / "conversation.jsonl"
    text = lines.read_text(encoding="utf-8")
    assert old in text
    lines.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BackendError, match="damaged or was altered"):
        run_cases(settings(tmp_path, altered))
    assert not (tmp_path / "reports").exists()


def other_model(case: Path) -> None:
    model = onnx.load(case / "model.onnx")
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.01), weights.name))
    onnx.save(model, case / "model.onnx")


def other_feeds(case: Path) -> None:
    text = (case / "case.toml").read_text(encoding="utf-8")
    (case / "case.toml").write_text(text.replace("seed = 11", "seed = 13"), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (other_model, "source.model: asked a file of"),
        (other_feeds, "tensors.x: asked float32 [4, 3, 16, 16] of"),
    ],
)
def test_another_model_and_another_feed_are_errors_and_never_passes(
    tmp_path: Path, change: Callable[[Path], None], told: str
) -> None:
    case = shutil.copytree(CASE, tmp_path / "recorded_case")
    change(case)
    run = run_cases(replace(settings(tmp_path, case=case), variants=("fp16",)))
    assert {outcome.verdict for outcome in run.outcomes} == {Verdict.ERROR}
    assert told in run.outcomes[0].message


@pytest.mark.parametrize("text", ["in /tmp/x.plan", '"/home/me"', "C:\\\\models", "file:x", "a/work/b"])
def test_a_path_in_a_recorded_text_would_be_seen(text: str) -> None:
    assert _PATH.search(text)


def test_no_text_of_the_recording_holds_a_path() -> None:
    lines = (RECORDING / "conversation.jsonl").read_text(encoding="utf-8")
    hashes = set(re.findall(r'"\$text":\{"sha256":"([0-9a-f]{64})"', lines))
    assert len(hashes) == len(JUDGED)
    with zipfile.ZipFile(RECORDING / "blobs.zip") as archive:
        texts = [archive.read(name).decode("utf-8") for name in hashes]
    assert [found[0] for text in (lines, *texts) if (found := _PATH.search(text))] == []
