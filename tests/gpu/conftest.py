"""A real TensorRT for the tests of this folder, or the reason why there is none.

The interpreter is the first one of ``PARITY_TENSORRT_PYTHON``, else this one. With ``PARITY_REQUIRE_GPU=1`` a missing
part fails instead of skipping. Measured figures go into the JUnit file and, as lines of JSON, to the file that
``PARITY_GPU_FIGURES`` names.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from parity.backends import TensorRTSettings
from parity.backends.tensorrt.interpreter import VARIABLE, named_interpreters, names_of_interpreters
from parity.backends.tensorrt.opening import converse
from parity.errors import BackendUnavailable
from tests.gpu.rig import Rig, request_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from parity.backends.tensorrt.interpreter import Interpreter
    from parity.backends.tensorrt.session import TensorRTSession


@pytest.fixture(scope="session")
def interpreter() -> Interpreter:
    """Return where TensorRT is."""
    if not names_of_interpreters((), os.environ) and find_spec("tensorrt") is None:
        _do_without(f"no TensorRT: {VARIABLE} names no interpreter, and this one has no module tensorrt")
    try:
        return named_interpreters((), os.environ)[0]
    except BackendUnavailable as missing:
        _do_without(str(missing))


@pytest.fixture(scope="session")
def rig(interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Return the worker that all tests of a process share, with a cache of their own."""
    from parity.backends.tensorrt.process import LiveConversation

    cache = tmp_path_factory.mktemp("engines")
    conversation = LiveConversation(interpreter)
    with ExitStack() as stack:
        try:
            (backend,) = stack.enter_context(converse([conversation], TensorRTSettings(cache=cache)))
        except BackendUnavailable as missing:
            _do_without(str(missing))
        yield Rig(conversation, backend, cache)


@pytest.fixture
def build(rig: Rig) -> Iterator[Callable[..., TensorRTSession]]:
    """Return a function that opens an engine; its parameters are those of ``request_for``, and ``timeout_s``."""
    with ExitStack() as stack:

        def open_engine(*words: Any, timeout_s: float = 240.0, **options: Any) -> TensorRTSession:
            return stack.enter_context(rig.backend.open_engine(request_for(*words, **options), timeout_s))

        yield open_engine


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str, float | str], None]:
    """Return a function that keeps a measured figure by name."""

    def keep(name: str, value: float | str) -> None:
        # As record_property does, which warns of the default family of JUnit files.
        request.node.user_properties.append((name, value))
        if path := os.environ.get("PARITY_GPU_FIGURES"):
            line = json.dumps({"test": request.node.nodeid, "name": name, "value": value})
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")

    return keep


def _do_without(reason: str) -> NoReturn:
    if os.environ.get("PARITY_REQUIRE_GPU") == "1":
        pytest.fail(f"PARITY_REQUIRE_GPU=1, and {reason}", pytrace=False)
    pytest.skip(reason)
