"""docs/gateway.md: its program runs and prints what is shown."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from tests.server.daemon import Daemon
from tests.test_commands import BLOCK

PAGE = (Path(__file__).parents[1] / "docs/gateway.md").read_text("utf-8")


def test_the_gateway_prints_what_is_shown(tmp_path: Path) -> None:
    program, shown = (
        next(text for language, text in BLOCK.findall(PAGE) if language == wanted)
        for wanted in ("python", "text")
    )
    daemon = Daemon(tmp_path / "data")
    try:
        ran = subprocess.run(
            [sys.executable, "-c", program.replace("port=7420", f"port={daemon.port}")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (sorted(ran.stdout.splitlines()), ran.stderr) == (sorted(shown.splitlines()), "")
    finally:
        daemon.stop()


def test_a_listener_without_retries_hears_that_its_connection_broke(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")

    async def listen() -> None:
        client: Any = redis.asyncio.Redis(port=daemon.port, protocol=3)
        listener: Any = redis.asyncio.Redis(
            port=daemon.port, protocol=3, retry=Retry(NoBackoff(), 0)
        )
        stream = listener.pubsub()
        await client.execute_command("USER.META", "bob", "*", "name", "Bob")
        await stream.execute_command("USER.SUBSCRIBE", "bob", "web", "bob", "phone")
        assert await stream.parse_response() == [b"TRIMMED", b"TRIMMED"]
        await stream.execute_command("CLIENT", "ID")
        number = await stream.parse_response()
        await client.execute_command("CLIENT", "KILL", "ID", number)
        with pytest.raises(redis.exceptions.ConnectionError):
            await stream.parse_response(block=False, timeout=30)
        await stream.aclose()
        await listener.aclose()
        await client.aclose()

    try:
        asyncio.run(listen())
    finally:
        daemon.stop()
