"""Damage is the matter of whoever reads it: others are told and answered as ever."""

from __future__ import annotations

from typing import Any

import pytest

from tests.server.scenes import Scene, encoded, until
from timeline.errors import ClosedError, CorruptError
from timeline.messaging.delivery.syncing import Reader
from timeline.messaging.delivery.watching import Watch
from timeline_server.connection.states import GONE

SEND = encoded(b"CONV.SEND", b"team", b"ann", b"*", b"text", b"hi")
MANY = 40  # more than are told in one turn


async def subscribe(scene: Scene) -> list[Any]:
    users = [b"u%d" % number for number in range(MANY)]
    await scene.ask(b"CONV.CREATE", b"team", b"ann", b"MEMBERS", b"%d" % MANY, *users)
    reader = scene.service.messages.reader
    now = reader.cursors.encode(reader.now)
    found = []
    for user in users:
        connection, socket = scene.connect()
        connection.data_received(
            encoded(b"HELLO", b"3") + encoded(b"USER.SUBSCRIBE", user, b"phone", b"AFTER", now)
        )
        await until(lambda: socket.sent.endswith(b"+OK\r\n"))  # noqa: B023
        found.append((connection, socket))
    return found


def inbox_of(scene: Scene, connection: Any) -> int:  # noqa: ANN401
    (subscriber,) = scene.service.push._by_connection[connection].values()
    inbox: int = subscriber.inbox
    return inbox


@pytest.mark.parametrize("error", [CorruptError("an in-box"), ClosedError("for a while")])
def test_one_in_box_that_cannot_be_read(
    play: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    page = Reader.page

    async def scene(scene: Scene) -> None:
        devices = await subscribe(scene)
        damaged = inbox_of(scene, devices[0][0])

        def read(reader: Reader, inbox: int, *rest: Any) -> Any:  # noqa: ANN401
            if inbox == damaged:
                raise error
            return page(reader, inbox, *rest)

        monkeypatch.setattr(Reader, "page", read)
        scene.service.push.look_all()
        await scene.ask(b"CONV.SEND", b"team", b"ann", b"*", b"text", b"hi")
        await until(lambda: all(b"$2\r\nhi\r\n" in socket.sent for _, socket in devices[1:]))
        if isinstance(error, CorruptError):
            await until(lambda: devices[0][0]._life == GONE)
        else:
            monkeypatch.undo()
            scene.service.push.look_all()  # as once the store was opened again
            await until(lambda: b"$2\r\nhi\r\n" in devices[0][1].sent)

    play(scene)


def test_what_says_whom_a_commit_concerns(
    play: Any,  # noqa: ANN401
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise CorruptError("a row")

    async def scene(scene: Scene) -> None:
        devices = await subscribe(scene)
        monkeypatch.setattr(Watch, "_news", fail)
        writer, socket = scene.connect()
        writer.data_received(SEND + encoded(b"XLEN", b"@conv:team"))
        await until(lambda: socket.sent.endswith(b":1\r\n"))
        await until(lambda: all(b"$2\r\nhi\r\n" in socket.sent for _, socket in devices))

    play(scene)
