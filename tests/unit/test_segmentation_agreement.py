"""How far two label maps agree, against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.decoded import LabelMap, Task
from parity.detect.gates import default_gates, judge_figures
from parity.detect.protocol import ImageKey, Measured
from parity.detect.segmentation import LABEL_LIMIT, SegmentationAgreement
from parity.errors import StructureError
from parity.tolerance import Precision
from parity.verdict import Verdict

NAMES = ("sky", "road", "tree")


def measure(*pairs: tuple[LabelMap, LabelMap]) -> Measured:
    agreement = SegmentationAgreement(NAMES)
    for number, (reference, candidate) in enumerate(pairs):
        agreement.update(ImageKey(f"view_{number}.png", number, 0, 8, 8), reference, candidate)
    return agreement.result()


def values(measured: Measured) -> dict[str, float | None]:
    return {figure.name: figure.value for figure in measured.figures}


def halves() -> np.ndarray:
    """Return sky above road, 10 by 10."""
    labels = np.zeros((10, 10), np.int64)
    labels[5:] = 1
    return labels


def test_equal_maps_agree_and_have_no_findings() -> None:
    measured = measure((LabelMap(halves()), LabelMap(halves())))
    found = values(measured)
    assert (found["pixel_agreement"], found["class_iou_min"], found["flip_share"]) == (1.0, 1.0, 0.0)
    assert (measured.findings, measured.degenerate) == ((), "")


def test_pixels_that_flip_are_told_with_both_classes_and_their_share() -> None:
    changed = halves()
    changed[0, :3], changed[9, :1] = 2, 0
    measured = measure((LabelMap(halves()), LabelMap(halves())), (LabelMap(halves()), LabelMap(changed)))
    assert [finding.text for finding in measured.findings] == [
        "view_1.png: 3 pixels (3.00%) of 'sky' became 'tree'",
        "view_1.png: 1 pixels (1.00%) of 'road' became 'sky'",
    ]
    assert values(measured)["flip_share"] == 4 / 200
    assert values(measured)["class_iou_min"] == 0.0
    assert [image.image for image in measured.images] == ["view_1.png", "view_0.png"]


def test_flips_where_the_reference_was_not_sure_are_counted_apart_and_told_last() -> None:
    changed, margins = halves(), np.full((10, 10), 0.5)
    changed[4], margins[4] = 1, 0.01
    changed[0, 0] = 1
    measured = measure((LabelMap(halves(), margins), LabelMap(changed)))
    found = values(measured)
    assert (found["boundary_flip_share"], found["flip_share"], found["pixel_agreement"]) == (0.10, 0.01, 0.89)
    assert [finding.kind for finding in measured.findings] == ["pixel flip", "boundary flip"]


def test_a_class_of_few_pixels_that_is_lost_whole_is_named_and_fails_whatever_the_precision() -> None:
    plain = np.repeat(np.arange(20), 500).reshape(100, 100)
    rare, speck = plain.copy(), plain.copy()
    rare[0, :20], speck[0, :5] = 20, 20
    measured = measure((LabelMap(rare), LabelMap(plain)))
    assert measured.findings[0].text == "all 1 images: none of the reference's 20 pixels of '20' is one any more"
    judged = judge_figures(measured.figures, default_gates(Task.SEGMENTATION, Precision.FP8))
    assert {one.figure.name for one in judged if one.verdict is Verdict.FAIL} == {"lost_class_count"}
    assert values(measure((LabelMap(speck), LabelMap(plain))))["lost_class_count"] == 0


def test_without_margins_all_flips_count_and_that_is_noted() -> None:
    changed = halves()
    changed[4] = 1
    found = values(measured := measure((LabelMap(halves()), LabelMap(changed))))
    assert (found["boundary_flip_share"], found["flip_share"]) == (0.0, 0.1)
    assert "labels without scores" in measured.notes[0]


maps = hnp.arrays(np.int64, (2, 3, 4, 5), elements=st.integers(0, 4))


@given(maps)
def test_the_figures_are_those_of_sets_of_pixels(sides: np.ndarray) -> None:
    reference, candidate = sides
    measured = measure(*((LabelMap(a), LabelMap(b)) for a, b in zip(reference, candidate, strict=True)))
    ious = {}
    for label in set(sides.ravel().tolist()):
        first, second = ({tuple(p) for p in np.argwhere(side == label)} for side in sides)
        ious[label] = len(first & second) / len(first | second)
    found = values(measured)
    assert found["pixel_agreement"] == pytest.approx((reference == candidate).mean())
    assert found["class_iou_mean"] == pytest.approx(np.mean(list(ious.values())))
    assert found["class_iou_min"] == pytest.approx(min(ious.values()))
    names = [NAMES[label] if label < 3 else str(label) for label in sorted(ious)]
    assert [row.class_name for row in measured.classes] == names
    assert [row.figures["iou"] for row in measured.classes] == pytest.approx([ious[label] for label in sorted(ious)])


def test_data_that_shows_nothing_is_told() -> None:
    road = LabelMap(np.ones((4, 4), np.int64))
    assert measure().degenerate == "No pixel was compared."
    assert "'road' for every pixel of every image" in measure((road, road), (road, road)).degenerate
    sky = LabelMap(np.zeros((4, 4), np.int64))
    assert measure((road, road), (sky, sky)).degenerate == ""


def test_flaws_are_summed_by_side_and_reason() -> None:
    flawed = LabelMap(halves(), flaws={"nan score": 3})
    assert measure((flawed, LabelMap(halves()))).flaws == {"reference: nan score": 3}


def test_maps_of_different_sizes_are_refused() -> None:
    with pytest.raises(
        StructureError, match=r"view_0.png: the reference has \(10, 10\) labels and the candidate \(5, 10\)"
    ):
        measure((LabelMap(halves()), LabelMap(halves()[:5])))


@pytest.mark.parametrize("label", [-1, LABEL_LIMIT])
def test_labels_that_are_no_class_numbers_are_refused(label: int) -> None:
    bad = halves()
    bad[0, 0] = label
    with pytest.raises(StructureError, match=f"the candidate has labels from .*{label}.*expected 0 to 1023"):
        measure((LabelMap(halves()), LabelMap(bad)))
