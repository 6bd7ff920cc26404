"""The one orchestrator: case by variant, to outcomes, to a run that is on disk after every step."""

from __future__ import annotations

from parity.runner.case_judge import CaseJudge, open_case_judge
from parity.runner.folder import RunFolder, create_run_folder
from parity.runner.progress import Progress, SilentProgress
from parity.runner.run import OpenRun, open_run, run_cases
from parity.runner.selection import select_variants, variant_label
from parity.runner.settings import JudgeSettings, LayerSettings, Origin, RunSettings, cache_folder

__all__ = [
    "CaseJudge",
    "JudgeSettings",
    "LayerSettings",
    "OpenRun",
    "Origin",
    "Progress",
    "RunFolder",
    "RunSettings",
    "SilentProgress",
    "cache_folder",
    "create_run_folder",
    "open_case_judge",
    "open_run",
    "run_cases",
    "select_variants",
    "variant_label",
]
