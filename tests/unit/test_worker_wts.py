"""Weights come back bit for bit, and a damaged file is refused with its line."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.worker.errors import ModelRefused
from parity.worker.wts import read_wts

if TYPE_CHECKING:
    from pathlib import Path

ONE = "3f800000"


def _written(path: Path, tensors: dict[str, list[float]]) -> str:
    """Write as the exporters do, one ``struct.pack`` a value."""
    lines = [f"{len(tensors)}"]
    for name, values in tensors.items():
        lines.append(" ".join([name, str(len(values)), *(struct.pack(">f", value).hex() for value in values)]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@given(st.lists(st.floats(width=32), max_size=20))
def test_every_float_comes_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = _written(tmp_path_factory.mktemp("wts") / "model.wts", {"w": values})
    expected = np.array(values, np.float32)
    assert read_wts(path)["w"].tobytes() == expected.tobytes()


def test_names_and_sizes_are_kept(tmp_path: Path) -> None:
    path = _written(tmp_path / "model.wts", {"conv.weight": [1.0, -2.5], "größe": [], "fc": [0.5]})
    weights = read_wts(path)
    assert {name: array.tolist() for name, array in weights.items()} == {
        "conv.weight": [1.0, -2.5],
        "größe": [],
        "fc": [0.5],
    }
    assert all(array.dtype == np.float32 for array in weights.values())


def test_two_spaces_before_the_first_word_and_capitals_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "model.wts"
    path.write_bytes(b"1\r\nw 2  3F800000 40000000\r\n\r\n")
    assert read_wts(str(path))["w"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "line 1: expected the number of tensors"),
        ("two\n", "line 1: expected the number of tensors, got 'two'"),
        (f"2\nw 1 {ONE}\n", "line 1: says 2 tensors, and 1 lines follow"),
        ("1\nw\n", "line 2: expected a name, a count"),
        ("1\nw -1\n", "line 2: expected a name, a count"),
        (f"1\nw 2 {ONE}\n", "line 2: 'w' says 2 values of eight digits, and has 1"),
        (f"1\nw 1 {ONE} {ONE}\n", "line 2: 'w' says 1 values of eight digits, and has 2"),
        (f"1\nw 1 {ONE}0\n", "some are not eight digits"),
        (f"1\nw 2 {ONE} 3f80000g\n", "line 2: 'w': word 2, '3f80000g', is not eight hexadecimal digits"),
        (f"1\nw 3 {ONE} 3f80 000 {ONE}\n", "word 2, '3f80', is not eight hexadecimal digits"),
        ("1\nw 2 3f80000 3f8000000\n", "word 1, '3f80000', is not eight hexadecimal digits"),
        ("1\nw 1 3f8 0000\n", "word 1, '3f8', is not eight"),
        ("1\nw 1 \uff13f80000\n", "'w' says 1 values"),
        (f"2\nw 1 {ONE}\nw 1 {ONE}\n", "line 3: there is a second tensor 'w'"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "model.wts"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ModelRefused) as caught:
        read_wts(str(path))
    assert expected in str(caught.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused, match=r"absent\.wts cannot be read: No such file"):
        read_wts(str(tmp_path / "absent.wts"))
