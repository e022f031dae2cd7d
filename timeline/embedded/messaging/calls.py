"""One call of `db.messaging`: its arguments, the engine's lock, one commit or several.

Rule: arguments are checked before the lock is taken. No verb is known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from timeline.devices.updates import Update
from timeline.embedded.calls.arguments import names
from timeline.embedded.calls.lease import Lease
from timeline.embedded.calls.reading import Reading
from timeline.errors import UsageError
from timeline.formats.given import FieldsLike, Value, encode_fields
from timeline.messaging.conversations.multicommit import MultiCommit
from timeline.messaging.pages import SyncEntry
from timeline.messaging.service import Messages
from timeline.search.storeindex import StoreIndex

Ids = Iterable[Value]
DEFAULT_LIMIT: Final = 100  # rows or entries of a page, where no `limit` is given


class Calls:
    """How verbs of one store are called."""

    def __init__(self, lease: Lease, index: StoreIndex) -> None:
        self._lease = lease
        self._engine = engine = lease.engine
        self.messages = Messages(engine, index)
        self._options = engine.options

    def _reading(self) -> Reading:
        return Reading(self._engine)

    def _carry_out(self, command: MultiCommit) -> None:
        while self._engine.commit(command.step):
            pass


# --- arguments ------------------------------------------------------------------------------------


def ids(values: Ids) -> list[bytes]:
    """Users, given as a list. Raises `UsageError`."""
    return names(values, "users")


def named(values: Ids) -> list[bytes]:
    """At least one user. Raises `UsageError`."""
    found = ids(values)
    if not found:
        raise UsageError("name one user or more")
    return found


def items(fields: FieldsLike | None) -> list[bytes]:
    return [] if fields is None else encode_fields(fields)


# --- results --------------------------------------------------------------------------------------


def entry_of(update: Update) -> SyncEntry:
    return SyncEntry(update.kind, update.source.decode(), update.seq, update.fields)
