"""What promises share: a device that begins and catches up, and what must change no answer."""

from __future__ import annotations

from collections.abc import Callable

from tests.messaging.doors.door import Door, Update

Own = Callable[[str], str]  # turns a name into one of the test's own
Restart = Callable[[Door], None]

DISTURBANCES: dict[str, Restart] = {
    "nothing": lambda _: None,
    "restart": lambda door: door.restart(),
    "kill": lambda door: door.kill(),
}


def begin(door: Door, user: str, device: str = "phone") -> None:
    """A device that has seen everything so far."""
    door.ack(user, device, door.conversations(user).position)


def catch_up(door: Door, user: str, device: str = "phone", limit: int = 3) -> list[Update]:
    """Everything that a device has not acknowledged, which it then does."""
    found: list[Update] = []
    page = door.sync(user, device, limit=limit)
    while True:
        assert not page.resync
        assert len(page.entries) <= limit
        found += page.entries
        door.ack(user, device, page.cursor)
        if not page.more:
            return found
        page = door.sync(user, device, limit=limit)


def kinds(told: list[Update]) -> list[tuple[str, int]]:
    return [(each.kind, each.seq) for each in told]
