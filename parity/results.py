"""Outcomes and runs: what the checks found; ``run_file`` saves them.

Reports read these types alone, so that a saved run renders on a machine without the model, a runtime or a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from parity.agreement import DecodedRecord  # noqa: TC001 - pydantic reads the annotation at run time
from parity.diagnosis import Diagnosis  # noqa: TC001 - pydantic reads the annotation at run time
from parity.difference import TensorDifference  # noqa: TC001 - pydantic reads the annotation at run time
from parity.latency_table import LatencyRecord  # noqa: TC001 - pydantic reads the annotation at run time
from parity.layer_table import LayerReport  # noqa: TC001 - pydantic reads the annotation at run time
from parity.tolerance import Tolerance  # noqa: TC001 - pydantic reads the annotation at run time
from parity.verdict import Verdict as Verdict  # noqa: PLC0414 - readers of runs find it here

FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Distance:
    """How far two tensors are apart, in short; ``max_absolute`` is in the output's own unit."""

    sqnr_db: float
    max_absolute: float
    nonfinite_mismatch_count: int = 0


@dataclass(frozen=True, slots=True)
class Triangulation:
    """Three distances between reference, rounded graph and engine.

    They do not add up: independent roundings differ by about the square root of 2 of one.

    Attributes
    ----------
    conversion
        Reference to rounded graph: what the precision itself costs.
    engine
        Rounded graph to engine.
    total
        Reference to engine: what the verdict rests on.
    blames_engine
        Whether the total is worse than the conversion by more than clean engines show.
    """

    conversion: Distance
    engine: Distance
    total: Distance
    blames_engine: bool


@dataclass(frozen=True, slots=True)
class TensorOutcome:
    """The judgement of one output, or of one slice of it.

    Attributes
    ----------
    output
        The output's name, with its slice where one is judged (``output0[:, 4:]``, ``output0[rest]``).
    shape
        The output's shape in one feed.
    dtype
        The reference's dtype.
    reasons
        Why the verdict is not ``pass``, most important first; empty for ``pass``.
    tolerance
        As judged: atol is in the output's own unit.
    difference
        None where structure kept the tensors from being compared.
    noise_floor_db
        What the precision's format alone allows in one rounding.
    notes
        What a reader should know whatever the verdict: NaN and infinities that both sides share.
    """

    output: str
    shape: tuple[int, ...]
    dtype: str
    verdict: Verdict
    reasons: tuple[str, ...]
    tolerance: Tolerance | None
    difference: TensorDifference | None
    noise_floor_db: float
    notes: tuple[str, ...] = ()
    triangulation: Triangulation | None = None
    unwritten_count: int = 0

    @property
    def is_bound(self) -> bool:
        """Whether its elements are judged, not what they decode to."""
        return self.tolerance is None or self.tolerance.is_bound


