"""Power loss: what was never fsynced is gone, whole or in part, and what was fsynced is there.

A store is left as the disk might hold it: the file of the log that was written to last ends at some
byte, and zeros follow, or whatever else was there. A log cut between two records looks like a whole
one. The durable mark tells a torn end, which is a crash, from a missing one, which is damage.
"""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

import timeline
from tests.engine.diskcalls import DiskCalls, copy_in_call
from tests.engine.power import copy_without_power, count, end_of, log_of, numbers
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    small_steps,
)
from tests.engine.twin import Twin, picture_of, scenario, with_moves
from tests.log.disk import Disk
from timeline.embedded.database import Database
from timeline.errors import CorruptError
from timeline.storage.mark import DurableMark

# Every commit lies in one file of the log.
INLINE = replace(SMALL, fsync="inline", log_file_bytes=2**26, write_buffer_bytes=2**25)
# Nothing is fsynced, also not because a pass of sealing begins.
UNSYNCED = replace(
    INLINE, durability="interval", interval_ms=10**9, unsealed_bytes=2**25, tails=10**6
)
SECTOR, PAGE = 512, 4096


@pytest.fixture
def twin(directory: Path) -> Iterator[Twin]:
    """A store in use; its pictures say what each commit made of it."""
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", INLINE, clock)
        for step in scenario(25, 11):
            if step[0] not in ("seal", "compact", "drop"):
                twin.do(step)
        yield twin
        abandon(twin.db)


def cut(path: Path, target: Path, size: int, after: bytes = b"") -> Path:
    """A copy of the store at `path` whose log ends at `size`; there come `after` and zeros."""
    shutil.copytree(path, target)
    log = log_of(target)
    content = log.read_bytes()
    log.write_bytes((content[:size] + after).ljust(len(content), b"\0"))
    return target


def copy_unsynced(db: Database, target: Path, work: Callable[[], object]) -> tuple[int, int]:
    """Do `work`, and copy the store between its write and what follows, which is the fsync or the
    mark: (where the log ended before, and where it ends).
    """
    path = db.engine.path
    synced = end_of(path)

    def copy(label: str) -> None:
        if label == "log.pwritev" and not target.exists():
            copy_in_call(db.engine.store, path, target)

    with DiskCalls(path, after=copy).watched():
        work()
    return synced, end_of(target)


def test_a_commit_whose_fsync_did_not_return_is_there_or_not_wherever_the_log_ends(
    twin: Twin, directory: Path
) -> None:
    acknowledged = twin.oracle.lsn
    synced, written = copy_unsynced(
        twin.db,
        directory / "copy",
        lambda: twin.do(("both", b"a", b"b", b"the commit under way")),
    )
    assert synced < written
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    for size in {*range(synced, written, 3), *range(written - 9, written + 1)}:
        after = draw.choice((b"", draw.randbytes(40), draw.randbytes(written - synced)))
        if size == written:
            after = b""
        path = cut(directory / "copy", directory / "cut", size, after)
        with timeline.open(path, INLINE) as db:
            whole = acknowledged + (size == written)
            assert db.engine.applied == whole, f"cut after {size - synced} bytes, seed {seed}"
            assert picture_of(db, twin.users) == twin.pictures[whole]
        shutil.rmtree(path)


def test_an_end_missing_below_the_durable_mark_is_corruption(twin: Twin, directory: Path) -> None:
    """Also where it is cut on the border of a record, which looks whole."""
    killed = copy_as_killed(twin.db, directory / "killed")
    end = end_of(killed)
    borders = {0, 1, end - 1}
    for size in sorted(borders | set(random.Random(1).sample(range(end), 60))):
        path = cut(killed, directory / "cut", size)
        for _ in range(2):  # trying again makes it no better
            with pytest.raises(CorruptError):
                timeline.open(path, INLINE)
        shutil.rmtree(path)


