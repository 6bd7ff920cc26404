"""Keys of engines: whatever can change an engine changes its key, and nothing else does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from parity.backends.engine import EngineRequest, Exposed, Exposure, NetworkSource, OnnxSource
from parity.backends.tensorrt.backend import ask_worker
from parity.backends.tensorrt.cache_key import (
    EngineIdentity,
    MachineIdentity,
    engine_identity,
    hash_feeds,
    machine_identity,
)
from parity.backends.tensorrt.recipe import choose_recipe
from parity.build_options import BuildOptions, ShapeProfile
from parity.errors import ModelError
from parity.tolerance import Precision
from tests.simulated_worker import SimulatedWorker
from tests.texts import any_text
from tests.tiny_models import conv_relu

if TYPE_CHECKING:
    from pathlib import Path

TEXT = any_text(max_size=8)
PROFILES = st.lists(
    st.dictionaries(TEXT, st.fixed_dictionaries({"min": st.lists(st.integers(1, 9), max_size=3)})), max_size=2
)
MACHINES = st.builds(MachineIdentity, TEXT, TEXT, TEXT, st.integers(0, 9), TEXT)
IDENTITIES = st.builds(
    EngineIdentity,
    source=TEXT,
    precision=TEXT,
    typing=TEXT,
    obey=st.booleans(),
    keep=st.lists(TEXT, max_size=3).map(tuple),
    keep_precision=TEXT,
    options=st.dictionaries(TEXT, st.integers() | TEXT, max_size=3),
    profiles=PROFILES,
    calibration=TEXT,
    machine=MACHINES,
    packages=st.dictionaries(TEXT, TEXT, max_size=2),
    worker_sources=TEXT,
)
MODEL = conv_relu()
WORKER = ask_worker(SimulatedWorker())
REQUEST = EngineRequest(
    OnnxSource(MODEL, MODEL, ("conv",)),
    Precision.FP16,
    Precision.FP32,
    profiles=({"images": ShapeProfile((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))},),
)


@given(first=IDENTITIES, second=IDENTITIES, name=st.sampled_from([entry.name for entry in fields(EngineIdentity)]))
def test_a_changed_field_changes_the_key(first: EngineIdentity, second: EngineIdentity, name: str) -> None:
    changed = replace(first, **{name: getattr(second, name)})
    assert (changed.key == first.key) == (getattr(changed, name) == getattr(first, name))


@given(first=MACHINES, second=MACHINES)
def test_a_changed_machine_changes_its_key(first: MachineIdentity, second: MachineIdentity) -> None:
    assert (first.key == second.key) == (first == second)


def key_of(request: EngineRequest = REQUEST, worker: Any = WORKER, calibration: str = "") -> str:
    return engine_identity(request, choose_recipe(request, worker), worker, calibration).key


def another_model() -> onnx.ModelProto:
    changed = onnx.ModelProto()
    changed.CopyFrom(MODEL)
    weights = bytearray(changed.graph.initializer[0].raw_data)
    weights[0] ^= 1
    changed.graph.initializer[0].raw_data = bytes(weights)
    return changed


@pytest.mark.parametrize(
    "changed",
    [
        {"source": OnnxSource(another_model(), MODEL, ("conv",))},
        {"source": OnnxSource(MODEL, MODEL, ("relu",))},
        {"source": OnnxSource(MODEL, MODEL)},
        {"precision": Precision.TF32},
        {"keep_precision": Precision.FP16},
        {"options": BuildOptions(optimization_level=5)},
        {"options": BuildOptions(memory_pool_mib={"workspace": 64.0})},
        {"profiles": ({"images": ShapeProfile((1, 3, 8, 8), (2, 3, 8, 8), (8, 3, 8, 8))},)},
        {"profiles": ()},
    ],
)
def test_what_is_asked_for_is_in_the_key(changed: dict[str, Any]) -> None:
    assert key_of(replace(REQUEST, **changed)) != key_of()


@pytest.mark.parametrize(
    "changed",
    [
        {"gpu": "another"},
        {"compute_capability": "8.9"},
        {"driver": "580.1"},
        {"memory_bytes": 1},
        {"packages": WORKER.packages | {"tensorrt": "8.6.1"}},
        {"packages": WORKER.packages | {"polygraphy": "0.53.6"}},
    ],
)
def test_where_it_is_built_is_in_the_key(changed: dict[str, Any]) -> None:
    assert key_of(worker=replace(WORKER, **changed)) != key_of()


def test_what_is_exposed_is_in_the_key_and_an_engine_that_exposes_nothing_keeps_its_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    identity = engine_identity(REQUEST, choose_recipe(REQUEST, WORKER), WORKER)
    parts = asdict(identity)
    assert parts.pop("observe") is None
    assert parts["machine"].pop("tf32_override") == ""
    assert identity.key == hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    ways = [
        Exposed(("t",), Exposure.OUTPUT),
        Exposed(("t",), Exposure.OUTPUT, ("t",)),
        Exposed(("t", "u"), Exposure.OUTPUT),
        Exposed(("t",), Exposure.DEBUG),
        Exposed((), Exposure.UNFUSED),
    ]
    keys = {key_of(replace(REQUEST, observe=exposed)) for exposed in ways}
    assert len(keys | {key_of()}) == len(ways) + 1


def test_what_the_environment_makes_of_tf32_is_in_the_keys_of_engines_and_of_tactics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    keys, tactics = {key_of()}, {machine_identity(WORKER).key}
    for value in ("0", "1"):
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", value)
        keys.add(key_of())
        tactics.add(machine_identity(WORKER).key)
    assert (len(keys), len(tactics)) == (3, 3)


def test_a_name_of_the_interpreter_is_not_in_the_key() -> None:
    assert key_of(worker=replace(WORKER, name="tensorrt-8.6-2", python="3.9.1")) == key_of()


def test_the_model_that_is_not_parsed_is_not_in_the_key() -> None:
    assert key_of(replace(REQUEST, source=OnnxSource(MODEL, another_model(), ("conv",)))) == key_of()


def test_a_plugin_counts_by_its_content(tmp_path: Path) -> None:
    plugin, twin = tmp_path / "a.so", tmp_path / "b.so"
    plugin.write_bytes(b"one")
    twin.write_bytes(b"one")
    first = key_of(replace(REQUEST, options=BuildOptions(plugins=(plugin,))))
    assert key_of(replace(REQUEST, options=BuildOptions(plugins=(twin,)))) == first
    plugin.write_bytes(b"two")
    assert key_of(replace(REQUEST, options=BuildOptions(plugins=(plugin,)))) != first


def test_a_missing_plugin_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.so: cannot be read"):
        key_of(replace(REQUEST, options=BuildOptions(plugins=(tmp_path / "gone.so",))))


def test_a_network_counts_by_its_code_its_function_and_its_weights(tmp_path: Path) -> None:
    code, weights = tmp_path / "network.py", tmp_path / "model.wts"
    code.write_text("def fill(network, weights): ...\n", encoding="utf-8")
    weights.write_text("1\n", encoding="utf-8")

    def key(**changed: Any) -> str:
        return key_of(replace(REQUEST, source=replace(NetworkSource(code, "fill", weights), **changed)))

    first = key()
    assert key(function="other") != first
    assert key(weights=None) != first
    weights.write_text("2\n", encoding="utf-8")
    assert key() != first


def test_calibration_feeds_are_in_the_key() -> None:
    assert key_of(calibration="a") != key_of(calibration="b")


ARRAYS = hnp.arrays(st.sampled_from([np.float32, np.int32, np.float16]), hnp.array_shapes(max_dims=3, max_side=3))
FEEDS = st.lists(st.dictionaries(TEXT, ARRAYS, max_size=2), max_size=3)


@given(first=FEEDS, second=FEEDS)
def test_feeds_of_one_hash_are_the_same_feeds(
    first: list[dict[str, np.ndarray]], second: list[dict[str, np.ndarray]]
) -> None:
    def spelled(feeds: list[dict[str, np.ndarray]]) -> list[Any]:
        return [sorted((name, a.dtype.str, a.shape, a.tobytes()) for name, a in feed.items()) for feed in feeds]

    assert (hash_feeds(first) == hash_feeds(second)) == (spelled(first) == spelled(second))


def test_a_feed_counts_by_its_values_however_they_lie_in_memory() -> None:
    image = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert hash_feeds([{"x": image.T}]) == hash_feeds([{"x": np.ascontiguousarray(image.T)}])
