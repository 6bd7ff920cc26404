"""Cases that a repair is tried on: three products of which the first two belong together, and planted classifiers."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from parity.case.feeds import open_feeds
from parity.case.loader import load_case
from parity.graph import load_model, model_interface
from parity.repair.workbench import open_workbench
from parity.runner import JudgeSettings
from tests import plant
from tests.tiny_cases import RANDOM_INPUTS, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from onnx import ModelProto

    from parity.case import Case, Variant
    from parity.repair.workbench import Workbench
    from parity.tolerance import Precision

CLASSIFIER = Path(__file__).parents[1] / "cases" / "shapes_classifier"
NAMES = ("first", "second", "third")


def three_products(scale: float = 1e6, names: tuple[str, str, str] = NAMES) -> ModelProto:
    """Return x (4, 8) -> y (4, 5): what the first product scales up, the second scales back."""
    generator = np.random.default_rng(0)
    shapes, factors = [(8, 16), (16, 16), (16, 5)], [scale, 1 / scale, 1.0]
    constants = [
        numpy_helper.from_array((factor * generator.standard_normal(shape)).astype(np.float32), f"w{place}")
        for place, (shape, factor) in enumerate(zip(shapes, factors, strict=True))
    ]
    tensors = ["x", "t0", "t1", "y"]
    nodes = [
        helper.make_node("MatMul", [tensors[place], f"w{place}"], [tensors[place + 1]], name)
        for place, name in enumerate(names)
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 5])]
    graph = helper.make_graph(nodes, "three_products", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def write_products_case(folder: Path, model: ModelProto | None = None, more: str = "") -> Path:
    """Write a case of three products and return its folder."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes((model or three_products()).SerializeToString())
    text = f'model = "model.onnx"\n{RANDOM_INPUTS}{more}{VARIANTS}'
    (folder / "case.toml").write_text(text, encoding="utf-8")
    return folder


@cache
def _places() -> tuple[ModelProto, tuple[plant.Place, ...]]:
    case = load_case(CLASSIFIER)
    model = load_model(case.model)
    feeds = open_feeds(case.evaluation, model_interface(model), 4)
    return model, tuple(plant.find_places(model, dict(next(iter(feeds)).tensors)))


def planted(fault: Callable[[ModelProto, plant.Place], ModelProto], seed: int) -> ModelProto:
    """Return the classifier with a fault at a place that the seed draws."""
    model, places = _places()
    [place] = plant.seeded_places(list(places), seed, 1)
    return fault(model, place)


def write_classifier_case(folder: Path, model: ModelProto) -> Path:
    """Write the classifier's case with another model and few images."""
    folder.mkdir(parents=True)
    shutil.copy(CLASSIFIER / "data.py", folder)
    text = (CLASSIFIER / "case.toml").read_text(encoding="utf-8").replace("batch_size = 16", "batch_size = 4")
    text = text.replace("count = 256", "count = 8").replace("count = 64", "count = 8")
    (folder / "case.toml").write_text(text, encoding="utf-8")
    onnx.save(model, folder / "model.onnx")
    return folder


def variant_of(case: Case, name: str) -> Variant:
    """Return a case's variant by its name."""
    return next(variant for variant in case.variants if variant.name == name)


@contextmanager
def bench_of(folder: Path, variant: str, keep_precision: Precision | None = None) -> Iterator[Workbench]:
    """Put a case's variant on the bench."""
    case = load_case(folder)
    settings = JudgeSettings(cache=folder.parent / "cache")
    with open_workbench(case, variant_of(case, variant), settings, keep_precision) as bench:
        yield bench
