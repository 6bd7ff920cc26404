"""Engines kept between runs: one key, one build; nothing damaged or foreign is ever loaded."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from parity.backends.tensorrt.cache import EngineCache, cache_limit_bytes
from parity.backends.tensorrt.cache_room import make_room
from parity.errors import BackendError, BackendTimeout
from parity.results import BuildMessage, EngineRecord

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY = "ab" * 32
CONTENT = b"ftrt and the rest of a plan"
LONG_AGO_S = 10_000.0


def record_of(content: bytes) -> EngineRecord:
    return EngineRecord(
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        source="built",
        typing="weak",
        flags=("FP16",),
        build_s=2.5,
        messages=(BuildMessage("warning", "other", "a text", 3),),
        notes=("decided so",),
    )


def build(plan: Path, content: bytes = CONTENT) -> EngineRecord:
    plan.write_bytes(content)
    return record_of(content)


def refuse(_plan: Path) -> EngineRecord:
    raise AssertionError("built again though it was kept")


def test_an_engine_is_built_once_and_kept_with_its_record(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    built = cache.take(KEY, build, 1)
    kept = cache.take(KEY, refuse, 1)
    assert built.record == record_of(CONTENT)
    assert kept.record == replace(built.record, source="cache")
    assert kept.plan == tmp_path / "engines" / KEY / "engine.plan"
    assert kept.plan.read_bytes() == CONTENT


def test_another_key_is_another_engine(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.take(KEY, build, 1)
    other = cache.take("cd" * 32, partial(build, content=b"another"), 1)
    assert other.plan.read_bytes() == b"another"


def flip(folder: Path) -> None:
    content = bytearray((folder / "engine.plan").read_bytes())
    content[5] ^= 1
    (folder / "engine.plan").write_bytes(content)


def truncate(folder: Path) -> None:
    (folder / "engine.plan").write_bytes(CONTENT[:3])


def lose_plan(folder: Path) -> None:
    (folder / "engine.plan").unlink()


def lose_record(folder: Path) -> None:
    (folder / "engine.json").unlink()


def garble_record(folder: Path) -> None:
    (folder / "engine.json").write_text("{", encoding="utf-8")


def list_for_record(folder: Path) -> None:
    (folder / "engine.json").write_text("[]", encoding="utf-8")


def bytes_for_record(folder: Path) -> None:
    (folder / "engine.json").write_bytes(b"\xff\xfe")


def change(name: str, value: object, folder: Path) -> None:
    found = json.loads((folder / "engine.json").read_text(encoding="utf-8"))
    (folder / "engine.json").write_text(json.dumps(found | {name: value}), encoding="utf-8")


def link_plan_outside(folder: Path) -> None:
    outside = folder.parents[2] / "outside.plan"
    outside.write_bytes(CONTENT)
    (folder / "engine.plan").unlink()
    (folder / "engine.plan").symlink_to(outside)


def link_folder_outside(folder: Path) -> None:
    outside = folder.parents[2] / "outside"
    folder.rename(outside)
    folder.symlink_to(outside, target_is_directory=True)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip, "not the one that was stored"),
        (truncate, "not the one that was stored"),
        (lose_plan, "cannot be read"),
        (lose_record, "cannot be read"),
        (garble_record, "cannot be read"),
        (list_for_record, "of another engine"),
        (bytes_for_record, "cannot be read"),
        (partial(change, "key", "cd" * 32), "of another engine"),
        (partial(change, "format_version", 0), "of another engine or of another release"),
        (partial(change, "record", {"sha256": 3}), "cannot be read"),
        (link_plan_outside, "outside the cache folder"),
        (link_folder_outside, "outside the cache folder"),
    ],
)
def test_a_damaged_or_foreign_engine_is_built_again_and_said_so(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    cache = EngineCache(tmp_path / "cache")
    folder = cache.take(KEY, build, 1).plan.parent
    damage(folder)
    again = cache.take(KEY, build, 1)
    assert again.record.source == "built"
    assert words in again.record.notes[-1]
    assert "it was built again" in again.record.notes[-1]
    assert (folder / "engine.plan").resolve().is_relative_to(tmp_path / "cache")
    assert cache.take(KEY, refuse, 1).plan.read_bytes() == CONTENT


def test_what_lies_behind_a_link_is_left_alone(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    link_plan_outside(cache.take(KEY, build, 1).plan.parent)
    cache.take(KEY, partial(build, content=b"fresh"), 1)
    assert (tmp_path / "outside.plan").read_bytes() == CONTENT


def test_a_failed_build_leaves_nothing_to_load(tmp_path: Path) -> None:
    def fail(plan: Path) -> EngineRecord:
        plan.write_bytes(b"half")
        raise BackendError("the builder ran out of memory")

    cache = EngineCache(tmp_path)
    with pytest.raises(BackendError, match="out of memory"):
        cache.take(KEY, fail, 1)
    assert cache.take(KEY, build, 1).record.notes == ("decided so",)


def test_a_plan_that_changed_on_its_way_is_refused(tmp_path: Path) -> None:
    def lose_bytes(plan: Path) -> EngineRecord:
        plan.write_bytes(CONTENT[:-1])
        return record_of(CONTENT)

    with pytest.raises(BackendError, match="loses data"):
        EngineCache(tmp_path).take(KEY, lose_bytes, 1)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(BackendError, match="PARITY_CACHE_DIR"):
        EngineCache(tmp_path / "file").take(KEY, build, 1)


def test_a_key_that_another_holds_too_long_is_a_timeout(tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "engines").mkdir()
    with FileLock(tmp_path / "engines" / f"{KEY}.lock"), pytest.raises(BackendTimeout, match="held by another process"):
        EngineCache(tmp_path).take(KEY, build, 0.05)


def build_slowly(log: Path, plan: Path) -> EngineRecord:
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"{os.getpid()}\n")
    time.sleep(0.3)
    return build(plan)


def take_in_process(folder: Path, log: Path) -> str:
    return EngineCache(folder).take(KEY, partial(build_slowly, log), 30).record.source


def test_processes_that_want_one_engine_build_it_once(tmp_path: Path) -> None:
    log = tmp_path / "builds.txt"
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        sources = pool.starmap(take_in_process, [(tmp_path / "cache", log)] * 3)
    assert sorted(sources) == ["built", "cache", "cache"]
    assert len(log.read_text(encoding="utf-8").split()) == 1


def add_tactics(folder: Path, count: int) -> None:
    for _ in range(count):
        with EngineCache(folder).timing_cache("machine", 30) as path:
            before = path.read_bytes() if path.exists() else b""
            time.sleep(0.001)
            path.write_bytes(before + b"x")


def test_parallel_builds_do_not_lose_each_others_tactics(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(add_tactics, [(tmp_path, 20)] * 2)
    assert (tmp_path / "timing" / "machine.cache").read_bytes() == b"x" * 40


def fill(folder: Path, ages_s: dict[str, float], size: int = 100) -> Path:
    cache = EngineCache(folder)
    for key, age_s in ages_s.items():
        note = cache.take(key, partial(build, content=key[:1].encode() * size), 1).plan.with_name("engine.json")
        os.utime(note, (time.time() - age_s, time.time() - age_s))
    return folder / "engines"


def keys_in(engines: Path) -> set[str]:
    return {path.name for path in engines.iterdir() if path.is_dir()}


def test_what_was_unused_for_longest_makes_room(tmp_path: Path) -> None:
    engines = fill(tmp_path, {"a": LONG_AGO_S, "b": 3 * LONG_AGO_S, "c": 2 * LONG_AGO_S})
    assert make_room(engines, 150) == ("b", "c")
    assert keys_in(engines) == {"a"}


def test_nothing_is_removed_within_the_limit(tmp_path: Path) -> None:
    engines = fill(tmp_path, {"a": LONG_AGO_S, "b": LONG_AGO_S})
    assert make_room(engines, 200) == ()


def test_what_was_used_within_the_hour_stays(tmp_path: Path) -> None:
    engines = fill(tmp_path, {"a": 60.0, "b": LONG_AGO_S})
    assert make_room(engines, 0) == ("b",)
    assert keys_in(engines) == {"a"}


def test_an_engine_in_use_by_a_lock_holder_stays(tmp_path: Path) -> None:
    from filelock import FileLock

    engines = fill(tmp_path, {"a": LONG_AGO_S, "b": LONG_AGO_S / 2})
    with FileLock(engines / "a.lock"):
        assert make_room(engines, 0) == ("b",)


def test_taking_an_engine_counts_as_using_it_and_building_one_makes_room(tmp_path: Path) -> None:
    engines = fill(tmp_path, {"a": 2 * LONG_AGO_S, "b": LONG_AGO_S})
    cache = EngineCache(tmp_path, limit_bytes=250)
    cache.take("a", refuse, 1)
    cache.take("c", partial(build, content=b"c" * 100), 1)
    assert keys_in(engines) == {"a", "c"}


@pytest.mark.parametrize(("text", "gib"), [("", 20.0), ("1.5", 1.5), ("0", 0.0)])
def test_the_limit_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, gib: float) -> None:
    monkeypatch.setenv("PARITY_CACHE_LIMIT_GIB", text)
    assert cache_limit_bytes() == gib * 2**30


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_amount_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PARITY_CACHE_LIMIT_GIB", text)
    with pytest.raises(BackendError, match="PARITY_CACHE_LIMIT_GIB"):
        cache_limit_bytes()
