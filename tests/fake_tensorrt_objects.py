"""What objects of the stand-in for ``tensorrt`` answer, by their class: settings are kept and read back.

``self`` is a ``StandIn`` of ``fake_tensorrt``, which keeps what it is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Config:
    """What was set can be read; TF32 is on, as TensorRT has it."""

    def set_flag(self: Any, flag: Any) -> None:
        _flags(self).add(flag)

    def clear_flag(self: Any, flag: Any) -> None:
        _flags(self).discard(flag)

    def get_flag(self: Any, flag: Any) -> bool:
        return flag in _flags(self)

    def set_memory_pool_limit(self: Any, pool: Any, size: int) -> None:
        self.kept("pools", dict)[pool] = size

    def get_memory_pool_limit(self: Any, pool: Any) -> int:
        return self.kept("pools", dict).get(pool, 0)

    def set_preview_feature(self: Any, feature: Any, enable: bool) -> None:
        self.kept("preview", dict)[feature] = enable

    def get_preview_feature(self: Any, feature: Any) -> bool:
        return self.kept("preview", dict).get(feature, False)

    def set_quantization_flag(self: Any, flag: Any) -> None:
        self.kept("quantization", set).add(flag)

    def clear_quantization_flag(self: Any, flag: Any) -> None:
        self.kept("quantization", set).discard(flag)

    def get_quantization_flag(self: Any, flag: Any) -> bool:
        return flag in self.kept("quantization", set)

    def set_tactic_sources(self: Any, sources: int) -> bool:
        self.kept("sources", list).append(sources)
        return True

    def get_tactic_sources(self: Any) -> int:
        return (self.kept("sources", list) or [2 ** len(self.module.TacticSource) - 1])[-1]

    def create_timing_cache(self: Any, data: bytes) -> Any:
        cache = self.module.ITimingCache()
        cache.__dict__["data"] = bytes(data)
        return cache

    def set_timing_cache(self: Any, timing_cache: Any, ignore_mismatch: bool) -> bool:  # noqa: ARG002 - TensorRT's keyword
        self.kept("timing_cache", list).append(timing_cache)
        return True

    def get_timing_cache(self: Any) -> Any:
        return (self.kept("timing_cache", list) or [None])[-1]

    def add_optimization_profile(self: Any, profile: Any) -> int:
        self.kept("profiles", list).append(profile)
        return len(self.kept("profiles", list)) - 1

    def set_calibration_profile(self: Any, _profile: Any) -> bool:
        return True

    def get_calibration_profile(self: Any) -> Any:
        return (self.called("set_calibration_profile") or [(None,)])[-1][0]

    @property
    def num_optimization_profiles(self: Any) -> int:
        return len(self.kept("profiles", list))


def _flags(config: Any) -> set[Any]:
    return config.kept("flags", lambda: {config.module.BuilderFlag.TF32})


class _Builder:
    num_DLA_cores = 0  # noqa: N815 - TensorRT's name
    platform_has_fast_fp16 = True
    platform_has_fast_int8 = True
    platform_has_tf32 = True

    def create_builder_config(self: Any) -> Any:
        return self.module.IBuilderConfig()

    def create_network(self: Any, flags: int = 0) -> Any:
        network = self.module.INetworkDefinition()
        network.__dict__["created_with"] = flags
        return network

    def create_optimization_profile(self: Any) -> Any:
        return self.module.IOptimizationProfile()


class _Network:
    def add_input(self: Any, name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
        tensor = make_tensor(self.module, name, dtype, shape)
        self.kept("inputs", list).append(tensor)
        return tensor

    def mark_output(self: Any, tensor: Any) -> None:
        self.kept("outputs", list).append(tensor)

    def mark_debug(self: Any, tensor: Any) -> bool:
        return tensor.name != "refused"

    def mark_unfused_tensors_as_debug_tensors(self: Any) -> bool:
        return True

    def get_input(self: Any, index: int) -> Any:
        return self.kept("inputs", list)[index]

    def get_output(self: Any, index: int) -> Any:
        return self.kept("outputs", list)[index]

    def get_layer(self: Any, index: int) -> Any:
        return self.kept("layers", list)[index]

    def __iter__(self: Any) -> Iterator[Any]:
        return iter(self.kept("layers", list))

    def __len__(self: Any) -> int:
        return len(self.kept("layers", list))

    @property
    def num_inputs(self: Any) -> int:
        return len(self.kept("inputs", list))

    @property
    def num_outputs(self: Any) -> int:
        return len(self.kept("outputs", list))

    @property
    def num_layers(self: Any) -> int:
        return len(self.kept("layers", list))


def make_tensor(module: Any, name: str, dtype: Any, shape: tuple[int, ...]) -> Any:
    """Return an ``ITensor``; ``dtype`` is a member of the module's ``DataType``."""
    tensor = module.ITensor()
    tensor.__dict__.update(name=name, dtype=dtype, shape=tuple(shape))
    return tensor


class _Tensor:
    allowed_formats = 0
    is_shape_tensor = False
    is_network_input = True
    is_network_output = False


class _Profile:
    def set_shape(self: Any, name: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - TensorRT's keywords
        self.kept("shapes", dict)[name] = (tuple(min), tuple(opt), tuple(max))

    def get_shape(self: Any, name: str) -> list[tuple[int, ...]]:
        return list(self.kept("shapes", dict).get(name, ()))

    def set_shape_input(self: Any, name: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002 - as above
        self.kept("values", dict)[name] = (tuple(min), tuple(opt), tuple(max))


class _TimingCache:
    def serialize(self: Any) -> bytes:
        return self.__dict__.get("data", b"")


class _Engine:
    def create_execution_context(self: Any, *_args: Any, **_kwargs: Any) -> Any:
        return self.module.IExecutionContext()

    def create_runtime_config(self: Any) -> Any:
        return self.module.IRuntimeConfig()

    def create_engine_inspector(self: Any) -> Any:
        return self.module.EngineInspector()


class _Runtime:
    def deserialize_cuda_engine(self: Any, _plan: Any) -> Any:
        return self.module.ICudaEngine()

    def load_runtime(self: Any, _path: str) -> Any:
        return self.module.Runtime()


class _Registry:
    def load_library(self: Any, plugin_path: str) -> Any:
        return plugin_path


BEHAVIOUR: dict[str, type] = {
    "Builder": _Builder,
    "IBuilderConfig": _Config,
    "ICudaEngine": _Engine,
    "INetworkDefinition": _Network,
    "IOptimizationProfile": _Profile,
    "IPluginRegistry": _Registry,
    "ITensor": _Tensor,
    "ITimingCache": _TimingCache,
    "Runtime": _Runtime,
}
"""What objects of a class answer; of these only members that a release has are taken."""
