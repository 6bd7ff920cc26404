"""A case: one model with its inputs, variants and tolerances, read from ``case.toml`` into frozen objects."""

from __future__ import annotations

from parity.case.model import (
    Case,
    ImageSource,
    InputSource,
    NpzSource,
    PythonSource,
    RandomSource,
    RandomTensor,
    Reference,
    ReferenceKind,
    ShapeProfile,
    ToleranceRule,
    Variant,
)

__all__ = [
    "Case",
    "ImageSource",
    "InputSource",
    "NpzSource",
    "PythonSource",
    "RandomSource",
    "RandomTensor",
    "Reference",
    "ReferenceKind",
    "ShapeProfile",
    "ToleranceRule",
    "Variant",
]
