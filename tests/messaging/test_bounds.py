"""What is bounded stays so, and whoever is beyond a bound is told, never skipped silently."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.errors import NoPermissionError, TooLargeError
from timeline.formats.conversations import MENTIONED, UNCOUNTED, between
from timeline.messaging.access.access import find_conversation
from timeline.messaging.conversations import membership
from timeline.messaging.conversations.lifecycle import Deletion
from timeline.messaging.delivery.watching import News
from timeline.messaging.pages import SyncPage


def pages_of(db: Database, user: str, limit: int) -> Iterator[SyncPage]:
    page = db.messaging.sync(user, "phone", limit=limit)
    yield page
    while page.more:
        page = db.messaging.sync(user, "phone", after=page.cursor, limit=limit)
        yield page


def test_a_copy_of_another_epoch_resyncs_everybody(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        cursor = im.conversations("bob").position
        im.ack("bob", "phone", cursor)
        im.send("team", "ann", {"text": "hi"})
    shutil.copytree(tmp_path / "store", tmp_path / "copy")
    with timeline.open(tmp_path / "copy", new_epoch=True) as db:
        epoch = db.engine.store.epoch
        assert db.messaging.sync("bob", "phone", after=cursor).resync
        position = db.messaging.conversations("bob").position
        assert position.startswith(f"{epoch}-")
        assert not db.messaging.sync("bob", "phone", after=position).resync
    with timeline.open(tmp_path / "copy") as db:
        assert db.engine.store.epoch == epoch, "it goes on in the epoch it was given"
    with timeline.open(tmp_path / "store") as db:
        assert db.messaging.sync("bob", "phone", after=cursor).entries


def test_more_switches_than_are_known_resync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "_PULLED_STRETCHES", 3)
    crowd = ["cat", "dan", "eve"]
    with timeline.open(tmp_path / "store", diffusion_limit=4) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.ack("bob", "phone", im.conversations("bob").position)
        for number in range(3):
            im.join("team", users=crowd)
            im.send("team", "ann", {"text": "x"})
            im.leave("team", users=crowd)
            assert not im.sync("bob", "phone").resync, number
        im.join("team", users=crowd)
        assert im.sync("bob", "phone").resync


def test_read_diffused_conversations_of_a_user_are_bounded(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", diffusion_limit=1, pulled_limit=3) as db:
        im = db.messaging
        for number in range(3):
            im.create(f"room{number}", members=["ann", "bob"])
        im.create("small", members=["cat"])
        before = db.engine.applied
        with pytest.raises(TooLargeError):
            im.join("small", users=["ann"])
        assert db.engine.applied == before
        im.delete("room1")
        assert im.join("small", users=["ann"]) == 1


@pytest.mark.parametrize("size", [200, 700, 2_500])
def test_who_may_come_for_no_more_is_named_before_anybody_joins(tmp_path: Path, size: int) -> None:
    with timeline.open(tmp_path / "store", diffusion_limit=3, pulled_limit=1) as db:
        im = db.messaging
        people = [f"user{number}" for number in range(size)]
        im.create("other", members=["a", "b", "c", people[-1]])
        im.create("team", members=["ann", people[0]])
        before = db.engine.applied
        refusal = f"user {people[-1]} is in 1 read-diffused conversations"
        with pytest.raises(TooLargeError, match=refusal):
            im.join("team", users=people)
        with pytest.raises(TooLargeError, match=refusal):
            im.create("new", "ann", members=people)
        assert db.engine.applied == before
        assert im.join("team", users=[people[-1]]) == 1, "small as it is, it is delivered to him"
        im.leave("team", users=[people[-1]])
        assert im.join("team", users=people[:-1]) == size - 2
        with pytest.raises(TooLargeError, match=refusal):
            im.join("team", users=[people[-1]])


@pytest.mark.parametrize("change", ["join", "leave"])
def test_a_group_follows_another_limit_when_next_somebody_comes_or_goes(
    tmp_path: Path, change: str
) -> None:
    people = ["ann", "bob", "cat", "dan"]
    position = ""
    for limit, pulled in ((3, True), (100, False), (2, True)):
        with timeline.open(tmp_path / "store", diffusion_limit=limit) as db:
            im = db.messaging
            if limit == 3:
                im.create("team", members=people)
                position = im.conversations("ann").position
            elif change == "join":
                im.join("team", users=[f"new{limit}"])
            else:
                im.leave("team", users=[people.pop()])
                im.join("team", users=["eve"])
                people.append("eve")
            im.send("team", "ann", {"text": "hi"})
            place = find_conversation(im.messages.view, b"team")
            assert place is not None
            assert place.pulled == pulled
    with timeline.open(tmp_path / "store", diffusion_limit=2) as db:
        entries = db.messaging.sync("ann", "phone", after=position).entries
        assert [each.seq for each in entries if each.kind == "message"] == [1, 2, 3]


def test_what_all_devices_have_passed_makes_room(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", diffusion_limit=1, pulled_limit=2) as db:
        im = db.messaging
        for number in range(4):
            im.create(f"room{number}", f"bob{number}", members=[f"cat{number}"])
        im.join("room0", users=["ann"])
        im.ack("ann", "phone", im.conversations("ann").position)
        im.join("room1", users=["ann"])
        im.send("room0", "bob0", {"text": "last words"})
        im.leave("room0", users=["ann"])
        with pytest.raises(TooLargeError):
            im.join("room2", users=["ann"])
        page = im.sync("ann", "phone")
        assert [entry.kind for entry in page.entries] == ["join", "message", "leave"]
        im.ack("ann", "phone", page.cursor)
        assert im.join("room2", users=["ann"]) == 1
        with pytest.raises(TooLargeError):
            im.join("room3", users=["ann"])
        im.send("room2", "bob2", {"text": "hi"})
        told = [(entry.kind, entry.conversation) for entry in im.sync("ann", "phone").entries]
        assert told == [("join", "room2"), ("message", "room2")]


def test_pages_of_large_messages_end_early(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.ack("bob", "phone", im.conversations("bob").position)
        for _ in range(200):
            im.send("team", "ann", {"text": "x" * 100_000})
        pages = list(pages_of(db, "bob", 1_000))
        assert len(pages[0].entries) < 150
        assert sum(len(page.entries) for page in pages) == 200


def test_trimmed_messages_are_skipped_with_bounded_work(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.ack("bob", "phone", im.conversations("bob").position)
        for _ in range(2_000):
            im.send("team", "ann", {"text": "x"})
        engine = db.engine
        with engine.lock:
            draft = engine.begin()
            timeline_ = draft.find(b"@conv:team")
            assert timeline_ is not None
            draft.trim(timeline_, 1_999)
            draft.commit()
        db.flush()
        assert im.unread("bob") == 2
        pages = list(pages_of(db, "bob", 10))
        assert pages[0].entries == []
        assert pages[0].more, "it looked at some, and says that there is more"
        assert [entry.seq for entry in pages[-1].entries] == [1_999, 2_000]
        assert 3 <= len(pages) <= 5


def test_sets_of_numbers_go_with_what_is_trimmed(tmp_path: Path) -> None:
    """A set has a row for 65,536 numbers; rows of trimmed ones go when a later one is made."""
    with timeline.open(tmp_path / "store") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.send("team", "ann", {"text": "x"}, silent=True, mentions=["bob"])
        engine = db.engine
        with engine.lock:
            draft = engine.begin()
            timeline_ = draft.find(b"@conv:team")
            assert timeline_ is not None
            draft.set_head(timeline_, 200_000)
            draft.trim(timeline_, 200_001)
            draft.commit()
        db.flush()
        im.send("team", "ann", {"text": "y"}, silent=True, mentions=["bob"])
        im.send("team", "ann", {"text": "z"}, mentions=["bob"])
        with engine.lock:
            rows = {
                family: sum(1 for _ in engine.state.scan(*between(family)))
                for family in (UNCOUNTED, MENTIONED)
            }
        assert rows == {UNCOUNTED: 1, MENTIONED: 1}
        (row,) = im.conversations("bob").conversations
        assert (row.unread, row.mentions) == (1, 1)


def test_what_was_applied_untold_makes_everybody_look(tmp_path: Path) -> None:
    """As after healing, when a group that was uncertain turns out to stand."""
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        im, engine = db.messaging, db.engine
        im.create("team", "ann", members=["bob"])
        watch = im.messages.watch
        with engine.lock:
            bob = engine.view.find(b"@user:bob")
            assert bob is not None
            watch.add(bob.id)
        told: list[News] = []

        def send(*, tell: bool) -> None:
            with engine.lock:
                draft = engine.begin()
                place = draft.find(b"@conv:team")
                assert place is not None
                draft.deliver(place.id, place, draft.append(place, [b"text", b"x"]), 1)
                group = draft.commit().group
                if tell:
                    group.on_done(lambda done: told.append(watch.tell(done)))
            engine.flush()

        send(tell=True)
        assert told[0].look == set()
        assert [(each.seq, each.inboxes) for each in told[0].fresh] == [(1, [bob.id])]
        send(tell=False)
        send(tell=True)
        assert told[1].look == {bob.id}


def test_a_deletion_that_is_sent_again_half_way_ends_well(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        im, engine = db.messaging, db.engine
        im.create("town", "ann", members=[f"citizen{number}" for number in range(600)])

        def step(deletion: Deletion) -> bool:
            with engine.lock:
                draft = engine.begin()
                more = deletion.step(draft)
                draft.commit()
            engine.flush()
            return more

        first, second = Deletion(b"town", b"-"), Deletion(b"town", b"-")
        assert step(first)
        with pytest.raises(NoPermissionError):
            im.send("town", "citizen599", {"text": "still there?"})
        assert step(second)
        while step(second):
            pass
        assert not step(first)
        assert im.conversations("citizen599").conversations == []
        im.create("town", "ann")
