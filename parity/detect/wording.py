"""What the accumulators of all tasks share: names of classes, flaws summed, shares and severities."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from parity.agreement import Finding, ImageAgreement


def class_name(names: Sequence[str], number: int) -> str:
    """Return a class's name, or its number where it has none."""
    return names[number] if 0 <= number < len(names) else str(number)


def add_flaws(total: dict[str, int], side: str, flaws: Mapping[str, int]) -> None:
    """Add an image's flaws to those of its side, such as ``candidate: nan score``."""
    for reason, count in flaws.items():
        key = f"{side}: {reason}"
        total[key] = total.get(key, 0) + count


def split_flaws(flaws: Mapping[str, int]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return flaws that the candidate alone has, and those of the reference, as pairs of reason and count."""
    sides: dict[str, dict[str, int]] = {"reference": {}, "candidate": {}}
    for key, count in flaws.items():
        side, _, reason = key.partition(": ")
        sides[side][reason] = count
    known = sides["reference"]
    return [(reason, count) for reason, count in sides["candidate"].items() if reason not in known], list(known.items())


def share(part: float, whole: float) -> float | None:
    """Return ``part / whole``; None where there is no whole."""
    return part / whole if whole else None


def squash(value: float) -> float:
    """Return a value of 0 and more as one under 1, in the same order."""
    return value / (1.0 + value)


def worst_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings, the worst first; of equals in the order of the images."""
    return tuple(sorted(findings, key=lambda finding: -finding.severity))


def least_agreeing(images: Iterable[ImageAgreement]) -> tuple[ImageAgreement, ...]:
    """Return images, the least agreement first; of equals in their order."""
    return tuple(sorted(images, key=lambda image: image.agreement))
