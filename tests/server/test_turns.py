"""The promise: whatever a client asks for, others have their turns between its own; replies stay in
order, and none is made that its client does not take.

Counted in commands and bytes, in one process, with sockets that are none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from pathlib import Path
from typing import Literal

import pytest

from tests.server.test_pipeline import SECONDS, Transport
from timeline.engine.engine import Engine
from timeline.errors import BusyError, TimelineError
from timeline.options import Options
from timeline_server.commands.redis.streaminfo import stream_facts
from timeline_server.config import config
from timeline_server.connection import appends, connection as connection_module
from timeline_server.connection.appends import Appends
from timeline_server.connection.connection import Connection
from timeline_server.connection.table import COMMANDS
from timeline_server.logs.logger import configure
from timeline_server.service.making import finish
from timeline_server.service.service import Service
from timeline_server.wire.parser import Limits, Parser

TURN = 1024  # commands in one, at most
PAUSE = 256 << 10  # output_pause_bytes


def encoded(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(
        b"$%d\r\n%b\r\n" % (len(each), each) for each in words
    )


class Socket(Transport):
    """One that takes all it is given, or nothing once it is `stuck`."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = False
        self.aborted = False
        self.reading = True
        self.untaken = 0
        self.connection: Connection | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        if self.stuck:
            self.untaken += len(data)
            if self.untaken > PAUSE and self.connection is not None:
                self.connection.pause_writing()

    def take(self) -> None:
        self.stuck, self.untaken = False, 0
        assert self.connection is not None
        self.connection.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.untaken

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def abort(self) -> None:
        self.aborted = True
        assert self.connection is not None
        self.connection.connection_lost(None)

    def close(self) -> None:
        self.abort()


class Scene:
    """A service without a port."""

    def __init__(self, engine: Engine, *options: str) -> None:
        loop, (log, _) = asyncio.get_running_loop(), configure("error", "text")
        settings = config.load(list(options))
        self.service = Service(engine, settings, loop, log, lambda: None, 0)

    def connect(self) -> tuple[Connection, Socket]:
        socket = Socket()
        socket.connection = Connection(self.service)
        socket.connection.connection_made(socket)
        return socket.connection, socket

    async def fill(self, count: int) -> None:
        """Gives the timeline `t` so many entries of about a kilobyte."""
        connection, _ = self.connect()
        connection.data_received(encoded(b"XADD", b"t", b"*", b"f", b"x" * 1_000) * count)
        await until(lambda: self.service.engine.applied >= count)

    async def ask(self, *words: bytes) -> bytes:
        """What a client of its own is answered."""
        connection, socket = self.connect()
        connection.data_received(encoded(*words))
        await asyncio.wait_for(socket.written.wait(), SECONDS)
        connection.connection_lost(None)
        return socket.sent


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not done():  # noqa: ASYNC110  turns of the loop are what is waited for
            await asyncio.sleep(0)


