"""The ``decoded`` check in runs, on a tiny detector: planted faults are named, one pass serves two checks."""

from __future__ import annotations

import json
import shlex
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parity.backends import get_backend
from parity.backends.fake import (
    Crash,
    DropOutput,
    ExtraOutput,
    FakeSession,
    Fault,
    OutputFault,
    WrongShape,
)
from parity.backends.tensorrt.backend import TensorRTBackend
from parity.case import load_case
from parity.report import render, summary_json
from parity.run_file import load_run
from parity.runner import JudgeSettings, RunSettings, open_case_judge, open_run, run_cases
from parity.runner.decoded_reference import DecodedReference
from parity.verdict import Verdict
from tests.runner_examples import fake
from tests.simulated_worker import SimulatedWorker
from tests.tiny_detector import (
    CASE_FILE,
    CLASS,
    DECODER,
    IMAGE_COUNT,
    OBJECTS,
    SCORE,
    ChangeObjects,
    write_detector_case,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from parity.backends import Backend, TensorRTSettings
    from parity.results import Outcome

FAKE = RunSettings(cases=(Path("cases/tiny"),), backends=("fake",), variants=("fp32",))
SEEN = len(OBJECTS) - 1


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in a folder of its own that has the tiny detector."""
    monkeypatch.chdir(tmp_path)
    return write_detector_case(tmp_path / "cases" / "tiny")


def judge(*faults: Fault, settings: RunSettings = FAKE) -> dict[str, Outcome]:
    """Return the outcomes of one variant by check."""
    outcomes = run_cases(settings, open_backends=fake(*faults)).outcomes
    return {outcome.check: outcome for outcome in outcomes}


def test_a_sound_detector_passes_both_checks_and_the_run_is_read_again() -> None:
    with open_run(replace(FAKE, backends=("onnxruntime",), variants=())) as opened:
        opened.judge_all()
    assert [(o.variant, o.check, o.verdict) for o in opened.run.outcomes] == [
        (f"{variant}@onnxruntime", check, Verdict.PASS)
        for variant in ("fp32", "fp16")
        for check in ("outputs", "decoded")
    ]
    assert load_run(opened.folder.path) == opened.run
    record = opened.run.outcomes[1].decoded
    assert record is not None
    assert (record.task, record.decoder) == ("detection", "decoder.py:decode")
    values = {judged.figure.name: judged.figure.value for judged in record.figures}
    assert (values["image_count"], values["reference_count"]) == (IMAGE_COUNT, IMAGE_COUNT * SEEN)
    assert opened.run.outcomes[1].headline.startswith(f"0 of {IMAGE_COUNT * SEEN} detections missed")


FAULTS = {
    "a shifted box": (ChangeObjects(columns=(0, 2), image=1, row=0, offset=6.0, feed=1), "3.png", "circle"),
    "a scaled score": (ChangeObjects(columns=(SCORE,), factor=0.8), None, "score"),
    "a flipped class": (ChangeObjects(columns=(CLASS,), image=0, row=0, offset=1.0, feed=0), "0.png", "square"),
    "a missed object": (ChangeObjects(columns=(SCORE,), image=1, row=2, factor=0.0, feed=0), "1.png", "circle"),
    "a hallucinated class": (ChangeObjects(columns=(SCORE,), image=0, row=4, offset=0.9, feed=1), "2.png", "star"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_fails_and_the_message_names_it(name: str) -> None:
    fault, image, word = FAULTS[name]
    outcome = judge(fault)["decoded"]
    assert outcome.verdict is Verdict.FAIL
    assert word in outcome.message
    assert image is None or image in outcome.message
    assert "tiny / fp32@fake / decoded" in outcome.message
    assert outcome.decoded is not None
    if image is not None:
        assert outcome.decoded.images[0].image == image
        assert outcome.failing_feed == f"feeds/tiny-fp32@fake-{fault.feed}.npz"


def test_the_command_of_a_failure_judges_its_feed_again_in_the_same_pixels() -> None:
    fault = ChangeObjects(columns=(0, 2), image=1, row=0, offset=6.0)
    first = judge(replace(fault, feed=1))["decoded"]
    assert first.replay is not None
    assert first.message.splitlines()[-1] == f"next: {first.replay}"
    words = shlex.split(first.replay)
    settings = replace(FAKE, judging=JudgeSettings(feed=Path(words[words.index("--feed") + 1])))
    again = judge(fault, settings=settings)["decoded"]
    assert (again.verdict, again.feed_count) == (Verdict.FAIL, 1)
    assert again.decoded is not None
    assert (again.decoded.images[0].image, again.decoded.images[0].feed) == ("3.png", 1)
    assert again.decoded.notes == ()
    assert judge(settings=settings)["decoded"].verdict is Verdict.PASS


def test_no_detection_anywhere_is_inconclusive(folder: Path) -> None:
    write_detector_case(folder, objects=[(*row[:SCORE], 0.0, row[CLASS]) for row in OBJECTS])
    outcome = judge()["decoded"]
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert outcome.message.startswith(outcome.headline.partition(";")[0])


def test_a_score_that_is_not_a_number_on_the_variants_side_alone_fails() -> None:
    outcome = judge(ChangeObjects(columns=(SCORE,), image=0, row=1, factor=float("nan"), feed=1))["decoded"]
    assert outcome.verdict is Verdict.FAIL
    assert "nan score" in outcome.message
    assert outcome.failing_feed == "feeds/tiny-fp32@fake-1.npz"


def test_a_reference_with_scores_that_are_not_numbers_is_inconclusive(folder: Path) -> None:
    decoder = DECODER.replace("rows[:, 4]", "rows[:, 4] * float('nan') ** (rows[:, 5] > 1)")
    write_detector_case(folder, decoder=decoder)
    outcome = judge()["decoded"]
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert "The reference itself has 4 rows left out for: nan score" in outcome.message


def test_a_decoder_that_fails_costs_its_own_check_alone(folder: Path) -> None:
    write_detector_case(folder, decoder=DECODER.replace('outputs["rows"]', 'outputs["boxes"]'))
    outcomes = judge()
    assert outcomes["outputs"].verdict is Verdict.PASS
    assert outcomes["decoded"].verdict is Verdict.ERROR
    assert "decoder.py" in outcomes["decoded"].message


@pytest.mark.parametrize("fault", [WrongShape(feed=1), DropOutput(output="rows")], ids=["another shape", "no output"])
def test_outputs_of_another_structure_are_told_and_not_decoded(fault: Fault) -> None:
    outcomes = judge(fault)
    assert outcomes["outputs"].verdict is Verdict.FAIL
    assert outcomes["decoded"].verdict is Verdict.ERROR
    assert "rows" in outcomes["decoded"].headline


def test_an_output_that_the_variant_alone_gives_is_not_decoded() -> None:
    outcomes = judge(ExtraOutput())
    assert outcomes["outputs"].verdict is Verdict.FAIL
    assert outcomes["decoded"].verdict is Verdict.PASS


def test_a_candidate_that_gives_no_answer_is_told_once() -> None:
    outcomes = judge(Crash(feed=1))
    assert "planted" in outcomes["outputs"].headline
    assert outcomes["decoded"].headline == "not judged, because outputs could not be"
    assert outcomes["decoded"].verdict is Verdict.ERROR


def test_one_pass_serves_both_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    run = FakeSession.run
    monkeypatch.setattr(FakeSession, "run", lambda session, feed: ran.append(1) or run(session, feed))
    judge()
    assert len(ran) == 2


def test_the_reference_is_decoded_once_for_all_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decode = DecodedReference.decode

    def counted(*arguments: object) -> object:
        decoded.append(1)
        return decode(*arguments)

    monkeypatch.setattr(DecodedReference, "decode", counted)
    judge(settings=replace(FAKE, variants=()))
    # Two feeds of the reference, and two of each of two variants.
    assert len(decoded) == 6


def test_a_gate_of_the_case_holds_for_its_variant(folder: Path) -> None:
    gate = '[[gates]]\nvariant = "fp32"\nfigure = "ap50"\nmax = 0.5\nreason = "for this test"\n'
    write_detector_case(folder, text=CASE_FILE + gate)
    outcomes = run_cases(replace(FAKE, variants=()), open_backends=fake()).outcomes
    verdicts = {outcome.variant: outcome.verdict for outcome in outcomes if outcome.check == "decoded"}
    assert verdicts == {"fp32@fake": Verdict.FAIL, "fp16@fake": Verdict.PASS}
    assert "ap50 is 1, allowed is at most 0.5 (for this test)" in outcomes[1].message


def test_feeds_that_are_no_images_are_judged_in_tensor_pixels_with_a_note(folder: Path) -> None:
    start, end = CASE_FILE.index("[inputs]"), CASE_FILE.index("[decode]")
    inputs = '[inputs]\nkind = "random"\nseed = 1\ncount = 2\n\n'
    write_detector_case(folder, text=CASE_FILE[:start] + inputs + CASE_FILE[end:])
    outcome = judge()["decoded"]
    assert outcome.verdict is Verdict.PASS
    assert outcome.decoded is not None
    assert "in pixels of the input tensor" in outcome.decoded.notes[0]
    assert outcome.decoded.images[0].picture is None


def test_a_case_without_a_decoder_has_no_such_check(folder: Path) -> None:
    start, end = CASE_FILE.index("[decode]"), CASE_FILE.index("[variants.fp32]")
    write_detector_case(folder, text=CASE_FILE[:start] + CASE_FILE[end:])
    assert list(judge()) == ["outputs"]


def test_a_run_that_lacks_the_check_is_resumed_with_it() -> None:
    opened = open_run(replace(FAKE, variants=()), fake())
    opened.judge_all()
    kept = tuple(o for o in opened.run.outcomes if (o.variant, o.check) != ("fp16@fake", "decoded"))
    opened.folder.save(replace(opened.run, outcomes=kept, is_complete=False))
    run = run_cases(replace(FAKE, resume=opened.folder.path), open_backends=fake())
    assert {o.key for o in run.outcomes} == {o.key for o in opened.run.outcomes}


def test_annotations_measure_what_is_true(folder: Path) -> None:
    truth = (
        "from decoder import OBJECTS\n"
        "def annotate(count):\n"
        "    for _ in range(count):\n"
        "        yield {'boxes': [row[:4] for row in OBJECTS], 'classes': [int(row[5]) for row in OBJECTS]}\n"
    )
    (folder / "truth.py").write_text(truth, encoding="utf-8")
    decoder = f"OBJECTS = {list(OBJECTS[:SEEN])}\n{DECODER}"
    write_detector_case(folder, text=CASE_FILE + '\n[annotations]\nfunction = "truth.py:annotate"\n', decoder=decoder)
    outcome = judge(ChangeObjects(columns=(CLASS,), row=0, offset=1.0))["decoded"]
    assert outcome.decoded is not None
    values = {judged.figure.name: judged.figure.value for judged in outcome.decoded.figures}
    # Half of the circles are found: 51 of 101 recall levels. Of the squares the first third is wrong: 2 / 3 of each.
    after = (51 / 101 + 2 / 3) / 2
    assert values["true_ap50_reference"] == pytest.approx(1.0)
    assert values["true_ap50_candidate"] == pytest.approx(after)
    assert values["true_ap50_drop"] == pytest.approx(1.0 - after)
    assert "true_ap50_drop" in outcome.message


def test_the_least_agreeing_images_have_pictures_where_there_is_a_folder() -> None:
    outcome = judge(ChangeObjects(columns=(SCORE,), image=1, row=2, factor=0.0, feed=0))["decoded"]
    assert outcome.decoded is not None
    [run] = Path("reports").iterdir()
    pictures = [image.picture for image in outcome.decoded.images]
    assert len(set(pictures)) == IMAGE_COUNT
    assert all(picture is not None and (run / picture).is_file() for picture in pictures)


def on_simulated_worker(folder: Path, text: str) -> tuple[list[Outcome], list[str]]:
    """Judge fp16 on an engine; return the outcomes and what the worker was asked for."""
    write_detector_case(folder, text=text)
    worker = SimulatedWorker()

    @contextmanager
    def open_backends(names: Sequence[str], tensorrt: TensorRTSettings) -> Iterator[tuple[Backend, ...]]:
        backend = TensorRTBackend(worker, None)
        yield (backend,)
        backend.close()

    run = run_cases(replace(FAKE, backends=("tensorrt",), variants=("fp16",)), open_backends=open_backends)
    return list(run.outcomes), [asked.operation for asked in worker.asked]


def test_an_engine_is_asked_for_nothing_more_where_its_outputs_are_decoded(folder: Path) -> None:
    start, end = CASE_FILE.index("[decode]"), CASE_FILE.index("[variants.fp32]")
    plain, asked_plain = on_simulated_worker(folder, CASE_FILE[:start] + CASE_FILE[end:])
    decoded, asked = on_simulated_worker(folder, CASE_FILE)
    assert [outcome.check for outcome in plain] == ["outputs", "census", "invariants"]
    assert [outcome.check for outcome in decoded] == ["outputs", "decoded", "census", "invariants"]
    assert asked == asked_plain
    assert decoded[1].verdict is Verdict.PASS
    assert decoded[1].engine == decoded[0].engine


def test_json_has_the_figures_with_their_gates() -> None:
    with open_run(FAKE, fake(ChangeObjects(columns=(SCORE,), image=0, row=0, factor=0.0))) as opened:
        opened.judge_all()
    summary = json.loads(summary_json(opened.run, opened.folder.path))
    [decoded] = [outcome["decoded"] for outcome in summary["outcomes"] if outcome["check"] == "decoded"]
    missed = decoded["figures"]["missed_share"]
    assert missed["value"] == pytest.approx(2 / (IMAGE_COUNT * SEEN))
    assert (missed["unit"], missed["verdict"]) == ("share", "fail")
    assert decoded["figures"]["image_count"] == {"value": IMAGE_COUNT, "unit": "count"}
    assert {found["image"] for found in decoded["findings"]} == {"0.png", "2.png"}
    [outputs] = [outcome for outcome in summary["outcomes"] if outcome["check"] == "outputs"]
    assert "decoded" not in outputs


BY_DECODING = f"""{CASE_FILE}
[[tolerances]]
judged = "decoded"
reason = "rows change places"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRows(OutputFault):
    """The rows of every image in the other order."""

    def change(self, array: np.ndarray) -> np.ndarray:
        """Return the rows turned."""
        return array[:, ::-1].copy()


def test_rows_in_another_order_pass_where_what_they_decode_to_is_judged(folder: Path) -> None:
    assert judge(TurnRows())["outputs"].verdict is Verdict.FAIL
    write_detector_case(folder, text=BY_DECODING)
    outcomes = judge(TurnRows())
    assert {check: outcome.verdict for check, outcome in outcomes.items()} == dict.fromkeys(
        ("outputs", "decoded"), Verdict.PASS
    )
    assert outcomes["outputs"].headline.startswith("judged by decoding")


def test_a_moved_box_fails_by_decoding_alone_where_decoding_judges(folder: Path) -> None:
    write_detector_case(folder, text=BY_DECODING)
    outcomes = judge(ChangeObjects(columns=(0, 2), image=1, row=0, offset=6.0, feed=1))
    assert outcomes["outputs"].verdict is Verdict.PASS
    assert outcomes["decoded"].verdict is Verdict.FAIL


def test_decoding_that_is_taken_away_leaves_what_it_judges_inconclusive(folder: Path) -> None:
    write_detector_case(folder, text=BY_DECODING)
    case = replace(load_case(folder), decoding=None)
    [fp32] = [variant for variant in case.variants if variant.name == "fp32"]
    with open_case_judge(case) as judging:
        [outcome] = judging.judge_variant(fp32, get_backend("onnxruntime"))
    assert outcome.verdict is Verdict.INCONCLUSIVE
    assert "nothing decodes it" in outcome.message


def test_every_report_says_that_an_output_is_judged_by_decoding(folder: Path) -> None:
    write_detector_case(folder, text=BY_DECODING)
    with open_run(replace(FAKE, backends=("onnxruntime",))) as opened:
        opened.judge_all()
    path = opened.folder.path
    assert load_run(path) == opened.run
    render(path)
    assert "judged by decoding: rows change places" in (path / "report.html").read_text()
    assert "judged by decoding: rows change places" in (path / "outputs.csv").read_text()
    assert "| decoded |" in (path / "summary.md").read_text()
