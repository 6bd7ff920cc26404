"""Which symbols of ``tensorrt`` a source text uses, and whether all supported releases have them or a probe guards.

Read by AST, so nothing is imported. What an expression is, is told by these rules, the first that fits:

1. A name that was assigned, in the same function or around it, something whose kind is known; or annotated so.
2. ``trt`` and ``tensorrt``, also as an attribute (``engine.trt``), are the module; ``trt.X`` is a class or an enum.
3. A call of a class makes its object; a call of a known factory (``builder.create_network``) makes what it makes.
4. By convention: the last word of a name, an attribute or a called function (``context``, ``self.kept_context()``).

Of a class that is known by rule 4 alone, only members that some release has count; all others are the worker's own.
Of an expression of no known kind, only members count that are absent from every class of some release, and that are
unmistakable: of two words or of capitals, and not defined by the worker itself.

A use is guarded where ``hasattr`` or ``getattr`` with a default, in the same function, around it, or on the module's
level, asks the same object for the same name; or where ``except AttributeError`` is around it. A guard covers the
releases without the name. So it does not cover a setter that a release dropped while it kept the getter. A probe of
another member of the same class guards as well where the two came and went together, or where it is a choice: where
every release that lacks the one has the other. The worker's ``member(trt, class, name, …)`` and ``require_property``
raise where a name is missing, so what comes after them in the same function is reached in no release without it.

Whether a guard's branch is the right one is not read, nor arguments, nor names that are computed: those are run against
stand-ins of releases and against the real bindings.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

API = Path(__file__).parent / "data" / "tensorrt-api.json"
MODULE = ""
_CONVENTION = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "context": "IExecutionContext",
    "creator": "IPluginCreator",
    "engine": "ICudaEngine",
    "error": "ParserError",
    "inspector": "EngineInspector",
    "layer": "ILayer",
    "logger": "ILogger",
    "native": "ICudaEngine",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "profile": "IOptimizationProfile",
    "registry": "IPluginRegistry",
    "runtime": "Runtime",
    "runtime_config": "IRuntimeConfig",
    "tensor": "ITensor",
    "timing_cache": "ITimingCache",
}
_FACTORIES = {
    "add_input": "ITensor",
    "create_builder_config": "IBuilderConfig",
    "create_engine_inspector": "EngineInspector",
    "create_execution_context": "IExecutionContext",
    "create_network": "INetworkDefinition",
    "create_optimization_profile": "IOptimizationProfile",
    "create_runtime_config": "IRuntimeConfig",
    "create_timing_cache": "ITimingCache",
    "deserialize_cuda_engine": "ICudaEngine",
    "get_error": "ParserError",
    "get_input": "ITensor",
    "get_layer": "ILayer",
    "get_output": "ITensor",
    "get_plugin_registry": "IPluginRegistry",
    "get_timing_cache": "ITimingCache",
}
_REFUSING = frozenset({"member", "require_property"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def releases() -> tuple[str, ...]:
    """Return every supported release, the oldest first."""
    return tuple(json.loads(API.read_text(encoding="utf-8"))["releases"])


@cache
def symbols() -> Mapping[str, frozenset[str]]:
    """Return the releases of each symbol: ``Class``, ``Class.member``, ``Class.member=`` where it can be set."""
    order = releases()

    def spread(span: str) -> tuple[str, ...]:
        first, last = span.split("..")
        return order[order.index(first) : order.index(last) + 1]

    known: dict[str, list[str]] = json.loads(API.read_text(encoding="utf-8"))["symbols"]
    return {name: frozenset(r for span in spans for r in spread(span)) for name, spans in known.items()}


@cache
def changing_members() -> frozenset[str]:
    """Return unmistakable names of members that some release has in no class at all."""
    having: dict[str, set[str]] = {}
    for symbol, present in symbols().items():
        _, _, member = symbol.partition(".")
        if ("_" in member or member.isupper()) and not member.endswith("="):
            having.setdefault(member, set()).update(present)
    return frozenset(member for member, present in having.items() if len(present) < len(releases()))


@dataclass(frozen=True, slots=True)
class Kind:
    """What an expression is: the class, or the module; and whether that is read rather than guessed from a name."""

    owner: str
    is_sure: bool


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a symbol.

    Attributes
    ----------
    symbol
        As in ``symbols``; ``?.member`` where the class is not known.
    absent
        Releases that lack it and that no probe covers.
    """

    file: str
    line: int
    symbol: str
    absent: frozenset[str]

    def __str__(self) -> str:
        spans = [list(span) for lacks, span in groupby(releases(), self.absent.__contains__) if lacks]
        told = " and ".join(span[0] if len(span) == 1 else f"{span[0]} to {span[-1]}" for span in spans)
        return f"{self.file}:{self.line}: {self.symbol} is not in {told}, and no probe of it stands in this function"


