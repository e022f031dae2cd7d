"""Deleted names: the numbers that timelines had given out when they were deleted.

Responsibility: for the names of raw timelines deleted last, keep the highest number given out. A
timeline that is made again under such a name goes on above it. A reader that follows the name by
number (a blocked read, a position kept elsewhere) then misses nothing of what comes.

Rule: these are rows of state like any other, so commit, replay and backup need nothing of their
own. A name has rows here only while no timeline has it. The names deleted first are forgotten
first, some at a time, when there is nothing better to do.

    d ‖ name           highest number · LSN of the commit that deleted it
    e ‖ LSN ‖ name     empty: the names in the order in which they were deleted
    d                  how many names there are · an LSN below which there are none
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, Protocol

from timeline.formats import keys

_FORGOTTEN: Final = 500  # names in one commit


class State(Protocol):
    """What a commit that is not staged yet reads and writes of state."""

    @property
    def lsn(self) -> int: ...

    def get(self, key: bytes) -> bytes | None: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def remove(self, key: bytes) -> None: ...
    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]: ...


def remember(state: State, name: bytes, head: int, most: int) -> None:
    """The timeline called `name` is being deleted, and has given out numbers up to `head`.

    Some names beyond `most` may wait to be forgotten until there is nothing better to do; beyond
    twice as many they go immediately.
    """
    if most and 0 < head < keys.LAST:  # above the last there is none: it begins at 1 again
        state.put(keys.DELETED + name, keys.pair(head, state.lsn))
        state.put(_order(state.lsn, name), b"")
        count, since = _count(state)
        state.put(keys.DELETED, keys.pair(count + 1, since))
        if count >= 2 * most:
            forget(state, 2 * most)


def recall(state: State, name: bytes) -> int:
    """The highest number given out under `name`, which a timeline takes again; 0: none known."""
    found = state.get(keys.DELETED + name)
    if found is None:
        return 0
    head, lsn = keys.split_pair(found)
    state.remove(keys.DELETED + name)
    state.remove(_order(lsn, name))
    count, since = _count(state)
    state.put(keys.DELETED, keys.pair(count - 1, since))
    return head


def forget(state: State, most: int) -> bool:
    """Forget some of the names beyond `most`; whether there were any."""
    count, since = _count(state)
    excess = min(count - most, _FORGOTTEN)
    if excess <= 0:
        return False
    # What was forgotten before lies below `since`: a look from the very first would cross it all.
    found = state.scan(_order(since, b""), keys.successor(keys.DELETIONS))
    for key, _ in list(islice(found, excess)):
        since = keys.split_number(key[1:9])
        state.remove(key)
        state.remove(keys.DELETED + key[9:])
        count -= 1
    state.put(keys.DELETED, keys.pair(count, since))
    return True


def _order(lsn: int, name: bytes) -> bytes:
    return keys.DELETIONS + keys.number(lsn) + name


def _count(state: State) -> tuple[int, int]:
    value = state.get(keys.DELETED)
    return (0, 0) if value is None else keys.split_pair(value)
