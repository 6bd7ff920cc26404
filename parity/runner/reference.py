"""Feeds and reference outputs of a case: made once, set aside on disk, shared by all variants."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.backends import get_backend
from parity.case import ReferenceKind
from parity.case.feed import check_tensors, hash_tensors
from parity.case.feeds import open_feeds
from parity.case.recorded import open_recorded, open_reference_function
from parity.graph import HALF_DTYPES, hash_model, load_model, model_interface, require_numbers
from parity.options import Provider, SessionOptions
from parity.pace import paced
from parity.precision.widen import holds_half, without_half
from parity.results import CaseRecord
from parity.runner.doubts import what_draws
from parity.runner.output_cache import CachedSession, OutputCache
from parity.runner.replay import FeedNote, read_feed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from onnx import ModelProto

    from parity.case import Case
    from parity.graph import ModelInterface
    from parity.preprocess import Geometry
    from parity.runner.settings import JudgeSettings
    from parity.runner.store import StoredTensors, TensorStore

    Tensors = Mapping[str, np.ndarray]
    ReferenceFunction = Callable[["NumberedFeed"], Tensors]


@dataclass(frozen=True, slots=True)
class NumberedFeed:
    """A feed with its number in the case's order; ``geometry`` and ``sources`` as a ``Feed`` has them."""

    number: int
    name: str
    tensors: Tensors
    sha256: str
    geometry: tuple[Geometry, ...] | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredFeed:
    """A feed on disk, with the reference's outputs for it; ``geometry`` and ``sources`` as a ``Feed`` has them."""

    number: int
    name: str
    tensors: StoredTensors
    expected: StoredTensors
    sha256: str
    geometry: tuple[Geometry, ...] | None = None
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreparedCase:
    """What all variants of a case share.

    Attributes
    ----------
    model, interface
        The case's model; one that holds half tensors is widened to float32, and feeds and expected outputs with it.
    given
        The model as the case has it: what feeds are made and saved for.
    note
        Of a saved feed that is judged alone; else None.
    is_one_value
        Whether every input is one value in all of the feeds: they show nothing of what a model makes of its inputs.
    drawing
        The operators that draw random numbers, by which two runs of one feed differ.
    """

    model: ModelProto
    interface: ModelInterface
    given: ModelProto
    record: CaseRecord
    feeds: tuple[StoredFeed, ...]
    note: FeedNote | None
    is_one_value: bool = False
    drawing: tuple[str, ...] = ()

    @property
    def is_widened(self) -> bool:
        """Whether the case's model holds half tensors."""
        return self.model is not self.given


def prepare_case(case: Case, settings: JudgeSettings, store: TensorStore) -> PreparedCase:
    """Load a case's model, make its feeds and run the reference on them.

    Raises
    ------
    ModelError
        The model cannot be read, gives text, or the reference's runtime refuses it.
    FeedError
        The feeds or the recorded outputs cannot be made or do not fit the model.
    BackendError
        The reference's runtime is missing or fails.
    RunError
        There is no space to set the tensors aside.
    """
    given = load_model(case.model)
    model = without_half(given) if holds_half(given) else given
    interface = model_interface(model)
    require_numbers(interface)
    note, feeds = _open_feeds(case, settings, model_interface(given))
    digest = hashlib.sha256()
    stored = []
    inputs = _Inputs()
    with ExitStack() as stack:
        reference = _open_reference(case, settings, model, interface, stack)
        for feed in paced(feeds, "running the reference"):
            digest.update(feed.sha256.encode())
            inputs.add(feed.tensors)
            expected = reference(feed)
            # Outputs that a person recorded or computes may be half as the model's are.
            expected = store.put(expected if model is given else widened(expected))
            tensors = store.put(widened(feed.tensors))
            stored.append(
                StoredFeed(feed.number, feed.name, tensors, expected, feed.sha256, feed.geometry, feed.sources)
            )
    record = CaseRecord(
        name=case.name,
        description=case.description,
        model_sha256=hash_model(given),
        case_file_sha256=case.file_sha256,
        feeds_sha256=digest.hexdigest(),
        feed_count=len(stored),
    )
    # Whoever judges one saved feed alone wants its figures, whatever it holds.
    is_one_value = settings.feed is None and inputs.are_one_value
    drawing = what_draws(model, dict(stored[0].tensors)) if stored else ()
    return PreparedCase(model, interface, given, record, tuple(stored), note, is_one_value, drawing)


class _Inputs:
    """What the inputs of all feeds hold, as far as it is one value; a lone element is no constant."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._element_count = 0
        self._varies = False

    def add(self, tensors: Tensors) -> None:
        """Look at a feed."""
        for name, tensor in tensors.items():
            if tensor.size and not self._varies:
                self._element_count += tensor.size
                self._varies = not np.all(tensor == self._first.setdefault(name, tensor.flat[0]))

    @property
    def are_one_value(self) -> bool:
        return not self._varies and self._element_count > len(self._first)


def widened(tensors: Tensors) -> Tensors:
    """Return tensors with the half ones as float32, which holds every half number."""
    return {
        name: tensor.astype(np.float32) if tensor.dtype.name in HALF_DTYPES else tensor
        for name, tensor in tensors.items()
    }


def _open_feeds(
    case: Case, settings: JudgeSettings, interface: ModelInterface
) -> tuple[FeedNote | None, Iterator[NumberedFeed]]:
    if settings.feed is not None:
        tensors, note = read_feed(settings.feed)
        check_tensors(tensors, interface, str(settings.feed))
        known = note or FeedNote(name=settings.feed.stem)
        feed = NumberedFeed(known.feed, known.name, tensors, hash_tensors(tensors), known.geometry, known.sources)
        return note, iter((feed,))
    feeds = islice(open_feeds(case.evaluation, interface, case.batch_size), settings.limit)
    return None, (
        NumberedFeed(number, feed.name, feed.tensors, feed.sha256, feed.geometry, feed.sources)
        for number, feed in enumerate(feeds)
    )


def _open_reference(
    case: Case,
    settings: JudgeSettings,
    model: ModelProto,
    interface: ModelInterface,
    stack: ExitStack,
) -> ReferenceFunction:
    match case.reference.kind:
        case ReferenceKind.RECORDED:
            feed_count = len(open_feeds(case.evaluation, interface, case.batch_size))
            recorded = open_recorded(case, interface, feed_count)
            return lambda feed: recorded[feed.number]
        case ReferenceKind.PYTHON:
            function = open_reference_function(case, interface)
            return lambda feed: function(feed.tensors)
        case ReferenceKind.ONNXRUNTIME:
            options = SessionOptions(provider=Provider(case.reference.provider))
            cache = OutputCache(settings.cache, hash_model(model), options)
            session = stack.enter_context(CachedSession(cache, lambda: get_backend("onnxruntime").open(model, options)))
            return lambda feed: session.run(feed.sha256, lambda _session: widened(feed.tensors))