@dataclass(frozen=True, slots=True)
class Scope:
    """A function's or the module's own statements.

    Attributes
    ----------
    kinds
        Names of known kind.
    probes
        Class and name of what is asked for; ``?`` for a class not known.
    refusals
        Lines after which nothing is reached in the releases beside them.
    """

    kinds: Mapping[str, Kind]
    probes: frozenset[tuple[str, str]] = frozenset()
    refusals: tuple[tuple[int, frozenset[str]], ...] = ()


def own_names(sources: Iterator[str]) -> frozenset[str]:
    """Return every name that the worker defines: functions, classes, attributes of its objects, parameters."""
    return frozenset(name for source in sources for node in ast.walk(ast.parse(source)) for name in _defined(node))


def read_uses(source: str, file: str, own: frozenset[str] = frozenset()) -> list[Use]:
    """Return every use of a symbol in a source text, guarded or not."""
    reader = _Reader(file, own)
    reader.visit(ast.parse(source))
    return reader.uses


def unguarded(source: str, file: str = "source.py", own: frozenset[str] = frozenset()) -> list[str]:
    """Return a text for each use that a supported release lacks and no probe guards."""
    return [str(use) for use in read_uses(source, file, own) if use.absent]


class _Reader(ast.NodeVisitor):
    """Walks a source text with the scopes around the current node."""

    def __init__(self, file: str, own: frozenset[str]) -> None:
        self.uses: list[Use] = []
        self._file = file
        self._own = own
        self._scopes: list[Scope] = []
        self._tried = 0

    def visit_Module(self, node: ast.Module) -> None:
        self._enter(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._enter(node)

    def visit_Try(self, node: ast.Try) -> None:
        catches = any("AttributeError" in ast.dump(handler.type) for handler in node.handlers if handler.type)
        self._tried += catches
        for statement in node.body:
            self.visit(statement)
        self._tried -= catches
        for part in (*node.handlers, *node.orelse, *node.finalbody):
            self.visit(part)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._note(node.value, node.attr, node.lineno, is_set=isinstance(node.ctx, ast.Store))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if _called(node) == "getattr" and len(node.args) == 2 and (name := _text(node.args[1])):
            self._note(node.args[0], name, node.lineno, is_set=False)
        self.generic_visit(node)

    def _enter(self, node: ast.Module | Function) -> None:
        self._scopes.append(Scope(kinds := {}))
        for name, value in _named_values(node):
            if (kind := self._kind(value)) is not None and kind.is_sure:
                kinds[name] = kind
        self._scopes[-1] = Scope(kinds, frozenset(_probes(node, self._kind)), tuple(_refusals(node)))
        self.generic_visit(node)
        self._scopes.pop()

    def _kind(self, node: ast.AST) -> Kind | None:
        if isinstance(node, ast.Name):
            return self._kind_of_name(node.id)
        if isinstance(node, ast.Attribute):
            return self._kind_of_attribute(node)
        if isinstance(node, ast.Call):
            made = self._kind(node.func)
            if made is not None and made.is_sure:
                return made
            factory = _FACTORIES.get(_called(node))
            return Kind(factory, is_sure=True) if factory else _by_convention(_called(node))
        return None

    def _kind_of_name(self, name: str) -> Kind | None:
        if name in {"trt", "tensorrt"}:
            return Kind(MODULE, is_sure=True)
        known = (scope.kinds[name] for scope in reversed(self._scopes) if name in scope.kinds)
        return next(known, None) or _by_convention(name)

    def _kind_of_attribute(self, node: ast.Attribute) -> Kind | None:
        if node.attr in {"trt", "tensorrt"}:
            return Kind(MODULE, is_sure=True)
        base = self._kind(node.value)
        if base is not None and base.owner == MODULE:
            return Kind(node.attr, is_sure=True) if node.attr in _classes() else None
        return _by_convention(node.attr)

    def _note(self, value: ast.expr, member: str, line: int, *, is_set: bool) -> None:
        if member.startswith("__"):
            return
        kind = self._kind(value)
        symbol = _symbol(kind, member, self._own)
        if symbol is None:
            return
        absent = frozenset() if self._tried else _absent(symbol, is_set=is_set) - self._guarded(symbol, line)
        self.uses.append(Use(self._file, line, f"{symbol}=" if is_set else symbol, absent))

    def _guarded(self, symbol: str, line: int) -> frozenset[str]:
        """Return the releases in which a line with a symbol is not reached."""
        probed = [_covered(owner, name, symbol) for scope in self._scopes for owner, name in scope.probes]
        refused = [lacking for scope in self._scopes for at, lacking in scope.refusals if at <= line]
        return frozenset().union(*probed, *refused)


def _by_convention(name: str) -> Kind | None:
    plain = name.strip("_")
    owner = _CONVENTION.get(plain) or _CONVENTION.get(plain.rpartition("_")[2])
    return Kind(owner, is_sure=False) if owner else None


def _symbol(kind: Kind | None, member: str, own: frozenset[str]) -> str | None:
    """Return the symbol that a member of an expression is; None where it is none of TensorRT's."""
    if kind is None or (not kind.is_sure and f"{kind.owner}.{member}" not in symbols()):
        return f"?.{member}" if member in changing_members() - own else None
    # An enum nested in a class (ILogger.Severity) has members that the table does not list.
    return f"{kind.owner}.{member}" if kind.owner else member


def _absent(symbol: str, *, is_set: bool) -> frozenset[str]:
    owner, _, member = symbol.partition(".")
    if owner == "?":
        present = frozenset(r for name, has in symbols().items() if name.partition(".")[2] == member for r in has)
    else:
        present = symbols().get(f"{symbol}=" if is_set else symbol, frozenset())
    return frozenset(releases()) - present


def _covered(owner: str, probed: str, symbol: str) -> frozenset[str]:
    """Return the releases in which a probe keeps a use from being reached."""
    class_name, _, member = symbol.partition(".")
    if owner == MODULE and probed == class_name:
        return _absent(class_name, is_set=False)
    asks_same_object = owner in {class_name, "?"} if member else owner == MODULE
    if probed == (member or symbol):
        return _absent(symbol, is_set=False) if asks_same_object or class_name == "?" else frozenset()
    another = f"{class_name}.{probed}" if member else probed
    return _covered_by_another(another, symbol) if asks_same_object else frozenset()


def _covered_by_another(probed: str, symbol: str) -> frozenset[str]:
    """Return what a probe of another member covers: a companion's releases, or those of what is taken instead."""
    lacking, absent = _absent(probed, is_set=False), _absent(symbol, is_set=False)
    if absent <= lacking:
        return lacking
    return frozenset(releases()) - lacking if lacking and lacking.isdisjoint(absent) else frozenset()


@cache
def _classes() -> frozenset[str]:
    return frozenset(symbol.partition(".")[0] for symbol in symbols() if "." in symbol)


def _probes(scope: ast.AST, kind_of: Callable[[ast.AST], Kind | None]) -> Iterator[tuple[str, str]]:
    """Yield class and name of each ``hasattr`` and each ``getattr`` with a default; ``?`` for a class not known."""
    for node in _own_nodes(scope):
        if isinstance(node, ast.Call) and (_called(node), len(node.args)) in {("hasattr", 2), ("getattr", 3)}:
            kind, name = kind_of(node.args[0]), _text(node.args[1])
            if name:
                yield (kind.owner if kind is not None else "?", name)


def _refusals(scope: ast.AST) -> Iterator[tuple[int, frozenset[str]]]:
    """Yield the line of each call that raises where a name is missing, and the releases in which it does."""
    for node in _own_nodes(scope):
        if isinstance(node, ast.Call) and _called(node) in _REFUSING and (owner := _text(node.args[1])):
            name = _text(node.args[2])
            yield node.lineno, _absent(f"{owner}.{name}" if name else owner, is_set=False)


def _named_values(scope: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield names with what is assigned to them or what they are annotated with."""
    if isinstance(scope, Function):
        arguments = (*scope.args.posonlyargs, *scope.args.args, *scope.args.kwonlyargs)
        yield from ((argument.arg, argument.annotation) for argument in arguments if argument.annotation is not None)
    for node in _own_nodes(scope):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """Yield what lies in a scope, without the insides of functions in it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, Function):
            yield from _own_nodes(child)


def _defined(node: ast.AST) -> Iterator[str]:
    if isinstance(node, Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_self(node.value):
        yield node.attr


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", None) or getattr(node.func, "id", "")


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
