"""One pass over the feeds serves several checks: a candidate answers each feed once, whatever looks at its answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from parity.checks.outputs import OutputsCheck, outputs_outcome
from parity.errors import ParityError, RunError
from parity.runner.doubts import doubt_of
from parity.runner.message import not_judged, with_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy as np

    from parity.results import Outcome
    from parity.runner.planned import PlannedVariant
    from parity.runner.reference import StoredFeed
    from parity.runner.rounded import RoundedOutputs

    Judged = tuple[Outcome, int | None]
    """An outcome, and the number of the feed that fails most."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A candidate's outputs for a feed, by name; of an engine, how many elements of each were never written."""

    outputs: Mapping[str, np.ndarray]
    unwritten: Mapping[str, int] = field(default_factory=dict)


class Observer(Protocol):
    """A check that looks at a candidate's answers as they come; it keeps none."""

    def update(self, feed: StoredFeed, answer: Answer) -> None:
        """Judge one feed.

        Raises
        ------
        ParityError
            The check cannot be made; the others go on.
        """
        ...

    def judged(self, blank: Outcome) -> Judged:
        """Return the outcome over all feeds."""
        ...


def observe(
    answers: Iterable[tuple[StoredFeed, Answer]], observers: Mapping[str, Observer], blanks: Mapping[str, Outcome]
) -> Iterator[Judged]:
    """Go through a candidate's answers once, then yield the outcome of each observer, in their order.

    A check that cannot be made costs its own outcome; a candidate that does not answer costs all of them.

    Parameters
    ----------
    answers
        Each feed with the candidate's answer, made as they are asked for.
    observers
        By the names of their checks.
    blanks
        What is known of each check's outcome beforehand.

    Raises
    ------
    RunError
        There is no space to set something aside.
    """
    try:
        errors = _show(answers, observers)
    except RunError:
        raise
    except ParityError as error:
        yield from _without_answers([blanks[check] for check in observers], error)
        return
    for check, observer in observers.items():
        if check in errors:
            yield with_error(blanks[check], errors[check]), None
        else:
            yield judged_or_error(observer.judged, blanks[check])


def _show(answers: Iterable[tuple[StoredFeed, Answer]], observers: Mapping[str, Observer]) -> dict[str, ParityError]:
    """Show every answer to every observer; return the errors of those that gave up."""
    errors: dict[str, ParityError] = {}
    for feed, answer in answers:
        for check in [check for check in observers if check not in errors]:
            try:
                observers[check].update(feed, answer)
            except RunError:
                raise
            except ParityError as error:
                errors[check] = error
        if len(errors) == len(observers):
            break
    return errors


def judged_or_error(judge: Callable[[Outcome], Judged], blank: Outcome) -> Judged:
    """Return what ``judge`` makes of a blank outcome, or the outcome that tells why it cannot.

    Raises
    ------
    RunError
        There is no sense in going on.
    """
    try:
        return judge(blank)
    except RunError:
        raise
    except ParityError as error:
        return with_error(blank, error), None


def _without_answers(blanks: Sequence[Outcome], error: ParityError) -> Iterator[Judged]:
    first, *others = blanks
    yield with_error(first, error), None
    yield from ((not_judged(other, first), None) for other in others)


class OutputsObserver:
    """The ``outputs`` check on a candidate's answers.

    Parameters
    ----------
    dtypes
        The dtypes of outputs that are meant to differ from the reference's, by name.
    rounded
        The rounded graph's outputs, where an engine is judged.
    decodes
        Whether a ``decoded`` check looks at the same answers.
    """

    def __init__(
        self,
        planned: PlannedVariant,
        dtypes: Mapping[str, str],
        rounded: RoundedOutputs | None = None,
        *,
        decodes: bool = False,
    ) -> None:
        self._check = OutputsCheck(
            planned.regions_of,
            planned.precision,
            dtypes,
            decodes=decodes,
            doubt=doubt_of(planned.prepared, is_engine=rounded is not None),
        )
        self._rounded = rounded

    def update(self, feed: StoredFeed, answer: Answer) -> None:
        """Judge one feed.

        Raises
        ------
        StructureError
            A tensor holds no plain numbers.
        ModelError, BackendError
            ONNX Runtime refuses the rounded graph, or fails.
        """
        self._check.update(
            feed.number,
            answer.outputs,
            dict(feed.expected),
            rounded=None if self._rounded is None else self._rounded[feed.number],
            unwritten=answer.unwritten,
        )

    def judged(self, blank: Outcome) -> Judged:
        """Return the outcome over all feeds."""
        result = self._check.result()
        return outputs_outcome(blank, result), result.worst_feed
