"""Engines of one model that differ from build to build, as other tactics are chosen."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from parity.checks.invariants import FRESH_CONTEXT, FRESH_LOAD, SAME_FEED
from parity.diagnose.certainty import CONFIRMED, POSSIBLE
from parity.diagnose.facts import held_laws, judged_tensors
from parity.diagnose.trial import decibels
from parity.diagnosis import Diagnosis

if TYPE_CHECKING:
    from parity.diagnose.evidence import Evidence
    from parity.results import TensorOutcome

CAUSE = "unstable-build"
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
    spread = _spread(evidence)
    total_db = min(tensor.triangulation.total.sqnr_db for tensor in blamed if tensor.triangulation)
    if spread is not None:
        return (_seen(blamed, spread, total_db),) if spread <= total_db + _NEAR_DB else ()
    # Without other builds to look at, it is a guess, worth naming only where the engine is sound in itself.
    is_steady = len(held_laws(evidence, (SAME_FEED, FRESH_CONTEXT, FRESH_LOAD))) > 1
    return (_guessed(blamed),) if is_steady and total_db > _GARBAGE_DB else ()


def _is_blamed(tensor: TensorOutcome) -> bool:
    found = tensor.triangulation
    return found is not None and found.blames_engine and math.isfinite(found.total.sqnr_db)


def _spread(evidence: Evidence) -> float | None:
    builds = evidence.probes.rebuilt()
    return min((value for build in builds for value in build.values() if not math.isnan(value)), default=None)


def _seen(blamed: list[TensorOutcome], spread: float, total_db: float) -> Diagnosis:
    return Diagnosis(
        cause=CAUSE,
        title="Each build of this model computes something else: builds differ as far as engine and reference do.",
        certainty=CONFIRMED,
        nodes=(),
        evidence=_sentences(blamed),
        probe=_PROBE,
        probe_result=f"The farthest builds are {decibels(spread)} apart, engine and reference {decibels(total_db)}.",
        is_confirmed=True,
        remedy=_REMEDY,
    )


def _guessed(blamed: list[TensorOutcome]) -> Diagnosis:
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
        remedy=_REMEDY,
    )


def _sentences(blamed: list[TensorOutcome]) -> tuple[str, ...]:
    found = [(tensor.output, tensor.triangulation) for tensor in blamed if tensor.triangulation]
    return tuple(
        f"{name}: the engine is at {decibels(three.total.sqnr_db)}, its precision alone at "
        f"{decibels(three.conversion.sqnr_db)}."
        for name, three in found
    )


_PROBE = "Build three more engines without a timing cache and compare their outputs with each other."
_REMEDY = "Build several times and keep the best with its timing cache, or forbid tactic sources one by one."
