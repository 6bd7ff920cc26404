"""Engine options as fields of requests: plain data, and files that are sent.

Only what a case sets travels. So an engine that was cached under its options stays valid when an option is added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.backends.tensorrt.conversation import SentFile
from parity.build_options import Refit, parse_budget

if TYPE_CHECKING:
    from parity.build_options import BuildOptions

# These have fields of their own in a request, or belong to loading.
_ELSEWHERE = frozenset(
    {"calibration_cache", "calibrator", "load", "profiles", "quantization", "typing"},
)


def build_options_to_wire(options: BuildOptions) -> dict[str, Any]:
    """Return the ``options`` of a ``build`` request: text, numbers, booleans, lists and dicts; libraries as files."""
    return _plain_fields(options, _ELSEWHERE)


def load_options_to_wire(options: BuildOptions, *, built_here: bool = True) -> dict[str, Any]:
    """Return the ``options`` of a ``load`` request.

    Parameters
    ----------
    built_here
        Whether the engine was built with these options: then what the build makes necessary is allowed with it. A
        stripped plan is refitted, a version-compatible one may bring its lean runtime, one for DLA runs there.
    """
    wire = _plain_fields(options.load, frozenset({"temporary_folder"}))
    if options.load.temporary_folder is not None:
        # A folder of the machine that the worker runs on.
        wire["temporary_folder"] = str(options.load.temporary_folder)
    if options.plugins:
        wire["plugins"] = _plain(options.plugins)
    if options.load.weight_streaming_budget is not None:
        wire["weight_streaming_budget"] = parse_budget(options.load.weight_streaming_budget)
    return {**_implied(options), **wire} if built_here else wire


def _implied(options: BuildOptions) -> dict[str, Any]:
    implied: dict[str, Any] = {}
    if options.strip_plan and options.refit in {Refit.NONE, Refit.IDENTICAL, Refit.ALL}:
        implied["refit"] = True
    if options.version_compatible and not options.exclude_lean_runtime:
        implied["host_code"] = True
    if options.dla_core is not None:
        implied["dla_core"] = options.dla_core
    return implied


def _plain_fields(value: Any, left_out: frozenset[str]) -> dict[str, Any]:
    untouched = type(value)()
    found = {field.name: getattr(value, field.name) for field in fields(value) if field.name not in left_out}
    return {name: _plain(item) for name, item in found.items() if item != getattr(untouched, name)}


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return SentFile(value)
    if is_dataclass(value):
        return _plain_fields(value, frozenset())
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Enum) else value
