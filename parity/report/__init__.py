"""A run's folder becomes a table, CSV, Markdown and HTML. Nothing is computed here, and no backend is imported.

``run.json`` and the pictures that it names are the only input, so a saved run renders on a machine without the model,
a runtime or a GPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parity.report.layers import LayerView
from parity.report.machine import summary_json
from parity.report.terminal import print_run
from parity.report.writing import write_text
from parity.run_file import load_run

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["LayerView", "print_run", "render", "summary_json", "write_text"]


def render(folder: Path) -> list[Path]:
    """Write ``outputs.csv``, ``summary.md`` and ``report.html`` into a run's folder and return their paths.

    ``census.csv``, ``invariants.csv``, ``figures.csv``, ``detections.csv``, ``layers.csv`` and ``latency.csv`` stand
    beside them where
    the run has such rows. All are made before the first is written: a run that cannot be rendered leaves nothing
    half-written.

    Raises
    ------
    RunError
        ``run.json`` cannot be read or is not a run, or a file cannot be written.
    """
    from parity.report.decoded_csv import detections_csv, figures_csv
    from parity.report.html import report_html
    from parity.report.latency import latency_csv
    from parity.report.layers_csv import layers_csv
    from parity.report.markdown import summary_markdown
    from parity.report.pictures import embedded_pictures
    from parity.report.tables import census_csv, invariants_csv, outputs_csv

    run = load_run(folder)
    texts = {
        "outputs.csv": outputs_csv(run),
        "census.csv": census_csv(run),
        "invariants.csv": invariants_csv(run),
        "figures.csv": figures_csv(run),
        "detections.csv": detections_csv(run),
        "latency.csv": latency_csv(run),
        "layers.csv": layers_csv(run),
        "summary.md": summary_markdown(run),
        "report.html": report_html(run, embedded_pictures(run, folder if folder.is_dir() else folder.parent)),
    }
    return [write_text(folder / name, text) for name, text in texts.items() if text]
