"""Devices of readers: what they are told, how far they have come, and that nothing is missed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.adapters import Refused
from tests.engine.stores import Clock
from tests.feeds.doors import Door, Sync, WireFeeds
from tests.messaging.doors.raw import WAIT, Raw
from tests.messaging.promises import Own
from timeline.errors import ClosedError

OPTIONS = {"feed_diffusion_limit": 2, "note_window_ms": 0, "devices": 3, "search": False}


def begin(door: Door, user: str, device: str = "phone") -> None:
    """A device that has read the home."""
    door.ack_feed(user, device, door.home(user).position)


def catch_up(door: Door, user: str, device: str = "phone", limit: int = 2) -> list[str]:
    """Everything that a device has not acknowledged, which it then does."""
    found: list[str] = []
    while True:
        page = door.sync_feed(user, device, limit=limit)
        assert not page.resync
        assert len(page.entries) <= limit
        found += page.told
        door.ack_feed(user, device, page.cursor)
        if not page.more:
            return found


@pytest.mark.parametrize("followers", [1, 4], ids=["pushed", "pulled"])
def test_a_device_is_told_of_posts_edits_and_deletions_in_order(
    door: Door, own: Own, disturb: Callable[[Door], None], followers: int
) -> None:
    ann, bob = own("ann"), own("bob")
    first, _ = door.publish(ann, "first")
    for number in range(1, followers):
        door.follow(own(f"fan{number}"), ann)
    door.follow(bob, ann)
    begin(door, bob)
    second, _ = door.publish(ann, "second")
    mine, _ = door.publish(bob, "mine")
    door.edit_post(ann, 1, "first again")
    door.edit_post(ann, 2, "second again")
    door.delete_post(ann, 2)
    door.delete_post(bob, 1)
    third, _ = door.publish(ann, "third")
    disturb(door)
    page = door.sync_feed(bob, "phone")
    assert page.told == [
        f"edit {first}", f"delete {second}", f"delete {mine}", f"post {third}",
    ]  # fmt: skip
    assert page.entries[0].values["text"] == "first again"
    assert catch_up(door, bob) == page.told
    assert catch_up(door, bob) == []


def test_what_a_post_names_comes_with_it(door: Door, own: Own) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    original, _ = door.publish(cat, "original")
    door.publish(ann, "hello")
    door.follow(bob, ann)
    begin(door, bob)
    quote, _ = door.publish(ann, "look", repost=original)
    repost, _ = door.publish(ann, None, repost=original)
    page = door.sync_feed(bob, "phone")
    assert page.told == [f"post {quote}", f"post {repost}"]
    found = page.refs[original]
    assert found is not None
    assert (found.text, found.counts) == ("original", {"quotes": 1, "reposts": 1})
    door.delete_post(cat, 1)
    page = door.sync_feed(bob, "phone")
    assert (page.told, page.refs) == ([f"post {quote}"], {original: None})


def test_what_a_user_does_reaches_their_other_devices(
    door: Door, own: Own, disturb: Callable[[Door], None]
) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    post, _ = door.publish(ann, "hello")
    door.publish(cat, "hello")
    door.follow(bob, ann)
    begin(door, bob)
    door.react(post, bob, "like")
    door.follow(bob, cat)
    door.set_about(bob, ann, reposts="0", notify="1")
    door.set_about(bob, cat, mute="1")
    door.set_own(bob, name="Bob")
    door.seen(bob, door.home(bob).position)
    door.unfollow(bob, cat)
    door.block(bob, cat)
    disturb(door)
    page = door.sync_feed(bob, "phone")
    assert page.told == [
        f"react {post}",
        f"follow {cat}",
        f"set {ann}",
        f"mute {cat}",
        f"set {bob}",
        f"seen {bob}",
        f"unfollow {cat}",
        f"block {cat}",
    ]
    told = {each.what: each.values for each in page.entries}
    assert told[f"react {post}"] == {"@reaction": "like"}
    assert told[f"set {bob}"] == {"@protected": "0", "@pin": "0", "name": "Bob"}
    words = {"following": "1", "follows": "0", "requested": "0", "muted": "0", "blocked": "0"}
    assert told[f"set {ann}"] == {**words, "@reposts": "0", "@replies": "1", "@notify": "1"}
    now = {**words, "following": "0", "muted": "1", "blocked": "1"}
    assert told[f"follow {cat}"] == told[f"block {cat}"] == now
    # A position says what was seen, and goes back to where it came from.
    door.seen(bob, told[f"seen {bob}"]["posts"])
    assert catch_up(door, bob) == page.told
    door.react(post, bob, "like", remove=True)
    door.unblock(bob, cat)
    page = door.sync_feed(bob, "phone")
    assert page.told == [f"react {post}", f"block {cat}"]
    assert page.entries[0].values == {}
    assert page.entries[1].values["blocked"] == "0"


def test_what_changes_nothing_is_told_to_nobody(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    post, _ = door.publish(ann, "hello")
    door.follow(bob, ann)
    door.react(post, bob, "like")
    begin(door, bob)
    door.follow(bob, ann)
    door.react(post, bob, "like")
    door.react(post, bob, "laugh", remove=True)
    door.unblock(bob, ann)
    assert catch_up(door, bob) == []


def test_what_others_do_is_told_as_a_note(door: Door, own: Own) -> None:
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    post, _ = door.publish(ann, "hello")
    begin(door, ann)
    door.react(post, bob, "like")
    reply, _ = door.publish(cat, "yes", reply=post)
    door.follow(cat, ann)
    page = door.sync_feed(ann, "phone")
    assert page.told == [f"note {post}", f"note {post}", f"note {ann}"]
    liked, replied, followed = (each.fields for each in page.entries)
    assert liked[:3] == ((b"@kind", b"like"), (b"@count", b"1"), (b"@user", bob.encode()))
    assert (b"@post", reply.encode()) in replied
    assert followed[0] == (b"@kind", b"follow")
    assert set(page.refs) == {post, reply}
    assert catch_up(door, ann) == page.told


def test_requests_are_told_to_both(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    door.set_own(ann, **{"@protected": "1"})
    begin(door, ann)
    door.publish(bob, "hello")
    begin(door, bob)
    door.follow(bob, ann)
    assert catch_up(door, bob) == [f"request {ann}"]
    assert catch_up(door, ann) == [f"note {ann}"]
    door.answer(ann, bob, "reject")
    page = door.sync_feed(bob, "phone")
    assert page.told == [f"request {ann}"]
    assert page.entries[0].values["requested"] == "0"
    catch_up(door, bob)
    door.follow(bob, ann)
    door.answer(ann, bob, "accept")
    assert catch_up(door, bob) == [f"request {ann}", f"follow {ann}"]
    door.remove(ann, bob)
    assert catch_up(door, bob) == [f"unfollow {ann}"]


def test_whoever_is_blocked_drops_what_they_hold(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    door.publish(ann, "hello")
    door.publish(bob, "hello")
    begin(door, bob)
    door.block(ann, bob)
    page = door.sync_feed(bob, "phone")
    assert page.told == [f"unfollow {ann}"]
    assert page.entries[0].values["blocked"] == "0", "it says nothing of who blocks whom"
    door.unblock(ann, bob)
    assert catch_up(door, bob) == [f"unfollow {ann}", f"set {ann}"]


def test_each_device_has_a_position_of_its_own_apart_from_conversations(
    door: Door, own: Own, disturb: Callable[[Door], None]
) -> None:
    ann, bob = own("ann"), own("bob")
    door.publish(ann, "hello")
    door.follow(bob, ann)
    for device in ("phone", "watch"):
        begin(door, bob, device)
    post, _ = door.publish(ann, "again")
    assert catch_up(door, bob, "phone") == [f"post {post}"]
    disturb(door)
    assert catch_up(door, bob, "phone") == []
    page = door.sync_feed(bob, "watch")
    assert page.told == [f"post {post}"]
    other, _ = door.publish(ann, "once more")
    assert catch_up(door, bob, "phone") == [f"post {other}"]
    door.ack_feed(bob, "phone", page.cursor)  # it never goes back
    assert catch_up(door, bob, "phone") == []


def test_a_device_that_is_new_or_too_late_begins_anew(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    door.publish(ann, "hello")
    door.follow(bob, ann)
    page = door.sync_feed(bob, "new")
    assert page == Sync([], {}, page.cursor, more=False, resync=True)
    assert door.sync_feed(bob, "new", after=page.cursor).resync is False
    strange = "1-" + page.cursor.partition("-")[2]
    assert door.sync_feed(bob, "new", after=strange).resync is True
    for number in range(4):  # more devices than there may be: the one seen longest ago goes
        begin(door, bob, f"device{number}")
    assert door.sync_feed(bob, "device0").resync is True
    assert door.sync_feed(bob, "device3").resync is False


def test_devices_of_feeds_are_listed_and_forgotten(door: Door, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    door.publish(ann, "hello")
    begin(door, ann)
    assert set(door.devices(ann)) == {"phone"}
    door.forget_device(ann, "phone")
    assert door.sync_feed(ann, "phone").resync
    with pytest.raises(Refused, match=r"^NOTFOUND "):
        door.forget_device(ann, "phone")
    with pytest.raises(Refused, match=r"^NOTFOUND "):
        door.devices(bob)


@pytest.mark.parametrize(
    ("user", "device", "after", "code"),
    [
        ("nobody", "phone", None, "NOTFOUND"),
        ("", "phone", None, "ERR"),
        ("{ann}", "a:b", None, "ERR"),
        ("{ann}", "", None, "ERR"),
        ("{ann}", "phone", "", "ERR"),
        ("{ann}", "phone", "1-2", "ERR"),
        ("{ann}", "phone", "x-1-0", "ERR"),
        ("{ann}", "phone", "1-" + "9" * 40 + "-0", "ERR"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(
    door: Door, own: Own, user: str, device: str, after: str | None, code: str
) -> None:
    ann = own("ann")
    door.publish(ann, "hello")
    who = user.format(ann=ann)
    with pytest.raises(Refused, match=f"^{code} "):
        door.sync_feed(who, device, after=after)
    with pytest.raises(Refused, match=f"^{code} "):
        door.ack_feed(who, device, door.home(ann).position if after is None else after)
    assert door.sync_feed(ann, "phone").resync


def test_a_cursor_of_the_future_is_not_acknowledged(door: Door, own: Own) -> None:
    ann = own("ann")
    door.publish(ann, "hello")
    epoch, lsn, _ = door.home(ann).position.split("-")
    with pytest.raises(Refused, match=r"^ERR "):
        door.ack_feed(ann, "phone", f"{epoch}-{int(lsn) + 1}-0")
    assert door.sync_feed(ann, "phone").resync


def test_a_sync_that_waits_is_answered_when_something_comes(door: Door, own: Own) -> None:
    """By push and by pull, by an own action on another device and by a note; also where the user
    has no home yet.
    """
    ann, bob, cat = own("ann"), own("bob"), own("cat")
    door.publish(ann, "hello")
    door.publish(cat, "hello")
    cursor = door.home(cat).position
    assert woken(door, cat, cursor, lambda: door.publish(cat, "mine")) == [f"post {cat}/2"]
    cursor = door.home(cat).position
    assert woken(door, cat, cursor, lambda: door.react(f"{ann}/1", cat, "like")) == [
        f"react {ann}/1"
    ]
    door.follow(bob, ann)
    cursor = door.home(bob).position
    assert woken(door, bob, cursor, lambda: door.publish(ann, "pushed")) == [f"post {ann}/2"]
    for number in range(3):
        door.follow(own(f"fan{number}"), ann)
    cursor = door.home(bob).position
    assert woken(door, bob, cursor, lambda: door.publish(ann, "pulled")) == [f"post {ann}/3"]
    cursor = door.home(bob).position
    assert woken(door, bob, cursor, lambda: door.edit_post(ann, 3, "edited")) == [f"edit {ann}/3"]
    post, _ = door.publish(bob, "hello")
    cursor = door.home(bob).position
    assert woken(door, bob, cursor, lambda: door.react(post, cat, "like")) == [f"note {post}"]
    cursor = door.home(bob).position
    assert woken(door, bob, cursor, lambda: door.follow(bob, cat)) == [f"follow {cat}"]
    cursor = door.home(bob).position
    assert woken(door, bob, cursor, lambda: door.publish(cat, "more")) == [f"post {cat}/3"]


def woken(door: Door, user: str, cursor: str, act: Callable[[], object]) -> list[str]:
    """What a sync that waits is told of what is done once its device is online."""
    found: list[Sync] = []
    other: Any = door if not isinstance(door, WireFeeds) else _Client(door)
    waits = threading.Thread(
        target=lambda: found.append(other.sync_feed(user, "phone", after=cursor, block=WAIT))
    )
    waits.start()
    while not door.online(user):
        assert waits.is_alive()
    act()
    waits.join()
    return found[0].told


class _Client(WireFeeds):
    """A second connection to the daemon of another door."""

    def __init__(self, door: WireFeeds) -> None:
        self.client = door.daemon.client(protocol=3)


def test_a_sync_that_waits_ends_with_its_time_and_with_the_store(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", search=False) as db:
        db.feeds.publish("ann", {"text": "hello"})
        cursor = db.feeds.home("ann").position
        page = db.feeds.sync("ann", "phone", after=cursor, block=0.01)
        assert (page.entries, page.more, page.resync) == ([], False, False)
        refused: list[BaseException] = []

        def wait() -> None:
            try:
                db.feeds.sync("ann", "phone", after=cursor, block=WAIT)
            except ClosedError as error:
                refused.append(error)

        waits = threading.Thread(target=wait)
        waits.start()
        while not db.messaging.online("ann"):
            assert waits.is_alive()
    waits.join()
    assert len(refused) == 1


def test_whose_home_has_forgotten_begins_anew(tmp_path: Path) -> None:
    options: dict[str, Any] = {"fsync": "inline", "inbox_age_ms": 1_000, "search": False}
    with Clock().installed() as clock, timeline.open(tmp_path / "store", **options) as db:
        db.feeds.publish("ann", {"text": "hello"})
        db.feeds.follow("bob", ["ann"])
        db.feeds.ack("bob", "phone", db.feeds.home("bob").position)
        db.feeds.publish("ann", {"text": "again"})
        assert not db.feeds.sync("bob", "phone").resync
        clock.now += 2_000
        db.compact()
        db.engine.store.expiry._next_round = 0.0
        while db.engine.work():
            pass
        assert db.feeds.sync("bob", "phone").resync


# --- over the wire --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WireFeeds]:
    options: dict[str, Any] = {**OPTIONS, "sync_block_ms": 60_000}
    opened = WireFeeds(tmp_path_factory.mktemp("feeds") / "store", **options)
    yield opened
    opened.close()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("followers", [1, 4], ids=["pushed", "pulled"])
def test_a_note_carries_the_newest_cursor(
    wire: WireFeeds, own: Own, protocol: int, followers: int
) -> None:
    ann, bob = own("ann"), own("bob")
    wire.publish(ann, "hello")
    for number in range(1, followers):
        wire.follow(own(f"fan{number}"), ann)
    wire.follow(bob, ann)
    begin(wire, bob)
    client = wire.daemon.client(protocol=protocol)
    listener = client.pubsub()
    channel = f"feed:{bob}:phone"
    listener.subscribe(channel)
    assert listener.get_message(timeout=WAIT)["type"] == "subscribe"
    assert listener.get_message(timeout=WAIT)["data"].decode() == wire.home(bob).position
    assert wire.online(bob)
    post, _ = wire.publish(ann, "again")
    note = listener.get_message(timeout=WAIT)
    assert note["channel"] == channel.encode()
    page = wire.sync_feed(bob, "phone")
    assert (page.told, page.cursor) == ([f"post {post}"], note["data"].decode())
    listener.unsubscribe()
    listener.close()
    client.close()


def test_chat_and_feeds_are_told_apart(wire: WireFeeds, own: Own) -> None:
    ann, bob = own("ann"), own("bob")
    wire.create(own("room"), ann, [bob])
    wire.publish(ann, "hello")
    wire.follow(bob, ann)
    raw = Raw(wire.daemon.port)
    for way in ("sync", "feed"):
        raw.send("SUBSCRIBE", f"{way}:{bob}:phone")
        assert raw.next()[0] == b"subscribe"
        assert raw.next()[1] == f"{way}:{bob}:phone".encode()
    wire.publish(ann, "again")
    assert raw.next()[1] == f"feed:{bob}:phone".encode()
    wire.send(own("room"), ann, "hi")
    assert raw.next()[1] == f"sync:{bob}:phone".encode()
    raw.send("UNSUBSCRIBE", f"feed:{bob}:phone")
    assert raw.next()[0] == b"unsubscribe"
    wire.publish(ann, "unheard")
    wire.send(own("room"), ann, "heard")
    assert raw.next()[1] == f"sync:{bob}:phone".encode()
    raw.close()


def test_channels_of_devices_are_the_stores(wire: WireFeeds, own: Own) -> None:
    ann = own("ann")
    wire.publish(ann, "hello")
    for words, code in {
        ("SUBSCRIBE", "feed:nobody:phone"): "NOTFOUND",
        ("SUBSCRIBE", f"feed:{ann}"): "ERR",
        ("SUBSCRIBE", f"feed:{ann}:"): "ERR",
        ("PSUBSCRIBE", "feed:*"): "ERR",
        ("PUBLISH", f"feed:{ann}:phone", "x"): "ERR",
        ("FEED.SYNC", ann, "phone", "AFTER"): "ERR",
        ("FEED.SYNC", ann, "phone", "COUNT", "0"): "ERR",
        ("FEED.SYNC", ann, "phone", "BLOCK", "-1"): "ERR",
        ("FEED.SYNC", ann): "ERR",
        ("FEED.ACK", ann, "phone"): "ERR",
    }.items():
        with pytest.raises(Refused, match=f"^{code} "):
            wire.do(*words)


def test_a_transaction_that_writes_has_no_position(wire: WireFeeds, own: Own) -> None:
    ann = own("ann")
    wire.publish(ann, "hello")
    begin(wire, ann)
    raw = Raw(wire.daemon.port)
    raw.do("MULTI")
    raw.do("FEED.SYNC", ann, "phone", "BLOCK", 1_000)
    raw.do("PING")
    assert raw.do("EXEC")[1] == b"PONG"  # it does not wait
    raw.do("MULTI")
    raw.do("FEED.FOLLOW", own("bob"), ann)
    raw.do("FEED.SYNC", ann, "phone")
    refusal = raw.do("EXEC")
    assert "no position yet" in str(refusal)
    assert wire.followers(ann).users == []
    raw.close()
