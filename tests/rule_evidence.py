"""Evidence for rules of diagnosis: scripted piece by piece, or of a model that is forecast and observed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.agreement import DecodedRecord, Figure, JudgedFigure
from parity.backends import get_backend
from parity.compare import TensorComparison
from parity.diagnose.evidence import Answers, Evidence
from parity.diagnose.facts import sqnr_db
from parity.layers.extract import expose
from parity.layers.observe import Observed, observe
from parity.options import PrecisionOptions, SessionOptions
from parity.precision import forecast
from parity.results import Distance, EngineRecord, Invariant, Outcome, TensorOutcome, Triangulation
from parity.tolerance import NOISE_FLOOR_DB, Precision, Tolerance
from parity.verdict import Verdict
from tests.tiny_models import conv_relu

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from onnx import ModelProto

    from parity.diagnosis import Diagnosis

    Tensors = Mapping[str, np.ndarray]

TIGHT = Tolerance(rtol=0.0, atol=1e-2, reason="a test's")


@dataclass
class ScriptedProbes:
    """Probes that answer what they were told to; what no rule asks a script for is not there."""

    given: Sequence[Answers] = ()
    tensors: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    builds: tuple[Mapping[str, float], ...] = ()

    def values(self, tensor: str) -> Iterable[np.ndarray]:
        return self.tensors[tensor]

    def answers(self) -> Iterable[Answers]:
        return self.given

    def rebuilt(self) -> tuple[Mapping[str, float], ...]:
        return self.builds


def scripted(
    model: ModelProto | None = None,
    *,
    precision: Precision = Precision.FP16,
    outcomes: Sequence[Outcome] = (),
    feeds: Sequence[Tensors] = (),
    probes: Any = None,
    **others: Any,
) -> Evidence:
    """Return evidence of what is given, and nothing else."""
    named = model or conv_relu()
    return Evidence(
        model=named,
        rounded=others.pop("rounded", named),
        typed=others.pop("typed", named),
        options=others.pop("options", PrecisionOptions(precision)),
        outcomes={outcome.check: outcome for outcome in outcomes},
        layers=others.pop("layers", None),
        feeds=lambda: iter(feeds),
        calibration=others.pop("calibration", None),
        probes=probes or ScriptedProbes(),
        case_name="case",
        variant=f"{precision}@fake",
        **others,
    )


def outcome(check: str, verdict: Verdict = Verdict.FAIL, **fields: Any) -> Outcome:
    """Return an outcome of a check."""
    return Outcome("case", "variant@fake", "fp16", check, verdict, "scripted", **fields)


def laws(**verdicts: Verdict) -> Outcome:
    """Return an ``invariants`` outcome: laws by their names, blanks as underscores."""
    found = tuple(Invariant(name.replace("_", " "), verdict, "scripted") for name, verdict in verdicts.items())
    return outcome("invariants", invariants=found)


def decoded(verdict: Verdict = Verdict.FAIL, task: str = "detection", **fields: Any) -> Outcome:
    """Return a ``decoded`` outcome; ``figures`` are values by name."""
    figures = tuple(JudgedFigure(Figure(name, value, "")) for name, value in fields.pop("figures", {}).items())
    return outcome("decoded", verdict, decoded=DecodedRecord(task, "yolov8", figures, **fields))


def judged(
    answers: Sequence[Answers], precision: Precision = Precision.FP16, engine: EngineRecord | None = None
) -> Outcome:
    """Return an ``outputs`` outcome of answers: an output whose numbers differ fails."""
    tensors = tuple(_tensor(name, answers, precision) for name in answers[0].reference)
    verdict = Verdict.FAIL if any(tensor.verdict is Verdict.FAIL for tensor in tensors) else Verdict.PASS
    return outcome("outputs", verdict, tensors=tensors, engine=engine)


def _tensor(name: str, answers: Sequence[Answers], precision: Precision) -> TensorOutcome:
    first = answers[0].reference[name]
    blank = TensorOutcome(name, first.shape, first.dtype.name, Verdict.FAIL, ("scripted",), TIGHT, None, 70.0)
    comparison = TensorComparison(TIGHT, precision, same_dtype=False)
    for number, one in enumerate(answers):
        if one.candidate[name].shape != first.shape:
            return blank
        comparison.update(one.candidate[name], one.reference[name], feed=number)
    difference = comparison.result()
    verdict = Verdict.FAIL if difference.mismatch_count else Verdict.PASS
    return replace(blank, verdict=verdict, difference=difference)


def blamed(tensor_outcome: TensorOutcome, total_db: float, conversion_db: float = 70.0) -> TensorOutcome:
    """Return a tensor whose error is the engine's own."""
    three = Triangulation(Distance(conversion_db, 0.0), Distance(total_db, 0.0), Distance(total_db, 0.0), True)
    return replace(tensor_outcome, triangulation=three)


