"""Engines of one model that differ from build to build, as other tactics are chosen."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from parity.checks.invariants import FRESH_CONTEXT, FRESH_LOAD, SAME_FEED
from parity.diagnose.certainty import CONFIRMED, POSSIBLE, REFUTED
from parity.diagnose.facts import broken_laws, held_laws, judged_tensors
from parity.diagnose.trial import decibels, worst_db
from parity.diagnosis import Diagnosis
from parity.errors import ParityError

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence
    from parity.results import TensorOutcome

CAUSE = "unstable-build"
_STEADY = (SAME_FEED, FRESH_CONTEXT, FRESH_LOAD)
_GARBAGE_DB = 10.0
"""Sound tactics that differ leave more than this."""
_NEAR_DB = 6.0
"""Builds are apart as far as engine and reference are, give or take."""


def find(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """Name the build where others of the same model are as far from it as it is from the reference."""
    blamed = [tensor for tensor in judged_tensors(evidence) if _is_blamed(tensor)]
    outcome = evidence.outcomes.get("outputs")
    if not blamed or outcome is None or outcome.engine is None or outcome.engine.source == "file":
        return ()
    if broken_laws(evidence, _STEADY):
        # An engine that differs from itself differs from every build by that alone.
        return ()
    total_db = min(tensor.triangulation.total.sqnr_db for tensor in blamed if tensor.triangulation)
    builds, reason = _builds(evidence)
    # Where other builds agree, or there are none, it is worth naming only where the engine is sound in itself.
    is_steady = len(held_laws(evidence, _STEADY)) > 1
    is_likely = is_steady and total_db > _GARBAGE_DB
    if not builds:
        return (_guessed(blamed, reason),) if is_likely else ()
    spread = min(builds)
    if spread <= total_db + _NEAR_DB:
        return (_seen(blamed, spread, total_db),)
    return (_refuted(blamed, spread, total_db, len(builds)),) if is_likely else ()


def _is_blamed(tensor: TensorOutcome) -> bool:
    found = tensor.triangulation
    return found is not None and found.blames_engine and math.isfinite(found.total.sqnr_db)


def _builds(evidence: Evidence) -> tuple[tuple[float, ...], str | None]:
    """Return how near each other build comes to this one, in dB of its worst output, or why none was made."""
    try:
        levels = [worst_db(build) for build in evidence.probes.rebuilt()]
    except ParityError as error:
        return (), f"no other build was made: {error}"
    return tuple(level for level in levels if not math.isnan(level)), None


def _seen(blamed: list[TensorOutcome], spread: float, total_db: float) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title="Each build of this model computes something else: builds differ as far as engine and reference do.",
        certainty=CONFIRMED,
        nodes=(),
        evidence=_sentences(blamed),
        probe=_PROBE,
        probe_result=_measured(spread, total_db),
        is_confirmed=True,
        remedy=_REMEDY,
    )


def _measured(spread: float, total_db: float) -> str:
    return f"the farthest builds are {decibels(spread)} apart, engine and reference {decibels(total_db)}"


def _refuted(blamed: list[TensorOutcome], spread: float, total_db: float, count: int) -> Diagnosis:
    builds = f"{count} other build{'s' if count != 1 else ''}"
    told = f"{builds} came out alike: {_measured(spread, total_db)}"
    return replace(_guessed(blamed, told), certainty=REFUTED, is_confirmed=False)


def _guessed(blamed: list[TensorOutcome], result: str | None) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title="This build may have chosen worse tactics than another would.",
        certainty=POSSIBLE,
        nodes=(),
        evidence=(
            *_sentences(blamed),
            "The engine answers equal feeds equally, so what differs was fixed at the build.",
        ),
        probe=_PROBE,
        probe_result=result,
        remedy=_REMEDY,
    )


def _sentences(blamed: list[TensorOutcome]) -> tuple[str, ...]:
    found = [(tensor.output, tensor.triangulation) for tensor in blamed if tensor.triangulation]
    return tuple(
        f"{name}: the engine is at {decibels(three.total.sqnr_db)}, its precision alone at "
        f"{decibels(three.conversion.sqnr_db)}."
        for name, three in found
    )


_PROBE = "Build three more engines without a timing cache and compare their outputs with this one's."
_REMEDY = "Build several times and keep the best with its timing cache, or forbid tactic sources one by one."
