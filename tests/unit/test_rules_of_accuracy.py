"""Rules on cases that are wrong on both sides: preprocessing, layouts, decoders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from parity.case.decoder import open_decoder
from parity.diagnose.examples import accuracy, run_examples
from parity.diagnose.rules import layout_or_decoder, preprocess_drift
from parity.preprocess.steps import Color, Layout, Letterbox, Normalize, Resize, Scale
from parity.verdict import Verdict
from tests.plant import rename_everything
from tests.rule_cases import BOX_SIDE, SIDE, head_case, pictures, template_case, yolov8_rows
from tests.rule_evidence import decoded, scripted, told
from tests.rule_nets import SEEDS


def two_seeds(names):
    """Return each name with two of the seeds, so that all seeds come up."""
    return [(name, SEEDS[(number + step) % len(SEEDS)]) for number, name in enumerate(names) for step in (0, 1)]


BOX = '{ step = "letterbox", size = [16, 16] }'
CORNER = '{ step = "letterbox", size = [16, 16], anchor = "top-left" }'
STRETCH = '{ step = "resize", size = [16, 16] }'
RGB, BGR = '{ step = "color", order = "rgb" }', '{ step = "color", order = "bgr" }'
SHARES = '{ step = "scale", divisor = 255 }'
IMAGENET = '{ step = "normalize", mean = "imagenet", std = "imagenet" }'
NCHW = '{ step = "layout", order = "nchw" }'
SIZE = (SIDE, SIDE)
USUAL = (Letterbox(SIZE), Color("rgb"), Scale(divisor=255), Layout("nchw"))

DRIFTS = {
    "the other channel order": (USUAL, (BOX, BGR, SHARES, NCHW)),
    "pixels of 0 to 1": (USUAL, (BOX, RGB, NCHW, '{ step = "dtype", dtype = "float32" }')),
    "pixels of 0 to 255": (
        (Letterbox(SIZE), Color("rgb"), Scale(factor=1.0), Layout("nchw")),
        (BOX, RGB, SHARES, NCHW),
    ),
    "ImageNet's mean and deviation": (
        (*USUAL[:3], Normalize("imagenet", "imagenet"), USUAL[3]),
        (BOX, RGB, SHARES, NCHW),
    ),
    "no mean and deviation": (USUAL, (BOX, RGB, SHARES, IMAGENET, NCHW)),
    "the image at the tensor's upper left": (
        (Letterbox(SIZE, anchor="top-left"), *USUAL[1:]),
        (BOX, RGB, SHARES, NCHW),
    ),
    "the image in the tensor's middle": (USUAL, (CORNER, RGB, SHARES, NCHW)),
    "a stretched image": ((Resize(SIZE), *USUAL[1:]), (BOX, RGB, SHARES, NCHW)),
    "a padded image": (USUAL, (STRETCH, RGB, SHARES, NCHW)),
}


def evidence_of(made, *, name: str = "accuracy", value: float | None = None, model=None):
    """Return evidence of two sides that agree, and are as right as the reference is measured to be."""
    if value is None:
        value = accuracy(run_examples(made.case, made.model), open_decoder(made.case)) or 0.0
    figures = {f"{name}_reference": value, f"{name}_candidate": value}
    return scripted(model or made.model, outcomes=[decoded(figures=figures)], case=made.case)


@pytest.mark.parametrize(("drift", "seed"), two_seeds(DRIFTS))
def test_the_preprocessing_that_the_model_was_trained_with_is_named(drift, seed, tmp_path):
    trained, given = DRIFTS[drift]
    made = template_case(tmp_path / "case", seed, trained, ", ".join(given))
    [found] = preprocess_drift.find(evidence_of(made))
    assert (found.cause, found.is_confirmed) == ("preprocess-drift", True)
    assert drift in found.title


@pytest.mark.parametrize("seed", SEEDS)
def test_images_that_are_preprocessed_rightly_have_no_drift(seed, tmp_path):
    made = template_case(tmp_path / "case", seed, USUAL, ", ".join((BOX, RGB, SHARES, NCHW)))
    evidence = evidence_of(made)
    assert (preprocess_drift.find(evidence), layout_or_decoder.find(evidence)) == ((), ())
    # Even where it is said to be wrong, no other preprocessing is better.
    assert preprocess_drift.find(evidence_of(made, value=0.1)) == ()


def test_a_model_that_guesses_is_not_better_fed_because_it_guesses_better_once(tmp_path, monkeypatch):
    given = ", ".join((BOX, RGB, SHARES, NCHW))
    made = [template_case(tmp_path / str(seed), seed, USUAL, given, known=pictures(seed + 50)[::-1]) for seed in SEEDS]
    assert [preprocess_drift.find(evidence_of(one, value=0.2)) for one in made] == [()] * len(made)
    monkeypatch.setattr(preprocess_drift, "is_luck", lambda *_: False)
    assert any(preprocess_drift.find(evidence_of(one, value=0.2)) for one in made)


def test_sides_that_differ_are_no_matter_of_preprocessing(tmp_path):
    trained, given = DRIFTS["the other channel order"]
    made = template_case(tmp_path / "case", 1, trained, ", ".join(given))
    figures = {"accuracy_reference": 0.5, "accuracy_candidate": 0.1}
    assert preprocess_drift.find(scripted(made.model, outcomes=[decoded(figures=figures)], case=made.case)) == ()


V8 = 'name = "yolov8"'


def logits(head):
    return np.concatenate([head[:4], np.log(head[4:] / (1 - head[4:]))])


def shares(head):
    return np.concatenate([head[:4] / BOX_SIDE, head[4:]])


def corners(head):
    low, high = head[:2] - head[2:4] / 2, head[:2] + head[2:4] / 2
    return np.concatenate([low, high, head[4:]])


def with_background(head):
    return np.concatenate([head[:4], np.full_like(head[:1], 0.0001), head[4:]])


def as_yolov5(head):
    return np.concatenate([head[:4], 2 * head[4:].max(axis=0, keepdims=True), np.where(head[4:] > 0.1, 0.3, 0.01)]).T


LAYOUTS = {
    'scores = "logit"': (logits, V8),
    f"normalized_to = [{BOX_SIDE}, {BOX_SIDE}]": (shares, V8),
    "takes corners": (corners, V8),
    "take 1 off": (with_background, V8),
    'name = "yolov5"': (as_yolov5, f'{V8}\nchannels = "last"'),
    'channels = "first"': (lambda head: head, f'{V8}\nchannels = "last"'),
}


@pytest.mark.parametrize(("remedy", "seed"), two_seeds(LAYOUTS))
def test_what_the_outputs_are_is_named_where_annotations_tell(remedy, seed, tmp_path):
    change, decode = LAYOUTS[remedy]
    made = head_case(tmp_path / "case", seed, change(yolov8_rows(seed)), decode)
    [found] = layout_or_decoder.find(evidence_of(made, name="true_ap50"))
    assert (found.cause, found.is_confirmed) == ("layout-or-decoder", True)
    assert remedy in found.remedy


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("change", "word"), [(logits, "logits"), (shares, "shares")])
def test_values_tell_without_annotations_where_nothing_is_decoded(change, word, seed, tmp_path):
    made = head_case(tmp_path / "case", seed, change(yolov8_rows(seed)), V8, truth=False)
    evidence = scripted(made.model, outcomes=[decoded(figures={"reference_count": 0.0})], case=made.case)
    [found] = layout_or_decoder.find(evidence)
    assert (found.is_confirmed, word in found.evidence[0]) == (None, True)


def test_rows_that_make_no_sense_in_the_reference_are_looked_into(tmp_path):
    made = head_case(tmp_path / "case", 1, shares(yolov8_rows(1)), V8, truth=False)
    told_by = decoded(Verdict.INCONCLUSIVE, reasons=("The reference itself has 3 rows left out for: inverted box.",))
    assert len(layout_or_decoder.find(scripted(made.model, outcomes=[told_by], case=made.case))) == 1
    assert layout_or_decoder.find(scripted(made.model, outcomes=[decoded()], case=made.case)) == ()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_head_that_is_decoded_rightly_is_left_alone(seed, tmp_path):
    made = head_case(tmp_path / "case", seed, yolov8_rows(seed), V8)
    evidence = evidence_of(made, name="true_ap50")
    assert (preprocess_drift.find(evidence), layout_or_decoder.find(evidence)) == ((), ())
    # Even where nothing is said to be right, no other decoder is better, and no value is odd.
    assert layout_or_decoder.find(evidence_of(made, name="true_ap50", value=0.0)) == ()


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_other_names_of_inner_tensors_change_nothing(seed, tmp_path):
    trained, given = DRIFTS["no mean and deviation"]
    drift = template_case(tmp_path / "drift", seed, trained, ", ".join(given))
    layout = head_case(tmp_path / "layout", seed, logits(yolov8_rows(seed)), V8)
    for rule, made, name in ((preprocess_drift, drift, "accuracy"), (layout_or_decoder, layout, "true_ap50")):
        plain, other = (
            evidence_of(made, name=name, model=model) for model in (made.model, rename_everything(made.model))
        )
        assert told(rule.find(plain)) == told(rule.find(other)) != []


def test_a_case_that_decodes_nothing_is_left_alone():
    outcome = decoded(figures={"accuracy_reference": 0.1, "accuracy_candidate": 0.1})
    assert [rule.find(scripted(outcomes=[outcome])) for rule in (preprocess_drift, layout_or_decoder)] == [(), ()]
    made = scripted(outcomes=[outcome])
    assert preprocess_drift.find(replace(made, outcomes={})) == ()
