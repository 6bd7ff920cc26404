"""A stand-in for ``tensorrt``: the classes, members and enum names that one release has, and no others.

``tests/data/tensorrt-api.json`` says which release has which symbol. An absent one raises ``AttributeError``, as the
real bindings do, and so does setting what a release has not or has read-only. Objects remember what is called
(``calls``) and keep what is set; the builder's configuration, networks, profiles and engines also answer from it. A
test sets what is read-only in ``vars()`` of an object.
Enum numbers are not TensorRT's: they differ from release to release there too, and code must not rest on them.
"""

from __future__ import annotations

import json
import re
import sys
from enum import Enum, IntEnum
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tests.fake_tensorrt_objects import BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RELEASES = ("8.6.0", "10.0.1", "10.16.1.11", "11.4.0.106")
"""One release of each kind: no strong typing, both, both with weak deprecated, strong only."""

_API = Path(__file__).parent / "data" / "tensorrt-api.json"
# These stand beside the members of an enum and are none.
_ENUM_ATTRIBUTES = frozenset({"name", "value", "itemsize"})
_PROPERTY = re.compile(
    r"num_|has_|is_network_|is_shape_tensor|is_execution_tensor|platform_has_|shape$|type$|precision_is_set|refittable"
    r"|device_memory_size|streamable_weights|weight_streaming_scratch|minimum_weight|builder$|logger$|all_creators"
    r"|plugin_creator_list|tactic_sources$|max_DLA|all_build_routes"
)
_DTYPE_NAMES = {
    "float32": "FLOAT",
    "float16": "HALF",
    "bfloat16": "BF16",
    "int8": "INT8",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "bool": "BOOL",
    "fp8": "FP8",
    "int4": "INT4",
    "fp4": "FP4",
    "e8m0": "E8M0",
}


class Severity(IntEnum):
    """``trt.ILogger.Severity``."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


@cache
def symbols_of(release: str) -> frozenset[str]:
    """Return a release's symbols: ``Class``, ``Class.member``, ``Class.member=`` where it can be assigned."""
    api = json.loads(_API.read_text(encoding="utf-8"))
    position = {name: number for number, name in enumerate(api["releases"])}

    def has(spans: list[str]) -> bool:
        bounds = (span.split("..") for span in spans)
        return any(position[first] <= position[release] <= position[last] for first, last in bounds)

    return frozenset(name for name, spans in api["symbols"].items() if has(spans))


def fake_tensorrt(release: str, answers: Mapping[str, Any] | None = None) -> Any:
    """Return a module with what ``release`` has.

    Parameters
    ----------
    answers
        By ``Class.member``: a function that takes the object first becomes a method, anything else a property's value.
    """
    return FakeModule(release, answers or {})


@cache
def _members_of(release: str) -> dict[str, frozenset[str]]:
    members: dict[str, set[str]] = {}
    for symbol in symbols_of(release):
        owner, _, member = symbol.partition(".")
        members.setdefault(owner, set()).add(member)
    return {owner: frozenset(owned - {""}) for owner, owned in members.items()}


class FakeModule(ModuleType):
    """The stand-in for one release; its classes are made at first use."""

    def __init__(self, release: str, answers: Mapping[str, Any]) -> None:
        super().__init__("tensorrt")
        self.__version__ = release
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        members = _members_of(self.__version__)
        if name not in members:
            raise AttributeError(f"module 'tensorrt' has no attribute {name!r}")
        if name in _DTYPE_NAMES:
            made = getattr(self.DataType, _DTYPE_NAMES[name])
        else:
            made = _make(self, name, members[name], self._answers)
        setattr(self, name, made)
        return made


def _make(module: Any, owner: str, members: frozenset[str], answers: Mapping[str, Any]) -> Any:
    if members >= {"name", "value"}:
        return _make_enum(owner, members)
    if owner in {"get_plugin_registry", "get_builder_plugin_registry"}:
        return partial(_registry, module)
    if not members and owner[:1].islower():
        return partial(_call_function, module, owner, answers.get(owner, True))
    return _make_class(module, owner, members, answers)


def _make_enum(owner: str, members: frozenset[str]) -> Any:
    made = Enum(owner, {name: number for number, name in enumerate(sorted(members - _ENUM_ATTRIBUTES))})  # type: ignore[misc]  # names made at run time
    made.__int__ = lambda self: self.value  # type: ignore[attr-defined]  # as pybind11's enums
    return made


def _call_function(module: Any, name: str, answer: Any, *args: Any, **kwargs: Any) -> Any:
    module.calls.append((name, args, kwargs))
    return answer(*args, **kwargs) if callable(answer) else answer


def _registry(module: Any, *_: Any) -> Any:
    """Return the one plugin registry of the module."""
    if "registry" not in vars(module):
        module.registry = module.IPluginRegistry()
    return module.registry


class StandIn:
    """An object of the stand-in: strict as a bound C++ object, unless a Python class derives from it."""

    calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]]
    module: Any
    assignable: frozenset[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__["calls"] = [("__init__", args, kwargs)]

    def __setattr__(self, name: str, value: Any) -> None:
        if "assignable" in vars(type(self)) and name not in self.assignable:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r} that can be set")
        self.__dict__[name] = value

    def called(self, name: str) -> list[tuple[Any, ...]]:
        """Return the positional arguments of every call of a method."""
        return [args for called, args, _ in self.calls if called == name]

    def kept(self, name: str, default: Callable[[], Any]) -> Any:
        """Return what this object keeps under a name of the stand-in's own."""
        return self.__dict__.setdefault(f"kept_{name}", default())


def _make_class(module: Any, owner: str, members: frozenset[str], answers: Mapping[str, Any]) -> type:
    behaviour = BEHAVIOUR.get(owner, object)
    assignable = frozenset(name[:-1] for name in members if name.endswith("="))
    space: dict[str, Any] = {"module": module, "assignable": assignable}
    for name in (name for name in members if not name.endswith("=")):
        given = answers.get(f"{owner}.{name}", vars(behaviour).get(name))
        space[name] = _make_member(name, given, name in assignable)
    if "Severity" in members:
        space.update({"Severity": Severity, **{level.name: level for level in Severity if level.name in members}})
    space.update({name: value for name, value in vars(behaviour).items() if name in {"__iter__", "__len__"}})
    return type(owner, (StandIn,), space)


def _make_member(name: str, given: Any, is_assignable: bool) -> Any:
    if isinstance(given, property):
        return given
    if is_assignable:
        # An instance's own value is found behind no data descriptor, so a plain class attribute is the default.
        return None if callable(given) else given
    if _PROPERTY.match(name) and not callable(given):
        return property(lambda self: vars(self).get(name, given))
    return _method(name, given)


def _method(name: str, given: Any) -> Callable[..., Any]:
    def call(self: StandIn, *args: Any, **kwargs: Any) -> Any:
        self.calls.append((name, args, kwargs))
        return given(self, *args, **kwargs) if callable(given) else given

    return call


def install(monkeypatch: Any, module: Any) -> Any:
    """Make a stand-in what ``import tensorrt`` gives, in Polygraphy's modules too, which keep what they imported."""
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    for name, loaded in list(sys.modules.items()):
        lazy = vars(loaded).get("trt") if name.startswith("polygraphy.") else None
        if type(lazy).__name__ == "LazyModule":
            monkeypatch.setitem(vars(lazy), "module", module)
    return module
