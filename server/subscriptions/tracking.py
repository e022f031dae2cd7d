"""Tracking: clients are told when an answer that they may have kept has changed (CLIENT TRACKING).

Rule: a client that has read a key is told one time that the key changed, before the client that
changed it gets its answer. It hears nothing more of the key until it reads it again. A client may
be told too much, never too little.

A raw timeline changes when something is done to it. Every commit counts as a change of all answers
about conversations, users and timelines of the store. While writing is off, and when a group
failed, it is uncertain what is stored, so no answer may be kept. If a key changes while an answer
is on its way (a blocked read, a long range), the client is told before that answer, and again after
it.

The tracker hears of commits as they are applied, on whatever thread, and tells clients on the loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from timeline.commit.group import Group
from timeline.engine.engine import Engine
from timeline.formats import keys

from ..clients.client import Client
from ..registry.command import Command
from ..wire import replies

_MOST: Final = 10_000  # keys of one client; beyond that it may keep nothing
_OF_A_TIMELINE: Final = (keys.ROW, keys.META, keys.RETENTION)


class Tracker:
    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self._engine = engine
        self._loop = loop
        # What each has read since it was told: raw timelines, and what any commit may change.
        self._raw: dict[Client, dict[bytes, None]] = {}
        self._other: dict[Client, dict[bytes, None]] = {}
        self._by_name: dict[bytes, dict[Client, None]] = {}
        # What those have read whose answer comes later.
        self._late: dict[Client, list[bytes]] = {}
        self._changes: deque[set[bytes] | None] = deque()  # by groups; None: all
        engine.observers.on_apply(self._observe)

    # --- reading ------------------------------------------------------------------------------

    def note(self, client: Client, command: Command, args: Sequence[bytes]) -> None:
        """A client may keep the answer that it was given, or will be."""
        if command.keys is None:
            return
        found = command.keys.find(args)
        if client.waiter is not None:
            self._late[client] = found
        for key in found:
            if command.name.startswith(("CONV.", "USER.", "FEED.")) or key.startswith(b"@"):
                self._other.setdefault(client, {})[key] = None
            else:
                self._raw.setdefault(client, {})[key] = None
                self._by_name.setdefault(key, {})[client] = None
        held = len(self._raw.get(client, ())) + len(self._other.get(client, ()))
        if held > _MOST or self._engine.refusal is not None:
            self._keep_nothing(client)
            _push(client, None)

    def answered(self, client: Client) -> None:
        """A client has the answer that it waited for. What it was told meanwhile is told again."""
        found = self._late.pop(client, ())
        raw, other = self._raw.get(client, {}), self._other.get(client, {})
        again = [key for key in found if key not in raw and key not in other]
        if again:
            _push(client, again)

    def forget(self, client: Client) -> None:
        """A client does not want to be told any more, or is gone."""
        self._late.pop(client, None)
        self._keep_nothing(client)

    def _keep_nothing(self, client: Client) -> None:
        self._other.pop(client, None)
        for key in self._raw.pop(client, {}):
            self._forget(key, client)

    def _forget(self, key: bytes, client: Client) -> None:
        readers = self._by_name[key]
        del readers[client]
        if not readers:
            del self._by_name[key]

    # --- telling ------------------------------------------------------------------------------

    def _observe(self, group: Group) -> None:
        if self._raw or self._other:
            self._changes.append(_changed_by(self._engine, group))
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._tell)

    def group_done(self, group: Group) -> None:
        """A group is done, and its replies are about to leave."""
        if group.error is not None:
            self._changes.append(None)
        if self._changes:
            self._tell()

    def _tell(self) -> None:
        while self._changes:
            self._tell_of(self._changes.popleft())

    def _tell_all(self) -> None:
        for client in {**self._raw, **self._other}:
            self._keep_nothing(client)
            _push(client, None)

    def _tell_of(self, changed: set[bytes] | None) -> None:
        if changed is None:
            self._tell_all()
            return
        due: dict[Client, list[bytes]] = {
            client: list(found) for client, found in self._other.items()
        }
        self._other.clear()
        for key in changed & self._by_name.keys():
            for client in self._by_name.pop(key):
                del self._raw[client][key]
                if not self._raw[client]:
                    del self._raw[client]
                due.setdefault(client, []).append(key)
        for client, found in due.items():
            _push(client, found)


def _push(client: Client, found: list[bytes] | None) -> None:
    named = replies.nil(3) if found is None else replies.bulks(found)
    client.push(replies.push_header(2, 3) + replies.bulk(b"invalidate") + named)


def _changed_by(engine: Engine, group: Group) -> set[bytes] | None:
    """The names of timelines that a group changed; None: of any."""
    found = {timeline.name for timeline in group.appended.timelines}
    found.update(group.names)
    gone = {key[1:] for key, value in group.state.items() if key[:1] == keys.ROW and value is None}
    for key in group.state:
        if key[:1] in _OF_A_TIMELINE and key[1:] not in gone:
            timeline = engine.view.by_id.get(keys.split_number(key[1:]))
            if timeline is None:
                return None
            found.add(timeline.name)
    return found
