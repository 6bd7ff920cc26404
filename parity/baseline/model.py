"""Accepted figures of a case on one machine, and what a variant's figures are on either side of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

FORMAT_VERSION = 1
KEPT_MEASUREMENTS = 8
"""Separately started measurements that a baseline keeps; the oldest one goes first."""

Figures = dict[str, dict[str, dict[str, float]]]
"""Values by check, by what of the variant they are about (an output; empty for the whole), and by name."""


@dataclass(frozen=True, slots=True)
class FirstMeasurements:
    """What was accepted of a latency before newer measurements came behind it: small steps add up from there.

    Attributes
    ----------
    taken
        When the baseline was written that newer ones came behind.
    measurements_ms
        As ``LatencySeries.all_ms`` was then.
    """

    taken: str
    measurements_ms: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class LatencySeries:
    """Separately started measurements of a variant at one batch size.

    Attributes
    ----------
    clock
        ``gpu`` or ``host``.
    cuda_graph, streams
        How inferences were launched: times are comparable where this is equal.
    measurements_ms
        Of each measurement the medians of its blocks of readings, in ms, the oldest measurement first.
    rebuilds_ms
        The same of engines that were built anew.
    first
        None where nothing came behind what was accepted.
    """

    clock: str
    measurements_ms: tuple[tuple[float, ...], ...]
    cuda_graph: bool = False
    streams: int = 1
    rebuilds_ms: tuple[tuple[float, ...], ...] = ()
    first: FirstMeasurements | None = None

    def __post_init__(self) -> None:
        first_ms = self.measurements_ms if self.first is None else self.first.measurements_ms
        if not all((self.measurements_ms, *self.measurements_ms, first_ms, *first_ms)):
            raise ValueError("a latency without a measurement")
        if not all(0 < value < float("inf") for blocks in (*self.all_ms, *first_ms) for value in blocks):
            raise ValueError("a latency that is no positive number")

    @property
    def all_ms(self) -> tuple[tuple[float, ...], ...]:
        """Every measurement, of rebuilt engines as well."""
        return self.measurements_ms + self.rebuilds_ms

    @property
    def mode(self) -> tuple[str, bool, int]:
        """What has to be equal for two series to be comparable."""
        return self.clock, self.cuda_graph, self.streams

    def followed_by(self, newer: LatencySeries, keep: int = KEPT_MEASUREMENTS) -> LatencySeries:
        """Return the series with newer measurements of the same mode behind its own, the last ``keep`` of each kind."""
        return replace(
            self,
            measurements_ms=(self.measurements_ms + newer.measurements_ms)[-keep:],
            rebuilds_ms=(self.rebuilds_ms + newer.rebuilds_ms)[-keep:],
        )


@dataclass(frozen=True, slots=True)
class VariantFigures:
    """What is known of one variant.

    Attributes
    ----------
    latency
        By batch size.
    layers
        Name and median in ms of every layer, in the order of execution.
    """

    figures: Figures = field(default_factory=dict)
    latency: dict[int, LatencySeries] = field(default_factory=dict)
    layers: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if any(size < 1 for size in self.latency):
            raise ValueError("a batch size below 1")

    @property
    def checks(self) -> frozenset[str]:
        """The checks that gave a figure, ``latency`` among them."""
        return frozenset(self.figures) | (frozenset(["latency"]) if self.latency else frozenset())


@dataclass(frozen=True, slots=True)
class Baseline:
    """The accepted figures of a case on one machine.

    Attributes
    ----------
    machine
        The key of the machine, which is also the file's name.
    environment
        Exact versions when it was taken.
    feeds_sha256
        Of what was judged; empty where only latency was measured.
    variants
        By name and where they ran: ``fp16@tensorrt``.
    """

    case: str
    machine: str
    environment: dict[str, str]
    taken: str
    model_sha256: str
    feeds_sha256: str
    variants: dict[str, VariantFigures]
    format_version: int = FORMAT_VERSION