def noisy(tensors: Tensors, precision: Precision, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return float tensors with the error that a precision leaves: twice its noise floor."""
    level = 2 * 10 ** (-NOISE_FLOOR_DB[precision] / 20)
    return {name: _noised(array, level, rng) for name, array in tensors.items()}


def _noised(array: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    rms = float(np.sqrt(np.mean(np.square(array, dtype=np.float64)))) or 1.0
    return (array + level * rms * rng.standard_normal(array.shape)).astype(array.dtype)


def run(model: ModelProto, feeds: Iterable[Tensors]) -> list[dict[str, np.ndarray]]:
    """Return what ONNX Runtime makes of feeds."""
    with get_backend("onnxruntime").open(model, SessionOptions()) as session:
        return [dict(session.run(feed)) for feed in feeds]


@dataclass
class ModelProbes:
    """Probes of a model that is forecast: what they say is measured."""

    model: ModelProto
    options: PrecisionOptions
    feeds: Callable[[], Iterable[Tensors]]
    calibration: Callable[[], Iterable[Tensors]] | None

    def outputs(self, keep: tuple[str, ...] = (), **options: Any) -> Mapping[str, float]:
        wanted = replace(self.options, keep=(*self.options.keep, *keep), **options)
        made = forecast(self.model, wanted, self.calibration)
        pairs = list(zip(run(made.rounded, self.feeds()), run(self.model, self.feeds()), strict=True))
        return {
            name: sqnr_db(*(np.concatenate([pair[side][name].reshape(-1) for pair in pairs]) for side in (0, 1)))
            for name in pairs[0][1]
        }

    def ranges(self, tensors: Iterable[str], *, calibration: bool = False) -> Mapping[str, tuple[float, float]]:
        feeds = self.calibration if calibration else self.feeds
        assert feeds is not None
        found = {name: np.concatenate([one.reshape(-1) for one in self._values(name, feeds())]) for name in tensors}
        return {name: (float(array.min()), float(array.max())) for name, array in found.items()}

    def values(self, tensor: str) -> Iterable[np.ndarray]:
        return self._values(tensor, self.feeds())

    def _values(self, tensor: str, feeds: Iterable[Tensors]) -> Iterator[np.ndarray]:
        yield from (found[tensor] for found in run(expose(self.model, [tensor]), feeds))

    def answers(self) -> Iterable[Answers]:
        return ()

    def rebuilt(self) -> tuple[Mapping[str, float], ...]:
        return ()


def observed(
    model: ModelProto,
    options: PrecisionOptions,
    feeds: Sequence[Tensors],
    calibration: Sequence[Tensors] | None = None,
) -> Evidence:
    """Return evidence of a model that is forecast and whose layers are observed."""
    named = model
    known = None if calibration is None else (lambda: iter(calibration))
    made = forecast(named, options, known)
    report = observe(Observed(named, made.rounded, options.precision), lambda: iter(feeds), 2**26)
    probes = ModelProbes(named, options, lambda: iter(feeds), known)
    return scripted(
        named,
        precision=options.precision,
        options=options,
        rounded=made.rounded,
        typed=made.typed,
        layers=report,
        calibration=known,
        feeds=feeds,
        probes=probes,
    )


def told(diagnoses: Iterable[Diagnosis]) -> list[tuple[str, float, bool | None]]:
    """Return what does not depend on names: causes, how certain they are, and what their probes say."""
    return [(one.cause, round(one.certainty, 6), one.is_confirmed) for one in diagnoses]
