"""A cache folder that is mounted to be read serves what it holds, and says what it would have to write."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pytest

from parity import doctor
from parity.backends.gpu_lock import only_here
from parity.backends.tensorrt.cache import EngineCache
from parity.errors import BackendError, BackendTimeout, RunError
from parity.options import SessionOptions
from parity.results import EngineRecord
from parity.runner.output_cache import OutputCache

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "ab" * 32
FEED = "f" * 64
OUTPUTS = {"logits": np.arange(6, dtype=np.float32)}


class Mount(Protocol):
    def __call__(self, folder: Path, number: int = errno.EROFS) -> None: ...


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Mount:
    """Refuse what writes below a folder, with an error number, as the kernel does; a test may run as root."""

    def mounted(folder: Path, number: int = errno.EROFS) -> None:
        def refusing(real: Callable[..., Any], writes: Callable[..., bool]) -> Callable[..., Any]:
            def called(path: Any, *arguments: Any, **named: Any) -> Any:
                if Path(path).is_relative_to(folder) and writes(Path(path), *arguments):
                    raise OSError(number, os.strerror(number), os.fspath(path))
                return real(path, *arguments, **named)

            return called

        def opens_to_write(path: Path, flags: int, *_mode: int) -> bool:
            is_refused_as_there = flags & os.O_EXCL and path.exists()
            return bool(flags & (os.O_RDWR | os.O_CREAT)) and not is_refused_as_there

        monkeypatch.setattr(os, "open", refusing(os.open, opens_to_write))
        monkeypatch.setattr(os, "mkdir", refusing(os.mkdir, lambda path, *_mode: not path.exists()))
        for name in ("utime", "unlink", "replace", "rename"):
            monkeypatch.setattr(os, name, refusing(getattr(os, name), lambda *_: True))

    return mounted


def build(plan: Path) -> EngineRecord:
    plan.write_bytes(b"a plan")
    digest = hashlib.sha256(b"a plan").hexdigest()
    return EngineRecord(sha256=digest, size_bytes=6, source="built", typing="weak", flags=(), build_s=1.0)


def refuse_to_build(_plan: Path) -> EngineRecord:
    raise AssertionError("built though nothing can be kept")


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("has_lock", [True, False])
def test_an_engine_that_is_there_is_served(tmp_path: Path, mount: Mount, number: int, has_lock: bool) -> None:
    kept = EngineCache(tmp_path).take(KEY, build, 1)
    if not has_lock:
        (tmp_path / "engines" / f"{KEY}.lock").unlink()
    mount(tmp_path, number)
    assert EngineCache(tmp_path, limit_bytes=0).take(KEY, refuse_to_build, 1).plan == kept.plan


def test_an_engine_that_is_not_there_is_refused_with_the_reason(tmp_path: Path, mount: Mount) -> None:
    EngineCache(tmp_path).take(KEY, build, 1)
    mount(tmp_path)
    with pytest.raises(BackendError, match=r"Read-only file system.*PARITY_CACHE_DIR.*asked for is not there yet"):
        EngineCache(tmp_path).take("cd" * 32, refuse_to_build, 1)


def test_a_damaged_engine_is_not_served(tmp_path: Path, mount: Mount) -> None:
    EngineCache(tmp_path).take(KEY, build, 1).plan.write_bytes(b"b plan")
    mount(tmp_path)
    with pytest.raises(BackendError, match=r"is not used \(its plan is not the one that was stored\)"):
        EngineCache(tmp_path).take(KEY, refuse_to_build, 1)


def test_outputs_that_are_there_are_served_and_others_are_a_miss(tmp_path: Path, mount: Mount) -> None:
    OutputCache(tmp_path, "m" * 64, SessionOptions()).write(FEED, OUTPUTS)
    mount(tmp_path)
    cache = OutputCache(tmp_path, "m" * 64, SessionOptions())
    found = cache.read(FEED)
    assert found is not None
    assert found["logits"].tobytes() == OUTPUTS["logits"].tobytes()
    assert cache.read("e" * 64) is None


def test_a_device_is_locked_in_the_temporary_folder(
    tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, temporary = tmp_path / "cache", tmp_path / "temporary"
    cache.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    mount(cache)
    with only_here(cache, "GPU-1"):
        assert [file.name for file in temporary.iterdir()] == [f"trt-parity-{os.getuid()}-latency-GPU-1.lock"]
        with pytest.raises(BackendTimeout, match="GPU-1"), only_here(cache, "GPU-1", 0.05):
            pass
    mount(temporary)
    with pytest.raises(RunError, match="PARITY_CACHE_DIR"), only_here(cache, "GPU-1"):
        pass


def test_the_doctor_finds_nothing_wrong_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plan").write_bytes(bytes(2**20 * 52))
    found = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result([*found[:8], os.ST_RDONLY, found[9]]))
    said = doctor._cache(tmp_path)
    assert said.state is doctor.State.GOOD
    assert "can only be read: what it holds is used, nothing is added, holds 0.05 GiB" in said.detail
