"""Kinds of errors, against figures of tidecv."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.detect.error_kinds import ErrorCounts, count_errors
from tests.ap_images import make_image
from tests.pages import ROOT

if TYPE_CHECKING:
    from parity.detect.ap_images import ApImage

SETS = json.loads((ROOT / "tests/data/tide_counts.json").read_text(encoding="utf-8"))["sets"]
BOX = (0, 0, 10, 10)
FAR = (50, 50, 60, 60)


@pytest.mark.parametrize("number", range(len(SETS)))
def test_the_counts_are_those_of_tidecv(number: int) -> None:
    images = [make_image(one["truth"], one["found"]) for one in SETS[number]["images"]]
    assert asdict(count_errors(images)) == SETS[number]["counts"]


def test_the_figures_of_tidecv_hold_errors_of_every_kind() -> None:
    totals = {kind: sum(one["counts"][kind] for one in SETS) for kind in SETS[0]["counts"]}
    assert min(totals.values()) > 0


RIGHT = (*BOX, 0, 0.9)


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("localization", make_image([(*BOX, 0)], [(0, 0, 10, 4, 0, 0.9)])),
        ("classification", make_image([(*BOX, 0)], [(*BOX, 1, 0.9)])),
        ("both", make_image([(*BOX, 0), (*FAR, 1)], [(0, 0, 10, 4, 1, 0.9), (*FAR, 1, 0.8), RIGHT])),
        ("duplicate", make_image([(*BOX, 0)], [RIGHT, (*BOX, 0, 0.4)])),
        ("background", make_image([(*BOX, 0)], [RIGHT, (*FAR, 0, 0.9)])),
        ("missed", make_image([(*BOX, 0), (*FAR, 0)], [RIGHT])),
    ],
)
def test_a_planted_error_is_of_its_kind_and_of_no_other(kind: str, image: ApImage) -> None:
    assert {name: count for name, count in asdict(count_errors([image])).items() if count} == {kind: 1}


def test_images_of_agreeing_sides_have_no_errors() -> None:
    assert not any(astuple(count_errors([make_image([(*BOX, 0)], [RIGHT])] * 3)))


def test_detections_in_a_crowd_of_their_class_and_the_crowd_itself_are_no_errors() -> None:
    inside = [(0, 0, 10, 10, 0, 0.9), (5, 5, 15, 15, 0, 0.8)]
    assert count_errors([make_image([(0, 0, 100, 100, 0, 1)], inside)]) == ErrorCounts(0, 0, 0, 0, 0, 0)
    elsewhere = [(*FAR, 1, 0.9)]
    assert count_errors([make_image([(0, 0, 100, 100, 0, 1)], elsewhere)]).background == 1


def test_without_images_there_are_no_errors() -> None:
    assert count_errors([]) == ErrorCounts(0, 0, 0, 0, 0, 0)
    assert count_errors([make_image([], [])]) == ErrorCounts(0, 0, 0, 0, 0, 0)


def test_more_pairs_than_are_looked_at_together_are_all_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [make_image(one["truth"], one["found"]) for one in SETS[0]["images"]]
    monkeypatch.setattr("parity.detect.overlap.PAIR_LIMIT", 7)
    assert asdict(count_errors(images)) == SETS[0]["counts"]
    assert np.sum(astuple(count_errors(images))) > 7
