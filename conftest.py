"""Test set-up of this repository: pytester, and the plugin itself where the package is not installed."""

from __future__ import annotations

import pytest

from tests.cores import spread
from tests.tiny_cases import IS_INSTALLED

pytest_plugins = ["pytester"] if IS_INSTALLED else ["pytester", "parity.pytest_plugin"]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Run before pytest-xdist reads its options: what is registered last comes first."""
    spread(config)
