"""The promise: what clients hold together is bounded; who is slow when memory is short gives way to
who is not, and the daemon says so.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import cast

import pytest
import redis

from tests.server.daemon import Client, Start
from tests.server.test_connections import converse, encoded
from timeline_server.clients.holdings import LOOK, Holdings

MOST = 16 << 20
SHARE = 1 << 20  # of each, with few clients


class Loop:
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: list[Callable[[], None]] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.elsewhere = 0

    def time(self) -> float:
        return self.now

    def call_soon(self, work: Callable[[], None]) -> None:
        self.soon.append(work)

    def call_later(self, seconds: float, work: Callable[[], None]) -> object:
        self.later.append((self.now + seconds, work))
        return object()

    def run_in_executor(self, *_: object) -> None:
        self.elsewhere += 1

    def settle(self) -> None:
        while self.soon:
            self.soon.pop(0)()

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK + 1e-6
            due = [each for each in self.later if each[0] <= self.now]
            self.later = [each for each in self.later if each[0] > self.now]
            for _, work in due:
                work()
            self.settle()


class Fake:
    def __init__(self, holdings: Holdings, clients: dict[int, Fake]) -> None:
        self.held = self.holds = self.claimed = 0
        self.reason = ""
        self.proceeded = 0
        self._holdings = holdings
        self._clients = clients
        clients[id(self)] = self
        holdings.arrive()

    def account(self) -> None:
        self._holdings.note(self, self.holds)

    def hold(self, size: int) -> None:
        self.holds = size
        self.account()

    def proceed(self) -> None:
        self.proceeded += 1

    def disconnect(self, reason: str) -> None:
        self.reason = reason
        self._clients.pop(id(self))
        self.holds = 0
        self._holdings.forget(self)


class Crowd:
    def __init__(self) -> None:
        self.loop = Loop()
        self.clients: dict[int, Fake] = {}
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        self.holdings = Holdings(loop, self.clients, lambda: MOST, 2.0)

    def client(self, size: int = 0) -> Fake:
        client = Fake(self.holdings, self.clients)
        client.hold(size)
        return client

    def claim(self, client: Fake, size: int) -> list[str]:
        """What becomes of a claim."""
        told: list[str] = []

        def granted() -> None:
            told.append("granted")
            client.hold(client.holds + size)

        self.holdings.claim(client, size, granted, lambda: told.append("refused"))
        return told


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


def test_who_holds_more_than_a_share_is_not_read_from_while_memory_is_short(crowd: Crowd) -> None:
    large, small, other = crowd.client(10 << 20), crowd.client(SHARE), crowd.client(2 << 20)
    assert not crowd.holdings.holds_back(large), "there is room"
    other.hold(7 << 20)
    assert crowd.holdings.holds_back(large)
    assert not crowd.holdings.holds_back(small)
    other.hold(1 << 20)
    crowd.loop.settle()
    assert (large.proceeded, small.proceeded) == (1, 0)
    assert not crowd.holdings.holds_back(large)


def test_the_largest_are_closed_at_once_far_beyond_the_bound(crowd: Crowd) -> None:
    clients = [crowd.client(size << 20) for size in (3, 9, 4, 5, 1)]
    crowd.loop.settle()
    assert [bool(client.reason) for client in clients] == [False, True, False, False, False]
    assert "holds 9437184 bytes" in clients[1].reason
    assert "clients_bytes" in clients[1].reason
    assert crowd.holdings.total == 13 << 20
    assert crowd.holdings.evicted == 1


def test_who_does_not_move_is_closed_when_others_wait(crowd: Crowd) -> None:
    stuck, moving, small = crowd.client(6 << 20), crowd.client(8 << 20), crowd.client(1 << 20)
    told = crowd.claim(small, 4 << 20)
    for _ in range(5):
        assert not stuck.reason
        moving.hold(moving.held * 9 // 10)
        crowd.loop.wait(0.3)
        if told:
            break
    assert told == ["granted"]
    assert stuck.reason
    assert not moving.reason, "it is larger, but it reads"


def test_nobody_is_closed_whose_reply_is_still_being_made(crowd: Crowd) -> None:
    making, small = crowd.client(12 << 20), crowd.client(1 << 20)
    making.claimed = 12 << 20
    crowd.claim(small, 6 << 20)
    crowd.loop.wait(1.5)
    assert not making.reason
    making.claimed = 0
    crowd.loop.wait(1)
    crowd.claim(small, 6 << 20)
    crowd.loop.wait(1.5)
    assert making.reason


def test_nobody_is_closed_while_there_is_room(crowd: Crowd) -> None:
    clients = [crowd.client(3 << 20) for _ in range(5)]
    crowd.loop.wait(10)
    assert not any(client.reason for client in clients)


def test_long_replies_wait_for_room_in_order_and_are_refused_late(crowd: Crowd) -> None:
    first, second, third = (crowd.client() for _ in range(3))
    assert crowd.claim(first, 10 << 20) == ["granted"]
    later, last = crowd.claim(second, 10 << 20), crowd.claim(third, 1 << 20)
    assert (later, last) == ([], []), "who asks for little waits behind who asked before"
    first.hold(5 << 20)
    crowd.loop.settle()
    assert (later, last) == (["granted"], ["granted"])
    never = crowd.claim(first, MOST + 1)
    assert never == [], "the command that asks is still being carried out"
    crowd.loop.settle()
    assert never == ["refused"], "it will never fit"
    for client in (first, second, third):
        client.hold(5 << 20)
    late = crowd.claim(first, 10 << 20)
    for size in range(50, 40, -2):  # they read, but too slowly
        for client in (first, second, third):
            client.hold((size << 20) // 10)
        crowd.loop.wait(0.5)
    assert late == ["refused"]


def test_a_claim_that_is_withdrawn_keeps_nobody_waiting(crowd: Crowd) -> None:
    first, second, third = (crowd.client() for _ in range(3))
    crowd.claim(first, 10 << 20)
    claim = crowd.holdings.claim(second, 10 << 20, lambda: None, lambda: None)
    told = crowd.claim(third, 1 << 20)
    crowd.holdings.withdraw(claim)
    crowd.loop.wait(LOOK)
    assert told == ["granted"]


def test_much_that_was_let_go_of_is_given_back_to_the_system(crowd: Crowd) -> None:
    clients = [crowd.client(3 << 20) for _ in range(5)]
    crowd.loop.wait(1)
    assert crowd.loop.elsewhere == 0
    for client in clients:
        client.hold(0)
    crowd.loop.wait(11)
    assert crowd.loop.elsewhere <= 1


def until_held(client: Client, fits: Callable[[int], bool]) -> None:
    deadline = time.monotonic() + 30
    while not fits(int(client.info("memory")["mem_clients_normal"])):
        assert time.monotonic() < deadline


def test_transactions_and_requests_count_and_the_largest_is_closed(start: Start) -> None:
    daemon = start("--clients-bytes", "4m")
    with daemon.client() as client:
        assert client.config_get("clients_bytes") == {"clients_bytes": "4194304"}
        with daemon.client(single_connection_client=True) as queuing:
            queuing.execute_command("MULTI")
            for _ in range(20):
                queuing.execute_command("XADD", "t", "*", "f", b"x" * 50_000)
            until_held(client, lambda size: 1_000_000 < size < 1_100_000)
        with socket.create_connection((daemon.host, daemon.port), 20) as link:
            link.sendall(b"*100000\r\n" + b"$1\r\nx\r\n" * 10_000)
            until_held(client, lambda size: size > 10_000 * 60)
        until_held(client, lambda size: size < 100_000)
        large = encoded(b"XADD", b"t", b"*", b"f", b"x" * 500_000)
        answer = converse(daemon, encoded(b"MULTI"), *[large] * 12)
        assert answer.count(b"+QUEUED") < 12
        assert client.info("stats")["evicted_clients"] == 1
        daemon.wait_for_log("clients_bytes")
        assert client.config_set("clients_bytes", 8 << 20)
        with pytest.raises(redis.ResponseError, match="between 1048576 and"):
            client.config_set("clients_bytes", 1)


def test_readers_that_never_read_are_closed_and_those_that_do_are_answered(start: Start) -> None:
    daemon = start("--clients-bytes", "8m")
    with daemon.client() as client:
        pipe = client.pipeline(transaction=False)
        for _ in range(60):
            pipe.xadd("t", {"f": b"x" * 100_000})
        pipe.execute()
        request = encoded(b"XRANGE", b"t", b"-", b"+")
        stuck = []
        for _ in range(4):
            link = socket.create_connection((daemon.host, daemon.port), 20)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            link.sendall(request * 20)
            stuck.append(link)
        for _ in range(3):
            try:
                assert len(client.xrange("t")) == 60
                break
            except redis.exceptions.ResponseError as refused:
                assert str(refused).startswith("BUSY")  # noqa: PT017  also an answer
                assert "clients_bytes" in str(refused)  # noqa: PT017
        else:
            pytest.fail("who reads was never answered")
        assert client.info("stats")["evicted_clients"] >= 1
        for link in stuck:
            link.close()
        until_held(client, lambda size: size < 100_000)
