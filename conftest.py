"""Test set-up of this repository: pytester, and the plugin itself where the package is not installed."""

from __future__ import annotations

from tests.tiny_cases import IS_INSTALLED

pytest_plugins = ["pytester"] if IS_INSTALLED else ["pytester", "parity.pytest_plugin"]
