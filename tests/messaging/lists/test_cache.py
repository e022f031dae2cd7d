"""Lists that are kept in memory: what is shown is what is stored, whatever happened since."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, fail_next_write
from timeline.embedded.database import Database
from timeline.errors import UncertainError
from timeline.messaging.access.access import find_user
from timeline.messaging.conversations.sending import send
from timeline.messaging.lists.listing import conversations
from timeline.messaging.lists.summaries import Summaries
from timeline.messaging.lists.userlist import UserList
from timeline.options import MIB

# With write buffers that hold what a test writes: RocksDB asks for no pause, however fast it goes.
# A busy machine may stall writes for long, which is not what is tested here.
OPTIONS = replace(
    SMALL,
    fsync="inline",
    list_cache_bytes=MIB,
    write_buffer_bytes=8 * MIB,
    stall_ms=60_000,
)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.create("club", "ann", members=["bob", "cid"], history="all")
        for number in range(6):
            db.messaging.send("team", "ann", {"text": f"t{number}"}, key=f"k{number}")
            db.messaging.send("club", "ann", {"text": f"c{number}"}, mentions=["bob"])
        db.messaging.create("third", "ann")
        db.messaging.send("team", "ann", {"text": "bob?"}, mentions=["bob"])
        db.messaging.hide("bob", "team", 5)
        db.messaging.conversations("bob")
        db.messaging.unread("bob")
        yield db


def trim(db: Database) -> None:
    engine = db.engine
    with engine.lock:
        draft = engine.begin()
        messages = draft.find(b"@conv:team")
        assert messages is not None
        draft.trim(messages, 4)
        group = draft.commit().group
    engine.wait(group)


CHANGES: dict[str, Callable[[Database], object]] = {
    "send": lambda db: db.messaging.send("team", "ann", {"text": "new"}),
    "silent": lambda db: db.messaging.send("team", "ann", {"text": "new"}, silent=True),
    "mention": lambda db: db.messaging.send("team", "ann", {"text": "b"}, mentions=["bob"]),
    "mention all": lambda db: db.messaging.send("team", "ann", {"text": "b"}, mention_all=True),
    "own send": lambda db: db.messaging.send("team", "bob", {"text": "mine"}),
    "edit": lambda db: db.messaging.edit("team", 7, actor="ann", fields={"text": "edited"}),
    "recall": lambda db: db.messaging.recall("team", 7, actor="ann"),
    "recall unread": lambda db: db.messaging.recall("team", 2, actor="ann"),
    "read": lambda db: db.messaging.read("bob", "team", 3),
    "hide": lambda db: db.messaging.hide("bob", "team", 6),
    "clear": lambda db: db.messaging.clear("bob", "team", 7),
    "pin": lambda db: db.messaging.set("bob", "team", {"@pin": "1"}),
    "mute": lambda db: db.messaging.set("bob", "team", {"@mute": "1"}),
    "unlist": lambda db: db.messaging.set("bob", "team", {"@listed": "0"}),
    "nickname": lambda db: db.messaging.set("bob", "team", {"nick": "the team"}),
    "role": lambda db: db.messaging.set_role("team", user="bob", role="admin"),
    "describe": lambda db: db.messaging.set_meta("team", fields={"title": "Ours"}),
    "another joins": lambda db: db.messaging.join("team", users=["eve"]),
    "leave": lambda db: db.messaging.leave("team", users=["bob"]),
    "join": lambda db: db.messaging.join("third", users=["bob"]),
    "trim": trim,
    "delete": lambda db: db.messaging.delete("team"),
}


def as_stored(db: Database, user: str) -> list[object]:
    messages = db.messaging.messages
    view = messages.view
    with db.engine.lock:
        own = UserList(view, find_user(view, user.encode()).id, Summaries())
        return [own.describe(view, item) for item in own.after(None, 100)]


def as_kept(db: Database, user: str) -> list[object]:
    messages = db.messaging.messages
    view = messages.view
    with db.engine.lock:
        own = messages.lists.of(view, find_user(view, user.encode()).id)
        return [own.describe(view, item) for item in own.after(None, 100)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_kept_list_shows_every_change(db: Database, change: str) -> None:
    before = as_kept(db, "bob")
    CHANGES[change](db)
    assert as_stored(db, "bob") != before, "the change is one that is seen"
    assert as_kept(db, "bob") == as_stored(db, "bob")


def test_lists_are_forgotten_beyond_their_bytes(db: Database) -> None:
    im = db.messaging
    long = "x" * 3_000
    lists = im.messages.lists
    for number in range(600):
        im.create(f"c{number}", members=[f"u{number}"])
        im.send(f"c{number}", f"u{number}", {"text": long})
        assert im.conversations(f"u{number}").conversations[0].unread == 0
    assert lists.size < MIB + 10_000
    assert 200 < len(lists) < 350
    assert as_kept(db, "bob") == as_stored(db, "bob")


def test_a_store_that_healed_shows_what_stands(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group whose flush failed is uncertain, and turns out to stand."""
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        fail_next_write(patch)
        with pytest.raises(UncertainError):
            db.messaging.send("team", "ann", {"text": "perhaps"})
    while db.engine.poisoned:
        db.engine.work()
    assert db.messaging.history("team", "bob", limit=1, reverse=True)[0].text("text") == "perhaps"
    assert db.messaging.conversations("bob").conversations[0].head == 8
    assert as_kept(db, "bob") == as_stored(db, "bob")


def test_what_a_draft_sees_is_kept_by_nobody(db: Database) -> None:
    engine, messages = db.engine, db.messaging.messages
    with engine.lock:
        draft = engine.begin()
        send(
            draft, b"team", b"ann", [b"text", b"never"],
            keys=messages.keys, options=messages.options,
        )  # fmt: skip
        page, _ = conversations(draft, messages.lists, b"bob", None, 10)
        assert page[0].last is not None
        assert b"never" in page[0].last
    assert as_kept(db, "bob") == as_stored(db, "bob")
    assert b"never" not in repr(as_kept(db, "bob")).encode()
