"""Decoders: named, pure, the same code for both sides; output tensors -> what the model says of each image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.decode.family import Family, Fit, Shapes
from parity.decode.registry import FAMILIES
from parity.decode.settings import DecodeSettings, DetectionSettings, NmsSettings
from parity.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from parity.decoded import Decoded
    from parity.preprocess import Geometry

__all__ = [
    "FAMILIES",
    "DecodeSettings",
    "DetectionSettings",
    "Family",
    "Fit",
    "NmsSettings",
    "Shapes",
    "decode",
    "find_layouts",
    "find_roles",
]


def decode(
    settings: DecodeSettings, outputs: Mapping[str, np.ndarray], geometry: Sequence[Geometry]
) -> tuple[Decoded, ...]:
    """Decode the outputs of one feed.

    Parameters
    ----------
    settings
        A family's settings, which choose the decoder.
    outputs
        Every output of the model by name, batch axis included.
    geometry
        Where each image of the feed lies in the input tensor.

    Returns
    -------
    One result an image, in the feed's order.

    Raises
    ------
    DecodeError
        The outputs do not fit the decoder (those that would fit are in the message), or their values make no sense.
    """
    roles = find_roles(settings, {name: array.shape for name, array in outputs.items()})
    return FAMILIES[settings.name].decode(settings, {role: outputs[name] for role, name in roles.items()}, geometry)


def find_roles(settings: DecodeSettings, shapes: Shapes) -> Mapping[str, str]:
    """Return which output plays which part, by the decoder's names for them.

    Raises
    ------
    DecodeError
        The outputs do not fit the decoder; those that would fit are in the message.
    """
    family = FAMILIES[settings.name]
    chosen = {name: shapes[name] for name in settings.outputs.values() if name in shapes} or shapes
    fit = family.layout(chosen)
    roles = settings.outputs or (fit.outputs if fit else {})
    missing = [name for name in roles.values() if name not in shapes]
    if fit is None or missing:
        raise DecodeError(_misfit(settings.name, family, shapes, missing))
    if roles.keys() != fit.outputs.keys():
        raise DecodeError(
            f"decoder {settings.name!r}: decode.outputs tells the parts {', '.join(roles)}; "
            f"expected {', '.join(fit.outputs)}"
        )
    return roles


def find_layouts(shapes: Shapes) -> tuple[tuple[str, Fit], ...]:
    """Return the decoders whose layout the outputs have, the most certain first."""
    found = [(name, fit) for name, family in FAMILIES.items() if (fit := family.layout(shapes)) is not None]
    return tuple(sorted(found, key=lambda pair: -pair[1].certainty))


def _misfit(name: str, family: Family, shapes: Shapes, missing: Sequence[str]) -> str:
    if missing:
        return f"decoder {name!r}: there is no output {', '.join(missing)}; the model gives {', '.join(shapes)}"
    others = [other for other, _ in find_layouts(shapes)]
    hint = f"decode.name that would fit: {', '.join(others)}" if others else "none here would fit; write your own"
    found = ", ".join(f"{output} {shape}" for output, shape in shapes.items())
    return f"decoder {name!r}: found {found}; expected {family.expected}; {hint}"
