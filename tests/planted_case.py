"""Writes a copy of the classifier case whose fp16 overflows on some images: ``python -m tests.planted_case FOLDER``.

The documentation shows what comes of it, and the sample run under ``reports/samples`` was made with it.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from shutil import copyfile

import onnx

from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.graph import load_model, model_interface
from tests.plant import find_places, overflow

SOURCE = Path(__file__).parents[1] / "cases" / "shapes_classifier"

_HEAD = """\
description = "The shape classifier, with a tensor scaled past the half range and back."
model = "model.onnx"

[inputs]
kind = "python"
function = "data.py:evaluation"
count = 64
tensor = "image"
preprocess = [
"""
_VARIANTS = """\
]

[variants.fp32]
precision = "fp32"

[variants.fp16]
precision = "fp16"

[variants.bf16]
precision = "bf16"
"""


def write_planted_case(folder: Path) -> Path:
    """Write the case into a new folder and return it; in float32 its model computes what the original computes."""
    case = load_case(SOURCE)
    model = load_model(case.model)
    feeds = open_feeds(case.evaluation, model_interface(model), case.batch_size)
    place = find_places(model, next(iter(feeds)).tensors)[-1]
    folder.mkdir(parents=True)
    # A fourth of what ``overflow`` plants: the largest values pass 65504, those of most images stay below.
    onnx.save(overflow(model, replace(place, largest=4 * place.largest)), folder / "model.onnx")
    copyfile(SOURCE / "data.py", folder / "data.py")
    (folder / "case.toml").write_text(_HEAD + _preprocessing() + _VARIANTS, encoding="utf-8")
    return folder


def _preprocessing() -> str:
    steps = tomllib.loads((SOURCE / "case.toml").read_text(encoding="utf-8"))["inputs"]["preprocess"]
    rows = [", ".join(f"{key} = {value!r}".replace("'", '"') for key, value in step.items()) for step in steps]
    return "".join(f"    {{ {row} }},\n" for row in rows)


if __name__ == "__main__":
    write_planted_case(Path(sys.argv[1]))
