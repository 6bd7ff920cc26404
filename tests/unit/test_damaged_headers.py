"""Files whose damage lies in an array's header or in the archive around it: a sentence each, never a traceback."""

from __future__ import annotations

import base64
import json
import zipfile

import pytest

from parity.case.files import load_npz
from parity.errors import FeedError, ForeignFileError
from parity.interop.polygraphy import read_inputs
from parity.interop.trtexec import read_layers, read_profile, read_times

_HEADER = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }"
_HEADERS = {
    "not closed": _HEADER.replace("}", ""),
    "old numbers, not closed": _HEADER.replace("(2, 2)", "(2L, 2"),
    "longer than any number": _HEADER.replace("(2, 2)", f"({'9' * 400},)"),
    "a dtype that is a comma": _HEADER.replace("'<f4'", "','"),
    "nested": "(" * 300,
}
_ENCRYPTED, _METHOD = 6, 8
"""Offsets of an entry's flags and of its compression method, in the local header; two bytes more in the directory."""


def _npy(header: str) -> bytes:
    encoded = header.encode()
    return b"\x93NUMPY\x01\x00" + len(encoded).to_bytes(2, "little") + encoded + bytes(16)


@pytest.mark.parametrize("header", _HEADERS.values(), ids=_HEADERS)
def test_a_damaged_header_in_an_archive_is_told(header, tmp_path):
    with zipfile.ZipFile(tmp_path / "feed.npz", "w") as archive:
        archive.writestr("x.npy", _npy(header))
    with pytest.raises(FeedError, match="cannot be read"):
        load_npz(tmp_path / "feed.npz")


@pytest.mark.parametrize(("offset", "value"), [(_ENCRYPTED, 1), (_METHOD, 99)], ids=["encrypted", "unknown method"])
def test_an_archive_that_zipfile_cannot_open_is_told(offset, value, tmp_path):
    path = tmp_path / "feed.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", _npy(_HEADER))
    content = bytearray(path.read_bytes())
    content[offset] = value
    content[content.index(b"PK\x01\x02") + offset + 2] = value
    path.write_bytes(bytes(content))
    with pytest.raises(FeedError, match="cannot be read"):
        load_npz(path)


@pytest.mark.parametrize("header", _HEADERS.values(), ids=_HEADERS)
def test_a_damaged_header_in_polygraphys_json_is_told(header, tmp_path):
    array = {"array": base64.b64encode(_npy(header)).decode(), "polygraphy_class": "ndarray"}
    path = tmp_path / "feeds.json"
    path.write_text(json.dumps([{"x": array}]), encoding="utf-8")
    [feed] = read_inputs(path)
    with pytest.raises(ForeignFileError, match=r"'x' (is not an .npy|has dtype|says)"):
        feed.decode()


def test_a_time_beyond_float64_is_told(tmp_path):
    path = tmp_path / "profile.json"
    row = {"name": "a", "timeMs": 10**400, "averageMs": 1.0, "percentage": 100}
    path.write_text(json.dumps([{"count": 1}, row]), encoding="utf-8")
    with pytest.raises(ForeignFileError, match="entry 1: timeMs is 1000"):
        read_profile(path)


@pytest.mark.parametrize("read", [read_layers, read_profile, read_times])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_that_is_nested_too_deep_is_told(read, opening, tmp_path):
    path = tmp_path / "deep.json"
    path.write_text(opening * 100_000, encoding="utf-8")
    with pytest.raises(ForeignFileError, match="JSON"):
        read(path)
