"""Subscriptions to many users and devices, as iterators, callbacks, and on an event loop.

They are woken by news of their own users and by nothing else, however many wait and whatever
others do.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from tests.embedded.waits import SECONDS, Reads
from tests.engine.stores import healed
from timeline.embedded.database import Database
from timeline.embedded.messaging.subscription import Subscription
from timeline.engine.engine import Engine
from timeline.errors import (
    ClosedError,
    CorruptError,
    NotFoundError,
    StorageError,
    UncertainError,
    UsageError,
)
from timeline.messaging.delivery.syncing import Reader
from timeline.messaging.delivery.watching import Watch
from timeline.messaging.pages import SyncPage, Update
from timeline.storage.mark import DurableMark


def texts(update: Update | None) -> list[str]:
    assert update is not None
    return [entry.text("text") for entry in update.page.entries]


def threads_of_ours() -> set[threading.Thread]:
    """All but those with which asyncio runs what blocks."""
    return {each for each in threading.enumerate() if not each.name.startswith("asyncio_")}


def test_many_who_wait_cost_a_send_nothing(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    im = db.messaging
    im.create("crowd", "ann", members=[f"u{number}" for number in range(200)])
    feeds = [im.subscribe([(f"u{number}", "phone")]) for number in range(200)]
    for feed in feeds:
        while feed.take() is not None:
            pass
    reads = Reads(monkeypatch)
    woken: list[int] = []
    for feed in feeds:
        monkeypatch.setattr(feed._inner, "_on_due", lambda: woken.append(1))
    for number in range(20):
        im.send("team", "ann", {"text": str(number)})
    assert (reads.count, woken) == (0, [])
    im.send("crowd", "ann", {"text": "all"})
    assert len(woken) == 200
    assert all(texts(feed.take()) == ["all"] for feed in feeds)
    for feed in feeds:
        feed.close()
    assert not len(im.messages.waiters)


def test_one_subscription_takes_in_many_and_goes_on_where_each_has_come(db: Database) -> None:
    im = db.messaging
    im.send("team", "ann", {"text": "1"})
    middle = im.sync("bob", "phone").cursor
    im.send("team", "ann", {"text": "2"})
    im.send("other", "cat", {"text": "3"})
    with im.subscribe([("bob", "phone", middle), ("dan", "phone"), ("bob", "desk")]) as feed:
        assert len(feed) == 3
        found: dict[tuple[str, str], SyncPage] = {}
        for _ in range(3):
            update = feed.wait(SECONDS)
            assert update is not None
            found[update.user, update.device] = update.page
        assert [entry.text("text") for entry in found["bob", "phone"].entries] == ["2"]
        assert [entry.text("text") for entry in found["dan", "phone"].entries] == ["3"]
        assert found["bob", "desk"].resync, "a new device lists its conversations first"
        assert feed.take() is None
        assert feed.wait(0.0) is None
        im.send("team", "ann", {"text": "4"})
        for _ in range(2):
            assert texts(feed.wait(SECONDS)) == ["4"]
        assert feed.remove("bob", "phone")
        assert not feed.remove("bob", "phone")
        im.send("team", "ann", {"text": "5"})
        update = feed.wait(SECONDS)
        assert update is not None
        assert (update.user, update.device, texts(update)) == ("bob", "desk", ["5"])
        assert feed.take() is None
        assert im.online("bob")
    assert not im.online("bob")
    with pytest.raises(ClosedError):
        feed.take()


def test_a_backlog_comes_in_pages_and_devices_take_turns(db: Database) -> None:
    im = db.messaging
    for number in range(5):
        im.send("team", "ann", {"text": str(number)})
        im.send("other", "cat", {"text": str(number)})
    with im.subscribe([("bob", "phone"), ("dan", "phone")], limit=2) as feed:
        order: list[str] = []
        seen: dict[str, list[str]] = {"bob": [], "dan": []}
        while (update := feed.take()) is not None:
            order.append(update.user)
            seen[update.user] += texts(update)
        assert order == ["bob", "dan"] * 3
        assert seen["bob"] == seen["dan"] == ["0", "1", "2", "3", "4"]


def test_an_iterator_ends_with_the_subscription_and_with_the_store(db: Database) -> None:
    for end in ("close", "store"):
        feed = db.messaging.subscribe([("bob", "phone")])
        while feed.take() is not None:
            pass
        ended = threading.Event()

        def follow(feed: Subscription = feed, ended: threading.Event = ended) -> None:
            for _ in feed:
                pass
            ended.set()

        threading.Thread(target=follow).start()
        if end == "close":
            feed.close()
        else:
            db.close()
        assert ended.wait(SECONDS)
    with pytest.raises(ClosedError):
        db.messaging.subscribe([("bob", "phone")])


def test_a_callback_is_called_outside_the_locks_and_may_do_anything(db: Database) -> None:
    im = db.messaging
    told: list[str] = []
    done = threading.Event()

    def call(update: Update) -> None:
        news = [f"{update.user} {text}" for text in texts(update)]
        told.extend(news)
        if "bob hello" in news:
            im.send("team", "bob", {"text": "answer"})  # from within, and durable
            im.ack(update.user, update.device, update.page.cursor)
        if {"ann answer", "ann end"} <= set(told):
            done.set()
        if "bob raise" in news:
            raise ValueError

    feed = im.subscribe([("ann", "phone"), ("bob", "phone")], call=call)
    im.send("team", "ann", {"text": "raise"})
    im.send("team", "ann", {"text": "hello"})
    im.send("team", "bob", {"text": "end"})
    assert done.wait(SECONDS)
    feed.close()
    db.close()
    assert [each for each in told if each in ("bob raise", "bob hello")] == [
        "bob raise",
        "bob hello",
    ]


def test_a_slow_callback_holds_up_no_writer_and_no_iterator(db: Database) -> None:
    im = db.messaging
    asleep, wake = threading.Event(), threading.Event()
    calls: list[Update] = []

    def call(update: Update) -> None:
        calls.append(update)
        asleep.set()
        wake.wait(SECONDS)

    feed = im.subscribe([("bob", "phone")], call=call)
    im.send("team", "ann", {"text": "0"})
    assert asleep.wait(SECONDS)
    with im.subscribe([("bob", "phone")]) as other:
        for number in range(1, 30):
            im.send("team", "ann", {"text": str(number)})
        seen: list[str] = []
        while len(seen) < 30:
            seen += texts(other.wait(SECONDS))
    assert len(calls) == 1
    assert db.engine.callbacks.waiting <= 1, "what comes is not piled up"
    wake.set()
    feed.close()


def test_an_event_loop_waits_without_a_thread(db: Database) -> None:
    im = db.messaging

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        with im.subscribe([("bob", "phone"), ("dan", "phone")]) as feed:
            before = threads_of_ours()
            sender = asyncio.create_task(send())
            seen: list[str] = []
            async for update in feed.updates(loop):
                seen += texts(update)
                if len(seen) == 4:
                    break
            await sender
            assert threads_of_ours() <= before
            return seen

    async def send() -> None:
        for number in range(2):
            await asyncio.to_thread(im.send, "team", "ann", {"text": f"t{number}"})
            await asyncio.to_thread(im.send, "other", "cat", {"text": f"o{number}"})

    seen = asyncio.run(asyncio.wait_for(main(), SECONDS))
    assert sorted(seen) == ["o0", "o1", "t0", "t1"]


def test_an_event_loop_that_ended_or_a_store_that_closes_harms_nobody(db: Database) -> None:
    im = db.messaging

    async def main() -> int:
        seen = 0
        feed = im.subscribe([("bob", "phone")])
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, lambda: threading.Thread(target=db.close).start())
        async for _ in feed.updates(loop):
            seen += 1
        return seen

    assert asyncio.run(asyncio.wait_for(main(), SECONDS)) == 0


def test_what_healing_brought_back_is_told(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message whose outcome was uncertain stands, and nobody commits after it."""
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    im = db.messaging
    with im.subscribe([("bob", "phone")]) as feed:
        while feed.take() is not None:
            pass
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise OSError

            patch.setattr(DurableMark, "write", fail)
            with pytest.raises(UncertainError):
                im.send("team", "ann", {"text": "uncertain"})
        assert healed(db)
        assert texts(feed.wait(SECONDS)) == ["uncertain"]


