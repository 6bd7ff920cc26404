"""``parity baseline update`` and ``parity compare``: what was accepted, and what became of it."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations at run time
from typing import TYPE_CHECKING, Annotated

import typer

from parity.commands.common import (
    COULD_NOT_JUDGE,
    REPORTS,
    AsJson,
    Backends,
    BaselineChoice,
    Debug,
    NoPython,
    Out,
    TensorRTPythons,
    Variants,
    Verbose,
    backend_names,
    conclude_with_baselines,
    judge_all,
    show_log,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from parity.results import Outcome
    from parity.runner import RunSettings
    from parity.runner.baseline_run import UpdateSettings

baselines = typer.Typer(rich_markup_mode=None, add_completion=False)
"""Joined to ``parity`` itself, not a command of that name."""

_group = typer.Typer(
    help="Accept figures, for later runs to be held against.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
baselines.add_typer(_group, name="baseline")


@_group.callback()
def _of_group() -> None:
    """Keep ``update`` a command of its own: typer drops the name of an only one."""


@baselines.command("compare")
def _compare(  # noqa: PLR0917 - typer reads one parameter for each option
    base: Annotated[Path, typer.Argument(metavar="BASE", help="A run, a folder of runs, or a baseline.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="What is held against it.")],
    across: Annotated[bool, typer.Option("--across", help="Join variants by name, whatever executed them.")] = False,
    all_figures: Annotated[bool, typer.Option("--all", help="Show what did not change as well.")] = False,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown there.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page there.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what changed between two runs or baselines.

    Exit codes: 0 nothing got worse; 1 something did, or is gone; 2 nothing could be compared, or NEW is broken.
    """
    with told(debug):
        from parity.baseline.comparison import compare_sides
        from parity.baseline.sides import load_side
        from parity.report import write_text
        from parity.report.comparison import (
            comparison_html,
            comparison_json,
            comparison_markdown,
            print_comparison,
        )

        found = compare_sides(load_side(base), load_side(new), across=across)
        if markdown:
            write_text(markdown, comparison_markdown(found, all_figures=all_figures))
        if html:
            write_text(html, comparison_html(found))
        if as_json:
            typer.echo(comparison_json(found))
        else:
            print_comparison(found, sys.stdout, all_figures=all_figures)
        raise typer.Exit(found.exit_code)


@_group.command("update")
def _update(  # noqa: PLR0917 - as above
    cases: Annotated[
        list[Path] | None, typer.Argument(metavar="[CASE]...", help="Case folders or files; without one, cases/.")
    ] = None,
    saved: Annotated[
        list[Path] | None, typer.Option("--from", metavar="RUN", help="Accept this saved run's figures. Repeatable.")
    ] = None,
    variant: Variants = None,
    backend: Backends = None,
    tensorrt_python: TensorRTPythons = None,
    latency: Annotated[
        bool | None,
        typer.Option(
            "--latency/--no-latency",
            help="Measure latency; by default where it was accepted, and where the case has [latency], not on a CPU.",
        ),
    ] = None,
    measurements: Annotated[int, typer.Option(min=1, help="So many measurements of latency, each started anew.")] = 1,
    seconds: Annotated[float, typer.Option(min=0.0, help="Read for at least so long, for each batch size.")] = 3.0,
    replace: Annotated[bool, typer.Option("--replace", help="Drop what was accepted before.")] = False,
    out: Out = REPORTS,
    no_python: NoPython = False,
    verbose: Verbose = False,
    debug: Debug = False,
) -> None:
    """Write the figures of cases to their baselines; a run that agrees with one adds its latency to it.

    Exit codes: 0 accepted; 2 something could not be accepted.
    """
    if saved and (variant or backend or tensorrt_python or latency is not None or measurements > 1):
        raise typer.BadParameter("--from accepts what a run measured; leave out what selects and measures")
    with told(debug):
        show_log(verbose)
        from parity.backends import TensorRTSettings
        from parity.case.loader import find_cases
        from parity.runner import JudgeSettings, RunSettings, cache_folder
        from parity.runner.baseline_run import UpdateSettings

        settings = RunSettings(
            cases=find_cases(cases or []),
            variants=tuple(variant or ()),
            backends=backend_names(backend, wants_tensorrt=bool(tensorrt_python)),
            tensorrt=TensorRTSettings(tuple(tensorrt_python or ()), cache_folder()),
            out=out,
            allow_python=not no_python,
            command=("parity", *sys.argv[1:]),
            judging=JudgeSettings(cache=cache_folder(), debug=debug, diagnosis_s=0.0, latency=None),
        )
        update = UpdateSettings(latency, measurements, replace)
        raise typer.Exit(_accept_saved(settings, saved, update) if saved else _accept(settings, update, seconds))


def _accept(settings: RunSettings, update: UpdateSettings, seconds: float) -> int:
    from parity.runner import open_run

    with open_run(settings) as opened:
        judge_all(opened, is_resumable=False)
    conclude_with_baselines(opened, BaselineChoice.UPDATE, update, seconds)
    _warn_of_failures(opened.run.outcomes)
    return _tell(outcome for outcome in opened.run.outcomes if outcome.check in {"baseline", "case"})


def _accept_saved(settings: RunSettings, saved: Sequence[Path], update: UpdateSettings) -> int:
    from parity.case.loader import load_case
    from parity.run_file import load_run
    from parity.runner.baseline_judge import MeasuredCase, require_measured, update_baselines

    runs = tuple(load_run(path) for path in saved)
    cases = [load_case(path, allow_python=settings.allow_python) for path in settings.cases]
    measured = [MeasuredCase(case, runs) for case in cases]
    require_measured(measured, [str(path) for path in saved])
    _warn_of_failures(outcome for run in runs for outcome in run.outcomes)
    return _tell(outcome for one in measured for outcome in update_baselines(one, replaces=update.replaces))


def _warn_of_failures(outcomes: Iterable[Outcome]) -> None:
    from parity.report.figures import one_line, place

    words = {"fail": "failed", "inconclusive": "was inconclusive"}
    for outcome in outcomes:
        # A latency that is inconclusive was disturbed, which is accepted in no case.
        is_of_latency = outcome.check == "latency" and outcome.verdict == "inconclusive"
        if outcome.verdict in words and outcome.check not in {"baseline", "case"} and not is_of_latency:
            told = f"{words[outcome.verdict]}, and is accepted as it is"
            typer.echo(f"parity: {one_line(place(outcome))}: {told}", err=True)


def _tell(outcomes: Iterable[Outcome]) -> int:
    """Print what was accepted and what could not be, and return the exit code."""
    from parity.report.figures import one_line

    code = 0
    for outcome in outcomes:
        is_accepted = outcome.verdict in {"pass", "skipped"}
        code = code if is_accepted else COULD_NOT_JUDGE
        place = " / ".join(part for part in (outcome.case, outcome.variant) if part)
        line = one_line(f"{place}: {outcome.headline}")
        typer.echo(line if is_accepted else f"parity: {line}", err=not is_accepted)
    return code
