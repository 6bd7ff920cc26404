"""Judges the variants of one case. The command line and the pytest plugin both come here."""

from __future__ import annotations

import shlex
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import ml_dtypes  # noqa: F401 - teaches numpy.dtype() the name bfloat16
import numpy as np

from parity.case.feeds import open_feeds
from parity.case.regions import tolerances_for
from parity.checks.outputs import OutputsCheck, OutputsResult, reference_scales
from parity.errors import ParityError, RunError
from parity.graph import load_model
from parity.precision import forecast
from parity.results import ModelRecord, Outcome
from parity.runner.message import failure_text, with_error
from parity.runner.reference import PreparedCase, StoredFeed, prepare_case
from parity.runner.replay import FeedNote, write_feed
from parity.runner.selection import variant_label
from parity.runner.settings import JudgeSettings, relative_path
from parity.runner.store import TensorStore
from parity.tolerance import Precision
from parity.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

    from parity.backends import Backend
    from parity.case import Case, Variant
    from parity.case.regions import RegionTolerance
    from parity.graph import TensorInfo
    from parity.precision import Forecast
    from parity.results import CaseRecord
    from parity.runner.folder import RunFolder

    Tensors = Mapping[str, np.ndarray]
    RegionsOf = Callable[[str, tuple[int, ...]], tuple[RegionTolerance, ...]]

_HALF_DTYPES = {Precision.FP16: "float16", Precision.BF16: "bfloat16"}

OUTPUTS = "outputs"
CASE = "case"
"""The check of an outcome that stands for a whole case which could not be opened."""


def open_case_judge(case: Case, settings: JudgeSettings | None = None) -> CaseJudge:
    """Return a judge of a case's variants; close it to free its temporary folder."""
    return CaseJudge(case, settings or JudgeSettings())


