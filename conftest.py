"""Test set-up of this repository: pytester, and the plugin itself where the package is not installed."""

from __future__ import annotations

from importlib.metadata import entry_points

_PLUGIN = "parity.pytest_plugin"

# An installed package registers the plugin by its entry point, and pytest refuses to register one twice.
IS_INSTALLED = any(entry.value == _PLUGIN for entry in entry_points(group="pytest11"))

pytest_plugins = ["pytester"] if IS_INSTALLED else ["pytester", _PLUGIN]
