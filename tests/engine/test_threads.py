"""Many threads, several processes, one store.

Whatever threads do at once, each timeline is gap-free and in order for every reader, and a thread's
own writes come in the order it made them. A directory belongs to one engine at a time.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

import timeline
from tests.engine.stores import SMALL, copy_as_killed
from timeline.embedded.database import Database
from timeline.errors import LockedError

SHARED = ("a", "b", "c")
WRITERS = 4
EACH = 60

HOLDER = """
import sys, timeline
db = timeline.open(sys.argv[1])
db.timeline("a").append({"a": "1"})
print("open", flush=True)
sys.stdin.read()
"""


def run_together(*bodies: Callable[[], None]) -> None:
    """Run each body on a thread of its own; raise the first thing that one of them raised."""
    errors: list[BaseException] = []

    def run(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("fsync", ["thread", "inline"])
def test_threads_at_once_see_each_timeline_gap_free_and_in_order(
    tmp_path: Path, fsync: Literal["thread", "inline"]
) -> None:
    done = threading.Event()
    finished = threading.Semaphore(0)
    numbers: dict[tuple[int, str], list[int]] = {}
    with timeline.open(tmp_path / "store", replace(SMALL, fsync=fsync)) as db:

        def write(writer: int) -> None:
            try:
                for count in range(EACH):
                    name = SHARED[(writer + count) % len(SHARED)]
                    fields = {"writer": str(writer), "count": str(count)}
                    if count % 10 == 0:
                        seq = db.timeline(name).append_many([fields, fields])[0]
                    else:
                        seq = db.timeline(name).append(fields)
                    numbers.setdefault((writer, name), []).append(seq)
                    db.timeline("trimmed").append(fields)
            finally:
                finished.release()

        def read(*, reverse: bool) -> None:
            while not done.is_set():
                for name in SHARED:
                    entries = list(db.timeline(name).range(reverse=reverse))
                    if reverse:
                        entries.reverse()
                    seqs = [entry.seq for entry in entries]
                    assert seqs == list(range(1, len(seqs) + 1))
                    times = [entry.time for entry in entries]
                    assert times == sorted(times)
                last = -1
                for entry in db.timeline("trimmed").range():
                    assert last in (-1, entry.seq - 1) or entry.seq > last, "in order"
                    last = entry.seq

        def trim() -> None:
            while not done.is_set():
                db.timeline("trimmed").trim(length=10)
                assert len(db.timeline("trimmed")) <= 10 + 2 * WRITERS * EACH

        def seal() -> None:
            while not done.is_set():
                db.engine.seal()
                db.engine.work()

        def compact() -> None:
            while not done.is_set():
                db.compact()

        def end() -> None:
            for _ in range(WRITERS):
                finished.acquire()
            done.set()

        run_together(
            *[lambda writer=writer: write(writer) for writer in range(WRITERS)],
            lambda: read(reverse=False),
            lambda: read(reverse=True),
            trim,
            seal,
            compact,
            end,
        )
        check(db, numbers)
        copy_as_killed(db, tmp_path / "copy")
    for path in ("copy", "store"):
        with timeline.open(tmp_path / path) as db:
            check(db, numbers)


def check(db: Database, numbers: dict[tuple[int, str], list[int]]) -> None:
    for name in SHARED:
        entries = list(db.timeline(name).range())
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        for writer in range(WRITERS):
            given = numbers[writer, name]
            assert given == sorted(set(given))
            counts = [
                int(entry.text("count")) for entry in entries if entry.text("writer") == str(writer)
            ]
            assert counts == sorted(counts)
            assert len(set(counts)) == len(given)
    assert db.timeline("trimmed").head == WRITERS * EACH


def test_a_follower_sees_every_commit_once_while_others_write(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", replace(SMALL, fsync="thread")) as db:
        db.log.move("follower", 0)
        total = 300
        seen: list[int] = []

        def follow() -> None:
            for commit in db.log.follow():
                seen.append(commit.lsn)
                if commit.lsn == total:
                    return

        def write() -> None:
            for number in range(total // 3):
                db.timeline(f"t{number % 7}").append({"a": "1"})

        run_together(follow, write, write, write)
        assert seen == list(range(1, total + 1))


def test_a_second_opening_in_the_process_is_refused_and_names_the_directory(
    tmp_path: Path,
) -> None:
    path = tmp_path / "the store"
    with timeline.open(path) as db:
        for _ in range(2):
            with pytest.raises(LockedError, match=str(path)):
                timeline.open(path)
        assert db.timeline("a").append({"a": "1"}) == 1
    with timeline.open(path) as db:
        assert len(db.timeline("a")) == 1


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "the store"
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HOLDER,
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(timeline.__file__).parent.parent,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        with pytest.raises(LockedError, match=str(path)):
            timeline.open(path)
    finally:
        holder.kill()
        holder.communicate()
    with timeline.open(path) as db:
        assert len(db.timeline("a")) == 1
