"""The promise: a client that keeps answers is told when they may have changed, by whatever change,
so that it never goes on with what is no longer so.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import hiredis
import pytest

from tests.server.daemon import Client, Daemon


class Tracking:
    """A connection in RESP3 whose pushes are kept apart."""

    def __init__(self, daemon: Daemon) -> None:
        self._link = socket.create_connection((daemon.host, daemon.port), 10)
        self._reader = hiredis.Reader()
        self.told: list[Any] = []
        self("HELLO 3")

    def __call__(self, *lines: str) -> Any:  # noqa: ANN401  replies
        """The reply to the last of some commands."""
        self.send(*lines)
        return self.take(len(lines))

    def send(self, *lines: str) -> None:
        self._link.sendall("".join(f"{line}\r\n" for line in lines).encode())

    def take(self, count: int = 1) -> Any:  # noqa: ANN401  replies
        """The last of so many replies."""
        found: list[Any] = []
        while len(found) < count:
            reply = self._reader.gets()
            if reply is False:
                self._reader.feed(self._link.recv(1 << 16))
            elif isinstance(reply, hiredis.PushNotification):
                self.told.append(reply[1])
            else:
                found.append(reply)
        return found[-1]

    def hears(self) -> list[Any]:
        """What it was told since it was last asked."""
        self("PING")
        told, self.told = self.told, []
        return told

    def close(self) -> None:
        self._link.close()


@pytest.fixture
def tracking(daemon: Daemon) -> Iterator[Tracking]:
    found = Tracking(daemon)
    yield found
    found.close()


@pytest.fixture
def writer(daemon: Daemon) -> Iterator[Client]:
    with daemon.client(protocol=2) as client:
        client.flushall()
        client.xadd("t", {"f": "v"})
        client.xadd("t", {"f": "v"})
        client.xadd("u", {"f": "v"})
        yield client


CHANGES: dict[str, Callable[[Client], object]] = {
    "an entry": lambda client: client.xadd("t", {"f": "v"}),
    "a deleted entry": lambda client: client.xdel("t", "1-0"),
    "a trim": lambda client: client.xtrim("t", maxlen=1, approximate=False),
    "its end": lambda client: client.delete("t"),
    "metadata": lambda client: client.execute_command("TIMELINE.META", "t", "*", "a", "b"),
    "retention": lambda client: client.execute_command("TIMELINE.RETENTION", "t", "MAXLEN", "5"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_told_once(tracking: Tracking, writer: Client, change: str) -> None:
    tracking("CLIENT TRACKING ON", "XLEN t", "XRANGE t - + COUNT 1", "XLEN u", "XLEN none")
    CHANGES[change](writer)
    assert tracking.hears() == [[b"t"]]
    writer.xadd("t", {"f": "v"})
    assert tracking.hears() == []
    tracking("XRANGE t - + COUNT 1")
    writer.xadd("t", {"f": "v"})
    writer.xadd("none", {"f": "v"})
    assert sorted(tracking.hears()) == [[b"none"], [b"t"]]


def test_one_that_asks_is_told_of_what_it_asked_for(tracking: Tracking, writer: Client) -> None:
    tracking("CLIENT TRACKING ON OPTIN", "XLEN t", "CLIENT CACHING YES", "XLEN u", "XLEN t")
    writer.pipeline().xadd("t", {"f": "v"}).xadd("u", {"f": "v"}).execute()
    assert tracking.hears() == [[b"u"]]
    tracking("CLIENT CACHING YES", "MULTI", "XLEN t", "TTL u", "EXEC", "EXISTS other")
    writer.pipeline().xadd("t", {"f": "v"}).xadd("u", {"f": "v"}).execute()
    writer.xadd("other", {"f": "v"})
    assert [sorted(told) for told in tracking.hears()] == [[b"t", b"u"]]


def test_one_that_opts_out_is_told_of_the_rest(tracking: Tracking, writer: Client) -> None:
    tracking("CLIENT TRACKING ON OPTOUT", "CLIENT CACHING NO", "XLEN t", "XLEN u")
    writer.pipeline().xadd("t", {"f": "v"}).xadd("u", {"f": "v"}).execute()
    assert tracking.hears() == [[b"u"]]


def test_answers_about_conversations_and_users_may_change_with_anything(
    tracking: Tracking, writer: Client
) -> None:
    writer.execute_command("CONV.CREATE", "team", "ann", "MEMBERS", 1, "bob")
    tracking("CLIENT TRACKING ON", "USER.UNREAD bob", "CONV.INFO team bob", "XLEN @conv:team")
    writer.execute_command("CONV.SEND", "team", "ann", "*", "text", "hi")
    (told,) = tracking.hears()
    assert sorted(told) == [b"@conv:team", b"bob", b"team"]
    tracking("USER.UNREAD bob")
    writer.xadd("t", {"f": "v"})
    assert tracking.hears() == [[b"bob"]]


def test_answers_about_feeds_may_change_with_anything(tracking: Tracking, writer: Client) -> None:
    writer.execute_command("FEED.PUBLISH", "ann", "*", "text", "hi")
    writer.execute_command("FEED.FOLLOW", "bob", "ann")
    tracking("CLIENT TRACKING ON", "FEED.HOME bob", "FEED.RELATION bob ann", "XLEN @home:bob")
    writer.execute_command("FEED.PUBLISH", "ann", "*", "text", "ho")
    (told,) = tracking.hears()
    assert sorted(told) == [b"@home:bob", b"bob"]


def test_an_answer_during_which_something_changed_is_not_kept(
    tracking: Tracking, writer: Client
) -> None:
    tracking("CLIENT TRACKING ON")
    tracking.send("XREAD BLOCK 20000 STREAMS t $")
    while not writer.info("clients")["blocked_clients"]:
        pass
    writer.xadd("t", {"f": "v"})
    assert tracking.take()[b"t"]
    tracking.told.clear()
    assert tracking.hears() == [[b"t"]], "also behind the answer"
    writer.xadd("t", {"f": "v"})
    assert tracking.hears() == []


def test_it_ends(tracking: Tracking, writer: Client) -> None:
    for end in ("CLIENT TRACKING OFF", "RESET"):
        tracking("HELLO 3", "CLIENT TRACKING ON", "XLEN t", end)
        writer.xadd("t", {"f": "v"})
        assert tracking.hears() == []
    gone = tracking
    gone("HELLO 3", "CLIENT TRACKING ON", "XLEN t")
    gone.close()
    writer.xadd("t", {"f": "v"})
    assert writer.ping()


def test_a_client_that_keeps_very_much_is_told_that_all_may_have_changed(
    tracking: Tracking, writer: Client
) -> None:
    asked = [" ".join(f"k{line}x{number}" for number in range(500)) for line in range(21)]
    tracking("CLIENT TRACKING ON", *(f"EXISTS {names}" for names in asked))
    assert tracking.told == [None]
