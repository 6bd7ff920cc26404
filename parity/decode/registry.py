"""All decoders by name. A new family is one file here, one line below, and one test file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.decode.family import Family

_ALL: tuple[Family, ...] = ()

FAMILIES: dict[str, Family] = {family.settings.model_fields["name"].default: family for family in _ALL}
"""Decoders by the ``name`` of their settings."""
