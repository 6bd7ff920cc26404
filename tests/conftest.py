"""A limit for every test: releases of pytest-timeout disagree about whether a configuration file gives it as text."""

from __future__ import annotations

import pytest

LIMIT_S = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a limit to each test that has none of its own."""
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_S))
