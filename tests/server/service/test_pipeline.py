"""Replies leave in order, and none before what it tells is durable."""

from __future__ import annotations

import asyncio
import threading
from math import inf
from pathlib import Path

import pytest

from tests.engine.stores import fail_next_write
from tests.server.scenes import SECONDS, connect
from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.log.log import CommitLog
from timeline.options import Options
from timeline_server.config import config
from timeline_server.connection import connection as connection_module
from timeline_server.logs.logger import configure
from timeline_server.service.service import Service


def test_a_write_that_changes_nothing_waits_for_what_it_saw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`DEL` finds a timeline gone while the `DEL` of another client is not durable yet."""
    held, flying = threading.Event(), threading.Event()
    held.set()
    append = CommitLog.append

    def hold(log: CommitLog, first: int, last: int, body: bytes, now: int, *, sync: bool) -> None:
        flying.set()
        assert held.wait(SECONDS)
        append(log, first, last, body, now, sync=sync)

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        settings = config.load([])
        service = Service(engine, settings, loop, configure("error", "text")[0], lambda: None, 0)
        (first, one), (second, two) = connect(service), connect(service)
        first.data_received(b"XADD t * f v\r\n")
        await asyncio.wait_for(one.written.wait(), SECONDS)
        held.clear()
        flying.clear()
        first.data_received(b"DEL t\r\n")
        await loop.run_in_executor(None, flying.wait, SECONDS)
        second.data_received(b"DEL t\r\n")
        second.data_received(b"PING\r\n")
        await asyncio.sleep(0)
        assert two.sent == b""
        held.set()
        await asyncio.wait_for(two.written.wait(), SECONDS)
        assert two.sent == b":0\r\n+PONG\r\n"
        assert one.sent.endswith(b":1\r\n")

    monkeypatch.setattr(CommitLog, "append", hold)
    with Engine(tmp_path / "store", Options(fsync="thread")) as engine:
        try:
            asyncio.run(scene())
        finally:
            held.set()


def test_a_group_that_another_thread_tells_of_lands_too(tmp_path: Path) -> None:
    """Inline, the thread that does what is due may be the one that calls who waits: a write is
    durable while that thread is busy with another one.
    """
    busy, passed = threading.Event(), threading.Event()

    def hold(_: Group) -> None:
        busy.set()
        assert passed.wait(SECONDS)

    def write_elsewhere() -> None:
        with engine.lock:
            engine.appender.append(b"other", [b"f", b"v"])
            engine.group.on_done(hold)
        engine.flush()

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        settings = config.load([])
        service = Service(engine, settings, loop, configure("error", "text")[0], lambda: None, 0)
        client, link = connect(service)
        other = loop.run_in_executor(None, write_elsewhere)
        assert await loop.run_in_executor(None, busy.wait, SECONDS)
        applied = asyncio.Event()
        engine.observers.on_apply(lambda _: applied.set())
        client.data_received(b"XADD t * f v\r\n")
        await asyncio.wait_for(applied.wait(), SECONDS)
        assert link.sent == b""
        passed.set()
        await other
        await asyncio.wait_for(link.written.wait(), SECONDS)
        assert link.sent == b"$3\r\n1-0\r\n"

    engine = Engine(tmp_path / "store", Options(fsync="inline"))
    try:
        asyncio.run(scene())
    finally:
        engine.close()


def test_the_error_takes_the_place_of_promised_writes_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is one turn, however slow the machine is, and nothing else writes meanwhile."""
    monkeypatch.setattr(connection_module, "_SECONDS", inf)
    add = b"XADD t * f v\r\n"

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        settings = config.load([])
        service = Service(engine, settings, loop, configure("error", "text")[0], lambda: None, 0)
        client, link = connect(service)
        client.data_received(add)
        await asyncio.wait_for(link.written.wait(), SECONDS)
        link.sent = b""
        fail_next_write(monkeypatch)
        client.data_received(b"PING a\r\n" + add + b"PING b\r\nXADD t 1-0 f v\r\n" + add)
        client.data_received(b"XLEN t\r\n")
        while not link.sent.endswith(b":1\r\n"):
            link.written.clear()
            await asyncio.wait_for(link.written.wait(), SECONDS)
        lines = [line for line in link.sent.split(b"\r\n") if line and line[:1] != b"$"]
        assert [line.split()[0] for line in lines] == [
            b"a",
            b"-UNCERTAIN",
            b"b",
            b"-ERR",
            b"-UNCERTAIN",
            b":1",
        ]

    engine = Engine(tmp_path / "store", Options(fsync="inline", search=False))
    try:
        asyncio.run(scene())
    finally:
        monkeypatch.undo()
        engine.close()