@dataclass(frozen=True, slots=True)
class BuildMessage:
    """A warning or an error that TensorRT logged.

    ``kind`` is what it is about: ``subnormal-weights``, ``int64-clamped``, ``missing-scales``, … or ``other``; equal
    texts are counted, not repeated.
    """

    severity: str
    kind: str
    text: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine that was judged.

    Attributes
    ----------
    source
        ``built``, ``cache``, ``file`` or ``network``.
    typing
        ``strong``, ``weak`` or, for a file, empty.
    flags
        Builder flags that were set, by TensorRT's names.
    build_s
        Of the build itself, also where the engine came from the cache; None for a file.
    bindings
        Inputs and outputs as the engine has them: ``name: dtype (shape)``.
    profile_count
        Optimization profiles.
    metadata
        What a file's own header says (Ultralytics), as text.
    """

    sha256: str
    size_bytes: int
    source: str
    typing: str = ""
    flags: tuple[str, ...] = ()
    build_s: float | None = None
    bindings: tuple[str, ...] = ()
    profile_count: int = 1
    device_memory_bytes: int | None = None
    messages: tuple[BuildMessage, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CensusRow:
    """The layers of an engine that run at one precision; times are medians of ``IProfiler`` readings.

    ``arithmetic`` are convolutions, deconvolutions, matrix products and what was fused around them.
    """

    precision: str
    layer_count: int
    time_ms: float | None
    arithmetic_count: int
    arithmetic_time_ms: float | None


@dataclass(frozen=True, slots=True)
class Census:
    """What an engine runs, by precision, against what was asked. ``share`` counts arithmetic layers, 0 to 1."""

    asked: str
    rows: tuple[CensusRow, ...]
    share: float
    time_share: float | None
    minimum_share: float


@dataclass(frozen=True, slots=True)
class Invariant:
    """A law that needs no reference, such as ``same feed twice``.

    ``verdict`` is ``skipped`` where the law does not apply (``detail`` says why); ``floor_db`` is the SQNR that is
    enough, None where bit equality is asked.
    """

    name: str
    verdict: Verdict
    detail: str
    max_absolute: float | None = None
    sqnr_db: float | None = None
    floor_db: float | None = None


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """What was executed for a variant.

    ``nodes_changed`` counts the nodes of the typed model that compute at the precision; ``notes`` are sentences on what
    was folded, kept, clamped or converted, for the report. ``rounding`` is ``fused``, ``every-node``, ``qdq``, ``tf32``
    or ``none``.
    """

    reference_sha256: str
    typed_sha256: str | None = None
    rounded_sha256: str | None = None
    node_count: int = 0
    nodes_changed: int = 0
    rounded_tensor_count: int = 0
    folded_node_count: int = 0
    rounding: str = "none"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check found on one variant of one case.

    Attributes
    ----------
    case, variant, check
        Such as ``shapes_yolo``, ``fp16@onnxruntime``, ``outputs``.
    headline
        One sentence for tables.
    message
        The five-part failure message, or the error's text; empty on ``pass``.
    feed_count
        Feeds judged.
    failing_feed
        File name of the worst feed in the run folder, which the replay command in ``message`` names.
    diagnoses
        Likely causes of a failure, the most certain first; they stand in ``message`` as well.
    diagnosis_notes
        What was left out while causes were looked for.
    """

    case: str
    variant: str
    precision: str
    check: str
    verdict: Verdict
    headline: str
    message: str = ""
    tensors: tuple[TensorOutcome, ...] = ()
    model: ModelRecord | None = None
    feed_count: int = 0
    failing_feed: str | None = None
    replay: str | None = None
    duration_s: float = 0.0
    engine: EngineRecord | None = None
    census: Census | None = None
    invariants: tuple[Invariant, ...] = ()
    decoded: DecodedRecord | None = None
    layers: LayerReport | None = None
    latency: LatencyRecord | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    diagnosis_notes: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells outcomes of one run apart."""
        return self.case, self.variant, self.check


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """An interpreter that TensorRT ran in, as it described itself; no path and no host name.

    Attributes
    ----------
    name
        What stands behind the @ of a variant: ``tensorrt-8.6``.
    packages
        Versions of tensorrt, pycuda, numpy and polygraphy there.
    compute_capability
        Such as ``9.0``.
    driver, cuda
        Versions of the NVIDIA driver and of the CUDA that it supports, as text; empty where not known.
    capabilities
        What this TensorRT on this GPU has, by name: ``strongly_typed``, ``fp16_flag``, ``implicit_int8``, ….
    """

    name: str
    python: str
    packages: dict[str, str]
    gpu: str
    compute_capability: str
    memory_bytes: int
    driver: str
    cuda: str
    capabilities: dict[str, bool]


@dataclass(frozen=True, slots=True)
class GpuRecord:
    """A GPU that something else than TensorRT's interpreters ran on; versions as ``WorkerRecord`` has them."""

    gpu: str
    compute_capability: str
    driver: str


@dataclass(frozen=True, slots=True)
class Environment:
    """Where a run was made; no path and no user name of the machine.

    Attributes
    ----------
    gpus
        Of ONNX Runtime's providers, as NVML tells them; empty in runs of older releases.
    """

    python: str
    platform: str
    processor: str
    core_count: int
    packages: dict[str, str] = field(default_factory=dict)
    workers: tuple[WorkerRecord, ...] = ()
    gpus: tuple[GpuRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """A case of a run: its hashes, so that two runs can be told to have judged the same thing."""

    name: str
    description: str
    model_sha256: str
    case_file_sha256: str
    feeds_sha256: str
    feed_count: int


@dataclass(frozen=True, slots=True)
class Run:
    """All outcomes of one invocation.

    ``is_complete`` is false while the run goes on, and stays so after a crash or Ctrl-C; ``parity run --resume`` goes
    on from there.
    ``selection`` is what was asked for, which ``--resume`` repeats.
    ``commit`` is the hash of what was judged, as CI or git tells it; empty where neither does. ``id`` tells the run
    from all others; runs of older releases have none.
    """

    name: str
    created: str
    command: tuple[str, ...]
    environment: Environment
    selection: dict[str, list[str]] = field(default_factory=dict)
    cases: tuple[CaseRecord, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    is_complete: bool = False
    format_version: int = FORMAT_VERSION
    commit: str = ""
    id: str = ""

    def with_outcome(self, outcome: Outcome) -> Run:
        """Return the run with one more outcome; one with the same key is replaced where it stands."""
        if all(other.key != outcome.key for other in self.outcomes):
            return replace(self, outcomes=(*self.outcomes, outcome))
        return replace(self, outcomes=tuple(outcome if other.key == outcome.key else other for other in self.outcomes))

    @property
    def exit_code(self) -> int:
        """0: everything agrees; 1: a disagreement; 2: something could not be judged or was not, or nothing was."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        is_judged = bool(verdicts - {Verdict.SKIPPED}) and not verdicts & {Verdict.ERROR, Verdict.INCONCLUSIVE}
        if not (is_judged and self.is_complete):
            return 2
        return 1 if Verdict.FAIL in verdicts else 0
