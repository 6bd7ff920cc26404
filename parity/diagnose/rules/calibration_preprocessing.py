"""Calibration inputs that were preprocessed otherwise than those of evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from parity.case.model import ImageSource, PythonSource
from parity.diagnose.certainty import CONFIRMED, FITS, SPECIFIC
from parity.diagnosis import Diagnosis
from parity.tolerance import Precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from parity.diagnose.evidence import Evidence

    Feeds = Callable[[], Iterable[Mapping[str, np.ndarray]]]

CAUSE = "calibration-preprocessing"
_FEED_COUNT = 16
_FACTOR = 3.0
"""Sets of images of one kind spread alike: their standard deviations differ by less."""
_SHIFT = 0.75
"""By so many standard deviations the means of two such sets do not differ."""
_SPREAD = 0.05
_ERRORS = 4.0
"""What two small sets differ by is told from luck by so many standard errors, as images differ among themselves."""
_FEWEST = 8
"""Of fewer images nobody knows how images vary."""
_FLAT = 1e-12


@dataclass(frozen=True, slots=True)
class _Statistics:
    """An input over some feeds.

    Attributes
    ----------
    means, spreads
        (images,): of each image its mean, and the logarithm of its standard deviation.
    channels
        (images, 3): each image's channel means; None of other inputs.
    """

    mean: float
    deviation: float
    means: np.ndarray
    spreads: np.ndarray
    channels: np.ndarray | None


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name what calibration inputs have otherwise than evaluation inputs."""
    if evidence.options.precision not in {Precision.INT8, Precision.FP8} or evidence.calibration is None:
        return ()
    met, known = _measure(evidence.feeds), _measure(evidence.calibration)
    sentences = [text for name in met if name in known for text in _differences(name, met[name], known[name])]
    steps = _other_steps(evidence)
    if not (sentences or steps):
        return ()
    return (
        Diagnosis(
            cause=CAUSE,
            title="Calibration saw inputs that were preprocessed otherwise than those of evaluation.",
            certainty=CONFIRMED + SPECIFIC if sentences else FITS,
            nodes=(),
            evidence=(*sentences, *steps),
            probe="Compare mean, spread and channel order of calibration inputs with those of evaluation inputs.",
            probe_result=sentences[0] if sentences else "Their statistics are alike.",
            is_confirmed=bool(sentences),
            remedy="Give [calibration] the preprocess steps of [inputs], and images of the same kind; calibrate anew.",
        ),
    )


def _measure(feeds: Feeds) -> dict[str, _Statistics]:
    arrays: dict[str, list[np.ndarray]] = {}
    for feed in islice(feeds(), _FEED_COUNT):
        for name, array in feed.items():
            if array.dtype.kind == "f" and array.size:
                arrays.setdefault(name, []).append(array.astype(np.float64))
    return {name: _statistics(found) for name, found in arrays.items()}


def _statistics(arrays: list[np.ndarray]) -> _Statistics:
    flat = np.concatenate([array.reshape(-1) for array in arrays])
    images = [image for array in arrays for image in (array if array.ndim > 1 else array[None])]
    channels = [found for array in arrays if (found := _channel_means(array)) is not None]
    return _Statistics(
        mean=float(flat.mean()),
        deviation=float(flat.std()),
        means=np.array([image.mean() for image in images]),
        spreads=np.log([max(float(image.std()), _FLAT) for image in images]),
        channels=np.concatenate(channels) if channels else None,
    )


def _standard_error(here: np.ndarray, there: np.ndarray) -> float:
    """Return by how much the means of two sets of images differ by luck; infinity where both have few."""
    several = [one for one in (here, there) if len(one) >= _FEWEST]
    spread = max((float(np.linalg.norm(one.std(axis=0, ddof=1))) for one in several), default=np.inf)
    return spread * float(np.sqrt(1 / len(here) + 1 / len(there)))


def _is_luck(here: np.ndarray, there: np.ndarray) -> bool:
    return abs(float(here.mean() - there.mean())) <= _ERRORS * _standard_error(here, there)


def _channel_means(images: np.ndarray) -> np.ndarray | None:
    """Return each image's three channel means, (images, 3); None where there are no three channels."""
    if images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]):
        return None
    means: np.ndarray = images.mean(axis=(2, 3) if images.shape[1] == 3 else (1, 2))
    return means


def _differences(name: str, met: _Statistics, known: _Statistics) -> Iterator[str]:
    if not (met.deviation and known.deviation):
        return
    ratio = met.deviation / known.deviation
    if not 1 / _FACTOR < ratio < _FACTOR and (_named(ratio) or not _is_luck(met.spreads, known.spreads)):
        yield (
            f"{name} spreads {met.deviation:.3g} in evaluation and {known.deviation:.3g} in calibration: a factor of "
            f"{ratio:.3g}{_named(ratio)}."
        )
    elif _is_shifted(met, known) and not _is_luck(met.means, known.means):
        yield f"{name} has mean {met.mean:.3g} in evaluation and {known.mean:.3g} in calibration: no mean taken off?"
    elif met.channels is not None and known.channels is not None and _are_reversed(met, known):
        yield (
            f"The channel means of {name} are {_listed(met.channels)} in evaluation and {_listed(known.channels)} in "
            "calibration: the same, reversed."
        )


def _is_shifted(met: _Statistics, known: _Statistics) -> bool:
    return abs(met.mean - known.mean) > _SHIFT * max(met.deviation, known.deviation)


def _named(ratio: float) -> str:
    if 0.5 < ratio / 255 < 2:
        return ", calibration was divided by 255 once more"
    return ", calibration was not divided by 255" if 0.5 < ratio * 255 < 2 else ""


def _are_reversed(met: _Statistics, known: _Statistics) -> bool:
    assert met.channels is not None
    assert known.channels is not None
    here, there = met.channels.mean(axis=0), known.channels.mean(axis=0)
    apart = float(np.linalg.norm(here - there))
    if apart < max(_ERRORS * _standard_error(met.channels, known.channels), _SPREAD * met.deviation):
        return False
    return float(np.linalg.norm(here - there[::-1])) < apart / 3


def _listed(channels: np.ndarray) -> str:
    return ", ".join(f"{value:.3g}" for value in channels.mean(axis=0))


def _other_steps(evidence: Evidence) -> tuple[str, ...]:
    """Return a sentence where the case itself preprocesses both otherwise."""
    case = evidence.case
    if case is None or case.calibration is None:
        return ()
    pipelines = [
        source.preprocess
        for source in (case.evaluation, case.calibration)
        if isinstance(source, ImageSource | PythonSource)
    ]
    if len(pipelines) < 2 or pipelines[0] == pipelines[1]:
        return ()
    return ("The case file gives [calibration] other preprocess steps than [inputs].",)
