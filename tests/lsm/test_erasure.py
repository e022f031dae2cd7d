"""What was recalled, edited or deleted leaves every file in the time that is stated, whatever comes
between: a stall, damage elsewhere, a kill at any step, a consumer that held the log.

The content is random, so that compression leaves it as it is, and looked for byte by byte.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import copy_between_calls
from timeline.embedded.database import Database
from timeline.errors import CorruptError, StallError
from timeline.lsm import segmentcache
from timeline.lsm.upkeep import compaction
from timeline.lsm.upkeep.erasure import Erasure, add_range
from timeline.options import Options
from timeline.storage.rocks import INBOXES, PATCHES, SEGMENTS, Batch, Storage
from timeline.verification import verify

QUICK = Options(
    seal_after_ms=1, erase_after_ms=1, fsync="inline", search=False, segment_entries=8,
    compact_after=1_000,
)  # fmt: skip
SECONDS = 5.0


def on_disk(path: Path, content: bytes) -> list[str]:
    found = []
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        with suppress(FileNotFoundError):  # RocksDB let it go meanwhile
            if content in file.read_bytes():
                found.append(file.name)
    return found


def work_until(db: Database, condition: Callable[[], bool]) -> bool:
    """Do what waits until `condition` holds."""
    pause = threading.Event()
    for _ in range(int(SECONDS / 0.002)):
        if condition():
            return True
        if not db.engine.work():
            db.engine.flush()
            pause.wait(0.002)
    return False


def leaves(db: Database, *contents: bytes) -> bool:
    path = db.engine.path
    return work_until(db, lambda: not any(on_disk(path, content) for content in contents))


def secrets(count: int) -> list[bytes]:
    return [random.randbytes(48) for _ in range(count)]


def fill(db: Database, contents: list[bytes]) -> None:
    """Each content is the first entry of a timeline of its own, sealed."""
    for number, content in enumerate(contents):
        db.timeline(f"t{number}").append({"v": content})
        db.timeline(f"t{number}").append({"v": "other"})
    db.engine.seal()


def recall(db: Database, count: int) -> None:
    for number in range(count):
        db.timeline(f"t{number}").delete(1)
    db.timeline("end").append({"v": "the newest record"})
    db.engine.seal()


def test_a_stall_while_erasing_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = secrets(4)
    with timeline.open(tmp_path / "store", QUICK) as db:
        fill(db, contents)
        recall(db, 4)
        write = Storage.write
        writes: list[int] = []

        def stall_at_the_third(storage: Storage, batch: Batch) -> None:
            writes.append(1)
            if len(writes) == 3:
                raise StallError("the disk cannot keep up")
            write(storage, batch)

        monkeypatch.setattr(Storage, "write", stall_at_the_third)
        assert leaves(db, *contents)


def test_damage_elsewhere_holds_up_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = secrets(4)
    with timeline.open(tmp_path / "store", QUICK) as db:
        fill(db, contents)
        recall(db, 4)
        with db.engine.lock:
            timeline_ = db.engine.view.find(b"t1")
            assert timeline_ is not None
            damaged = timeline_.id
        read = segmentcache.read_segment

        def read_some(storage: Storage, memtable: object, timeline_id: int, *rest: bytes) -> object:
            if timeline_id == damaged:
                raise CorruptError("damaged")
            return read(storage, memtable, timeline_id, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(compaction, "read_segment", read_some)
        assert leaves(db, contents[0], contents[2], contents[3])
        monkeypatch.setattr(compaction, "read_segment", read)
        assert leaves(db, *contents), "and that one once it can be read"


@pytest.mark.parametrize("held", [False, True], ids=["", "log held"])
def test_a_kill_at_any_step_of_erasing_forgets_nothing(tmp_path: Path, held: bool) -> None:
    """Before and after each write and each rewriting of files; what is opened then finishes."""
    contents = secrets(2)
    copies: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        db = timeline.open(tmp_path / "store", replace(QUICK, erase_after_ms=10**9))
        fill(db, contents)
        if held:
            db.log.move("consumer", 1)
        recall(db, 2)
        write, compact = Storage.write, Storage.compact
        main = threading.current_thread()

        def kill() -> None:
            copies.append(tmp_path / f"copy{len(copies)}")
            copy_between_calls(db, copies[-1])

        def killed_write(storage: Storage, batch: Batch) -> None:
            write(storage, batch)
            if threading.current_thread() is main:
                kill()

        steps: list[str] = []

        def killed_compact(
            storage: Storage, family: str, *rest: bytes | None, force: bool = False
        ) -> bool:
            done = compact(storage, family, *rest, force=force)
            steps.append(family)
            return done

        patch.setattr(Storage, "write", killed_write)
        patch.setattr(Storage, "compact", killed_compact)
        kill()
        db.engine.store.compaction._next_round = 0.0
        db.engine.work()
        erasure = db.engine.store.erasure
        work_until(db, lambda: bool(steps) and not erasure.rewriting)
        kill()
        db.engine.work()
        kill()
        patch.undo()
        assert SEGMENTS in steps
        assert PATCHES in steps
        db.close()
    assert len(copies) >= 4
    for copy in copies:
        with timeline.open(copy, QUICK) as db:
            if held:
                db.log.move("consumer", db.log.head)
            assert leaves(db, *contents), f"{copy.name}: {on_disk(copy, contents[0])}"
            assert [entry.seq for entry in db.timeline("t0").range()] == [2]
        assert verify(copy, index="none").sound


def test_a_restart_between_folding_and_rewriting_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (content,) = secrets(1)
    with timeline.open(tmp_path / "store", QUICK) as db:
        fill(db, [content])
        recall(db, 1)
        with monkeypatch.context() as patch:
            patch.setattr(Erasure, "rewrite", lambda *_, **__: False)  # too busy to say
            storage = db.engine.store.storage
            assert work_until(db, lambda: not list(storage.keys(PATCHES, b"", b"\xff" * 17)))
    with timeline.open(tmp_path / "store", QUICK) as db:
        assert leaves(db, content)


def test_a_restart_before_the_round_does_not_put_it_off(tmp_path: Path) -> None:
    """A process that never lives as long as a round erases all the same."""
    (content,) = secrets(1)
    rarely = replace(QUICK, erase_after_ms=10**9)
    with timeline.open(tmp_path / "store", rarely) as db:
        fill(db, [content])
        db.engine.work()
        recall(db, 1)
    with timeline.open(tmp_path / "store", rarely) as db:
        assert leaves(db, content)


def test_what_a_consumer_held_goes_when_it_has_moved_on(tmp_path: Path) -> None:
    """Also when nothing is committed after that."""
    (content,) = secrets(1)
    with timeline.open(tmp_path / "store", QUICK) as db:
        db.log.move("consumer", 0)
        fill(db, [content])
        recall(db, 1)
        erasure = db.engine.store.erasure
        assert work_until(db, lambda: bool(erasure.log) and not erasure.ranges)
        assert on_disk(db.engine.path, content)
        db.log.move("consumer", db.log.head)
        assert leaves(db, content)
        assert work_until(db, lambda: not erasure.log)


def test_what_a_consumer_holds_for_ever_goes_with_age(tmp_path: Path) -> None:
    (content,) = secrets(1)
    with timeline.open(tmp_path / "store", replace(QUICK, log_age_ms=1)) as db:
        db.log.move("consumer", 0)
        fill(db, [content])
        recall(db, 1)
        assert leaves(db, content)


@pytest.mark.parametrize("how", ["delete", "drop", "replace twice"])
def test_what_the_newest_commit_takes_back_itself_goes(tmp_path: Path, how: str) -> None:
    """Also when nothing is committed after that."""
    (content,) = secrets(1)
    with timeline.open(tmp_path / "store", QUICK) as db:
        db.timeline("a").append({"v": "kept"})
        db.timeline("b").append({"v": "kept"})
        with db.transaction() as write:
            if how == "replace twice":
                timeline_ = write.draft.find(b"a")
                assert timeline_ is not None
                write.draft.replace(timeline_, 1, [b"v", content])
                write.draft.replace(timeline_, 1, [b"v", b"edited"])
            else:
                seq = write.append("a", {"v": content})
                if how == "delete":
                    write.delete("a", seq)
                else:
                    write.drop("a")
        assert on_disk(db.engine.path, content)
        assert leaves(db, content)
        assert [entry.seq for entry in db.timeline("b").range()] == [1]
    assert verify(tmp_path / "store", index="none").sound


@pytest.mark.parametrize("how", ["merge", "compact", "trim", "drop"])
def test_whatever_removes_the_patch_the_content_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Merging, compacting by hand, trimming and dropping all take patches off the disk."""
    (content,) = secrets(1)
    rarely = replace(QUICK, erase_after_ms=10**9)
    with timeline.open(tmp_path / "store", rarely) as db:
        fill(db, [content])
        db.engine.work()  # the first round is over
        recall(db, 1)
        if how == "merge":
            with db.engine.lock:
                timeline_ = db.engine.view.find(b"t0")
                assert timeline_ is not None
                db.engine.store.compaction._ready[timeline_.id] = None
                db.timeline("t0")
            db.timeline("t0").append({"v": "more"})
            db.engine.seal()
            db.engine.work()
        elif how == "compact":
            monkeypatch.setattr(Erasure, "rewrite", lambda *_, **__: False)
            db.timeline("t0").compact()
            monkeypatch.undo()
        elif how == "trim":
            db.timeline("t0").trim(before=2)
        else:
            db.timeline("t0").drop()
        db.timeline("end").append({"v": "the newest record"})
        db.engine.seal()
    with timeline.open(tmp_path / "store", rarely) as db:
        assert leaves(db, content)
    assert verify(tmp_path / "store", index="none").sound