class CaseJudge:
    """Judges the variants of one case.

    Feeds and reference outputs are made when the first variant is judged, once, and kept on disk until it is closed.
    """

    def __init__(self, case: Case, settings: JudgeSettings) -> None:
        self._case = case
        self._settings = settings
        self._stack = ExitStack()
        self._prepared: PreparedCase | ParityError | None = None

    @property
    def record(self) -> CaseRecord | None:
        """What the case is made of, as soon as its feeds and reference are made."""
        return self._prepared.record if isinstance(self._prepared, PreparedCase) else None

    def judge_variant(self, variant: Variant, backend: Backend, folder: RunFolder | None = None) -> Outcome:
        """Judge the outputs of a variant; whatever goes wrong is in the outcome.

        Parameters
        ----------
        folder
            Where a failing feed is saved; nowhere if None.

        Raises
        ------
        RunError
            The failing feed cannot be written: there is no sense in going on.
        """
        start = time.perf_counter()
        outcome = Outcome(
            case=self._case.name,
            variant=variant_label(variant.name, backend.name),
            precision=str(variant.options.precision),
            check=OUTPUTS,
            verdict=Verdict.ERROR,
            headline="",
        )
        try:
            outcome = self._judge(variant, backend, folder, outcome)
        except RunError:
            raise
        except ParityError as error:
            outcome = with_error(outcome, error)
        except Exception as error:
            if self._settings.debug:
                raise
            outcome = with_error(outcome, error)
        return replace(outcome, duration_s=time.perf_counter() - start)

    def _prepare(self) -> PreparedCase:
        if self._prepared is None:
            store = self._stack.enter_context(TensorStore())
            try:
                self._prepared = prepare_case(self._case, self._settings, store)
            except RunError:
                raise
            except ParityError as error:
                self._prepared = error
        if isinstance(self._prepared, ParityError):
            # The second variant is told the same, without the work.
            raise self._prepared
        return self._prepared

    def _judge(self, variant: Variant, backend: Backend, folder: RunFolder | None, outcome: Outcome) -> Outcome:
        prepared = self._prepare()
        made = self._forecast(variant, prepared)
        scales = self._scales(variant, prepared)
        result = self._check(variant, backend, prepared, made, scales)
        judged = replace(
            outcome,
            verdict=result.verdict,
            headline=result.headline,
            tensors=result.tensors,
            model=_model_record(prepared, made),
            feed_count=result.feed_count,
        )
        if folder is not None and result.worst_feed is not None:
            feed = next(feed for feed in prepared.feeds if feed.number == result.worst_feed)
            judged = self._with_feed(judged, variant, feed, folder, scales)
        return replace(judged, message=failure_text(judged, self._command(judged)))

    def _forecast(self, variant: Variant, prepared: PreparedCase) -> Forecast:
        source = self._case.calibration

        def calibration() -> Iterable[Tensors]:
            assert source is not None
            return (feed.tensors for feed in open_feeds(source, prepared.interface, self._case.batch_size))

        return forecast(
            prepared.model,
            variant.options,
            calibration if source is not None else None,
            typed_model=load_model(variant.typed_model) if variant.typed_model else None,
            cache=self._settings.cache,
        )

    def _scales(self, variant: Variant, prepared: PreparedCase) -> Mapping[str, float]:
        scales = reference_scales(self._regions_of(variant), [feed.expected for feed in prepared.feeds])
        note = prepared.note
        # One feed alone has another scale than all of them: a saved feed brings the scale it was judged by.
        return {**scales, **note.scales} if note is not None and note.variant == variant.name else scales

    def _regions_of(self, variant: Variant) -> RegionsOf:
        @cache
        def regions_of(output: str, shape: tuple[int, ...]) -> tuple[RegionTolerance, ...]:
            return tolerances_for(self._case, variant, output, shape)

        return regions_of

    def _check(
        self,
        variant: Variant,
        backend: Backend,
        prepared: PreparedCase,
        made: Forecast,
        scales: Mapping[str, float],
    ) -> OutputsResult:
        options = variant.options
        regions_of = _scaled(self._regions_of(variant), scales)
        session_options = replace(self._settings.session, graph_optimizations=made.graph_optimizations)
        with backend.open(made.rounded, session_options) as session:
            halves = _half_tensors(session.inputs, options.io_precision)
            check = OutputsCheck(regions_of, options.precision, _half_tensors(session.outputs, options.io_precision))
            for feed in prepared.feeds:
                check.update(feed.number, session.run(_typed_inputs(feed.tensors, halves)), dict(feed.expected))
        return check.result()

    def _with_feed(
        self, outcome: Outcome, variant: Variant, feed: StoredFeed, folder: RunFolder, scales: Mapping[str, float]
    ) -> Outcome:
        path = folder.feed_path(outcome.case, outcome.variant, feed.number)
        dtypes = {name: tensor.dtype.name for name, tensor in feed.tensors.items()}
        note = FeedNote(self._case.name, variant.name, feed.number, feed.name, dict(scales), dtypes)
        write_feed(path, feed.tensors, note)
        return replace(
            outcome,
            failing_feed=path.relative_to(folder.path).as_posix(),
            replay=self._command(outcome, path),
        )

    def _command(self, outcome: Outcome, feed: Path | None = None) -> str:
        if outcome.replay:
            return outcome.replay
        backend = outcome.variant.rpartition("@")[2]
        words = ["parity", "run", relative_path(self._case.folder), "--variant", outcome.variant]
        words += ["--backend", backend] if backend != "onnxruntime" else []
        words += ["--feed", relative_path(feed)] if feed else []
        return shlex.join(words)

    def close(self) -> None:
        """Free the temporary folder."""
        self._prepared = None
        self._stack.close()

    def __enter__(self) -> CaseJudge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _scaled(regions_of: RegionsOf, scales: Mapping[str, float]) -> RegionsOf:
    @cache
    def scaled(output: str, shape: tuple[int, ...]) -> tuple[RegionTolerance, ...]:
        return tuple(
            replace(region, tolerance=region.tolerance.absolute(scales[region.label]))
            if region.tolerance.atol_unit == "rms"
            else region
            for region in regions_of(output, shape)
        )

    return scaled


def _half_tensors(tensors: Iterable[TensorInfo], io_precision: Precision) -> dict[str, str]:
    """Return which inputs or outputs a variant has in its own half precision, with their dtype."""
    dtype = _HALF_DTYPES.get(io_precision)
    return {info.name: info.dtype for info in tensors if info.dtype == dtype}


def _typed_inputs(tensors: Tensors, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return a feed with the inputs that ``dtypes`` names in its dtypes."""
    # A value beyond the half range becomes infinite, as it would in an engine; the check shows what comes of it.
    with np.errstate(over="ignore"):
        return {
            name: tensor.astype(np.dtype(dtypes[name])) if name in dtypes else tensor
            for name, tensor in tensors.items()
        }


def _model_record(prepared: PreparedCase, made: Forecast) -> ModelRecord:
    return ModelRecord(
        reference_sha256=prepared.record.model_sha256,
        typed_sha256=made.typed_sha256,
        rounded_sha256=made.rounded_sha256,
        node_count=len(prepared.model.graph.node),
        nodes_changed=made.nodes_changed,
        rounded_tensor_count=made.rounded_tensor_count,
        folded_node_count=made.folded_node_count,
        rounding=made.rounding,
        notes=tuple(made.notes),
    )
