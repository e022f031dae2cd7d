"""The promise: what is read while an owner writes has no gap, though files come and go meanwhile,
and owners are killed.
"""

from __future__ import annotations

import random
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.readonly.opening import INLINE, newest_file, opened
from tests.engine.stores import (
    SMALL,
)
from tests.forked import CONTEXT
from timeline.engine.store.openedreadonly import ReadOnlyStore
from timeline.log.file import LogFile


@pytest.mark.parametrize("again", [False, True], ids=["opened", "refreshed"])
def test_a_file_of_the_log_that_goes_while_it_is_opened_is_no_failure(
    directory: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """The owner lets it go between the look at the directory and the opening of the file."""
    with timeline.open(directory / "store", replace(INLINE, log_file_bytes=4_096)) as owner:
        owner.log.move("behind", 0)
        for number in range(100):
            owner.timeline("a").append({"n": str(number)})
        owner.engine.store.flush()
        oldest = min((directory / "store" / "log").glob("*.log"))
        assert oldest != newest_file(directory / "store")
        opening = LogFile.open

        def let_go_first(path: Path, *, read_only: bool = False) -> LogFile | None:
            oldest.unlink(missing_ok=True)
            return opening(path, read_only=read_only)

        def look(db: timeline.Database) -> None:
            assert len(db.timeline("a")) == 100

        if again:
            with opened(directory / "store") as db:
                assert isinstance(db.engine.store, ReadOnlyStore)
                db.engine.store._reader._files = []  # as if it came since
                monkeypatch.setattr(LogFile, "open", let_go_first)
                db.refresh()
                look(db)
        else:
            monkeypatch.setattr(LogFile, "open", let_go_first)
            with opened(directory / "store") as db:
                look(db)
        assert not oldest.exists()


def write_on(path: Path, changes: dict[str, Any], pipe: Connection) -> None:
    """Append to timelines in turn, two at a time, from where the one before was killed, as many as
    the reader asks for.
    """
    with timeline.open(path, replace(SMALL, **changes)) as db:
        number = db.timeline("even").head
        pipe.send(number)
        while True:
            for _ in range(pipe.recv()):
                with db.transaction() as both:
                    for name in ("even", f"room:{number % 40}"):
                        both.append(name, {"n": str(number), "filling": "x" * (number % 300)})
                number += 1
                if number % 150 == 0:
                    db.compact()


@pytest.mark.parametrize("followed", [False, True])
def test_what_is_read_while_it_is_written_has_no_gap(directory: Path, followed: bool) -> None:
    """Log files, table files and manifests come and go under the reader; owners are killed. Where
    a consumer keeps the log, it can be followed by who reads, too.
    """
    path = directory / "store"
    with timeline.open(path, SMALL) as made:
        if followed:
            made.log.move("keeps the log", 0)
    # Interval durability survives a kill. Log files are small, so they come and go.
    changes = {"fsync": "inline", "durability": "interval", "log_file_bytes": 4_096}
    draw = random.Random(1)
    seen = 0
    with opened(path) as db:
        for _ in range(3):
            ours, theirs = CONTEXT.Pipe()
            child = CONTEXT.Process(target=write_on, args=(path, changes, theirs))
            child.start()
            try:
                assert ours.recv() >= seen, "what was seen is what the next owner goes on from"
                until = seen + draw.randint(150, 450)
                while seen < until:
                    ours.send(40)  # while that is written, it is looked at
                    seen = look(db, seen)
                    if draw.random() < 0.2:
                        with opened(path) as anew:
                            assert look(anew, seen) >= seen
                ours.send(10**9)  # so that it is killed while it writes
                seen = look(db, seen)
            finally:
                child.kill()
                child.join()
            seen = look(db, seen)


def look(db: timeline.Database, seen: int) -> int:
    """How many commits are there now, which have no gap."""
    db.refresh()
    even = db.timeline("even")
    numbers = [int(entry.text("n")) for entry in even.range(first=max(1, seen - 50))]
    assert numbers == list(range(max(0, seen - 51), even.head)), "a gap, or something twice"
    assert even.head >= seen, "what was seen is still there"
    rooms = sum(len(db.timeline(f"room:{room}")) for room in range(40))
    assert rooms == even.head, "a commit is there wholly or not at all"
    if db.log.checkpoints():
        behind = max(0, db.log.head - 100)
        commits = [commit.lsn for commit in db.log.read(after=behind, limit=1_000)]
        assert commits == list(range(behind + 1, db.log.head + 1))
    return even.head
