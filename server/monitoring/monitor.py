"""The daemon's state over HTTP, on a port of its own: /metrics, /healthz, /readyz.

Rule: it takes GET and HEAD, one request a connection, a few connections at a time, and gives each a
few seconds. Nothing that is sent here changes anything. It answers from before the store is opened
until after the last client has gone. So one can tell a daemon that opens or stops from a dead one.

/healthz is 200 as long as the loop answers. /readyz is 200 while the store is open and takes
writes, else 503 with the reason; the search index is not needed for it.
"""

from __future__ import annotations

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from typing import Final

from ..config.config import VERSION
from ..logs.logger import Logger
from ..service.service import Service
from ..sockets.listener import Listener
from . import metrics

_CONNECTIONS: Final = 32
_BACKLOG: Final = 100
_SECONDS: Final = 5.0  # for one request, from the connection to the last byte of the answer
_HEAD_BYTES: Final = 8 << 10
_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"

Answer = tuple[HTTPStatus, str, bytes]  # its status, content type and body


class Monitor:
    """Tells how `service` is, which is None until the store was opened."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self.service: Service | None = None
        self.stopping = False
        self.port: int | None = None
        self._listener: Listener | None = None
        self._open: set[asyncio.StreamWriter] = set()
        # Metrics are written out on another thread than the loop's, one scrape at a time.
        self._writing = ThreadPoolExecutor(1, "timelined-metrics")

    def listen(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        self._listener = Listener(
            loop, self._log, lambda: _CONNECTIONS - len(self._open), lambda: b""
        )

        def make() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(limit=_HEAD_BYTES, loop=loop)
            return asyncio.StreamReaderProtocol(reader, self._serve, loop=loop)

        for each in sockets:
            self._listener.listen(each, _BACKLOG, make)
        self.port = sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for writer in self._open:
            writer.transport.abort()
        self._writing.shutdown(wait=False, cancel_futures=True)

    # --- one request ----------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _CONNECTIONS:
            writer.transport.abort()
            return
        self._open.add(writer)
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_SECONDS):
                    await self._exchange(reader, writer)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            head = b""
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            status, kind, body = _text(HTTPStatus.BAD_REQUEST)
        elif words[0] not in ("GET", "HEAD"):
            status, kind, body = _text(HTTPStatus.METHOD_NOT_ALLOWED)
        else:
            status, kind, body = await self._safely(words[1].partition("?")[0])
        writer.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Allow: GET, HEAD\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
        )
        if words[0] != "HEAD":
            writer.write(body)
        writer.write_eof()  # the client takes everything, and then closes
        while await reader.read(_HEAD_BYTES):
            pass

    async def _safely(self, path: str) -> Answer:
        try:
            return await self._answer(path)
        except Exception as problem:  # a mistake of ours: the answer and the log say so
            self._log.exception("the monitor failed", path=path, problem=repr(problem))
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _answer(self, path: str) -> Answer:
        if path == "/metrics":
            return await self._metrics()
        if path == "/healthz":
            return _json(HTTPStatus.OK, status="alive", version=VERSION)
        if path == "/readyz":
            return self._readiness()
        return _text(HTTPStatus.NOT_FOUND)

    async def _metrics(self) -> Answer:
        if self.service is None:
            return _json(HTTPStatus.SERVICE_UNAVAILABLE, status="opening")
        scrape = metrics.collect(self.service)
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._writing, metrics.render, scrape)
        return HTTPStatus.OK, metrics.CONTENT_TYPE, body

    def _readiness(self) -> Answer:
        unready = HTTPStatus.SERVICE_UNAVAILABLE
        if self.stopping:
            return _json(unready, status="stopping")
        if self.service is None:
            return _json(unready, status="opening")
        refusal = self.service.engine.refusal
        if refusal is not None:
            return _json(unready, status="refusing", code=refusal.code, reason=str(refusal))
        return _json(HTTPStatus.OK, status="ready")


def _json(outcome: HTTPStatus, /, **values: str) -> Answer:
    return outcome, _JSON, json.dumps(values).encode() + b"\n"


def _text(status: HTTPStatus) -> Answer:
    known = "/metrics, /healthz and /readyz" if status == HTTPStatus.NOT_FOUND else status.phrase
    return status, _TEXT, known.encode() + b"\n"
