"""The worker's code, run once in a process of each release's real bindings; tests read what it found there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.binding_wheels import RELEASES, REQUIRED, MissingError, get_bindings

INSIDE = Path(__file__).with_name("inside.py")


@pytest.fixture(scope="session", params=RELEASES)
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what each check of ``inside.py`` found with one release's bindings, and the release."""
    assert request.config.cache is not None
    try:
        bindings = get_bindings(request.param, request.config.cache.mkdir("tensorrt-bindings"))
    except MissingError as error:
        if os.environ.get(REQUIRED) == "1":
            pytest.fail(f"{REQUIRED}=1, and {error}", pytrace=False)
        pytest.skip(str(error))
    done = subprocess.run(
        [sys.executable, str(INSIDE)],
        env=bindings.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"release": request.param, **answers}
