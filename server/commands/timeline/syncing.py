"""What USER.SYNC and FEED.SYNC share: their options, and a sync that waits.

Rule: a sync that finds nothing waits for its reader, for `sync_block_ms` at most. While it waits,
its device is online. Devices that ask for the same page share one answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from timeline.devices.waiting import Watch
from timeline.engine.view import View
from timeline.errors import UsageError

from ...clients.blocking import BlockedRead, Shared
from ...registry.command import Arguments
from ...service.session import Session
from .. import arguments
from ..arguments import syntax_error
from ..options import Options, page_size

OPTIONS = "user device [AFTER cursor] [COUNT count] [BLOCK milliseconds]"


class Asked(NamedTuple):
    """What a sync asks for: at most `most` entries. It may wait `block` ms; None: not at all."""

    user: bytes
    device: bytes
    after: bytes | None
    most: int
    block: int | None


def asked(session: Session, args: Arguments, view: View) -> Asked:
    """The arguments of a sync. It is refused in a transaction that writes."""
    options = Options(args, 3)
    after: bytes | None = None
    count: bytes | None = None
    block: int | None = None
    while (word := options.word()) is not None:
        if word == b"AFTER":
            after = options.value()
        elif word == b"COUNT":
            count = options.value()
        elif word == b"BLOCK":
            block = arguments.milliseconds(options.value())
        else:
            raise options.unknown()
    if options.at != len(args):
        raise syntax_error()
    if view.is_draft:
        raise UsageError(
            "what this transaction stages has no position yet: sync outside it, or in one that "
            "only reads"
        )
    if session.executing:
        block = None
    return Asked(args[1], args[2], after, page_size(session, count), block)


class SyncRead(BlockedRead):
    """A sync that waits for what comes after a cursor."""

    __slots__ = ("_device", "_name", "_page", "_presence", "_read", "_user", "_watch")

    def __init__(
        self,
        session: Session,
        sync: Asked,
        name: int,
        watch: Watch,
        read: Callable[[], bytes | None],
        nothing: bytes,
    ) -> None:
        """Its reader is waited for by the id `name`. `read` gives the reply, or None while there
        is nothing.
        """
        super().__init__([name], nothing)
        self._user, self._device, self._name = sync.user, sync.device, name
        self._page = (watch, name, sync.after, sync.most, session.resp)
        self._presence = session.service.messages.presence
        self._watch = watch
        self._read = read

    def read(self, shared: Shared) -> bytes | None:
        if self._page not in shared:
            shared[self._page] = self._read()
        return shared[self._page]

    def began(self) -> None:
        self._watch.add(self._name)
        self._presence.arrive(self._user, self._device)

    def ended(self) -> None:
        self._watch.remove(self._name)
        self._presence.depart(self._user, self._device)


class Page(Protocol):
    """What a sync gives."""

    @property
    def cursor(self) -> bytes: ...
    @property
    def found(self) -> bool: ...


P = TypeVar("P", bound=Page)


def answer(
    session: Session,
    wanted: Asked,
    name: Callable[[], int],
    watch: Watch,
    read: Callable[[bytes | None], P],
    encode: Callable[[P], bytes],
) -> bytes | None:
    """The page after the cursor, encoded; None when the client waits for one. `name` gives the id
    by which the reader is waited for.
    """
    page = read(wanted.after)
    if page.found or wanted.block is None:
        return encode(page)
    cursor = page.cursor

    def look() -> bytes | None:
        found = read(cursor)
        return encode(found) if found.found else None

    following = wanted._replace(after=cursor)
    blocked = SyncRead(session, following, name(), watch, look, encode(page))
    service = session.service
    most = service.configuration.settings.sync_block_ms
    service.waiters.block(session.client, blocked, min(wanted.block or most, most) / 1000)
    return None