def test_a_lost_file_of_the_log_is_corruption(twin: Twin, directory: Path) -> None:
    path = copy_as_killed(twin.db, directory / "copy")
    log_of(path).unlink()
    for _ in range(2):
        with pytest.raises(CorruptError):
            timeline.open(path, INLINE)


def test_interval_durability_loses_a_suffix_of_whole_commits_and_no_more(directory: Path) -> None:
    with Clock().installed() as clock, small_steps():
        twin = Twin(directory / "store", UNSYNCED, clock)
        # The first wait for the next fsync begins when the store is opened.
        for step in scenario(20, 12):
            if step[0] not in ("seal", "seal_a_little", "compact", "drop", "work"):
                twin.do(step)
        assert twin.db.engine.mark.read() == 0, "a pass of sealing would have made an fsync"
        killed = copy_as_killed(twin.db, directory / "killed")
        end = end_of(killed)
        reached = set()
        for size in sorted(random.Random(2).sample(range(PAGE // 4, end), 80)):
            path = cut(killed, directory / "cut", size)
            with timeline.open(path, UNSYNCED) as db:
                lsn = db.engine.applied
                reached.add(lsn)
                users = twin.users if lsn else []
                assert picture_of(db, users) == twin.pictures[lsn], f"cut after {size} bytes"
            shutil.rmtree(path)
        abandon(twin.db)
    assert len(reached) > 5


@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_a_power_cut_at_any_time_leaves_whole_commits_up_to_the_mark_at_least(
    directory: Path, durability: Literal["sync", "interval"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever RocksDB had flushed by then: that is never ahead of the log."""
    options = replace(
        INLINE,
        durability=durability,
        interval_ms=10**9,
        log_file_bytes=2**14,
        write_buffer_bytes=2**16,
    )
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    lost = 0
    with Clock().installed() as clock, small_steps():
        disk = Disk(monkeypatch)
        disk.watch(directory / "store" / "log")
        twin = Twin(directory / "store", options, clock)
        for number, step in enumerate(with_moves(scenario(60, seed), seed)):
            twin.do(step)
            where = f"after step {number}, seed {seed}"
            if draw.random() < 0.5:
                continue
            if draw.random() < 0.5:
                twin.db.engine.store.flush()
            copy = directory / "copy"
            copy_without_power(twin.db, disk, copy, draw)
            marked = twin.db.engine.mark.read()
            with timeline.open(copy, options) as db:
                applied = db.engine.applied
                assert marked <= applied <= twin.oracle.lsn, where
                lost += applied < twin.oracle.lsn
                users = twin.users if applied else []
                assert picture_of(db, users) == twin.pictures[applied], where
                assert all(each <= applied for each in db.log.checkpoints().values()), where
                if durability == "sync":
                    assert db.log.checkpoints().keys() >= twin.consumers.keys(), where
            shutil.rmtree(copy)
        abandon(twin.db)
    assert (lost > 0) == (durability == "interval")


@pytest.mark.parametrize("entries", [3, 80])
def test_a_last_write_of_which_sectors_are_missing_is_cut(directory: Path, entries: int) -> None:
    """Zero, or what a former use of the disk left. Nothing was acknowledged behind it."""
    path, torn = directory / "store", directory / "torn"
    with timeline.open(path, INLINE) as db:
        handle = db.timeline("a")
        for number in range(9):
            handle.append({"n": str(number), "pad": "x" * 100})
        many = [{"n": str(number), "pad": "y" * 700} for number in range(entries)]
        synced, written = copy_unsynced(db, torn, lambda: handle.append_many(many))
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    for turn in range(16):
        step = SECTOR if turn % 2 else PAGE
        blocks = range(synced - synced % step, written, step)
        copy = Path(shutil.copytree(torn, directory / "copy"))
        content = bytearray(log_of(copy).read_bytes())
        lost = [at for at in blocks if draw.random() < 0.4] or [blocks[-1]]
        for at in lost:
            begin, end = max(at, synced), min(at + step, written)
            content[begin:end] = bytes(end - begin) if turn % 4 < 2 else draw.randbytes(end - begin)
        log_of(copy).write_bytes(content)
        with timeline.open(copy, INLINE) as db:
            assert db.timeline("a").append({"n": "new"}) == 10, f"{lost}, seed {seed}"
        with timeline.open(copy, INLINE) as db:
            assert db.timeline("a").head == 10
        shutil.rmtree(copy)


def test_a_message_that_holds_records_of_a_log_is_never_taken_for_them(directory: Path) -> None:
    """Not even where the write of the message was torn, and what it holds lies there whole."""
    made, path, torn = directory / "made", directory / "store", directory / "torn"
    for store in (made, path):
        with timeline.open(store, INLINE) as db:
            for number in range(1, 6):
                db.timeline("a").append({"n": str(number)})
    with timeline.open(made, INLINE) as db:
        begin = end_of(made)
        for number in range(6, 9):
            db.timeline("a").append({"n": str(number)})
    frames = log_of(made).read_bytes()[begin - begin % -8 :].rstrip(b"\0")
    with timeline.open(path, INLINE) as db:
        message = b"".join(bytes(100 + shift) + frames for shift in range(8))  # at any place
        synced, written = copy_unsynced(
            db, torn, lambda: db.timeline("a").append({b"n": b"6", b"pad": message})
        )
        assert written - synced > len(message)
        content = log_of(torn).read_bytes()
    for lost in (40, 100, 512):
        copy = Path(shutil.copytree(torn, directory / "copy"))
        log_of(copy).write_bytes(content[:synced] + bytes(lost) + content[synced + lost :])
        with timeline.open(copy, INLINE) as db:
            assert numbers(db) == count(5)
            assert db.timeline("a").append({"n": "6"}) == 6
        shutil.rmtree(copy)
    with timeline.open(torn, INLINE) as db:
        assert numbers(db) == count(6)


def damaged(path: Path, target: Path, number: int) -> Path:
    """A copy in which the record of entry `number` is damaged."""
    shutil.copytree(path, target)
    content = bytearray(log_of(target).read_bytes())
    value = str(number).encode()
    content[content.index(b"$%d\r\n%s\r\n" % (len(value), value)) + 4] ^= 1
    log_of(target).write_bytes(content)
    return target


def fill(path: Path, options: timeline.Options, numbers: range) -> None:
    """Append to a store and copy it to `path` with a suffix, as a kill would leave it."""
    with timeline.open(path, options) as db:
        for number in numbers:
            db.timeline("a").append({"n": str(number), "pad": "x" * 100})
        copy_as_killed(db, path.with_suffix(".killed"))


@pytest.mark.parametrize("how", ["INLINE", "UNSYNCED"])
def test_damage_that_is_followed_by_another_fsynced_write_is_no_torn_write(
    directory: Path, how: str
) -> None:
    """Also where the mark is of long ago: what was acknowledged is never dropped without a word."""
    fill(directory / "store", INLINE, range(1, 21))
    path = damaged(directory / "store.killed", directory / "damaged", 13)
    (path / "MARK").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(CorruptError, match="timeline repair"):
            timeline.open(path, INLINE if how == "INLINE" else UNSYNCED)


def test_interval_durability_cuts_damage_beyond_the_mark(directory: Path) -> None:
    fill(directory / "store", UNSYNCED, range(1, 21))
    path = damaged(directory / "store.killed", directory / "damaged", 13)
    with timeline.open(path, UNSYNCED) as db:
        assert numbers(db) == count(12)
        assert db.timeline("a").append({"n": "13"}) == 13
    with timeline.open(path, INLINE) as db:
        assert numbers(db) == count(13)


def test_interval_durability_refuses_damage_below_the_mark(directory: Path) -> None:
    fill(directory / "store", UNSYNCED, range(1, 21))
    path = damaged(directory / "store.killed", directory / "damaged", 13)
    mark = DurableMark(path / "MARK")
    mark.write(20)
    mark.close()
    with pytest.raises(CorruptError, match="timeline repair"):
        timeline.open(path, UNSYNCED)


@pytest.fixture
def unsynced(directory: Path) -> tuple[Path, int]:
    """A store of 10 commits that were fsynced and 60 that were not, and of a consumer; with where
    the former end in the log.
    """
    path = directory / "store"
    with timeline.open(path, INLINE) as db:
        db.log.move("reader", 0)
        for number in range(1, 11):
            db.timeline("a").append({"n": str(number)})
    synced = end_of(path)
    with timeline.open(path, UNSYNCED) as db:
        for number in range(11, 71):
            db.timeline("a").append({"n": str(number), "pad": str(number % 10) * 700})
            db.log.move("reader", number)
        copy_as_killed(db, directory / "lost")
    return directory / "lost", synced


@pytest.mark.parametrize("block", [SECTOR, PAGE])
def test_interval_durability_keeps_a_prefix_whichever_blocks_were_lost(
    unsynced: tuple[Path, int], directory: Path, block: int
) -> None:
    lost_path, synced = unsynced
    whole = log_of(lost_path).read_bytes()
    end = end_of(lost_path)
    cut = 0
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    path = directory / "copy"
    for turn in range(20):
        shutil.copytree(lost_path, path)
        content = bytearray(whole)
        blocks = range(synced - synced % block, end, block)
        lost = [at for at in blocks if draw.random() < 5 / len(blocks)]
        for at in lost:
            begin, stop = max(at, synced), min(at + block, end)
            content[begin:stop] = bytes(stop - begin) if turn % 2 else draw.randbytes(stop - begin)
        log_of(path).write_bytes(content)
        where = f"blocks {lost}, seed {seed}"
        with timeline.open(path, UNSYNCED) as db:
            kept = numbers(db)
            assert kept == count(len(kept)), where
            assert len(kept) >= 10, where
            cut += 10 < len(kept) < 70
            assert db.log.checkpoint("reader") <= db.log.head, where
            assert db.timeline("a").append({"n": "new"}) == len(kept) + 1
        with timeline.open(path, INLINE) as db:
            assert db.timeline("a").head == len(kept) + 1, where
            assert [each.lsn for each in db.log.read(after=db.log.head - 1)] == [db.log.head]
        shutil.rmtree(path)
    assert cut > 3


@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_a_write_that_is_followed_by_silence_is_fsynced_all_the_same(
    directory: Path, fsync: Literal["inline", "thread"]
) -> None:
    options = replace(INLINE, durability="interval", interval_ms=20, fsync=fsync)
    pause = threading.Event()
    with timeline.open(directory / "store", options) as db:
        for number in range(1, 4):  # the first is fsynced at once: the last fsync was long ago
            db.timeline("a").append({"n": str(number)})
        for _ in range(1_000):
            if db.engine.mark.read() == 3:
                break
            pause.wait(0.01)
        assert db.engine.mark.read() == 3


@pytest.mark.parametrize("slot", [0, 1])
@pytest.mark.parametrize("damage", ["torn", "zero"])
def test_a_torn_mark_costs_a_step_and_not_the_mark(
    twin: Twin, directory: Path, slot: int, damage: str
) -> None:
    killed = copy_as_killed(twin.db, directory / "killed")
    size = end_of(killed)
    for number, half in enumerate((size, size // 2)):
        path = cut(killed, directory / str(number), half)
        with (path / "MARK").open("r+b") as mark:
            mark.seek(512 * slot)
            mark.write(bytes(12) if damage == "zero" else b"\xa5\x5a\x17")
        if half == size:
            with timeline.open(path, INLINE) as db:
                assert picture_of(db, twin.users) == twin.expected()
        else:
            with pytest.raises(CorruptError):
                timeline.open(path, INLINE)


def test_a_missing_mark_hides_nothing(twin: Twin, directory: Path) -> None:
    path = copy_as_killed(twin.db, directory / "copy")
    (path / "MARK").unlink()
    with timeline.open(path, INLINE) as db:
        assert picture_of(db, twin.users) == twin.expected()
