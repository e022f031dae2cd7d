"""The promise: SCAN returns every timeline that is there throughout, whatever comes and goes; its
cursors are small numbers that need no memory of the daemon and outlive it. In a transaction what
walks names sees what that has made.
"""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import timeline
from tests.server.daemon import Client, Daemon, Start
from timeline.commit.draft import Draft
from timeline_server.commands.glob import compiled
from timeline_server.commands.redis.keys import NAMES, matching
from timeline_server.service.making import finish

DOUBLE = 2**53  # up to here every integer is a double of its own


def walk(client: Client, **options: object) -> list[bytes]:
    """All that SCAN returns, a page at a time."""
    found: list[bytes] = []
    cursor = 0
    while True:
        cursor, page = client.scan(cursor, **options)
        assert 0 <= cursor < DOUBLE
        found += page
        if cursor == 0:
            return found


def fill(client: Client, *names: str) -> None:
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.xadd(name, {"f": "v"})
    pipe.execute()


def test_what_is_there_throughout_is_returned_once(client: Client) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  shown when it fails
    dice = random.Random(seed)
    lasting = [f"lasting:{number}" for number in range(60)]
    passing = [f"passing:{number}" for number in range(60)]
    fill(client, *dice.sample(lasting + passing, 120))
    found: list[bytes] = []
    cursor = 0
    while True:
        cursor, page = client.scan(cursor, count=dice.randint(1, 9))
        found += page
        if cursor == 0:
            break
        for name in page:  # as those do who scan to delete
            if name.startswith(b"passing:"):
                client.delete(name)
        client.delete(dice.choice(passing))
        fill(client, dice.choice(passing), f"more:{len(found)}")
    kept = [name for name in found if name.startswith(b"lasting:")]
    assert sorted(kept) == sorted(name.encode() for name in lasting)


def test_a_walk_goes_on_after_a_restart_and_however_many_others_there_were(start: Start) -> None:
    daemon = start()
    names = [f"t:{number}" for number in range(40)]
    with daemon.client() as client:
        fill(client, *names)
        cursor, found = client.scan(0, count=7)
        for _ in range(700):  # each has 41 cursors
            assert len(client.scan(0, count=1)[1]) == 1
        client.delete(found[-1])  # the very place
    daemon.stop()
    with start().client() as client:
        while cursor:
            cursor, page = client.scan(cursor, count=7)
            found += page
    assert sorted(found) == sorted(name.encode() for name in names)


def test_conversations_and_users_are_passed_over_some_at_a_time(start: Start) -> None:
    with start().client() as client:
        fill(client, "first")
        pipe = client.pipeline(transaction=False)
        for number in range(2_500):
            pipe.execute_command("USER.META", f"u{number}", "*", "name", "U")
        pipe.execute()
        fill(client, "last")
        cursor, page = client.scan(0)
        assert (cursor > 0, page) == (True, [b"first"])
        assert walk(client) == [b"first", b"last"]
        assert walk(client, match="l*") == [b"last"]


def test_options_of_a_scan(client: Client) -> None:
    fill(client, "a1", "a2", "b1")
    assert sorted(walk(client)) == [b"a1", b"a2", b"b1"]
    assert sorted(walk(client, match="a*", count=1)) == [b"a1", b"a2"]
    assert walk(client, match="@*") == []
    assert walk(client, _type="string") == []
    assert len(walk(client, _type="STREAM")) == 3
    assert client.scan(2**64 - 1) in ((0, []), [0, []])


def test_a_transaction_sees_the_names_it_has_made(client: Client) -> None:
    fill(client, "here", "goes")
    commands = [
        "XADD before * f v",
        "MULTI",
        "XADD made * f v",
        "XADD short-lived * f v",
        "DEL goes short-lived",
        "DBSIZE",
        "KEYS *",
        "SCAN 0 COUNT 100",
        "TIMELINE.LIST PREFIX m",
        "EXEC",
    ]
    link = client.connection_pool.get_connection()
    link.send_packed_command(link.pack_commands(command.split() for command in commands))
    *_, answers = [link.read_response() for _ in commands]
    client.connection_pool.release(link)
    size, keys, (cursor, page), listed = answers[3:]
    assert size == 3
    assert sorted(keys) == [b"before", b"here", b"made"]
    assert (cursor, sorted(page)) == (b"0", [b"before", b"here", b"made"])
    names = listed[b"timelines"] if isinstance(listed, dict) else listed[1]
    assert names == [b"made"]
    assert client.dbsize() == 3


def test_the_names_of_a_transaction_are_walked_a_page_at_a_time(
    daemon: Daemon, client: Client
) -> None:
    fill(client, "old")
    pipe = client.pipeline(transaction=True)
    for number in range(5):
        pipe.xadd(f"new:{number}", {"f": "v"})
    pipe.execute_command("SCAN", "0", "COUNT", "3")
    *_, (cursor, page) = pipe.execute()
    assert page == [b"old", b"new:0", b"new:1"]
    rest = client.scan(int(cursor), count=10)
    assert sorted(rest[1]) == [b"new:2", b"new:3", b"new:4"]


def test_keys_of_many_pages_are_one_reply(client: Client) -> None:
    names = [f"key:{number:05}".encode() for number in range(4_100)]
    fill(client, *(name.decode() for name in names), "other")
    assert client.keys("key:*") == names
    assert client.keys("*9") == names[9::10]
    assert len(client.keys("*")) == 4_101
    pipe = client.pipeline(transaction=True)
    pipe.xadd("key:99999", {"f": "v"})
    pipe.keys("k*")
    assert pipe.execute()[1] == [*names, b"key:99999"]


def test_keys_are_looked_for_in_turns_and_miss_nothing_that_stays(tmp_path: Path) -> None:
    settings = SimpleNamespace(reply_bytes=1 << 20)
    session: Any = SimpleNamespace(
        service=SimpleNamespace(configuration=SimpleNamespace(settings=settings))
    )
    names = [b"key:%05d" % number for number in range(2 * NAMES + 10)]

    def make(draft: Draft) -> None:
        for name in names:
            draft.create(name)

    def change(draft: Draft) -> None:
        """The place reached goes, and others come before and behind it."""
        for name in (names[NAMES - 1], names[-1]):
            timeline = draft.find(name)
            assert timeline is not None
            draft.drop(timeline)
        draft.create(b"key:00000+")
        draft.create(b"key:1")

    with timeline.open(tmp_path / "store", search=False) as db:
        db.engine.commit(make)
        steps = matching(session, db.engine.view, compiled(b"key:*"))
        with db.engine.lock:
            next(steps)
        db.engine.commit(change)
        with db.engine.lock:
            next(steps)
            reply = b"".join(finish(steps))
    found = reply.split(b"\r\n")[2::2]
    assert set(names[:-1]) <= set(found)
    assert len(found) == len(set(found)) == len(names)  # the last went, key:1 came
