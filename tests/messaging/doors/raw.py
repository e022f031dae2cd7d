"""A connection of our own in RESP3, without a client library: replies and pushes as they come."""

# ruff: noqa: ANN401  what hiredis gives

from __future__ import annotations

import socket
from typing import Any

import hiredis

from tests.messaging.doors.door import Update

WAIT = 20.0


class Raw:
    """A connection of our own in RESP3: replies and pushes in the order in which they come."""

    def __init__(self, port: int, *, buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.settimeout(WAIT)
        self.reader = hiredis.Reader()
        try:
            self.socket.connect(("127.0.0.1", port))
            assert self.do("HELLO", "3")
        except BaseException:
            self.socket.close()
            raise

    def send(self, *words: str | int) -> None:
        self.send_together(words)

    def send_together(self, *commands: tuple[str | int, ...]) -> None:
        packed: list[tuple[Any, ...]] = [tuple(map(str, words)) for words in commands]
        self.socket.sendall(b"".join(map(hiredis.pack_command, packed)))

    def next(self) -> Any:
        while (found := self.reader.gets()) is False:
            data = self.socket.recv(1 << 16)
            assert data, "the daemon closed the connection"
            self.reader.feed(data)
        return found

    def do(self, *words: str | int) -> Any:
        self.send(*words)
        while True:
            found = self.next()
            if not (isinstance(found, hiredis.PushNotification)):
                return found

    def pushed(self) -> tuple[str, Update]:
        """The next frame of a stream: its cursor, and what it tells."""
        frame = self.next()
        assert isinstance(frame, hiredis.PushNotification), frame
        word, _, cursor, kind, conversation, entry_id, items = frame
        assert word == b"sync"
        fields = tuple(zip(items[::2], items[1::2], strict=True))
        seq = int(entry_id.split(b"-")[0])
        return cursor.decode(), Update(kind.decode(), conversation.decode(), seq, fields)

    def close(self) -> None:
        self.socket.close()
