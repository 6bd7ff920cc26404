"""A stand-in of a release with a builder and a network, and the configuration that a request's options make of them."""

from __future__ import annotations

from typing import Any

import polygraphy.backend.trt  # noqa: F401 - its modules must be there before a stand-in is put into them
import pytest

from parity.worker.config import flags_set, make_config
from tests.fake_tensorrt import RELEASES, fake_tensorrt, install
from tests.fake_tensorrt_objects import make_tensor

OLD, FIRST, LAST_WEAK, NEW = RELEASES
IMAGES = {"images": {"min": [1, 3, 8, 8], "opt": [4, 3, 8, 8], "max": [8, 3, 8, 8]}}


class Bench:
    """One release with a builder and a network: images (-1, 3, 8, 8) -> logits."""

    def __init__(self, release: str, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...] = (-1, 3, 8, 8)) -> None:
        self.trt = install(monkeypatch, fake_tensorrt(release))
        self.builder = self.trt.Builder(None)
        self.network = self.builder.create_network(0)
        self.network.add_input("images", self.trt.DataType.FLOAT, shape)
        # As TensorRT infers it: as many rows as the images have.
        self.network.mark_output(make_tensor(self.trt, "logits", self.trt.DataType.FLOAT, (shape[0], 4)))
        self.notes: list[str] = []

    def add_layer(self, name: str, kind: str = "CONVOLUTION", dtype: str = "FLOAT") -> Any:
        tensor = make_tensor(self.trt, f"{name}:0", getattr(self.trt.DataType, dtype), (-1, 4))
        layer = self.trt.ILayer()
        layer.__dict__.update(name=name, type=getattr(self.trt.LayerType, kind), num_outputs=1)
        layer.__dict__["get_output"] = lambda _index: tensor
        self.network.kept("layers", list).append(layer)
        return layer

    def config(self, precision: str = "fp32", *, calibrator: Any = None, **request: Any) -> Any:
        default = {
            "precision": precision,
            "typing": "weak" if hasattr(self.trt.BuilderFlag, "FP16") else "strong",
            "obey": False,
            "keep": [],
            "keep_precision": "fp32",
            "options": {},
            "profiles": [IMAGES],
            "timing_cache": None,
            "source": {"kind": "onnx", "model": "model.onnx"},
        }
        return make_config(
            self.trt, self.builder, self.network, {**default, **request}, self.notes.append, calibrator=calibrator
        )

    def flags(self, precision: str = "fp32", **request: Any) -> list[str]:
        return flags_set(self.trt, self.config(precision, **request))


@pytest.fixture(params=RELEASES)
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(request.param, monkeypatch)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    return lambda release, **kwargs: Bench(release, monkeypatch, **kwargs)
