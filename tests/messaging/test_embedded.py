"""What only the embedded API has: blocking syncs in threads, and values as Python has them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from timeline.database import Database
from timeline.errors import ClosedError, UsageError
from timeline.messaging.pages import SyncPage


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store") as opened:
        opened.messaging.create("team", "ann", members=["bob"])
        opened.messaging.ack("bob", "phone", opened.messaging.conversations("bob").position)
        yield opened


def test_a_blocking_sync_returns_with_the_next_message(db: Database) -> None:
    found: list[SyncPage] = []
    waiter = threading.Thread(
        target=lambda: found.append(db.messaging.sync("bob", "phone", block=60.0))
    )
    waiter.start()
    while not db.messaging.online("bob"):
        pass
    db.messaging.create("other", "ann")
    db.messaging.send("other", "ann", {"text": "not for bob"})
    db.messaging.send("team", "ann", {"text": "已添加为好友"})
    waiter.join(30)
    (page,) = found
    (entry,) = page.entries
    assert (entry.kind, entry.conversation, entry.id) == ("message", "team", "1-0")
    assert entry.text("text") == "已添加为好友"
    assert not db.messaging.online("bob")


def test_a_blocking_sync_gives_up_empty(db: Database) -> None:
    page = db.messaging.sync("bob", "phone", block=0.01)
    assert page.entries == []
    assert not page.resync


def test_values_are_what_python_has(db: Database) -> None:
    im = db.messaging
    sent = im.send("team", b"ann", [("a", "1"), (b"a", b"2")], key=b"k")
    (entry,) = im.history("team", "bob")
    assert (entry.seq, entry.time) == (sent.seq, sent.time)
    assert list(entry.fields)[-2:] == [(b"a", b"1"), (b"a", b"2")]
    listed = im.conversations("bob").conversations[0]
    assert listed.id == "team"
    assert listed.settings["@pin"] == b"0"
    with pytest.raises(UsageError):
        im.join("team", "cat")


def test_history_is_bounded_by_times(db: Database) -> None:
    im = db.messaging
    first = im.send("team", "ann", {"text": "1"})
    while im.send("team", "ann", {"text": "2"}).time == first.time:
        pass
    times = [entry.time for entry in im.history("team", "bob", limit=1_000)]
    late = im.history("team", "bob", since=first.time + 1, limit=1_000)
    early = im.history("team", "bob", until=first.time, limit=1_000)
    assert [entry.time for entry in early + late] == times
    assert {entry.time for entry in early} == {first.time}
    assert late


def test_a_closed_store_says_so(db: Database) -> None:
    db.close()
    with pytest.raises(ClosedError):
        db.messaging.sync("bob", "phone")
    with pytest.raises(ClosedError):
        db.messaging.send("team", "ann", {"text": "x"})


def test_an_inbox_counts_no_entries_among_timelines(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "hi"})
        extent = db.timeline("@user:bob").extent()
        assert (extent.head, extent.length) == (0, 0)


@pytest.mark.parametrize("odd", [5, 0, None, ["bob"]])
def test_a_name_that_is_no_text_is_refused_and_makes_nothing(tmp_path: Path, odd: str) -> None:
    """`odd` is what a caller without a type checker may pass for a `str`."""
    with timeline.open(tmp_path / "store") as db:
        db.messaging.create("team", "ann")
        before = db.log.head
        with pytest.raises(UsageError, match="bytes or str"):
            db.messaging.send("team", odd, {"text": "hi"})
        with pytest.raises(UsageError, match="bytes or str"):
            db.messaging.create(odd, "ann")
        with pytest.raises(UsageError, match="bytes or str"):
            db.messaging.sync("ann", odd)
        if odd is not None:
            with pytest.raises(UsageError, match="bytes or str"):
                db.messaging.send("team", "ann", {"text": "hi"}, key=odd)
        with pytest.raises(UsageError, match="bytes or str"):
            db.timeline(odd).append({"a": "b"})
        assert db.log.head == before
