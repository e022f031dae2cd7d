"""What only the embedded API has: blocking syncs in threads, and values as Python has them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.embedded.messaging import Messaging
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
        im.join("team", users="cat")


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


def test_the_extent_of_an_inbox_counts_references_and_names_commits(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        db.messaging.set_user_meta("bob", {"name": "Bob"})
        handle = db.timeline("@user:bob")
        assert handle.extent()[:3] == (0, 0, 0)
        db.messaging.create("team", "ann", members=["bob"])
        joined = db.log.head
        db.messaging.send("team", "ann", {"text": "hi"})
        assert handle.extent()[:3] == (joined, db.log.head, 2)
        assert len(handle) == 2
        newest = handle.latest()
        assert newest is not None
        assert (newest.seq, newest.id) == (db.log.head, f"{db.log.head}-0")


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


def given(number: Any) -> Any:  # noqa: ANN401  whatever a caller without a type checker may pass
    """None is no bound, and so no mistake."""
    return "none" if number is None else number


NUMBERS: Final[dict[str, Callable[[Messaging, Any], object]]] = {
    "first": lambda im, n: im.history("team", first=n),
    "last": lambda im, n: im.history("team", last=given(n)),
    "since": lambda im, n: im.history("team", since=given(n)),
    "until": lambda im, n: im.history("team", until=given(n)),
    "edit": lambda im, n: im.edit("team", n, fields={"text": "x"}),
    "recall": lambda im, n: im.recall("team", n),
    "receipts": lambda im, n: im.receipts("team", n),
    "read": lambda im, n: im.read("bob", "team", n),
    "hide": lambda im, n: im.hide("bob", "team", 1, n),
    "clear": lambda im, n: im.clear("bob", "team", n),
    "block": lambda im, n: im.sync("bob", "phone", block=n),
}
PAGES: Final[dict[str, Callable[[Messaging, Any], object]]] = {
    "history": lambda im, n: im.history("team", limit=n),
    "events": lambda im, n: im.events("team", limit=n),
    "members": lambda im, n: im.members("team", limit=n),
    "conversations": lambda im, n: im.conversations("bob", limit=n),
    "sync": lambda im, n: im.sync("bob", "phone", limit=n),
}


@pytest.mark.parametrize("what", [*NUMBERS, *PAGES])
def test_what_is_no_number_is_refused_and_nothing_changed(db: Database, what: str) -> None:
    db.messaging.send("team", "ann", {"text": "hi"})
    before = db.log.head
    odd: list[object] = ["1", None, b"1", [1], -1, float("nan")]
    odd += [] if what == "block" else [2**64, 1.5]
    for value in odd:
        with pytest.raises(UsageError, match=r"number|at least|at most"):
            (NUMBERS | PAGES)[what](db.messaging, value)
    assert db.log.head == before


@pytest.mark.parametrize("what", PAGES)
def test_a_page_holds_one_at_least(db: Database, what: str) -> None:
    with pytest.raises(UsageError, match="limit is at least 1, not 0"):
        PAGES[what](db.messaging, 0)
    PAGES[what](db.messaging, 1)


def test_arguments_come_in_the_order_of_the_wire(db: Database) -> None:
    im = db.messaging
    assert im.join("team", "ann", ["cat"]) == 1
    im.set_role("team", "ann", "cat", "admin")
    assert im.info("team", "cat").role == "admin"
    im.send("team", "bob", {"text": "hi"})
    im.edit("team", 1, "bob", {"text": "ho"})
    assert im.history("team", "ann")[0].text("text") == "ho"
    assert im.set_meta("team", "ann", {"title": "x"}) == {b"title": b"x"}
    assert im.meta("team", "bob") == {b"title": b"x"}
    assert im.leave("team", "ann", ["cat"]) == 1
    said = [(entry.kind, entry.fields.get("@from")) for entry in im.events("team").entries]
    assert said == [
        ("join", b"ann"), ("join", b"ann"), ("role", b"ann"),
        ("edit", b"bob"), ("meta", None), ("leave", b"ann"),
    ]  # fmt: skip


def test_who_acts_is_the_application_unless_said(db: Database) -> None:
    im = db.messaging
    assert im.join("team", users=["cat"]) == 1
    im.set_role("team", user="cat", role="reader")
    im.set_meta("team", fields={"title": "x"})
    im.send("team", "ann", {"text": "hi"})
    im.edit("team", 1, fields={"text": "ho"})
    im.recall("team", 1)
    assert im.leave("team", users=["cat"]) == 1
    events = im.events("team").entries
    assert [entry.text("@from") for entry in events if entry.kind in ("role", "leave")] == ["-"] * 2


def test_what_is_left_out_is_asked_for(db: Database) -> None:
    im = db.messaging
    before = db.log.head
    for call, sentence in (
        (lambda: im.join("team", "bob"), "name one user or more"),
        (lambda: im.leave("team", "bob"), "name one user or more"),
        (lambda: im.set_role("team", "ann", "bob"), "a role is admin, member or reader"),
        (lambda: im.set_meta("team", "ann"), "one or more pairs"),
        (lambda: im.set_user_meta("ann", {}), "one or more pairs"),
    ):
        with pytest.raises(UsageError, match=sentence):
            call()
    assert db.log.head == before


def test_a_wait_may_have_no_end(db: Database) -> None:
    db.messaging.send("team", "ann", {"text": "hi"})
    assert db.messaging.sync("bob", "phone", block=float("inf")).entries
    position = db.messaging.conversations("bob").position
    waiter = threading.Thread(
        target=lambda: db.messaging.sync("bob", "phone", after=position, block=float("inf"))
    )
    waiter.start()
    while not db.messaging.online("bob"):
        pass
    db.messaging.send("team", "ann", {"text": "ho"})
    waiter.join(30)
    assert not waiter.is_alive()
