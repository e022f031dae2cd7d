"""The promise: what cannot be meant by an argument is a `UsageError` that names it, and nothing is
done; never an error of Python's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.errors import UsageError


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    path: Path = tmp_path_factory.mktemp("arguments") / "store"
    with timeline.open(path, search=False, fsync="inline") as found:
        found.timeline("a").append_many([{"n": str(n)} for n in range(3)])
        yield found


def inside(work: Callable[[Any], Any]) -> Callable[[Any, Database], Any]:
    """A call of a transaction."""

    def call(_: object, db: Database) -> None:
        with db.transaction() as transaction:
            work(transaction)

    return call


REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "append seq": lambda a, _: a.append({"n": "1"}, seq="x"),
    "trim length -1": lambda a, _: a.trim(length=-1),
    "trim length x": lambda a, _: a.trim(length="x"),
    "trim before": lambda a, _: a.trim(before="x"),
    "trim age": lambda a, _: a.trim(age_ms=-1),
    "trim too long an age": lambda a, _: a.trim(age_ms=1 << 64),
    "delete": lambda a, _: a.delete(1, "x"),
    "replace": lambda a, _: a.replace(None, {"n": "1"}),
    "get": lambda a, _: a.get("x"),
    "range first": lambda a, _: a.range(first=1.5),
    "range last": lambda a, _: a.range(last="x"),
    "range since": lambda a, _: a.range(since="1h"),
    "range limit -1": lambda a, _: a.range(limit=-1),
    "range limit x": lambda a, _: a.range(limit="x"),
    "retention -1": lambda a, _: a.set_retention(length=-1),
    "retention 30d": lambda a, _: a.set_retention(age_ms="30d"),
    "excess": lambda a, _: a.excess(length=-1),
    "segment": lambda a, _: a.inspect_segment("x"),
    "posts query": lambda _, db: db.feeds.search("ann", b"word"),
    "posts since": lambda _, db: db.feeds.search("ann", "word", since="1h"),
    "posts until": lambda _, db: db.feeds.search("ann", "word", until=-1),
    "posts limit": lambda _, db: db.feeds.search("ann", "word", limit=0),
    "posts wait": lambda _, db: db.feeds.search("ann", "word", wait="1s"),
    "posts tag": lambda _, db: db.feeds.search("ann", "", tag=7),
    "a name that is no text": lambda _, db: db.feeds.publish("\ud800", {"text": "x"}),
    "a timeline that is no text": lambda _, db: db.timeline("\ud800").append({"n": "1"}),
    "log after -1": lambda _, db: db.log.read(after=-1),
    "log after x": lambda _, db: db.log.read(after="x"),
    "log limit": lambda _, db: db.log.read(limit=0),
    "follow after": lambda _, db: next(db.log.follow(after=-5, timeout=0)),
    "follow timeout": lambda _, db: next(db.log.follow(timeout="x")),
    "move to -1": lambda _, db: db.log.move("c", -1),
    "move to x": lambda _, db: db.log.move("c", "x"),
    "move nobody": lambda _, db: db.log.move("", 1),
    "move a long name": lambda _, db: db.log.move("c" * 256, 1),
    "transaction append": inside(lambda t: t.append("a", {"n": "1"}, seq="x")),
    "transaction delete": inside(lambda t: t.delete("a", "x")),
    "transaction trim": inside(lambda t: t.trim("a", before="x")),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_meant_is_refused(db: Database, what: str) -> None:
    before = db.log.head
    with pytest.raises(UsageError):
        REFUSED[what](db.timeline("a"), db)
    assert db.log.head == before
    assert len(db.timeline("a")) == 3
    assert db.log.checkpoints() == {}


def test_what_can_be_meant_is_taken(db: Database) -> None:
    a = db.timeline("a")
    assert [entry.seq for entry in a.range(first=-7, last=2)] == [1, 2]  # as head - 10 may be
    assert list(a.range(limit=0)) == []
    assert a.trim(before=-7) == 0
    assert a.excess(length=0) == 3
    assert a.get(True) == a.first()  # an int, to Python
    yes: Any = 1
    assert [entry.seq for entry in a.range(reverse=yes)] == [3, 2, 1]
    assert db.feeds.publish("ann", {"text": "x"}, silent=yes).seq == 1
    db.feeds.seen("ann", db.feeds.notes("ann").position, notes=yes)
    db.messaging.create("team", "ann")
    assert db.messaging.send("team", "ann", {"text": "x"}, silent=yes, mention_all=yes).seq == 1
    assert [each.seq for each in db.messaging.history("team", "ann", reverse=yes)] == [1]
