"""All decoders by name. A new family is one file here, one line below, and one test file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.decode import yolo_anchors, yolov5, yolov8, yolov10, yolox

if TYPE_CHECKING:
    from parity.decode.family import Family

_ALL: tuple[Family, ...] = (
    yolov8.FAMILY,
    yolov5.FAMILY,
    yolo_anchors.FAMILY,
    yolov10.FAMILY,
    yolox.FAMILY,
)

FAMILIES: dict[str, Family] = {family.settings.model_fields["name"].default: family for family in _ALL}
"""Decoders by the ``name`` of their settings."""