def test_a_store_that_is_yet_to_be_opened_again_has_nothing_and_ends_no_subscription(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
    im, engine = db.messaging, db.engine
    with im.subscribe([("bob", "phone")]) as feed:
        tried = threading.Event()

        def fail(*_: object) -> None:
            tried.set()
            raise StorageError("the disk has gone")

        with monkeypatch.context() as patch:
            patch.setattr(DurableMark, "write", fail)
            with pytest.raises(UncertainError):
                im.send("team", "ann", {"text": "uncertain"})
            patch.setattr(Engine, "_load", fail)
            tried.clear()
            if not engine.threaded:
                engine.work()
            assert tried.wait(SECONDS)
            feed._inner.ready(next(iter(feed._inner._by_inbox)))
            assert feed.take() is None
        if not engine.threaded:
            engine.work()
        assert texts(feed.wait(SECONDS)) == ["uncertain"]


def test_what_cannot_be_read_for_one_holds_up_no_other(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    im = db.messaging
    told: list[str] = []
    done = threading.Event()
    page = Reader.page
    bob = next(iter(im.subscribe([("bob", "phone")])._inner._by_inbox))

    def read(reader: Reader, inbox: int, *rest: Any) -> Any:  # noqa: ANN401
        if inbox == bob:
            raise CorruptError("an in-box")
        return page(reader, inbox, *rest)

    def call(update: Update) -> None:
        told.extend(texts(update))
        done.set()

    monkeypatch.setattr(Reader, "page", read)
    im.send("team", "ann", {"text": "bob"})
    im.send("other", "cat", {"text": "dan"})
    feed = im.subscribe([("bob", "phone"), ("dan", "phone")], call=call)
    assert done.wait(SECONDS)
    assert told == ["dan"]
    feed.close()


def test_damage_in_what_says_who_is_concerned_wakes_all(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    im = db.messaging
    with im.subscribe([("bob", "phone")]) as feed:
        while feed.take() is not None:
            pass
        with monkeypatch.context() as patch:

            def fail(*_: object) -> None:
                raise CorruptError("a row")

            patch.setattr(Watch, "_news", fail)
            im.send("team", "ann", {"text": "1"})
            assert texts(feed.wait(SECONDS)) == ["1"]
        im.send("team", "ann", {"text": "2"})
        assert texts(feed.wait(SECONDS)) == ["2"]


def test_what_cannot_be_meant_is_refused(db: Database) -> None:
    im = db.messaging
    with pytest.raises(NotFoundError):
        im.subscribe([("nobody", "phone")])
    with pytest.raises(UsageError):
        im.subscribe([("bob", "phone", "no cursor")])
    with pytest.raises(UsageError):
        im.subscribe([("bob", "phone")], limit=0)
    with pytest.raises(UsageError):
        im.subscribe([("bob", "phone")], call="print")  # type: ignore[arg-type]
    for device in ("b", ("bob",), ("bob", "phone", None, "more"), ("bob", 3), ("bob", ["phone"])):
        with pytest.raises(UsageError, match="a device is"):
            im.subscribe([device])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="a device is"):
        im.subscribe(("bob", "phone"))  # type: ignore[arg-type]
    assert not len(im.messages.waiters)
    assert not im.online("bob")
