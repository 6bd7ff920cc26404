"""Two decoders simple enough to be checked by eye, and a case format that knows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from parity.case import loader
from parity.case.schema import CaseTable
from parity.case.schema_decode import decode_spec
from parity.decode import FAMILIES, DecodeSettings, DetectionSettings, Family, Fit, Shapes
from parity.decoded import Classification, Detections, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from parity.preprocess import Geometry


class RowSettings(DetectionSettings):
    """Rows of six, as they are."""

    name: Literal["toy_rows"] = "toy_rows"
    """The decoder."""
    stride: int = 1
    """What coordinates are multiplied by."""


class ScoreSettings(DecodeSettings):
    """Scores, as they are."""

    task: ClassVar[Task] = Task.CLASSIFICATION

    name: Literal["toy_scores"] = "toy_scores"
    """The decoder."""


def _one_output(shapes: Shapes, rank: int, role: str) -> Fit | None:
    fitting = [name for name, shape in shapes.items() if len(shape) == rank]
    return Fit({role: fitting[0]}, 0.5, f"an output has {rank} axes") if fitting else None


def _decode_rows(
    settings: RowSettings, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Detections, ...]:
    return tuple(
        Detections(one.to_image(rows[:, :4] * settings.stride), rows[:, 4], rows[:, 5].astype(np.int64))
        for rows, one in zip(outputs["rows"], geometry, strict=True)
    )


def _decode_scores(
    _settings: ScoreSettings, outputs: Mapping[str, np.ndarray], _geometry: Sequence[Geometry]
) -> tuple[Classification, ...]:
    return tuple(Classification(scores.astype(np.float64)) for scores in outputs["scores"])


TOYS = {
    "toy_rows": Family(RowSettings, lambda shapes: _one_output(shapes, 3, "rows"), _decode_rows, "(images, n, 6)"),
    "toy_scores": Family(
        ScoreSettings, lambda shapes: _one_output(shapes, 2, "scores"), _decode_scores, "(images, classes)"
    ),
}


def add_toy_decoders(monkeypatch: pytest.MonkeyPatch) -> type[CaseTable]:
    """Let cases name the toys for one test; return the format that does."""
    for name, family in TOYS.items():
        monkeypatch.setitem(FAMILIES, name, family)
    spec: Any = decode_spec(TOYS)

    class ToyCaseTable(CaseTable):
        """A case file with toy decoders."""

        decode: spec | None = None
        """How outputs are decoded."""

    monkeypatch.setattr(loader, "CaseTable", ToyCaseTable)
    return ToyCaseTable
