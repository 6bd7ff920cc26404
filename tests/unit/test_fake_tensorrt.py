"""The stand-in has what a release has, no more and no less."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fake_tensorrt import RELEASES, fake_tensorrt, symbols_of


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_symbol_of_a_release_is_there(release: str) -> None:
    trt = fake_tensorrt(release)
    for symbol in symbols_of(release):
        owner, _, member = symbol.rstrip("=").partition(".")
        assert hasattr(trt, owner), symbol
        # Enum members bring name and value themselves.
        assert not member or member in {"name", "value", "itemsize"} or hasattr(getattr(trt, owner), member), symbol


@pytest.mark.parametrize(
    ("release_name", "flags"),
    [
        ("8.6.0", {"FP16": True, "BF16": False, "STRICT_NANS": False}),
        ("10.0.1", {"FP16": True, "BF16": True, "STRICT_NANS": False}),
        ("10.16.1.11", {"FP16": True, "BF16": True, "STRICT_NANS": True}),
        ("11.4.0.106", {"FP16": False, "BF16": False, "STRICT_NANS": True}),
    ],
)
def test_a_release_has_its_own_builder_flags_only(release_name: str, flags: dict[str, bool]) -> None:
    trt = fake_tensorrt(release_name)
    assert {name: hasattr(trt.BuilderFlag, name) for name in flags} == flags


def test_a_configuration_remembers_flags_and_begins_with_tf32(release: str) -> None:
    trt = fake_tensorrt(release)
    config = trt.Builder(None).create_builder_config()
    config.set_flag(trt.BuilderFlag.REFIT)
    config.clear_flag(trt.BuilderFlag.TF32)
    assert config.get_flag(trt.BuilderFlag.REFIT)
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert [name for name, _, _ in config.calls[1:3]] == ["set_flag", "clear_flag"]


def test_what_a_release_lacks_can_be_neither_read_nor_set() -> None:
    config = fake_tensorrt("8.6.0").IBuilderConfig()
    config.builder_optimization_level = 3
    assert config.builder_optimization_level == 3
    with pytest.raises(AttributeError, match="tiling_optimization_level"):
        config.tiling_optimization_level = 1
    with pytest.raises(AttributeError):
        _ = config.tiling_optimization_level


def test_a_read_only_property_cannot_be_set_where_it_became_one() -> None:
    old, new = (fake_tensorrt(name).ITensor() for name in ("8.6.0", "11.4.0.106"))
    old.dtype = "anything"
    with pytest.raises(AttributeError, match="dtype"):
        new.dtype = "anything"


def test_a_python_class_derives_and_keeps_its_own_attributes(release: str) -> None:
    trt = fake_tensorrt(release)

    class Listener(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.times: list[float] = []

    assert Listener().times == []


def test_answers_replace_methods_and_properties() -> None:
    def name_of(_engine: Any, index: int) -> str:
        return f"tensor{index}"

    trt = fake_tensorrt("10.0.1", {"ICudaEngine.num_io_tensors": 2, "ICudaEngine.get_tensor_name": name_of})
    engine = trt.Runtime(None).deserialize_cuda_engine(b"")
    assert [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)] == ["tensor0", "tensor1"]
