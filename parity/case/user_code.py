"""Python functions of a case folder: loaded when they are needed, and their failures told with file and line.

While such code runs, its case folder stands first on ``sys.path``, so that it can import its neighbours; afterwards the
path is as before and the neighbours' modules are forgotten, so that two cases may both have a ``common.py``.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from parity.errors import FeedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import ModuleType


def split_function(reference: str) -> tuple[str, str]:
    """Split ``file.py:function``.

    Raises
    ------
    ValueError
        Not of that form.
    """
    file, separator, name = reference.rpartition(":")
    if not separator or not file.endswith(".py") or not name.isidentifier():
        raise ValueError(f"expected file.py:function; got {reference!r}")
    return file, name


def load_function(folder: Path, reference: str) -> Callable[..., Any]:
    """Load ``file.py:function`` from a case folder, anew at every call.

    Raises
    ------
    FeedError
        The file lies outside the folder, fails to load, or has no such function.
    """
    file, name = split_function(reference)
    path = (folder / file).resolve()
    if not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise FeedError(f"{reference}: is not in the case folder {folder}; expected a Python file there")
    with _neighbours(folder), _told(folder, reference):
        module = _load_module(path)
    function = getattr(module, name, None)
    if not callable(function):
        raise FeedError(f"{file}: has no function {name!r}; define it, or name another in the case file")
    return lambda *arguments: _call(folder, reference, function, arguments)


def iterate(folder: Path, reference: str, items: Iterable[Any]) -> Iterator[Any]:
    """Yield what user code yields, with its failures told.

    Raises
    ------
    FeedError
        The code raises, or what it returned cannot be iterated.
    """
    with _neighbours(folder), _told(folder, reference):
        iterator = iter(items)
    end, root, names = object(), str(folder.resolve()), _module_names(folder)
    while True:
        # Once an item: what a folder holds is not looked up again for each.
        with _among(root, names), _told(folder, reference):
            item = next(iterator, end)
        if item is end:
            return
        yield item


def call_counted(folder: Path, reference: str, count: int) -> Iterator[Any]:
    """Call a function with a count and yield what it yields, which must be as many.

    Raises
    ------
    FeedError
        The function cannot be loaded, fails, or yields another number.
    """
    returned = load_function(folder, reference)(count)
    found = 0
    # One more than asked for is enough to know that the function does not heed its count.
    for item in islice(iterate(folder, reference, returned), count + 1):
        found += 1
        if found <= count:
            yield item
    if found != count:
        amount = f"more than {count}" if found > count else str(found)
        raise FeedError(f"{reference}: yielded {amount}; expected {count}, the count it is called with")


def _call(folder: Path, reference: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    with _neighbours(folder), _told(folder, reference):
        return function(*arguments)


def _load_module(path: Path) -> ModuleType:
    spec = spec_from_file_location(f"_parity_case_{abs(hash(path)):x}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # It stays there under its private name: dataclasses and typing look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def _neighbours(folder: Path) -> Iterator[None]:
    """Let a case folder's files import each other, and leave no trace of it."""
    importlib.invalidate_caches()
    with _among(str(folder.resolve()), _module_names(folder)):
        yield


def _module_names(folder: Path) -> set[str]:
    """Return the names of a case folder's modules and packages; those of the standard library stay Python's."""
    names = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    return names - sys.stdlib_module_names


@contextmanager
def _among(root: str, names: set[str]) -> Iterator[None]:
    hidden = _take_modules(names)
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, root)
    try:
        yield
    finally:
        sys.path.remove(root)
        sys.dont_write_bytecode = writes_bytecode
        _take_modules(names)
        sys.modules.update(hidden)


def _take_modules(names: set[str]) -> dict[str, ModuleType]:
    """Remove modules of these names, and what lies in them, from ``sys.modules``; return them."""
    # Asked first and name by name, because user code runs once an image, and thousands of modules may be loaded.
    if not any(name in sys.modules for name in names):
        return {}
    taken = [name for name in sys.modules if name.partition(".")[0] in names]
    return {name: sys.modules.pop(name) for name in taken}


@contextmanager
def _told(folder: Path, reference: str) -> Iterator[None]:
    """Map whatever user code raises to ``FeedError`` with the innermost line in the case folder."""
    try:
        yield
    except FeedError:
        raise
    # The code is the user's: it may raise anything, and sys.exit() in it must not end a run as if it had passed.
    except (Exception, SystemExit) as error:
        text = "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
        raise FeedError(f"{_place(folder, reference, error)}: {text}; mend the case's code") from error


def _place(folder: Path, reference: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}"
    root = folder.resolve()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(root)]
    if not frames:
        return reference
    return f"{Path(frames[-1].filename).relative_to(root)}:{frames[-1].lineno} in {frames[-1].name}"
