"""Outputs kept between runs: found again under the same key, missed under any other, never believed when damaged."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import pytest

from parity.options import Provider, SessionOptions
from parity.runner.output_cache import CachedSession, OutputCache

if TYPE_CHECKING:
    from pathlib import Path

FEED = "f" * 64
OUTPUTS = {
    "logits": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.array([1.5, np.nan], ml_dtypes.bfloat16),
    "scalar": np.array(7, np.int64),
}


def open_cache(folder: Path, model: str = "m" * 64, provider: Provider = Provider.CPU) -> OutputCache:
    return OutputCache(folder, model, SessionOptions(provider=provider))


def kept_file(folder: Path) -> Path:
    (file,) = (folder / "outputs").iterdir()
    return file


def test_outputs_come_back_bit_for_bit_with_their_dtypes(tmp_path: Path) -> None:
    open_cache(tmp_path).write(FEED, OUTPUTS)
    found = open_cache(tmp_path).read(FEED)
    assert found is not None
    assert list(found) == list(OUTPUTS)
    for name, array in OUTPUTS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


def test_another_feed_model_or_provider_is_a_miss(tmp_path: Path) -> None:
    open_cache(tmp_path).write(FEED, OUTPUTS)
    assert open_cache(tmp_path).read("e" * 64) is None
    assert open_cache(tmp_path, model="n" * 64).read(FEED) is None
    assert open_cache(tmp_path, provider=Provider.CUDA).read(FEED) is None


def test_a_file_under_another_key_is_a_miss(tmp_path: Path) -> None:
    open_cache(tmp_path).write(FEED, OUTPUTS)
    foreign = kept_file(tmp_path).read_bytes()
    open_cache(tmp_path, model="n" * 64).write(FEED, {"logits": np.zeros(1, np.float32)})
    for file in (tmp_path / "outputs").iterdir():
        file.write_bytes(foreign)
    assert open_cache(tmp_path, model="n" * 64).read(FEED) is None


@pytest.mark.parametrize("place", [0.0, 0.3, 0.6, 0.99])
def test_a_damaged_file_is_a_miss_or_tells_the_truth(tmp_path: Path, place: float) -> None:
    open_cache(tmp_path).write(FEED, {"logits": np.arange(4096, dtype=np.float32)})
    file = kept_file(tmp_path)
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 0xFF
    file.write_bytes(content)
    found = open_cache(tmp_path).read(FEED)
    # A byte of the archive's own bookkeeping may say nothing of the arrays.
    assert found is None or np.array_equal(found["logits"], np.arange(4096, dtype=np.float32))


def test_a_truncated_file_is_a_miss(tmp_path: Path) -> None:
    open_cache(tmp_path).write(FEED, OUTPUTS)
    file = kept_file(tmp_path)
    file.write_bytes(file.read_bytes()[:-40])
    assert open_cache(tmp_path).read(FEED) is None


def test_a_changed_value_is_never_believed(tmp_path: Path) -> None:
    open_cache(tmp_path).write(FEED, {"logits": np.full(4096, 2.5, np.float32)})
    file = kept_file(tmp_path)
    content = file.read_bytes()
    value = np.float32(2.5).tobytes()
    changed = content.replace(value * 8, value * 7 + np.float32(3.5).tobytes(), 1)
    assert changed != content
    file.write_bytes(changed)
    assert open_cache(tmp_path).read(FEED) is None


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    cache = OutputCache(None, "m" * 64, SessionOptions())
    cache.write(FEED, OUTPUTS)
    cache.make_room(0)
    assert cache.read(FEED) is None
    assert not list(tmp_path.iterdir())


def test_what_was_not_read_for_longest_makes_room(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    feeds = ["1", "2", "3"]
    for age, feed in enumerate(feeds):
        before = set((tmp_path / "outputs").glob("*.npz"))
        cache.write(feed, {"y": np.zeros(1000, np.float32)})
        (file,) = set((tmp_path / "outputs").glob("*.npz")) - before
        os.utime(file, (1000 + age, 1000 + age))
    assert cache.read("1") is not None
    cache.make_room(2 * file.stat().st_size)
    assert [cache.read(feed) is not None for feed in feeds] == [True, False, True]


def test_a_cache_that_only_read_removes_nothing(tmp_path: Path) -> None:
    open_cache(tmp_path).write(FEED, OUTPUTS)
    cache = open_cache(tmp_path)
    cache.make_room(0)
    assert cache.read(FEED) is not None


def test_a_session_is_not_opened_for_what_is_kept(tmp_path: Path) -> None:
    open_cache(tmp_path).write(FEED, OUTPUTS)

    def refuse() -> None:
        raise AssertionError("opened")

    with CachedSession(open_cache(tmp_path), refuse) as session:
        assert list(session.run(FEED, lambda _: {})) == list(OUTPUTS)
        with pytest.raises(AssertionError, match="opened"):
            session.run("e" * 64, lambda _: {})
