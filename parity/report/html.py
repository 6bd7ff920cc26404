"""``report.html``: what a run found, verdict first, as one page that opens offline."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from parity.report import figures
from parity.report.bars import error_groups
from parity.report.engines import workers_table
from parity.report.layer_curve import CAPTION
from parity.report.layer_names import WHOLE, name_room
from parity.report.layers import FACETS
from parity.report.pages import render_page
from parity.report.variants import VariantView, gather

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parity.report.pictures import Picture
    from parity.results import Run
    from parity.verdict import Verdict

NO_PICTURES: Mapping[tuple[str, str, str], Sequence[Picture]] = MappingProxyType({})
# Little enough for mail; what it exceeds 3 MB less this by is the note that names were shortened.
_MOST_BYTES = 2_950_000
_MOST_FAILURES = 5
# As many variants as fit beside each other on a sheet of A4.
_MOST_COLUMNS = 7
_PACKAGES_FIRST = ("trt-parity", "tensorrt", "onnxruntime", "onnxruntime-gpu", "onnx", "numpy")


@dataclass(frozen=True, slots=True)
class Cell:
    """A verdict in the matrix, the anchor of what it stands for, and what that says in a sentence."""

    verdict: Verdict
    anchor: str
    words: str


@dataclass(frozen=True, slots=True)
class MatrixRow:
    """A case, or one check of it: ``check`` is empty for the case; a cell by variant, none where it was not judged."""

    case: str
    check: str
    cells: Mapping[str, Cell]


def report_html(run: Run, pictures: Mapping[tuple[str, str, str], Sequence[Picture]] = NO_PICTURES) -> str:
    """Return a run as one HTML document without remote parts or paths of the machine.

    ``pictures`` are those of each outcome by its key. Beside them it takes at most 3 MB, where shortening the names of
    layers is enough for that.
    """
    page = _page(run, pictures, WHOLE)
    excess = len(page.encode()) - _size_bytes(pictures) - _MOST_BYTES
    return page if excess <= 0 else _page(run, pictures, name_room(run, excess))


def _size_bytes(pictures: Mapping[tuple[str, str, str], Sequence[Picture]]) -> int:
    return sum(len(view.source) for some in pictures.values() for picture in some for view in picture.views)


def _page(run: Run, pictures: Mapping[tuple[str, str, str], Sequence[Picture]], room: int) -> str:
    gathered = gather(run, room)
    anchors = {check.outcome.key: check.anchor for view in gathered.variants for check in view.checks}
    return render_page(
        "report.html",
        charts=gathered.charts,
        run=run,
        views=gathered.variants,
        verdict=figures.run_verdict(run),
        verdict_words=figures.verdict_words(run),
        verdict_counts=figures.verdict_counts(run),
        failed=figures.failed(run),
        failed_title=figures.failed_title(run),
        most_failures=_MOST_FAILURES,
        most_columns=_MOST_COLUMNS,
        anchors=anchors,
        variants=list(dict.fromkeys(outcome.variant for outcome in run.outcomes)),
        matrix=[_case_rows(case, gathered.variants) for case in dict.fromkeys(view.case for view in gathered.variants)],
        pictures=pictures,
        place_facts=_place_facts(run),
        workers=workers_table(run),
        error_groups=error_groups,
        curve_caption=CAPTION,
        layer_facets=FACETS,
        forecast_note=figures.FORECAST_NOTE if figures.has_forecast(run) else "",
    )


def _case_rows(case: str, views: Sequence[VariantView]) -> list[MatrixRow]:
    """Return the rows of one case: its variants' worst verdicts, then a row for each check where there are several."""
    own = [view for view in views if view.case == case]
    worst = {view.variant: Cell(view.verdict, view.anchor, view.checks[0].outcome.headline) for view in own}
    checks = dict.fromkeys(check.outcome.check for view in own for check in view.checks)
    rows = [MatrixRow(case, name, _check_cells(name, own)) for name in checks]
    return [MatrixRow(case, "", worst), *(rows if len(rows) > 1 else ())]


def _check_cells(name: str, views: Sequence[VariantView]) -> dict[str, Cell]:
    return {
        view.variant: Cell(check.outcome.verdict, check.anchor, check.outcome.headline)
        for view in views
        for check in view.checks
        if check.outcome.check == name
    }


def _place_facts(run: Run) -> list[tuple[str, str]]:
    """Return where a run was made, the versions that decide results first."""
    here = run.environment
    packages = ", ".join(f"{name} {here.packages[name]}" for name in _PACKAGES_FIRST if name in here.packages)
    gpus = [
        (
            worker.name,
            f"{worker.gpu}, TensorRT {worker.packages.get('tensorrt', 'n/a')}, driver {worker.driver or 'n/a'}",
        )
        for worker in here.workers
    ]
    gpus += [("GPU", f"{found.gpu}, driver {found.driver}") for found in here.gpus]
    return [
        *gpus,
        ("packages", packages or "n/a"),
        ("Python", here.python),
        ("machine", f"{here.processor}, {here.core_count} cores, {here.platform}"),
    ]
