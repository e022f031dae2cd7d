"""The promise: a long reply is made in turns, and shows what one moment would have shown."""

from __future__ import annotations

from collections.abc import Callable

from tests.server.scenes import Scene, encoded, until
from timeline_server.commands.redis.streaminfo import stream_facts
from timeline_server.service.making import finish


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
        steps = stream_facts(reader.session, b"t", scene.service.engine.view, None, full=True)
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
