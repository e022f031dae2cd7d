"""Tracking: clients are told when an answer that they may have kept has changed (CLIENT TRACKING).

Rule: a client that has read a key is told once that it changed, before the client that changed it
has its answer. It hears nothing more of the key until it reads it again. A client may be told too
much, never too little. A raw timeline changes when something is done to it; every commit counts as
a change of answers about conversations, users and timelines of the store. While writing is off, and
when a group failed, it is not certain what stands, so nothing may be kept. What changes while an
answer is on its way (a blocked read, a long range) is told before that answer, and once more behind
it.

The tracker hears of commits as they are applied, on whatever thread, and tells clients on the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.formats import keys

from . import replies

if TYPE_CHECKING:
    from .connection import Connection
    from .registry import Command

_MOST: Final = 10_000  # keys of one client; beyond, it is told that all may have changed
_OF_A_TIMELINE: Final = (keys.ROW, keys.META, keys.RETENTION)


class Tracker:
    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        # What each has read since it was told: raw timelines, and what any commit may change.
        self._raw: dict[Connection, dict[bytes, None]] = {}
        self._other: dict[Connection, dict[bytes, None]] = {}
        self._by_name: dict[bytes, dict[Connection, None]] = {}
        # What those have read whose answer comes later.
        self._late: dict[Connection, list[bytes]] = {}
        self._changes: deque[set[bytes] | None] = deque()  # by groups; None: all
        engine.add_observer(self._observe)

    # --- reading ------------------------------------------------------------------------------

    def note(self, connection: Connection, command: Command, args: Sequence[bytes]) -> None:
        """A client was answered, or will be, and may keep the answer."""
        if command.keys is None:
            return
        found = command.keys.find(args)
        if connection.waiter is not None:
            self._late[connection] = found
        for key in found:
            if command.name.startswith(("CONV.", "USER.")) or key.startswith(b"@"):
                self._other.setdefault(connection, {})[key] = None
            else:
                self._raw.setdefault(connection, {})[key] = None
                self._by_name.setdefault(key, {})[connection] = None
        held = len(self._raw.get(connection, ())) + len(self._other.get(connection, ()))
        if held > _MOST or self._engine.stage.refusal is not None:
            self._keep_nothing(connection)
            _push(connection, None)

    def answered(self, connection: Connection) -> None:
        """A client has the answer that it waited for; it may have been told too early."""
        found = self._late.pop(connection, ())
        raw, other = self._raw.get(connection, {}), self._other.get(connection, {})
        told = [key for key in found if key not in raw and key not in other]
        if told:
            _push(connection, told)

    def forget(self, connection: Connection) -> None:
        """A client does not want to be told any more, or is gone."""
        self._late.pop(connection, None)
        self._keep_nothing(connection)

    def _keep_nothing(self, connection: Connection) -> None:
        self._other.pop(connection, None)
        for key in self._raw.pop(connection, {}):
            self._let_go(key, connection)

    def _let_go(self, key: bytes, connection: Connection) -> None:
        readers = self._by_name[key]
        del readers[connection]
        if not readers:
            del self._by_name[key]

    # --- telling ------------------------------------------------------------------------------

    def _observe(self, group: Group) -> None:
        if self._raw or self._other:
            self._changes.append(_changed_by(self._engine, group))
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._tell)

    def land(self, group: Group) -> None:
        """A group is done, and its replies are about to leave."""
        if group.error is not None:
            self._changes.append(None)
        if self._changes:
            self._tell()

    def _tell(self) -> None:
        while self._changes:
            self._tell_of(self._changes.popleft())

    def _tell_all(self) -> None:
        for connection in {**self._raw, **self._other}:
            self._keep_nothing(connection)
            _push(connection, None)

    def _tell_of(self, changed: set[bytes] | None) -> None:
        if changed is None:
            self._tell_all()
            return
        told: dict[Connection, list[bytes]] = {
            connection: list(found) for connection, found in self._other.items()
        }
        self._other.clear()
        for key in changed & self._by_name.keys():
            for connection in self._by_name.pop(key):
                del self._raw[connection][key]
                if not self._raw[connection]:
                    del self._raw[connection]
                told.setdefault(connection, []).append(key)
        for connection, found in told.items():
            _push(connection, found)


def _push(connection: Connection, found: list[bytes] | None) -> None:
    named = replies.nil(3) if found is None else replies.bulks(found)
    connection.push(replies.push_header(2, 3) + replies.bulk(b"invalidate") + named)


def _changed_by(engine: Engine, group: Group) -> set[bytes] | None:
    """The names of timelines that a group changed; None: of any."""
    found = {timeline.name for timeline in group.appended.timelines}
    found.update(group.names)
    gone = {key[1:] for key, value in group.state.items() if key[:1] == keys.ROW and value is None}
    for key in group.state:
        if key[:1] in _OF_A_TIMELINE and key[1:] not in gone:
            timeline = engine.timelines.by_id.get(keys.split_number(key[1:]))
            if timeline is None:
                return None
            found.add(timeline.name)
    return found
