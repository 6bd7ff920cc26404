from __future__ import annotations

import subprocess
import sys

import pytest

import parity.case


def test_every_public_name_is_there() -> None:
    for name in parity.case.__all__:
        assert getattr(parity.case, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        parity.case.nothing  # noqa: B018 - the access is the test


def test_importing_the_package_loads_no_reader() -> None:
    code = "import sys, parity.case; print(sorted({'pydantic', 'onnx', 'cv2', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
