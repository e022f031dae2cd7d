"""The promise: whatever a client asks for, others have their turns between its own; replies stay in
order, and none is made that its client does not take.

Counted in commands and bytes, in one process, with sockets that are none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Literal

import pytest

from tests.server.scenes import PAUSE, Scene, encoded, until
from timeline.engine.engine import Engine
from timeline.options import Options
from timeline_server.connection import connection as connection_module
from timeline_server.connection.table import COMMANDS

TURN = 1024  # commands in one, at most


@pytest.mark.parametrize("ping", [b"PING\r\n", encoded(b"PING")], ids=["inline", "multi-bulk"])
def test_others_come_between_the_turns_of_who_asks_much(
    play: Callable[..., None], ping: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_SECONDS", inf)  # turns end by what was done
    many = 10_000

    async def scene(scene: Scene) -> None:
        floods = [scene.connect() for _ in range(2)]
        for connection, _ in floods:
            connection.data_received(ping * many)
        other, answered = scene.connect()
        while any(len(socket.sent) < 7 * many for _, socket in floods):
            done = [len(socket.sent) // 7 for _, socket in floods]
            assert abs(done[0] - done[1]) <= 2 * TURN, "they take turns"
            answered.sent = b""
            other.data_received(b"PING\r\n")
            assert answered.sent == b"+PONG\r\n", "at once, whoever waits"
            await asyncio.sleep(0)
        assert all(socket.sent == b"+PONG\r\n" * many for _, socket in floods)

    play(scene)


def test_one_turn_is_bounded(play: Callable[..., None]) -> None:
    async def scene(scene: Scene) -> None:
        await scene.ask(b"XADD", b"t", b"*", b"f", b"x" * 10_000)
        for sent, most in (
            (b"PING\r\n" * 5_000, TURN),
            (encoded(b"XADD", b"a", b"*", b"f", b"v") * 4_000, 2 * TURN),
            (encoded(b"XRANGE", b"t", b"-", b"+", b"COUNT", b"1") * 200, 2 * PAUSE // 10_000),
            (encoded(b"XLEN", b"t") * 2_000, TURN),
            (b"\r\n" * 20_000 + b"PING\r\n", 0),
        ):
            connection, _ = scene.connect()
            before = sum(each.account.calls for each in COMMANDS.values())
            connection.data_received(sent)
            done = sum(each.account.calls for each in COMMANDS.values()) - before
            assert done <= most
            assert scene.service.turns.busy
            await until(lambda: not (connection.input_bytes or scene.service.turns.busy))  # noqa: B023
        await scene.ask(b"XLEN", b"a")  # which waits for all that was written

    play(scene)


@pytest.mark.parametrize(
    "asked", [b"PING\r\n", b"NO.SUCH\r\n", b"GET\r\n"], ids=["done", "unknown", "refused"]
)
def test_a_turn_ends_by_what_its_commands_took_and_its_refusals(
    asked: bytes, play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_SECONDS", 0.0)  # each takes longer

    async def scene(scene: Scene) -> None:
        connection, socket = scene.connect()
        connection.data_received(asked * 3)
        assert socket.sent.count(b"\r\n") == 1
        assert scene.service.turns.busy
        await until(lambda: socket.sent.count(b"\r\n") == 3)

    play(scene)


def test_a_client_that_does_not_read_is_made_no_more_replies(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_SECONDS", inf)  # turns end by what was done

    async def scene(scene: Scene) -> None:
        await scene.ask(b"XADD", b"t", b"*", b"f", b"x" * 10_000)
        connection, socket = scene.connect()
        socket.stuck = True
        connection.data_received(encoded(b"XRANGE", b"t", b"-", b"+") * 100)
        for _ in range(100):
            await asyncio.sleep(0)
        assert PAUSE < len(socket.sent) < PAUSE + 30_000
        socket.take()
        await until(lambda: socket.sent.count(b"*1\r\n*2\r\n") == 100)

    play(scene)


def test_those_who_unblock_each_other_go_on_one_after_the_other(play: Callable[..., None]) -> None:
    """However many there are: none of them does so within the command of another."""

    async def scene(scene: Scene) -> None:
        clients = [scene.connect() for _ in range(300)]
        wait = encoded(b"XREAD", b"BLOCK", b"0", b"STREAMS", b"t", b"$")
        for connection, _ in clients:
            following = connection.session.id + 1
            connection.data_received(wait + b"CLIENT UNBLOCK %d\r\nPING\r\n" % following)
        assert await scene.ask(b"CLIENT", b"UNBLOCK", b"%d" % clients[0][0].session.id) == b":1\r\n"
        await until(lambda: clients[-1][1].sent.endswith(b"+PONG\r\n"))
        assert {socket.sent for _, socket in clients[:-1]} == {b"*-1\r\n:1\r\n+PONG\r\n"}

    play(scene)


@pytest.mark.parametrize("in_transaction", [False, True])
def test_a_mistake_of_ours_in_one_command_costs_nobody_else_an_answer(
    play: Callable[..., None], monkeypatch: pytest.MonkeyPatch, *, in_transaction: bool
) -> None:
    def fail(*_: object) -> bytes:
        raise IndexError("a mistake")

    failing = encoded(b"XLEN", b"t")
    if in_transaction:
        failing = encoded(b"MULTI") + failing + encoded(b"EXEC")

    async def scene(scene: Scene) -> None:
        clients = [scene.connect() for _ in range(3)]
        for connection, _ in clients:  # they wait for their write together
            connection.data_received(
                encoded(b"XADD", b"t", b"*", b"f", b"v") + failing + encoded(b"PING")
            )
        for _, socket in clients:
            await until(lambda: socket.sent.endswith(b"+PONG\r\n"))  # noqa: B023
            assert b"internal error: IndexError('a mistake')" in socket.sent

    monkeypatch.setattr(COMMANDS[b"XLEN"], "handler", fail)
    play(scene)


@pytest.mark.parametrize("fsync", ["inline", "thread"])
def test_who_subscribes_behind_a_transaction_does_not_hear_what_it_told(
    tmp_path: Path, fsync: Literal["inline", "thread"]
) -> None:
    sent = [
        encoded(b"HELLO", b"3"),
        encoded(b"MULTI"),
        encoded(b"XADD", b"t", b"*", b"f", b"v"),
        encoded(b"PUBLISH", b"c", b"told"),
        encoded(b"EXEC"),
        encoded(b"PSUBSCRIBE", b"c*"),
        encoded(b"PUBLISH", b"c", b"later"),
        encoded(b"ECHO", b"end"),
    ]

    async def scene(scene: Scene) -> None:
        listener, heard = scene.connect()
        listener.data_received(encoded(b"SUBSCRIBE", b"c"))
        connection, socket = scene.connect()
        connection.data_received(b"".join(sent))
        await until(lambda: socket.sent.endswith(b"end\r\n"))
        assert b"told" not in socket.sent
        assert b"later" in socket.sent
        assert 0 < heard.sent.find(b"told") < heard.sent.find(b"later")

    async def begin() -> None:
        await scene(Scene(engine))

    with Engine(tmp_path / "store", Options(fsync=fsync)) as engine:
        asyncio.run(begin())
