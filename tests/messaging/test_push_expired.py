"""Online push and what has expired: a stream goes on, or ends and says so; it never skips."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.adapters import Refused
from tests.messaging.doors.raw import WAIT, Raw
from tests.messaging.doors.wire import WireDoor


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[WireDoor]:
    """In-boxes that keep a second."""
    door = WireDoor(
        tmp_path / "store",
        diffusion_limit=5,
        output_pause_bytes=16_384,
        inbox_age_ms=1_000,
        seal_after_ms=1,
        retention_check_ms=1,
    )
    yield door
    door.close()


def wait_for_floor(door: WireDoor, lsn: int) -> None:
    deadline = time.monotonic() + WAIT
    while door.client.info("timeline")["inbox_floor"] < lsn:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("members", [2, 8], ids=["written to all", "read by all"])
def test_a_quiet_stream_goes_on_though_its_position_has_expired(
    forgetful: WireDoor, members: int
) -> None:
    door = forgetful
    crowd = [f"user{number}" for number in range(members)]
    door.create("team", "user0", crowd)
    door.create("other", "user0", ["eve"])
    stream = Raw(door.daemon.port)
    try:
        position = door.conversations("user1").position
        assert stream.do("USER.SUBSCRIBE", "user1", "phone", "AFTER", position) == b"OK"
        door.send("team", "user0", "1")
        assert stream.pushed()[1].seq == 1
        for number in (2, 3):
            door.send("other", "user0", "nothing for him")
            wait_for_floor(door, door.lsn())
            door.send("team", "user0", "again")
            assert stream.pushed()[1].seq == number
        door.send("other", "user0", "nothing for him")
        wait_for_floor(door, door.lsn())
        door.edit("team", 1, "which makes him look for himself", "user0")
        assert stream.pushed()[1].kind == "edit"
    finally:
        stream.close()


def test_a_stream_from_below_the_floor_is_refused(forgetful: WireDoor) -> None:
    door = forgetful
    door.create("team", "ann", ["bob"])
    position = door.conversations("bob").position
    door.send("team", "ann", "1")
    wait_for_floor(door, door.lsn())
    with pytest.raises(Refused, match="resync"):
        door.do("USER.SUBSCRIBE", "bob", "phone", "AFTER", position)


def test_a_stream_that_was_too_slow_ends_and_never_skips(forgetful: WireDoor) -> None:
    door = forgetful
    door.create("team", "ann", ["bob"])
    slow = Raw(door.daemon.port, buffer=4_096)
    try:
        position = door.conversations("bob").position
        slow.send("USER.SUBSCRIBE", "bob", "phone", "AFTER", position)
        assert slow.next() == b"OK"
        total = 4_000
        with door.daemon.client().pipeline(transaction=False) as pipe:
            for _ in range(total):
                pipe.execute_command("CONV.SEND", "team", "ann", "*", "text", "x" * 5_000)
            pipe.execute()
        wait_for_floor(door, door.lsn())
        found: list[int] = []
        cursor = position
        with suppress(AssertionError, ConnectionError):  # the daemon closed it
            while len(found) < total:
                cursor, told = slow.pushed()
                found.append(told.seq)
        assert found == list(range(1, len(found) + 1))
        assert len(found) < total
        with pytest.raises(Refused, match="resync"):
            door.do("USER.SUBSCRIBE", "bob", "phone", "AFTER", cursor)
    finally:
        slow.close()
