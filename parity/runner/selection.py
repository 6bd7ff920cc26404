"""Which variants of a case run where: names, wildcards and labels."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from parity.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parity.case import Case, Variant


def variant_label(variant: str, backend: str) -> str:
    """Return a variant's name in a run: ``fp16@onnxruntime``."""
    return f"{variant}@{backend}"


def select_variants(case: Case, backends: Sequence[str], patterns: Sequence[str]) -> tuple[tuple[Variant, str], ...]:
    """Return the variants of a case that patterns choose, each with its backend's name, in the case's order.

    Parameters
    ----------
    patterns
        Names or wildcards of variants (``fp16``, ``int8*``) or of their labels (``fp16@onnxruntime``); all if empty.
    """
    return tuple(
        (variant, backend)
        for variant in case.variants
        for backend in backends
        if not patterns or any(_matches(pattern, variant.name, backend) for pattern in patterns)
    )


def require_known(cases: Iterable[Case], backends: Sequence[str], patterns: Sequence[str]) -> None:
    """Check that every pattern chooses something.

    Raises
    ------
    RunError
        A pattern matches no variant of any case; the message has the known ones.
    """
    known = list(
        dict.fromkeys((variant.name, backend) for case in cases for variant in case.variants for backend in backends)
    )
    for pattern in patterns:
        if not any(_matches(pattern, name, backend) for name, backend in known):
            labels = ", ".join(variant_label(name, backend) for name, backend in known) or "none"
            raise RunError(f"variant {pattern!r}: matches none; known are {labels}")


def _matches(pattern: str, variant: str, backend: str) -> bool:
    name, at, where = pattern.partition("@")
    return fnmatchcase(variant, name) and (not at or fnmatchcase(backend, where))
