"""What rules of diagnosis look at, and what they may ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from onnx import ModelProto

    from parity.case.model import Case
    from parity.diagnosis import Diagnosis
    from parity.layer_table import LayerReport
    from parity.options import PrecisionOptions
    from parity.results import Outcome

    Tensors = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What each side gives to one feed.

    Attributes
    ----------
    candidate
        What the variant itself gives.
    rounded
        What the rounded graph gives; None where the variant is that graph.
    number, previous
        Of the feed, and of the one that the variant was fed right before it; None for the first.
    """

    feed: Tensors
    reference: Tensors
    candidate: Tensors
    rounded: Tensors | None = None
    number: int = 0
    previous: int | None = None


class Probes(Protocol):
    """Cheap experiments in ONNX Runtime, remembered, so that two rules do not make one twice."""

    def outputs(self, keep: tuple[str, ...] = (), **options: object) -> Mapping[str, float]:
        """Return the SQNR in dB of each output with more nodes kept, or other precision options.

        It is ``-inf`` where NaN and infinities are not those of the reference.
        ``options`` replace fields of the variant's ``PrecisionOptions``: ``precision=Precision.BF16``, say.
        """
        ...

    def ranges(self, tensors: Iterable[str], *, calibration: bool = False) -> Mapping[str, tuple[float, float]]:
        """Return the reference's smallest and largest finite value of tensors, over all feeds or calibration feeds.

        NaN where there is no finite one.
        """
        ...

    def values(self, tensor: str) -> Iterable[np.ndarray]:
        """Yield the reference's tensor of each feed."""
        ...

    def answers(self) -> Iterable[Answers]:
        """Yield what each side gives to each feed, in order; nothing where the variant cannot be asked again."""
        ...

    def rebuilt(self) -> tuple[Mapping[str, float], ...]:
        """Return how near other builds of this engine come to it: of each, the SQNR in dB of each output.

        Empty where there is nothing to build. It is the dearest of all probes: ``ParityError`` where none can be made.
        """
        ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """A failed variant with all that is known of it.

    Attributes
    ----------
    model
        The case's float32 model; every node has a name.
    rounded, typed
        What the forecast executes, and what TensorRT is given.
    outcomes
        Of this variant, by check: ``outputs``, ``census``, ``invariants``, ``decoded``.
    layers
        None where none were observed.
    feeds
        Makes the feeds anew.
    calibration
        Makes the calibration feeds; None where there are none.
    case_name, variant
        For messages: ``fp16@tensorrt-8.6``.
    case
        For rules that decode, or preprocess otherwise; None where the variant belongs to none.
    """

    model: ModelProto
    rounded: ModelProto
    typed: ModelProto
    options: PrecisionOptions
    outcomes: Mapping[str, Outcome]
    layers: LayerReport | None
    feeds: Callable[[], Iterable[Tensors]]
    calibration: Callable[[], Iterable[Tensors]] | None
    probes: Probes
    case_name: str
    variant: str
    case: Case | None = None


Rule = Callable[[Evidence], tuple["Diagnosis", ...]]
"""A rule of diagnosis: nothing found is an empty tuple. It names no node that the evidence does not show."""
