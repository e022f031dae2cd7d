"""Devices of a user: idle ones are forgotten, and of too many one that is away makes room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, Clock
from timeline.errors import TooLargeError
from timeline.options import DAY


def test_an_idle_device_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        im = db.messaging
        im.create("team", "ann")
        im.ack("ann", "phone", im.conversations("ann").position)
        clock.now += 90 * DAY
        assert not im.sync("ann", "phone").resync
        clock.now += 1
        assert im.sync("ann", "phone").resync
        assert im.devices("ann") == []
        for number in range(32):  # it makes room for others
            im.ack("ann", f"d{number}", im.conversations("ann").position)


def test_the_device_seen_longest_ago_makes_room(tmp_path: Path, clock: Clock) -> None:
    with timeline.open(tmp_path / "store", replace(SMALL, devices=3, fsync="inline")) as db:
        im = db.messaging
        im.create("team", "ann")
        cursor = im.conversations("ann").position

        def seen(name: str) -> list[str]:
            clock.now += 1
            im.ack("ann", name, cursor)
            return sorted(each.device for each in im.devices("ann"))

        for name in ("a", "b", "c", "a"):
            seen(name)
        assert seen("d") == ["a", "c", "d"], "b was seen longest ago"
        presence = im.messages.presence
        presence.arrive(b"ann", b"c")
        assert seen("e") == ["c", "d", "e"], "c is online"
        for online in (b"d", b"e"):
            presence.arrive(b"ann", online)
        with pytest.raises(TooLargeError, match="all of them are online"):
            seen("f")
        with pytest.raises(TooLargeError):
            im.set_device("ann", "f", {"os": "x"})
        assert seen("c") == ["c", "d", "e"]
        presence.depart(b"ann", b"d")
        assert seen("f") == ["c", "e", "f"]
        assert im.sync("ann", "d").resync
