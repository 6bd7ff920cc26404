"""Appending to a history: once, whole or not at all, whoever else writes there and whatever the file has become."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from parity.errors import HistoryError
from parity.history import Asked, append_run, read_history
from parity.history.append import facts_of, key_of
from parity.history.file import _is_on_network, set_aside, writing
from parity.results import GpuRecord, Run
from parity.run_figures import figures_of
from parity.run_file import run_from_json, run_to_json
from tests.conversations import wait_until
from tests.history_runs import latency_outcome, night, nights
from tests.run_examples import ENGINES, ENVIRONMENT, FAILING, WORKER, make_run
from tests.tiny_cases import process_environment

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys
from pathlib import Path
from parity.history import append_run
from tests.history_runs import latency_outcome, night
first, count = int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
for number in range(first, first + count):
    append_run(Path(sys.argv[1]), night(number, latency_outcome(1.0 + number / 1000)))
"""


def writer(file: Path, first: int, count: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", WRITER, str(file), str(first), str(count)]
    return subprocess.Popen(words, env=process_environment(), stdout=subprocess.PIPE, text=True)


def rows(file: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(file)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def run_count(file: Path) -> int:
    """Return how many runs a history has that another process may be about to make; make nothing by looking."""
    if not file.exists():
        return 0
    try:
        return rows(file, "SELECT count(*) FROM run")[0][0]
    except sqlite3.OperationalError:
        return 0


def require_whole(file: Path) -> int:
    """Check that every run of a history has all of its figures, and return how many runs there are."""
    assert rows(file, "PRAGMA integrity_check") == [("ok",)]
    counts = rows(file, "SELECT count(*) FROM run LEFT JOIN value ON value.run = run.id GROUP BY run.id")
    assert {count for (count,) in counts} <= {len(figures_of(night(0)))}
    return len(counts)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "reports" / "history.db"


def test_a_run_is_kept_with_its_figures_verdicts_commit_and_environment(file: Path) -> None:
    assert not append_run(file, night(1, commit="ab" * 20)).was_known
    history = read_history(file, Asked("shapes"))
    figures = {(one.variant, one.check, one.subject, one.name): one.points[0].value for one in history.series}
    assert figures["fp16@tensorrt", "latency", "batch 8", "median_ms"] == 1.0
    assert len(figures) == len(figures_of(night(1)))
    (judged,) = history.judged
    assert (judged.variant, judged.check, judged.verdicts[0][1]) == ("fp16@tensorrt-8.6", "latency", "pass")
    visit = history.series[0].points[0].visit
    assert visit.commit == "ab" * 20
    assert visit.facts["tensorrt 8 driver"] == "580.1"
    assert visit.facts["model"] == "aa"


def test_infinities_and_nan_come_back(file: Path) -> None:
    append_run(file, replace(make_run(FAILING), id="1"))
    values = {one.name: one.points[0].value for one in read_history(file, Asked("shapes")).series}
    assert values["headroom"] == float("inf")


def test_a_run_appended_twice_is_there_once_with_what_it_held_last(file: Path) -> None:
    append_run(file, night(1))
    append_run(file, night(2))
    assert append_run(file, night(1, latency_outcome(3.0))).was_known
    series = read_history(file, Asked("shapes", figures=("median_ms",))).series[0]
    assert [point.value for point in series.points] == [3.0, 1.0]
    assert require_whole(file) == 2


def test_a_run_without_an_id_is_known_by_what_it_holds(file: Path) -> None:
    old = replace(night(1), id="")
    append_run(file, old)
    assert append_run(file, run_from_json(run_to_json(old), "again")).was_known
    assert key_of(old) != key_of(replace(old, created="2026-02-01T03:00:00+00:00"))


def test_a_run_of_an_older_release_has_neither_commit_nor_id() -> None:
    text = run_to_json(night(1)).replace('"commit"', '"was_commit"').replace('"id"', '"was_id"')
    older = run_from_json(text, "older")
    assert (older.commit, older.id) == ("", "")


def test_a_run_that_was_not_finished_is_refused(file: Path) -> None:
    with pytest.raises(HistoryError, match="not finished"):
        append_run(file, replace(night(1), is_complete=False))
    assert not file.exists()


def test_parallel_writers_lose_nothing(file: Path) -> None:
    writers = [writer(file, 100 * number, 8) for number in range(3)]
    for one in writers:
        one.communicate(timeout=60)
    assert [one.returncode for one in writers] == [0, 0, 0]
    assert require_whole(file) == 24


def test_a_writer_that_is_killed_leaves_whole_runs_alone(file: Path) -> None:
    before = 0
    for number, wait_s in enumerate((0.05, 0.13, 0.21)):
        with writer(file, 10_000 * number, 10_000) as killed:
            assert killed.stdout is not None
            killed.stdout.readline()
            wait_until(lambda kept=before: run_count(file) > kept)
            time.sleep(wait_s)
            killed.send_signal(signal.SIGKILL)
        after = require_whole(file)
        assert after > before
        before = after
    append_run(file, night(99_999))
    assert require_whole(file) == before + 1


def test_a_damaged_file_is_set_aside_as_it_was_and_a_new_one_begun(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"not a database, " * 100)
    aside = append_run(file, night(1)).set_aside
    assert aside is not None
    assert aside.name.startswith("history.db.damaged-")
    assert aside.read_bytes() == b"not a database, " * 100
    assert require_whole(file) == 1


def test_damage_inside_the_file_is_found_when_it_is_met(file: Path) -> None:
    for run in nights([1.0] * 60):
        append_run(file, run)
    content = bytearray(file.read_bytes())
    for page in range(1, len(content) // 4096):
        content[4096 * page : 4096 * page + 64] = b"\xff" * 64
    file.write_bytes(content)
    assert append_run(file, night(61)).set_aside is not None
    assert require_whole(file) == 1


def test_two_that_meet_the_damage_set_it_aside_once(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"\x00garbage" * 1000)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: append_run(file, night(number)), range(4)))
    assert len({result.set_aside for result in found} - {None}) == 1
    assert require_whole(file) == 4
    assert set_aside(file) is None


def test_a_newer_file_is_refused_and_left_as_it_is(file: Path) -> None:
    append_run(file, night(1))
    rows(file, "PRAGMA user_version = 7")
    before = file.read_bytes()
    with pytest.raises(HistoryError, match=r"newer release \(its tables have version 7, this release reads 1\)"):
        append_run(file, night(2))
    assert file.read_bytes() == before


def test_another_programs_file_is_refused(file: Path) -> None:
    file.parent.mkdir()
    rows(file, "CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(HistoryError, match="another program"):
        append_run(file, night(1))
    assert rows(file, "SELECT count(*) FROM bookmarks") == [(0,)]


def test_a_full_disk_is_told_and_keeps_what_was_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_run(file, night(1))
    from parity.history import file as module

    def small(path: Path, mode: str = "") -> sqlite3.Connection:
        connection = open_file(path, mode)
        ((count,),) = connection.execute("PRAGMA page_count")
        # SQLite answers with what a full disk makes it answer.
        connection.execute(f"PRAGMA max_page_count = {count}")
        return connection

    open_file = module._connect
    monkeypatch.setattr(module, "_connect", small)
    many = night(2, *(latency_outcome(1.0, f"v{number}@tensorrt-8.6") for number in range(40)))
    with pytest.raises(HistoryError, match=r"database or disk is full\); free space"):
        append_run(file, many)
    monkeypatch.undo()
    assert require_whole(file) == 1


def test_a_folder_that_may_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    with pytest.raises(HistoryError, match="see that its folder exists"):
        append_run(tmp_path / "taken" / "history.db", night(1))


def test_an_error_inside_a_transaction_keeps_nothing_of_it(file: Path) -> None:
    append_run(file, night(1))
    with pytest.raises(ZeroDivisionError), writing(file) as connection:  # noqa: PT012 - the error is behind a write
        connection.execute("DELETE FROM value")
        raise ZeroDivisionError
    assert require_whole(file) == 1


def test_a_file_system_of_another_host_gets_no_write_ahead_log(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/sda / ext4 rw 0 0\nserver:/x {tmp_path}/net nfs4 rw 0 0\n", encoding="utf-8")
    (tmp_path / "net").mkdir()
    assert _is_on_network(tmp_path / "net" / "history.db", mounts)
    assert not _is_on_network(tmp_path / "history.db", mounts)
    assert not _is_on_network(tmp_path / "history.db", tmp_path / "missing")


def test_two_releases_of_one_run_are_series_of_their_own(file: Path) -> None:
    other = replace(WORKER, name="tensorrt-8.5", packages={"tensorrt": "8.5.3"})
    run = night(1, latency_outcome(1.0), latency_outcome(2.0, "fp16@tensorrt-8.5"))
    append_run(file, replace(run, environment=replace(ENVIRONMENT, workers=(WORKER, other))))
    series = read_history(file, Asked("shapes", figures=("median_ms",))).series
    assert sorted(one.variant for one in series) == ["fp16@tensorrt-8.5", "fp16@tensorrt-8.6"]


def test_facts_of_two_workers_of_one_major_release_are_told_apart() -> None:
    other = replace(WORKER, name="tensorrt-8.5", packages={"tensorrt": "8.5.3"})
    facts = facts_of(replace(ENVIRONMENT, workers=(WORKER, other)))
    assert (facts["tensorrt-8.6 release"], facts["tensorrt-8.5 release"]) == ("8.6.1", "8.5.3")


def test_the_gpus_of_providers_are_facts() -> None:
    gpus = GpuRecord("NVIDIA H200", "9.0", "580.1"), GpuRecord("NVIDIA L4", "8.9", "580.1")
    facts = facts_of(replace(ENVIRONMENT, workers=(), gpus=gpus))
    assert (facts["gpu"], facts["gpu driver"]) == ("NVIDIA H200 (9.0)", "580.1")
    assert facts["gpu 1"] == "NVIDIA L4 (8.9)"


def test_every_sample_is_taken(file: Path) -> None:
    run: Run = replace(ENGINES, id="1")
    append_run(file, run)
    assert rows(file, "SELECT count(*) FROM value") == [(len(figures_of(run)),)]
