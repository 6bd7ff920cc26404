"""Feeds as they are: the same at every pass, known by their hash, saved and read back bit for bit."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import numpy as np
import pytest

from parity.case.feed import hash_tensors, tensor_geometry
from parity.case.feeds import Feed, open_feeds, read_feed, save_feed
from parity.case.model import ImageSource, NpzSource, RandomSource
from parity.errors import FeedError, RunError
from parity.graph import ModelInterface, TensorInfo
from parity.preprocess import Geometry
from tests.feed_examples import FEED_CODE, IMAGES, TOKENS, YOLO, images_in, interface_of, python_source

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"x": (2, 3, 8, 16)}, (Geometry(8, 16),) * 2),
        ({"x": (1, 8, 16, 3)}, (Geometry(8, 16),)),
        ({"small": (2, 3, 4, 4), "large": (2, 1, 9, 8), "size": (2, 2)}, (Geometry(9, 8),) * 2),
        ({"x": (3, 17)}, (Geometry(1, 1),) * 3),
        ({"x": (), "y": (4,)}, (Geometry(1, 1),) * 4),
        ({"x": ()}, (Geometry(1, 1),)),
    ],
    ids=str,
)
def test_tensors_that_are_no_images_have_a_geometry_of_their_own_pixels(
    shapes: dict[str, tuple[int, ...]], expected: tuple[Geometry, ...]
) -> None:
    interface = ModelInterface(tuple(TensorInfo(name, "float32", shape) for name, shape in shapes.items()), ())
    found = tensor_geometry({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, interface)
    assert found == expected
    np.testing.assert_array_equal(found[0].to_image([[1, 2, 3, 4]]), [[1, 2, 3, 4]])


def test_every_pass_makes_the_same_feeds(tmp_path: Path) -> None:
    sources = (
        ImageSource(images_in(tmp_path, 3), "images", YOLO),
        RandomSource(3, 2),
        python_source(tmp_path, FEED_CODE),
    )
    for source in sources:
        feeds = open_feeds(source, IMAGES, 2)
        hashes = [feed.sha256 for feed in feeds]
        assert hashes == [feed.sha256 for feed in feeds]
        assert len(set(hashes)) == len(hashes)


def test_an_npz_feed_is_taken_as_it_is(tmp_path: Path) -> None:
    ids, mask = np.array([[1, 2]]), np.array([[True, False]])
    np.savez(tmp_path / "first.npz", ids=ids, mask=mask)
    (feed,) = open_feeds(NpzSource((tmp_path / "first.npz",)), TOKENS, 1)
    assert feed.name == "first"
    np.testing.assert_array_equal(feed.tensors["ids"], ids)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": np.zeros((1, 2), np.int64)}, "input 'mask' is missing; expected mask: bool"),
        (
            {"ids": np.zeros((1, 2), np.int64), "mask": np.ones((1, 2), bool), "extra": np.zeros(1)},
            "'extra' is no input of the model; expected ids, mask",
        ),
        ({"ids": np.zeros((1, 2), np.int32), "mask": np.ones((1, 2), bool)}, "input 'ids': found int32"),
        ({"ids": np.zeros(2, np.int64), "mask": np.ones((1, 2), bool)}, "input 'ids': found int64 (2,)"),
    ],
    ids=["missing", "extra", "dtype", "rank"],
)
def test_arrays_that_are_not_the_models_inputs_are_told(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(FeedError) as caught:
        list(open_feeds(NpzSource((tmp_path / "bad.npz",)), TOKENS, 1))
    assert message in str(caught.value)
    assert "bad.npz" in str(caught.value)


def test_an_npz_with_pickles_is_not_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("a pickle was loaded",)

    np.savez(tmp_path / "bomb.npz", ids=np.array([Bomb()], object), allow_pickle=True)
    with pytest.raises(FeedError, match="it holds pickled objects"):
        read_feed(tmp_path / "bomb.npz", TOKENS)


def test_files_that_are_no_npz_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", ids=np.zeros(100))
    content = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "text.npz").write_bytes(b"hello")
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "flipped.npz").write_bytes(content[:300] + bytes([content[300] ^ 255]) + content[301:])
    np.save(tmp_path / "bare.npy", np.zeros(3))
    np.savez(tmp_path / "none.npz")
    for name in ("empty.npz", "text.npz", "cut.npz", "flipped.npz", "bare.npy", "none.npz", "gone.npz"):
        with pytest.raises(FeedError, match=name):
            read_feed(tmp_path / name, TOKENS)


NPY_HEAD = "{'descr': '<f4', 'fortran_order': False, 'shape': "


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"{NPY_HEAD}(3,), ", "EOF in multi-line statement"),
        (f"  {NPY_HEAD}(3,)}}\n x", "unindent"),
        (f"{NPY_HEAD}(True,), }}", "integer"),
        (f"{NPY_HEAD}(3,), 5: 1}}", "not supported between"),
        (f"{NPY_HEAD}(3,)}}{' ' * 12_000}", "Header info length"),
    ],
)
def test_a_header_that_cannot_be_read_is_told(tmp_path: Path, header: str, reason: str) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "odd.npz", "w") as archive:
        archive.writestr(
            "ids.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
        )
    with pytest.raises(FeedError, match=reason) as caught:
        read_feed(tmp_path / "odd.npz", TOKENS)
    assert "odd.npz: cannot be read as .npz" in str(caught.value)


@pytest.mark.parametrize("flag", [0x01, 0x20], ids=["encrypted", "patched"])
def test_an_archive_of_a_kind_that_python_cannot_read_is_told(tmp_path: Path, flag: int) -> None:
    np.savez(tmp_path / "odd.npz", ids=np.zeros(3, np.int64))
    content = bytearray((tmp_path / "odd.npz").read_bytes())
    # The flags of a member: behind 6 bytes of its own header, and behind 8 of the directory's.
    content[6] |= flag
    content[content.index(b"PK\x01\x02") + 8] |= flag
    (tmp_path / "odd.npz").write_bytes(content)
    with pytest.raises(FeedError, match=r"odd\.npz: cannot be read as \.npz"):
        read_feed(tmp_path / "odd.npz", TOKENS)


def test_an_array_larger_than_memory_is_told(tmp_path: Path) -> None:
    import zipfile

    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }"
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("ids.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(FeedError, match=r"huge\.npz"):
        read_feed(tmp_path / "huge.npz", TOKENS)


@pytest.mark.parametrize("name", ["images", "file", "allow_pickle", "a/b:0"])
def test_a_saved_feed_is_read_back_bit_for_bit_whatever_its_inputs_name(tmp_path: Path, name: str) -> None:
    interface = interface_of(TensorInfo(name, "float32", (2, None)))
    tensors = {name: np.array([[np.nan, -0.0], [np.inf, 1e-45]], np.float32)}
    save_feed(tmp_path / "feed.npz", Feed("feed", tensors, None, "x"))
    first = (tmp_path / "feed.npz").read_bytes()
    feed = read_feed(tmp_path / "feed.npz", interface)
    assert feed.tensors[name].tobytes() == tensors[name].tobytes()
    save_feed(tmp_path / "feed.npz", feed)
    assert (tmp_path / "feed.npz").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["feed.npz"]


def test_a_feed_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = Feed("feed", {"x": np.zeros(3)}, None, "")
    with pytest.raises(RunError, match=r"feed\.npz: cannot be written \(No such file"):
        save_feed(tmp_path / "gone" / "feed.npz", feed)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("numpy.lib.format.write_array", fail)
    with pytest.raises(RunError, match="No space left on device"):
        save_feed(tmp_path / "feed.npz", feed)
    assert list(tmp_path.iterdir()) == []


def test_the_hash_tells_names_dtypes_shapes_and_values_apart() -> None:
    tensor = np.zeros((2, 3), np.float32)
    others = (
        {"y": tensor},
        {"x": tensor.view(np.int32)},
        {"x": tensor.reshape(3, 2)},
        {"x": tensor + 1},
        {"x": tensor, "y": tensor},
    )
    hashes = [hash_tensors(tensors) for tensors in ({"x": tensor}, *others)]
    assert len(set(hashes)) == len(hashes)
    assert hash_tensors({"x": tensor.copy("F")}) == hashes[0]
    assert hash_tensors({"x": np.float32(0)[...]}) != hash_tensors({"x": np.zeros(0, np.float32)})
    assert hash_tensors({"y": tensor, "x": tensor}) == hashes[-1]


def test_bfloat16_survives_the_npz_that_cannot_name_it(tmp_path: Path) -> None:
    import ml_dtypes

    interface = interface_of(TensorInfo("x", "bfloat16", (3,)))
    values = np.array([1.5, -2.0, np.inf], ml_dtypes.bfloat16)
    save_feed(tmp_path / "feed.npz", Feed("feed", {"x": values}, None, ""))
    np.testing.assert_array_equal(read_feed(tmp_path / "feed.npz", interface).tensors["x"], values, strict=True)
