"""Short case files, and the mistakes that loading one tells of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parity.case.loader import load_case
from parity.errors import CaseError

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = 'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'
IMAGES = 'model = "model.onnx"\n[inputs]\nkind = "images"\nfiles = ["model.onnx"]\n'
RANDOM_CALIBRATION = '[calibration]\nkind = "random"\nseed = 2\ncount = 2\n'
IDS = (
    'model = "model.onnx"\n[inputs]\nkind = "random"\nseed = 1\ncount = 2\n'
    "[shapes.ids]\nmin = [1, 1]\nopt = [1, 4]\nmax = [2, 8]\n[shapes.mask]\nmin = [1, 1]\nopt = [1, 4]\nmax = [2, 8]\n"
)


def mistakes_of(folder: Path, **options: bool) -> list[str]:
    """Return the mistakes that loading a case of a folder tells, as text."""
    with pytest.raises(CaseError) as caught:
        load_case(folder, **options)
    return [str(mistake) for mistake in caught.value.mistakes]
