"""Feeds of a case's own Python function; faults in it are told with file and line, and it leaves no trace."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.case.feeds import open_feeds
from parity.case.model import PythonSource
from parity.errors import FeedError
from parity.graph import TensorInfo
from tests.feed_examples import FEED_CODE, IMAGES, YOLO, interface_of, python_source

if TYPE_CHECKING:
    from pathlib import Path


def test_a_python_function_yields_feeds(tmp_path: Path) -> None:
    feeds = open_feeds(python_source(tmp_path, FEED_CODE, 3), IMAGES, 1)
    assert len(feeds) == 3
    assert [float(feed.tensors["images"][0, 0, 0, 0]) for feed in feeds] == [0.0, 1.0, 2.0]


def test_a_function_may_use_its_buffer_again(tmp_path: Path) -> None:
    code = """
import numpy as np

def make(count):
    buffer = np.zeros((1, 3, 8, 8), np.float32)
    for index in range(count):
        buffer[:] = index
        yield {"images": buffer}
"""
    kept = list(open_feeds(python_source(tmp_path, code), IMAGES, 1))
    assert [float(feed.tensors["images"].max()) for feed in kept] == [0.0, 1.0]


def test_a_python_function_yields_images_that_are_preprocessed(tmp_path: Path) -> None:
    code = "import numpy as np\ndef make(count):\n    return [np.full((8, 8, 3), i, np.uint8) for i in range(count)]\n"
    made = list(open_feeds(python_source(tmp_path, code, 3, YOLO), IMAGES, 2))
    assert [feed.tensors["images"].shape[0] for feed in made] == [2, 1]
    assert made[1].tensors["images"].max() == np.float32(2) / np.float32(255)
    assert made[1].sources == ("data.py:make[2]",)


PYTHON_FAULTS = {
    "a raise in the function": (
        "def make(count):\n    x = 1\n    return x / 0\n",
        "data.py:3 in make: ZeroDivisionError",
    ),
    "a raise while it yields": (
        "def make(count):\n    yield from ()\n    raise KeyError('k')\n",
        "data.py:3 in make: KeyError: 'k'",
    ),
    "a raise at import": ("import nothing_of_that_name\n", "data.py:1 in <module>: ModuleNotFoundError"),
    "a syntax error": ("def make(count)\n", "data.py:1: SyntaxError"),
    "an exit": ("import sys\ndef make(count):\n    sys.exit(0)\n", "data.py:3 in make: SystemExit: 0"),
    "a stop": ("def make(count):\n    raise StopIteration\n", "data.py:2 in make: StopIteration"),
    "no such function": ("def other(count): ...\n", "data.py: has no function 'make'"),
    "nothing to iterate": ("def make(count): ...\n", "data.py:make: TypeError"),
    "too few": ("def make(count):\n    return []\n", "data.py:make: yielded 0; expected 2"),
    "no mapping": ("def make(count):\n    return [1, 2]\n", "feed 0: is int; expected a mapping"),
    "no array": (
        "def make(count):\n    return [{'images': [1]}] * 2\n",
        "feed 0: 'images' is list; expected a NumPy array",
    ),
}


@pytest.mark.parametrize(("code", "message"), PYTHON_FAULTS.values(), ids=PYTHON_FAULTS.keys())
def test_a_fault_in_user_code_is_told_with_file_and_line(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(FeedError) as caught:
        list(open_feeds(python_source(tmp_path, code), IMAGES, 1))
    assert message in str(caught.value)


def test_a_function_that_never_ends_is_stopped_behind_its_count(tmp_path: Path) -> None:
    code = FEED_CODE.replace("range(count)", "__import__('itertools').count()")
    with pytest.raises(FeedError, match="yielded more than 2; expected 2"):
        list(open_feeds(python_source(tmp_path, code), IMAGES, 1))


def test_python_objects_are_no_feed(tmp_path: Path) -> None:
    code = "import numpy as np\ndef make(count): return [{'words': np.array(['a'], object)}] * 2\n"
    with pytest.raises(FeedError, match="input 'words' holds Python objects"):
        list(open_feeds(python_source(tmp_path, code), interface_of(TensorInfo("words", "object", (1,))), 1))


def test_images_from_code_must_be_arrays(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="image 0 is str"):
        list(open_feeds(python_source(tmp_path, "def make(count): return 'ab'\n", 2, YOLO), IMAGES, 1))


def test_files_of_a_case_import_each_other_and_leave_no_trace(tmp_path: Path) -> None:
    path_before, modules_before = list(sys.path), set(sys.modules)
    for value in (1.0, 2.0):
        folder = tmp_path / f"case{value:g}"
        folder.mkdir()
        (folder / "common.py").write_text(f"VALUE = {value}\n")
        code = "from common import VALUE\n" + FEED_CODE.replace("index, np", "VALUE + index, np")
        feeds = list(open_feeds(python_source(folder, code, 1), IMAGES, 1))
        assert feeds[0].tensors["images"].max() == value
        assert not (folder / "__pycache__").exists()
    assert sys.path == path_before
    left = {name for name in set(sys.modules) - modules_before if not name.startswith("_parity_case_")}
    assert "common" not in left


def test_a_module_of_the_same_name_from_elsewhere_is_neither_used_nor_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = type(sys)("common")
    monkeypatch.setitem(sys.modules, "common", foreign)
    (tmp_path / "common.py").write_text("VALUE = 3.0\n")
    code = "from common import VALUE\n" + FEED_CODE.replace("index, np", "VALUE, np")
    (feed, _) = open_feeds(python_source(tmp_path, code), IMAGES, 1)
    assert feed.tensors["images"].max() == 3.0
    assert sys.modules["common"] is foreign


def test_a_neighbour_imported_between_two_feeds_is_found_and_forgotten_before_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "helpers").mkdir()
    (tmp_path / "helpers" / "__init__.py").touch()
    (tmp_path / "helpers" / "late.py").write_text("VALUE = 5.0\n")
    code = """
import numpy as np

def make(count):
    for index in range(count):
        from helpers.late import VALUE
        yield {"images": np.full((1, 3, 8, 8), VALUE + index, np.float32)}
"""
    for number, feed in enumerate(open_feeds(python_source(tmp_path, code), IMAGES, 1)):
        assert feed.tensors["images"].max() == 5.0 + number
        assert not [name for name in sys.modules if name.partition(".")[0] == "helpers"]
        assert str(tmp_path) not in sys.path


def test_code_outside_the_case_folder_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text("raise SystemError('loaded')\n")
    (tmp_path / "case").mkdir()
    source = PythonSource(tmp_path / "case", "../evil.py:make", 1)
    with pytest.raises(FeedError, match="is not in the case folder"):
        list(open_feeds(source, IMAGES, 1))
