"""The floor of pushing: a bare uvloop server that writes the same bytes to each subscriber.

It understands as much of the protocol as `bench.pushes` says to it: USER.SUBSCRIBE makes a
connection one of its devices, CONV.SEND writes one frame to each of them, anything else is OK. No
store, no bounds and no yielding: what remains is what the system takes for a write.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import cast

import hiredis
import uvloop

_TAIL = b"".join(
    b"$%d\r\n%b\r\n" % (len(word), word)
    for word in (b"1700000000000000-100000-0", b"message", b"crowd", b"100000-0")
) + b"*6\r\n" + b"".join(
    b"$%d\r\n%b\r\n" % (len(word), word)
    for word in (b"@from", b"u000000000000", b"@time", b"1700000000000", b"text", b"x" * 100)
)  # fmt: skip

_HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


class Bare(asyncio.Protocol):
    devices: dict[Bare, bytes]

    def __init__(self, devices: dict[Bare, bytes]) -> None:
        self.devices = devices
        self._reader = hiredis.Reader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        self.devices.pop(self, None)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (words := self._reader.gets()) is not False:
            verb = words[0].upper()
            if verb == b"USER.SUBSCRIBE":
                self.devices[self] = b">7\r\n$4\r\nsync\r\n$%d\r\n%b\r\n" % (
                    len(words[1]),
                    words[1],
                )
            elif verb == b"CONV.SEND":
                for device, prefix in self.devices.items():
                    device.transport.write(prefix + _TAIL)
            self.transport.write(_HELLO if verb == b"HELLO" else b"+OK\r\n")


async def serve(port: int) -> None:
    devices: dict[Bare, bytes] = {}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Bare(devices), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.bare", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(parser.parse_args().port))
