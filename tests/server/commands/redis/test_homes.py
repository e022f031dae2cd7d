"""The promise: a home is read like an in-box, also by who waits for it. It shows references to
posts.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis.exceptions import ResponseError

from tests.server.daemon import Client, Daemon

WAIT = 20.0


@pytest.fixture
def home(client: Client, own: str) -> str:
    """The home of bob. Two posts of ann and one of zoe reached it; ann edited the first and deleted
    the second.
    """
    ann, zoe, bob = (f"{name}-{own}" for name in ("ann", "zoe", "bob"))
    publish(client, ann, "before")
    publish(client, zoe, "before")
    client.execute_command("FEED.FOLLOW", bob, ann, zoe)
    publish(client, ann, "first")
    publish(client, ann, "second")
    publish(client, zoe, "third")
    client.execute_command("FEED.EDIT", ann, 2, ann, "*", "text", "changed")
    client.execute_command("FEED.DELETE", ann, 3, "-")
    return f"@home:{bob}"


def publish(client: Client, author: str, text: str) -> None:
    client.execute_command("FEED.PUBLISH", author, "*", "text", text)


def shown(entries: list[Any]) -> list[tuple[bytes, ...]]:
    """Kind, the beginning of the timeline's name, number."""
    found: list[tuple[bytes, ...]] = []
    for _, fields in entries:
        kind, timeline, seq = (fields[name] for name in (b"kind", b"timeline", b"seq"))
        found.append((kind, timeline.partition(b"-")[0], seq))
    return found


REFERENCES = [
    (b"follow", b"@feed:ann", b"0"),
    (b"follow", b"@feed:zoe", b"0"),
    (b"post", b"@feed:ann", b"2"),
    (b"post", b"@feed:ann", b"3"),
    (b"post", b"@feed:zoe", b"2"),
    (b"edit", b"@feed:ann", b"2"),
    (b"delete", b"@feed:ann", b"3"),
]


def test_ranges_show_references_to_posts(client: Client, home: str) -> None:
    found = client.xrange(home)
    assert shown(found) == REFERENCES
    assert client.xrevrange(home) == found[::-1]
    assert client.xlen(home) == len(found)
    lsns = [int(entry.partition(b"-")[0]) for entry, _ in found]
    assert lsns[0] == lsns[1]
    assert lsns[1:] == sorted(set(lsns)), "all others of a commit of their own"
    assert client.xrange(home, min=found[1][0], max=found[2][0]) == found[1:3]
    assert client.xrange("@home:nobody") == []


def test_a_read_goes_on_where_it_was(client: Client, home: str) -> None:
    found = client.xrange(home)
    read = client.xread({home: found[2][0]})
    entries = read[home.encode()][0] if isinstance(read, dict) else read[0][1]
    assert entries == found[3:]
    assert not client.xread({home: found[-1][0]})


def test_who_waits_for_a_home_hears_of_the_next_post(
    client: Client, daemon: Daemon, home: str
) -> None:
    heard: list[Any] = []

    def wait() -> None:
        with daemon.client(protocol=2) as other:
            heard.extend(other.xread({home: "$"}, block=int(WAIT * 1_000)))

    waiting = threading.Thread(target=wait)
    waiting.start()
    while not client.info("clients")["blocked_clients"]:
        pass
    publish(client, home.replace("@home:bob", "zoe"), "fourth")
    waiting.join(WAIT)
    ((name, entries),) = heard
    assert name == home.encode()
    assert shown(entries) == [(b"post", b"@feed:zoe", b"3")]


def test_posts_are_read_and_raw_commands_do_not_write_them(client: Client, home: str) -> None:
    feed = home.replace("@home:bob", "@feed:ann")
    events = feed.replace("@feed:", "@feedevent:")
    assert [fields[b"text"] for _, fields in client.xrange(feed)] == [b"before", b"changed"]
    kinds = [fields[b"@kind"] for _, fields in client.xrange(events)]
    assert kinds == [b"edit", b"delete"]
    for name in (feed, events, home):
        with pytest.raises(ResponseError, match="belong to the store"):
            client.xadd(name, {"f": "v"})
        with pytest.raises(ResponseError, match="belong to the store"):
            client.delete(name)