Play = Callable[[Scene], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    def run(scene: Play, *options: str) -> None:
        async def begin() -> None:
            await scene(Scene(engine, *options))

        with Engine(tmp_path / "store") as engine:
            asyncio.run(begin())

    return run


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


def test_a_long_range_is_made_in_turns_and_is_that_of_one_moment(
    play: Callable[..., None],
) -> None:
    async def scene(scene: Scene) -> None:
        await scene.fill(3_000)
        reader, socket = scene.connect()
        reader.data_received(encoded(b"XRANGE", b"t", b"-", b"+") + b"PING\r\n")
        other, answered = scene.connect()
        other.data_received(b"PING\r\n")
        assert (socket.sent, answered.sent) == (b"", b"+PONG\r\n")
        for number in (b"1-0", b"3000-0", b"1500-0"):
            assert await scene.ask(b"XDEL", b"t", number) == b":1\r\n"
        await scene.ask(b"XADD", b"t", b"*", b"f", b"later")
        await until(lambda: socket.sent.endswith(b"+PONG\r\n"))
        found = socket.sent.removesuffix(b"+PONG\r\n")
        numbers = [int(word[:-2]) for word in found.split(b"\r\n") if word.endswith(b"-0")]
        gone = set(range(1, 3_001)) - set(numbers)
        assert gone in (set(), {1}, {1, 3_000}, {1, 1_500, 3_000})
        assert found.startswith(b"*%d\r\n" % len(numbers))

    play(scene)


def test_what_is_told_of_a_timeline_fits_the_entries_beside_it(play: Callable[..., None]) -> None:
    async def scene(scene: Scene) -> None:
        await scene.fill(3_000)
        reader, _ = scene.connect()
        steps = stream_facts(reader.session, b"t", scene.service.engine, None, full=True)
        next(steps)
        assert await scene.ask(b"XDEL", b"t", b"1-0") == b":1\r\n"
        await scene.ask(b"XADD", b"t", b"*", b"f", b"later")
        found = b"".join(finish(steps))
        length, counted = (
            int(found.split(word)[1].split(b"\r\n")[0])
            for word in (b"length\r\n:", b"entries\r\n*")
        )
        assert length == counted == found.count(b"-0\r\n*2\r\n")
        assert length in (2_999, 3_000), "with what came later, or without"

    play(scene)


def test_reading_many_timelines_is_done_in_turns(play: Callable[..., None]) -> None:
    async def scene(scene: Scene) -> None:
        names = [b"t%d" % number for number in range(300)]
        connection, _ = scene.connect()
        for name in names:
            connection.data_received(encoded(b"XADD", name, b"*", b"f", b"x" * 10_000))
        await until(lambda: scene.service.engine.applied >= len(names))
        reader, socket = scene.connect()
        reader.data_received(encoded(b"XREAD", b"STREAMS", *names, *[b"0"] * len(names)))
        assert socket.sent == b""
        assert reader.holds() > 2_000_000, "it counts before it is made"
        assert await scene.ask(b"PING") == b"+PONG\r\n"
        await until(lambda: socket.sent.count(b"1-0") == 300)
        assert socket.sent.startswith(b"*300\r\n")

    play(scene)


def test_each_way_to_ask_for_a_long_range_answers_the_same(play: Callable[..., None]) -> None:
    async def scene(scene: Scene) -> None:
        await scene.fill(2_000)
        forward = await answer(scene, encoded(b"XRANGE", b"t", b"-", b"+"))
        assert forward.count(b"-0\r\n") == 2_000
        queued = await answer(
            scene, encoded(b"MULTI") + encoded(b"XRANGE", b"t", b"-", b"+") + encoded(b"EXEC")
        )
        assert queued == b"+OK\r\n+QUEUED\r\n*1\r\n" + forward
        read = await answer(scene, encoded(b"XREAD", b"STREAMS", b"t", b"0"))
        assert read == b"*1\r\n*2\r\n$1\r\nt\r\n" + forward
        back = await answer(scene, encoded(b"XREVRANGE", b"t", b"+", b"-"))
        assert sorted(back.split(b"*2\r\n")[1:]) == sorted(forward.split(b"*2\r\n")[1:])
        full = await answer(scene, encoded(b"XINFO", b"STREAM", b"t", b"FULL", b"COUNT", b"0"))
        assert forward in full

    async def answer(scene: Scene, sent: bytes) -> bytes:
        connection, socket = scene.connect()
        connection.data_received(sent + encoded(b"ECHO", b"end"))
        await until(lambda: socket.sent.endswith(b"$3\r\nend\r\n"))
        return socket.sent.removesuffix(b"$3\r\nend\r\n")

    play(scene)


def test_who_asked_for_a_long_range_and_sends_no_more_is_answered(
    play: Callable[..., None],
) -> None:
    async def scene(scene: Scene) -> None:
        await scene.fill(2_000)
        connection, socket = scene.connect()
        connection.data_received(encoded(b"XRANGE", b"t", b"-", b"+") + b"PING\r\n")
        assert connection.eof_received()
        await until(lambda: socket.aborted)
        assert socket.sent.endswith(b"+PONG\r\n")

    play(scene)


def test_a_reply_that_will_never_have_room_is_refused_once(play: Callable[..., None]) -> None:
    async def scene(scene: Scene) -> None:
        engine = scene.service.engine
        with engine.lock:  # through a client they would be too much too
            for _ in range(3_000):
                engine.appender.append(b"t", [b"f", b"x" * 1_000])
        engine.wait_all()
        connection, socket = scene.connect()
        connection.data_received(
            encoded(b"XADD", b"u", b"*", b"f", b"v")  # for which the range waits
            + encoded(b"XRANGE", b"t", b"-", b"+")
            + encoded(b"PING") * 2
        )
        await until(lambda: socket.sent.endswith(b"+PONG\r\n" * 2))
        assert socket.sent.startswith(b"$3\r\n1-0\r\n-BUSY ")
        assert socket.sent.count(b"\r\n") == 5
        connection.data_received(b"PING\r\n")
        assert socket.sent.endswith(b"+PONG\r\n" * 3)

    play(scene, "--clients-bytes", "1048576")


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


class Refusing:
    """An engine, and its appender, that takes nothing, or nothing of the name `bad`, and counts
    what it is asked.
    """

    def __init__(self, problem: TimelineError) -> None:
        self.appender = self
        self.problem = problem
        self.asked = 0

    def append_run(self, names: Sequence[bytes], _: Sequence[Sequence[bytes]]) -> list[int]:
        self.asked += len(names)
        return []

    def append(self, name: bytes, _: Sequence[bytes]) -> int:
        self.asked += 1
        if name == b"bad":
            raise self.problem
        return 7


@pytest.mark.parametrize("names", [[b"bad"], [b"good", b"bad"], [b"good"] * 9 + [b"bad"]])
def test_a_refused_pipeline_costs_no_more_than_its_length(
    names: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    tell: Callable[[list[bytes], int], bool] = appends.is_append

    def count(command: list[bytes], words: int) -> bool:
        nonlocal looks
        looks += 1
        return tell(command, words)

    monkeypatch.setattr(appends, "is_append", count)
    many = 6_000 // len(names)
    commands = [[b"XADD", name, b"*", b"f", b"v"] for name in names] * many
    engine = Refusing(BusyError("no room"))
    taker = Appends(engine)
    place = taken = 0
    while place < len(commands):
        done = len(taker.take(commands, place))
        taken += done
        place += done or 1  # what is refused is carried out by itself
    assert taken == sum(command[1] == b"good" for command in commands)
    assert engine.asked <= 3 * len(commands)
    assert looks <= 3 * len(commands)


def test_a_line_that_comes_byte_by_byte_costs_no_more_than_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at = 0
    step: Callable[[Parser, bytes, int, list[list[bytes]]], int] = Parser._step

    def count(self: Parser, data: bytes, position: int, commands: list[list[bytes]]) -> int:
        nonlocal looked_at
        looked_at += len(data) - position
        return step(self, data, position, commands)

    monkeypatch.setattr(Parser, "_step", count)
    parser = Parser(Limits())
    line = b"ECHO " + b"x" * 60_000 + b"\r\n"
    found = []
    for at in range(len(line)):
        parser.feed(line[at : at + 1])
        while parser.unread:
            found += parser.next()
    assert found == [[b"ECHO", b"x" * 60_000]]
    assert looked_at <= 2 * len(line)


def test_an_unfinished_request_counts_its_objects() -> None:
    parser = Parser(Limits())
    parser.feed(b"*1000000\r\n" + b"$1\r\nx\r\n" * 10_000)
    while parser.unread:
        assert parser.next() == []
    assert parser.kept > 10_000 * (56 + 7)
    assert len(parser.forget()) == 10_000
    assert parser.kept == 0
