"""A case: one model with its inputs, variants and tolerances, read from ``case.toml`` into frozen objects.

The objects load at once; what reads files loads at first use, because pydantic and ONNX take their time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from parity.case.model import (
    Annotations,
    Case,
    Decoding,
    GateRule,
    ImageSource,
    InputSource,
    NpzSource,
    PolygraphySource,
    PythonSource,
    RandomSource,
    RandomTensor,
    Reference,
    ReferenceKind,
    ShapeProfile,
    ToleranceRule,
    Variant,
)

if TYPE_CHECKING:
    from parity.case.annotations import Truths, open_truth
    from parity.case.decoder import Decoder, open_decoder
    from parity.case.feeds import Feed, Feeds, open_feeds, read_feed, save_feed
    from parity.case.files import load_npz, write_npz
    from parity.case.loader import find_cases, load_case
    from parity.case.pictures import read_pictures
    from parity.case.regions import RegionTolerance, tolerances_for
    from parity.case.schema import json_schema

_HOMES = {
    "Decoder": "parity.case.decoder",
    "Feed": "parity.case.feed",
    "Feeds": "parity.case.feeds",
    "RegionTolerance": "parity.case.regions",
    "Truths": "parity.case.annotations",
    "find_cases": "parity.case.loader",
    "json_schema": "parity.case.schema",
    "load_case": "parity.case.loader",
    "load_npz": "parity.case.files",
    "open_decoder": "parity.case.decoder",
    "open_feeds": "parity.case.feeds",
    "open_truth": "parity.case.annotations",
    "read_feed": "parity.case.feeds",
    "read_pictures": "parity.case.pictures",
    "save_feed": "parity.case.feeds",
    "tolerances_for": "parity.case.regions",
    "write_npz": "parity.case.files",
}

__all__ = [
    "Annotations",
    "Case",
    "Decoder",
    "Decoding",
    "Feed",
    "Feeds",
    "GateRule",
    "ImageSource",
    "InputSource",
    "NpzSource",
    "PolygraphySource",
    "PythonSource",
    "RandomSource",
    "RandomTensor",
    "Reference",
    "ReferenceKind",
    "RegionTolerance",
    "ShapeProfile",
    "ToleranceRule",
    "Truths",
    "Variant",
    "find_cases",
    "json_schema",
    "load_case",
    "load_npz",
    "open_decoder",
    "open_feeds",
    "open_truth",
    "read_feed",
    "read_pictures",
    "save_feed",
    "tolerances_for",
    "write_npz",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module at first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'parity.case' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
