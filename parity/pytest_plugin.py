"""The pytest plugin: collects ``case.toml`` files and gives the fixture ``parity``. Hooks only; measures nothing.

pytest imports this module on every start of the environment, also for projects that never use it, so it loads neither a
runtime nor NumPy: those come with the first case.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from parity.pytest_backends import BACKENDS, SessionBackends
from parity.pytest_cases import CaseFile, CheckItem, is_case_file
from parity.pytest_recorder import Recorder, attach
from parity.pytest_settings import CASE_FILE_NAME, FOLDER, SETTINGS, Settings, add_options

if TYPE_CHECKING:
    from collections.abc import Generator

    from parity.pytest_fixture import CaseRunner

_HEADER_PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnx", "numpy")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options ``--parity-...`` and the ini option ``parity_collect``."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Parse the options once; record the run in the process that the user started."""
    settings = config.stash[SETTINGS] = Settings.from_config(config)
    backends = config.stash[BACKENDS] = SessionBackends(settings)
    config.add_cleanup(backends.close)
    config.addinivalue_line("markers", "parity: a check of a case; `-m parity` runs nothing else")
    worker = getattr(config, "workerinput", None)
    if worker is None and settings.out is not None:
        config.pluginmanager.register(Recorder(settings, settings.out), "parity-recorder")
    elif worker is not None and "parity_folder" in worker:
        config.stash[FOLDER] = Path(worker["parity_folder"])


def pytest_report_header() -> str:
    """Return one line of versions, read from package metadata alone."""
    from parity import __version__
    from parity.environment import package_versions

    packages = (f"{name} {version}" for name, version in package_versions(_HEADER_PACKAGES).items())
    return ", ".join([f"parity: {__version__}", *packages])


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> CaseFile | None:
    """Collect case files, and of other projects' files of the same name none that was not named."""
    if file_path.name != CASE_FILE_NAME or not parent.config.stash[SETTINGS].collect:
        return None
    if not parent.session.isinitpath(file_path) and not is_case_file(file_path):
        return None
    node: CaseFile = CaseFile.from_parent(parent, path=file_path)
    return node


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put an item's outcome on its report where the run is saved."""
    report = yield
    if report.when == "call" and isinstance(item, CheckItem) and FOLDER in item.config.stash:
        attach(report, item, ("pytest", *item.config.invocation_params.args))
    return report


@pytest.fixture(scope="session")
def parity(pytestconfig: pytest.Config) -> CaseRunner:
    """Judge cases from tests of your own: ``parity.run(case, variant="fp16")``, ``parity.assert_close(a, b)``."""
    from parity.pytest_fixture import CaseRunner

    return CaseRunner(pytestconfig.rootpath, pytestconfig.stash[SETTINGS], pytestconfig.stash[BACKENDS])
