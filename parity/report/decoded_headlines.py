"""The leading figures of decoded results, a table for each kind of task: what fits a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.report.decoded import figure_text
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parity.agreement import JudgedFigure
    from parity.results import Outcome

HEADLINES: Mapping[str, Mapping[str, str]] = {
    "detection": {
        "missed": "missed_share",
        "extra": "extra_share",
        "flips": "class_flip_share",
        "IoU p5": "iou_p5",
        "AP": "ap",
    },
    "classification": {
        "top-1": "top1_agreement",
        "top-5": "top5_agreement",
        "flips": "flip_share",
        "score": "score_difference_max",
    },
    "lanes": {
        "points": "point_agreement",
        "shift": "point_shift_p99",
        "lanes": "lane_agreement",
        "attributes": "attribute_agreement",
    },
    "segmentation": {"pixels": "pixel_agreement", "IoU": "class_iou_mean", "worst IoU": "class_iou_min"},
}
"""By task the columns of its table, and the figure that each one shows."""

_TOLD = (Verdict.FAIL, Verdict.INCONCLUSIVE)


def headline_cells(outcome: Outcome, signs: Mapping[Verdict, str]) -> list[str]:
    """Return an outcome's leading figures; one that its gate does not let pass carries the sign of its verdict."""
    assert outcome.decoded is not None
    judged = {judged.figure.name: judged for judged in outcome.decoded.figures}
    return [_cell(judged.get(name), signs) for name in HEADLINES.get(outcome.decoded.task, {}).values()]


def _cell(judged: JudgedFigure | None, signs: Mapping[Verdict, str]) -> str:
    if judged is None:
        return "n/a"
    text = figure_text(judged.figure.value, judged.figure.unit)
    return f"{signs[judged.verdict]} {text}" if judged.verdict in _TOLD else text
