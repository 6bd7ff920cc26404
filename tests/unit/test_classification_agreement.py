"""How far two classifiers agree, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.decoded import Classification
from parity.detect.classification import ClassificationAgreement
from parity.detect.protocol import ImageKey, Measured, Truth
from parity.errors import StructureError

NAMES = ("cat", "dog", "cow")


def key(number: int) -> ImageKey:
    return ImageKey(f"img_{number}.png", number // 4, number % 4, 8, 8)


def truth(number: int | None) -> Truth | None:
    if number is None:
        return None
    return Truth(np.zeros((1, 4)), np.array([number]), np.zeros(1, np.bool_), np.zeros(1))


def measure(reference, candidate, truths=None, *, names=NAMES, small_margin=0.02) -> Measured:
    agreement = ClassificationAgreement(names, small_margin=small_margin)
    for number, (first, second) in enumerate(zip(reference, candidate, strict=True)):
        known = truth(truths[number]) if truths else None
        agreement.update(key(number), Classification(np.array(first)), Classification(np.array(second)), known)
    return agreement.result()


def values(measured: Measured) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in measured.figures}


SURE = [0.61, 0.31, 0.08]
OTHER = [0.1, 0.2, 0.7]
CLOSE = [0.46, 0.45, 0.09]


def test_a_flip_is_told_with_both_classes_scores_and_the_margin() -> None:
    measured = measure([SURE, OTHER], [[0.40, 0.55, 0.05], OTHER])
    [finding] = measured.findings
    assert finding.kind == "top-1 flip"
    assert finding.text == "img_0.png: top-1 'cat' (0.61, margin 0.30) became 'dog' (0.55)"
    assert values(measured)["flip_share"] == 0.5
    assert values(measured)["top1_agreement"] == 0.5
    assert measured.images[0].image == "img_0.png"


def test_a_flip_of_a_small_margin_is_reported_apart() -> None:
    found = values(measured := measure([CLOSE, OTHER], [[0.45, 0.46, 0.09], OTHER]))
    assert (found["flip_share"], found["small_margin_flip_share"], found["small_margin_share"]) == (0.0, 0.5, 0.5)
    assert [finding.kind for finding in measured.findings] == ["small-margin flip"]


def test_scaled_scores_are_found_though_no_class_flips() -> None:
    measured = measure([SURE, OTHER], [[0.061, 0.031, 0.008], [0.01, 0.02, 0.07]])
    found = values(measured)
    assert found["flip_share"] == 0.0
    assert found["score_difference_max"] == pytest.approx(0.63)
    assert found["score_bias"] == pytest.approx((-0.549 - 0.63) / 2)
    assert measured.findings[0].text == (
        "img_1.png: top-1 'cow' keeps its place, its score goes from 0.700 to 0.070; "
        "the score that moved most moved by 0.630"
    )


def test_findings_stand_with_clear_flips_first_and_scores_last() -> None:
    flipped_close, moved = [0.45, 0.46, 0.09], [0.5, 0.4, 0.1]
    measured = measure([CLOSE, SURE, SURE], [flipped_close, moved, OTHER])
    assert [finding.kind for finding in measured.findings] == ["top-1 flip", "small-margin flip", "score"]


@given(hnp.arrays(np.float64, st.tuples(st.just(2), st.integers(1, 6), st.integers(2, 8)), elements=st.floats(0, 1)))
def test_the_figures_are_those_of_counting_image_by_image(sides: np.ndarray) -> None:
    reference, candidate = sides
    found = values(measure(reference, candidate, names=()))
    flips = small = 0
    margins, shifts, biases, shared = [], [], [], []
    for one, other in zip(reference.tolist(), candidate.tolist(), strict=True):
        ordered = sorted(one, reverse=True)
        margins.append(ordered[0] - ordered[1])
        is_flip = one.index(max(one)) != other.index(max(other))
        flips += is_flip and margins[-1] > 0.02
        small += is_flip and margins[-1] <= 0.02
        shifts.append(max(abs(b - a) for a, b in zip(one, other, strict=True)))
        biases.append(other[one.index(max(one))] - max(one))
        best = [sorted(range(len(one)), key=lambda i, row=row: (-row[i], i))[:5] for row in (one, other)]
        shared.append(len(set(best[0]) & set(best[1])) / 5)
    count = len(reference)
    assert found["image_count"] == count
    assert found["flip_share"] == pytest.approx(flips / count)
    assert found["small_margin_flip_share"] == pytest.approx(small / count)
    assert found["top1_agreement"] == pytest.approx(1 - (flips + small) / count)
    assert found["margin_p5"] == pytest.approx(np.quantile(margins, 0.05), abs=1e-12)
    assert found["score_difference_mean"] == pytest.approx(np.mean(shifts), abs=1e-12)
    assert found["score_difference_p99"] == pytest.approx(np.quantile(shifts, 0.99), abs=1e-12)
    assert found["score_bias"] == pytest.approx(np.mean(biases), abs=1e-12)
    assert found["top5_agreement"] == (pytest.approx(np.mean(shared)) if reference.shape[1] > 5 else None)


def test_accuracy_is_measured_on_images_with_an_annotation() -> None:
    measured = measure([SURE, OTHER, SURE, OTHER], [SURE, OTHER, OTHER, OTHER], [0, 2, 0, None])
    found = values(measured)
    assert found["accuracy_reference"] == 1.0
    assert (found["accuracy_candidate"], found["accuracy_drop"]) == pytest.approx((2 / 3, 1 / 3))
    assert found["accuracy_drop_low"] == 0.0 < found["accuracy_drop_high"]
    assert measured.notes == ("Accuracy is that of the 3 of 4 images that have an annotation.",)


def test_without_annotations_there_is_no_accuracy() -> None:
    assert values(measure([SURE, OTHER], [SURE, OTHER]))["accuracy_drop"] is None


def test_each_class_of_the_reference_has_a_row() -> None:
    rows = {row.class_name: row.figures for row in measure([SURE, SURE, OTHER], [SURE, OTHER, OTHER]).classes}
    assert list(rows) == ["cat", "cow"]
    assert (rows["cat"]["image_count"], rows["cat"]["top1_agreement"], rows["cow"]["top1_agreement"]) == (2, 0.5, 1.0)


@pytest.mark.parametrize("side", ["reference", "candidate", "both"])
def test_scores_that_are_not_finite_are_a_flip_and_spoil_no_figure(side: str) -> None:
    bad = [np.nan, 0.5, 0.2]
    measured = measure([SURE, bad if side != "candidate" else OTHER], [SURE, bad if side != "reference" else OTHER])
    found = values(measured)
    assert (found["flip_share"], found["score_difference_max"]) == (0.5, 0.0)
    assert measured.findings[0].kind == "non-finite score"
    assert "'none'" in measured.findings[0].text


def test_flaws_are_summed_by_side_and_reason() -> None:
    agreement = ClassificationAgreement(NAMES)
    for number, scores in enumerate((SURE, OTHER)):
        flawed = Classification(np.array(scores), {"nan score": 2})
        agreement.update(key(number), Classification(np.array(scores)), flawed)
    assert agreement.result().flaws == {"candidate: nan score": 4}


@pytest.mark.parametrize(
    ("scores", "names", "words"),
    [
        ([], NAMES, "No image"),
        ([[0.7], [0.8]], ("cat",), "one class"),
        ([[0.3, 0.3, 0.3], [0.2, 0.2, 0.2]], NAMES, "first two scores are equal"),
        ([SURE, SURE], NAMES, "same scores for every image"),
        ([[np.nan] * 3] * 2, NAMES, "no image are finite"),
    ],
)
def test_data_that_shows_nothing_is_told(scores, names, words) -> None:
    assert words in measure(scores, scores, names=names).degenerate


def test_one_image_and_images_that_differ_show_something() -> None:
    assert measure([SURE], [SURE]).degenerate == ""
    assert measure([SURE, CLOSE], [SURE, CLOSE]).degenerate == ""


def test_one_class_first_in_all_images_is_noted() -> None:
    assert measure([SURE, CLOSE], [SURE, CLOSE]).notes == ("The reference puts 'cat' first in all 2 images.",)


@pytest.mark.parametrize(("first", "second"), [(SURE, SURE[:2]), ([], [])])
def test_sides_of_different_class_counts_are_refused(first, second) -> None:
    with pytest.raises(StructureError, match=r"img_0.png: the reference has \d classes"):
        measure([first], [second])


def test_a_class_count_that_changes_between_images_is_refused() -> None:
    with pytest.raises(StructureError, match=r"img_1.png: .*expected 3"):
        measure([SURE, SURE[:2]], [SURE, SURE[:2]])


def test_annotations_that_the_reference_never_meets_show_nothing_about_the_candidate() -> None:
    sides = [SURE, OTHER, CLOSE]
    wrong = measure(sides, sides, [1, 0, 2])
    assert values(wrong)["accuracy_drop"] == 0.0
    assert "right in none of 3 annotated images" in wrong.degenerate
    assert not measure(sides, sides, [1, 2, 2]).degenerate
    assert not measure(sides, sides, [1, 0, None]).degenerate
