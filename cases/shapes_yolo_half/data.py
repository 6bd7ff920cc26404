"""Images of the half detector: those of shapes_yolo, because it is the same detector."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def _load_drawing() -> ModuleType:
    """Load shapes_yolo's ``data.py`` under another name than this file's."""
    file = Path(__file__).resolve().parents[1] / "shapes_yolo" / "data.py"
    spec = spec_from_file_location("shapes_yolo_data", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


_drawing = _load_drawing()
CLASSES: tuple[str, ...] = _drawing.CLASSES
evaluation = _drawing.evaluation
calibration = _drawing.calibration
annotations = _drawing.annotations