def test_erasing_reads_what_it_erases_and_not_the_timeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it is, so that one slice is short."""
    with timeline.open(tmp_path / "store", QUICK) as db:
        handle = db.timeline("a")
        handle.append_many([{"v": "x"}] * 800)
        db.engine.seal()
        handle.delete(17, 18, 600)
        db.engine.seal()
        holds: list[list[bytes]] = []
        read, fold = segmentcache.read_segment, compaction.Compaction.erase

        def note(storage: Storage, memtable: object, timeline_id: int, *rest: bytes) -> object:
            holds[-1].append(rest[0])
            return read(storage, memtable, timeline_id, *rest)  # type: ignore[arg-type]

        def one(self: compaction.Compaction, deadline: float) -> bool | None:
            holds.append([])
            return fold(self, min(deadline, 0.0))

        monkeypatch.setattr(compaction, "read_segment", note)
        monkeypatch.setattr(compaction.Compaction, "erase", one)
        storage = db.engine.store.storage
        assert work_until(db, lambda: not list(storage.keys(PATCHES, b"", b"\xff" * 17)))
        assert [len(keys) for keys in holds if keys] == [1, 1]
        assert len(handle) == 797


def test_ranges_are_disjoint_in_order_and_few() -> None:
    chance = random.Random(7)
    ranges: list[tuple[bytes, bytes]] = []
    covered: set[int] = set()
    for _ in range(2_000):
        start = chance.randrange(100_000)
        stop = start + chance.randrange(1, 50)
        covered.update((start, stop - 1))
        ranges = add_range(ranges, b"%08d" % start, b"%08d" % stop)
        edges = [edge for pair in ranges for edge in pair]
        assert edges == sorted(set(edges))
        assert len(ranges) <= 64
    for number in covered:
        assert any(start <= b"%08d" % number < stop for start, stop in ranges)


def test_files_of_in_boxes_that_could_not_be_rewritten_are_done_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "store", QUICK) as db:
        compact = Storage.compact
        tried: list[bool] = []

        def busy_at_first(storage: Storage, family: str, *rest: bytes, force: bool = False) -> bool:
            done = compact(storage, family, *rest, force=force)
            if family != INBOXES:
                return done
            tried.append(len(tried) > 0)
            return tried[-1]

        monkeypatch.setattr(Storage, "compact", busy_at_first)
        db.engine.store.expiry.deleted = True
        assert work_until(db, lambda: len(tried) > 1)
        assert work_until(db, lambda: not db.engine.store.erasure.rewriting)
        db.engine.work()
        assert tried == [False, True]
        assert not db.engine.store.expiry.deleted
