"""One call of the embedded API: arguments as Python has them, the engine's lock, one commit.

Rule: arguments are checked before the lock is taken, and what is wrong with one is a `UsageError`
that names it, never an error of Python's. No verb is known here.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from timeline.draft import Draft
from timeline.engine import Engine
from timeline.entry import FieldsLike, Value, encode_fields, encode_name
from timeline.errors import UsageError
from timeline.formats.keys import MAX
from timeline.lease import Lease
from timeline.messaging.pages import SyncEntry
from timeline.messaging.service import Messages
from timeline.messaging.told import Told

Ids = Iterable[Value]
PAGE: Final = 100
_LATEST: Final = (1 << 63) - 1  # milliseconds since the epoch


class Steps(Protocol):
    """A command that may take several commits."""

    def step(self, draft: Draft) -> bool: ...


class Calls:
    """How verbs of one store are called."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self._engine = engine = lease.engine
        self.messages = Messages(engine)
        self._options = engine.options

    def _reading(self) -> Reading:
        return Reading(self._engine)

    def _steps(self, command: Steps) -> None:
        while self._engine.commit(command.step):
            pass


class Reading:
    """The engine's lock, on an engine that is open."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        self._engine.lock.acquire()
        try:
            self._engine.check_usable()
        except BaseException:
            self._engine.lock.release()
            raise

    def __exit__(self, *exception: object) -> None:
        self._engine.lock.release()


# --- arguments ------------------------------------------------------------------------------------


def ids(values: Ids) -> list[bytes]:
    """Users, given as a list. Raises `UsageError`, as everything below does."""
    if isinstance(values, (str, bytes)):
        raise UsageError("several users are given as a list")
    try:
        found = list(values)
    except TypeError:
        raise UsageError(f"users are given as a list, not as {_shown(values)}") from None
    return [encode_name(value) for value in found]


def named(values: Ids) -> list[bytes]:
    """At least one user."""
    found = ids(values)
    if not found:
        raise UsageError("name one user or more")
    return found


def items(fields: FieldsLike | None) -> list[bytes]:
    return [] if fields is None else encode_fields(fields)


def one_of(value: str, choices: Sequence[str], what: str) -> int:
    if value not in choices:
        raise UsageError(f"{what} is {' or '.join(choices)}, not {_shown(value)}")
    return choices.index(value)


def sequence(value: int, what: str = "seq") -> int:
    """The number of a message, or a position."""
    return _whole(value, what, 0, MAX)


def page(limit: int) -> int:
    """How many make a page."""
    return _whole(limit, "limit", 1, MAX)


def at(value: int | None, what: str) -> int | None:
    """Milliseconds since the epoch."""
    return None if value is None else _whole(value, what, 0, _LATEST)


def text(value: str, what: str) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{what} is text, not {_shown(value)}")
    return value


def seconds(value: object, what: str) -> float:
    """A time to wait."""
    if isinstance(value, (int, float)) and value >= 0:
        return value
    raise UsageError(f"{what} is a number of seconds, 0 or more, not {_shown(value)}")


def _whole(value: int, what: str, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise UsageError(f"{what} is a whole number, not {_shown(value)}") from None
    if number < low:
        raise UsageError(f"{what} is at least {low}, not {number}")
    if number > high:
        raise UsageError(f"{what} is at most {high}, not {number}")
    return number


def _shown(value: object) -> str:
    return repr(value)[:64]


# --- results --------------------------------------------------------------------------------------


def entry_of(told: Told) -> SyncEntry:
    return SyncEntry(told.kind, told.conversation.decode(), told.seq, told.fields)
