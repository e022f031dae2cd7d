"""The promise: EXEC does nothing and answers null if a timeline has changed since it was watched,
by whomever and in whatever way, and carries on if none has.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import redis

from tests.server.daemon import Client, Daemon, Start


@pytest.fixture
def other(daemon: Daemon) -> Iterator[Client]:
    with daemon.client(protocol=2) as client:
        yield client


def attempt(client: Client, *between: Callable[[Client], object]) -> bool:
    """Whether a transaction on `t` stands when others act between WATCH and EXEC."""
    with client.pipeline(transaction=True) as pipe:
        pipe.watch("t")
        for act in between:
            act(pipe)
        pipe.multi()
        pipe.xadd("result", {"f": "v"})
        try:
            pipe.execute()
        except redis.WatchError:
            return False
    return True


CHANGES: dict[str, Callable[[Client], object]] = {
    "an entry": lambda client: client.xadd("t", {"f": "v"}),
    "a deleted entry": lambda client: client.xdel("t", "2-0"),
    "a trim": lambda client: client.xtrim("t", maxlen=1, approximate=False),
    "a new head": lambda client: client.execute_command("XSETID", "t", "9-0"),
    "its end": lambda client: client.delete("t"),
    "its end and another": lambda client: (
        client.delete("t"), [client.xadd("t", {"f": "v"}) for _ in range(3)]
    ),
    "the end of all": lambda client: client.flushall(),
    "metadata": lambda client: client.execute_command("TIMELINE.META", "t", "*", "a", "b"),
    "retention": lambda client: client.execute_command("TIMELINE.RETENTION", "t", "MAXLEN", "50"),
    "an entry and its end": lambda client: (
        number := client.xadd("t", {"f": "v"}), client.xdel("t", number)
    ),
    "a transaction": lambda client: client.pipeline().xadd("t", {"f": "v"}).execute(),
}  # fmt: skip

NO_CHANGES: dict[str, Callable[[Client], object]] = {
    "nothing": lambda _: None,
    "reads": lambda client: (client.xrange("t"), client.exists("t"), client.xread({"t": 0})),
    "another timeline": lambda client: client.xadd("u", {"f": "v"}),
    "trims and deletes of nothing": lambda client: (
        client.xtrim("t", maxlen=100), client.xdel("t", "99-0"), client.delete("none")
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("who", ["somebody else", "itself"])
def test_a_change_undoes_it(client: Client, other: Client, change: str, who: str) -> None:
    for _ in range(3):
        client.xadd("t", {"f": "v"})
    acting = CHANGES[change]
    found = attempt(client, lambda pipe: acting(other if who == "somebody else" else pipe))
    assert not found
    assert not client.exists("result")
    assert attempt(client), "what was watched is forgotten with EXEC"


@pytest.mark.parametrize("what", NO_CHANGES)
def test_what_changes_nothing_lets_it_stand(client: Client, other: Client, what: str) -> None:
    for _ in range(3):
        client.xadd("t", {"f": "v"})
    assert attempt(client, lambda _: NO_CHANGES[what](other))


def test_a_name_that_was_made_and_deleted_again_has_changed(client: Client, other: Client) -> None:
    def make_and_delete(name: str) -> Callable[[Client], None]:
        def act(_: Client) -> None:
            other.xadd(name, {"f": "v"})
            other.delete(name)

        return act

    def in_one_commit(_: Client) -> None:
        other.pipeline().xadd("t", {"f": "v"}).delete("t").execute()

    assert attempt(client)
    assert attempt(client, make_and_delete("u"))
    assert not attempt(client, make_and_delete("t"))
    assert not attempt(client, in_one_commit)
    assert not attempt(client, make_and_delete("t"), *map(make_and_delete, "uvwxyz"))
    assert not attempt(client, lambda _: other.xadd("t", {"f": "v"}))


def test_writes_sent_together_with_it_count(client: Client) -> None:
    def send(*lines: str) -> list[object]:
        connection = client.connection_pool.get_connection()
        connection.send_packed_command(connection.pack_commands([line.split() for line in lines]))
        found = [connection.read_response() for _ in lines]
        connection.disconnect()
        return found

    assert send("WATCH t", "XADD t * f v", "MULTI", "XLEN t", "EXEC")[-1] is None
    assert send("WATCH t", "XADD t * f v", "MULTI", "EXEC")[-1] is None
    assert send("XADD t * f v", "WATCH t", "MULTI", "XADD t * f v", "EXEC")[-1] == [b"4-0"]
    assert send("WATCH t", "XADD t * f v", "UNWATCH", "MULTI", "XLEN t", "EXEC")[-1] == [5]
    # UNWATCH inside MULTI comes too late.
    assert send("WATCH t", "XADD t * f v", "MULTI", "UNWATCH", "XLEN t", "EXEC")[-1] is None


def test_what_the_store_keeps_for_itself_is_not_watched(client: Client) -> None:
    with pytest.raises(redis.ResponseError, match="belong to the store"):
        client.execute_command("WATCH", "t", "@conv:team")
    with pytest.raises(redis.ResponseError, match="watches at most"):
        client.execute_command("WATCH", *(f"t{number}" for number in range(1025)))


def test_what_is_refused_changes_nothing(client: Client, other: Client) -> None:
    def fail(_: Client) -> None:
        with pytest.raises(redis.ResponseError):
            other.xadd("t", {"f": "v"}, id="1-0")

    client.xadd("t", {"f": "v"})
    assert attempt(client, fail)


def test_retention_is_a_change_too(start: Start) -> None:
    daemon = start("--retention-check-ms", "10")
    with daemon.client(protocol=2) as client:
        there, stood = 0, True

        def wait(_: Client) -> None:
            nonlocal there
            there = client.xlen("t")
            while client.xlen("t"):
                pass

        client.xadd("t", {"f": "v"})
        client.execute_command("TIMELINE.RETENTION", "t", "MAXAGE", "200")
        while not there:  # unless it was too slow to watch it in time
            client.xadd("t", {"f": "v"})
            stood = attempt(client, wait)
        assert not stood


def test_many_who_count_by_it_lose_nothing(daemon: Daemon, own: str) -> None:
    """Each adds 1 to the last number of a timeline, some times, with four others."""
    rounds, name = 15, f"counter-{own}"

    def count() -> None:
        with daemon.client(protocol=2) as client:
            for _ in range(rounds):
                client.transaction(add_one, name)

    def add_one(pipe: Client) -> None:
        newest = pipe.xrevrange(name, count=1)
        before = int(newest[0][1][b"n"]) if newest else 0
        pipe.multi()
        pipe.xadd(name, {"n": before + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with daemon.client(protocol=2) as client:
        found = [int(fields[b"n"]) for _, fields in client.xrange(name)]
    assert found == list(range(1, 4 * rounds + 1))
