"""A store keeps rows for what is there, not for what has been: people and groups come and go."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, Clock
from timeline.embedded.database import Database
from timeline.messaging.conversations import lifecycle

DAY = 24 * 60 * 60 * 1000
PEOPLE = ["ann", "bob", "cat", "dan", "eve"]


def open_store(tmp_path: Path) -> Database:
    options = replace(
        SMALL, fsync="inline", diffusion_limit=3, retention_check_ms=1, inbox_age_ms=0
    )
    return timeline.open(tmp_path / "store", options)


def rows(db: Database) -> Counter[bytes]:
    """How many rows of state there are of each family, in memory or on the disk."""
    with db.engine.lock:
        found = [key for key, _ in db.engine.state.scan(b"", b"\xff")]
    return Counter(key[: 2 if key[:1] == b"u" else 1] for key in found)


def settle(db: Database) -> None:
    """Do what waits for an idle moment."""
    db.compact()
    with db.engine.lock:
        db.engine.chores.soon()
    while db.engine.work():
        db.flush()
        with db.engine.lock:
            db.engine.chores.soon()
    db.compact()


def live(db: Database, size: int, number: int) -> None:
    """A group comes, is used in every way, loses some of its members, and goes."""
    im = db.messaging
    im.create("team", "ann", members=PEOPLE[:size], meta={"title": "ours"})
    im.send("team", "ann", {"text": "hi"}, key=f"key{number}", mentions=["bob"])
    im.send("team", "ann", {"text": "hi"}, mention_all=True, silent=True)
    for user in ("ann", "bob"):
        im.hide(user, "team", 1)
        im.set(user, "team", {"@pin": "1", "nick": user})
    im.edit("team", 2, "ann", {"text": "ho"})
    im.leave("team", users=PEOPLE[1 : size - 1])
    im.delete("team", "ann")


@pytest.mark.parametrize("size", [3, 5])  # delivered to, and come for
def test_what_is_gone_leaves_no_rows(tmp_path: Path, clock: Clock, size: int) -> None:
    with open_store(tmp_path) as db:
        live(db, size, 0)
        clock.now += 365 * DAY
        settle(db)
        before = rows(db)
        for number in range(1, 30):
            live(db, size, number)
            clock.now += DAY
        clock.now += 365 * DAY
        settle(db)
        after = rows(db)
        for family in (b"uk", b"ug"):  # idempotency keys go with their window
            del before[family], after[family]
        assert after == before
        assert not after.keys() & {b"a", b"um", b"up", b"us", b"uh", b"ui", b"ur", b"ut"}


def test_who_comes_and_goes_leaves_a_row_of_each_kind(tmp_path: Path) -> None:
    with open_store(tmp_path) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        for _ in range(20):
            im.send("team", "ann", {"text": "hi"})
            im.join("team", users=["eve"])
            im.leave("team", users=["eve"])
        db.compact()
        found = rows(db)
        assert found[b"a"] == 2, "of those who are members"
        assert (found[b"um"], found[b"ur"]) == (3, 3)
        im.join("team", users=["cat"])
        im.send("team", "ann", {"text": "hi"})
        (audience,) = db.engine.inboxes._audiences.values()
        assert len(audience.spans) == 3, "and the same in memory"
        assert db.engine.inboxes._members == 3


def test_a_name_is_kept_as_long_as_a_device_may_be_away(tmp_path: Path, clock: Clock) -> None:
    with open_store(tmp_path) as db:
        im = db.messaging
        im.create("team", members=["ann", "bob"])
        im.create("other", members=["ann", "bob"])
        position = im.conversations("bob").position
        im.delete("team")
        gone = im.conversations("bob").position
        clock.now += 90 * DAY
        settle(db)
        page = im.sync("bob", "phone", after=position)
        assert [(each.kind, each.conversation) for each in page.entries] == [("delete", "team")]
        clock.now += 1
        settle(db)
        assert im.sync("bob", "phone", after=position).resync
        assert not im.sync("bob", "phone", after=gone).resync
        im.send("other", "ann", {"text": "hi"})
        assert [each.kind for each in im.sync("bob", "phone", after=gone).entries] == ["message"]


def test_a_deletion_in_many_commits_is_told_with_each(tmp_path: Path) -> None:
    with open_store(tmp_path) as db, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lifecycle, "_COMMIT_MEMBERS", 2)
        im = db.messaging
        im.create("team", members=PEOPLE)
        im.leave("team", users=["cat"])
        positions = {user: im.conversations(user).position for user in PEOPLE}
        engine = db.engine
        deletion = lifecycle.Deletion(b"team", b"-")
        with engine.lock:
            draft = engine.begin()
            assert deletion.step(draft)
            draft.commit()
        db.flush()
        told = [im.sync(user, "phone", after=positions[user]).entries for user in PEOPLE[:2]]
        assert [[each.kind for each in entries] for entries in told] == [["delete"], ["delete"]]
        im.delete("team")
        for user in PEOPLE:
            entries = im.sync(user, "phone", after=positions[user]).entries
            assert [each.kind for each in entries] == ["delete"], "who left has it on the list too"
            assert not im.conversations(user).conversations
        assert not rows(db).keys() & {b"um", b"ur"}
