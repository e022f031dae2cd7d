"""XREAD: what several raw timelines hold after given ids, and the wait for the first of it.

Rule: as for ranges. Each timeline is read at a moment of its own. In-boxes (`@user:…`,
`@home:…`, `@note:…`) are read the same way and show references.
"""

from __future__ import annotations

from timeline.engine.inboxview import InboxView
from timeline.engine.view import View
from timeline.formats.names import INBOXES

from ...clients.blocking import BlockedRead, Shared
from ...errors import CommandError
from ...registry.command import Arguments
from ...service.making import Steps
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import ENTRIES, syntax_error
from ..declaring import read
from .ranges import STEP_BYTES, at_once, entries, source, too_large


class StreamRead(BlockedRead):
    """One XREAD: what lies after an id in each of several timelines. While it waits, the in-boxes
    among them are watched.
    """

    __slots__ = ("_count", "_inboxes", "_positions", "_session", "_watched")

    def __init__(
        self, session: Session, positions: list[tuple[bytes, int]], count: int | None
    ) -> None:
        """`positions` are names, each with the first number wanted."""
        super().__init__([name for name, _ in positions], replies.nil_array(session.resp))
        self._session = session
        self._positions = positions
        self._count = count
        self._inboxes = [name for name, _ in positions if name.startswith(INBOXES)]
        self._watched: dict[bytes, int] = {}

    def read(self, shared: Shared) -> bytes | None:
        self._follow()  # an in-box may have been made meanwhile
        return self.answer(self._session.service.engine.view, shared)

    def began(self) -> None:
        self._follow()

    def ended(self) -> None:
        for inbox in self._watched.values():
            self._session.service.messages.watch.remove(inbox)

    def _follow(self) -> None:
        service = self._session.service
        for name in self._inboxes:
            inbox = None if name in self._watched else service.engine.view.find(name)
            if inbox is not None:
                self._watched[name] = inbox.id
                service.messages.watch.add(inbox.id)
                service.waiters.listen(self._session.client, inbox.id)

    def answer(self, view: View, shared: Shared) -> bytes | None:
        """The reply, made now, or None when there is nothing new anywhere."""
        return at_once(self.steps(view, shared)) or None

    def steps(self, view: View, shared: Shared | None = None) -> Steps:
        """Makes the reply; without a piece when there is nothing new anywhere."""
        most = self._session.service.configuration.settings.reply_bytes
        resp = self._session.resp
        pieces: list[bytes] = [b""]
        found = size = paused = 0
        for done, (name, first) in enumerate(self._positions, 1):
            asked = (name, first, self._count)
            if shared is None:
                made = yield from _behind(size, self._one(view, name, first), most)
            else:
                if asked not in shared:
                    shared[asked] = b"".join((yield from self._one(view, name, first)))
                made = [part] if (part := shared[asked]) else []
            if made:
                found += 1
                pieces += (b"" if resp == 3 else b"*2\r\n", *made)
                size += sum(map(len, made))
            if size > most:
                raise too_large(most)
            if size - paused > STEP_BYTES and done < len(self._positions):
                yield min(most, size * len(self._positions) // done)
                paused = size
        if not found:
            return []
        pieces[0] = replies.map_header(found, 3) if resp == 3 else replies.array_header(found)
        return pieces

    def _one(self, view: View, name: bytes, first: int) -> Steps:
        found, ids = source(self._session, view, name)
        timeline = found.find(name)
        if timeline is None:
            return []
        if ids is ENTRIES and found.extent(timeline).head < first:  # the quickest way to know
            return []
        made = yield from entries(self._session, found, name, first, ids.top, self._count)
        return [] if made[0] == replies.EMPTY_ARRAY else [replies.bulk(name), *made]


def _behind(size: int, steps: Steps, most: int) -> Steps:
    """The same steps, of a reply that has `size` bytes already and will have `most` at most."""
    while True:
        try:
            ahead = next(steps)
        except StopIteration as end:
            made: list[bytes] = end.value
            return made
        yield min(most, size + ahead)


@read(
    "XREAD",
    "[COUNT count] [BLOCK milliseconds] STREAMS key... id...",
    "What several timelines or in-boxes hold after the given ids. With BLOCK it waits "
    "for the first.",
    group="stream",
    lenient=True,
    flags="readonly blocking",
    complexity="O(M) for M entries returned",
)
def xread(session: Session, args: Arguments, view: View) -> bytes | None:
    count: int | None = None
    block: int | None = None
    at = 1
    while at < len(args) and args[at].upper() != b"STREAMS":
        word = args[at].upper()
        if word == b"NOACK" or (word == b"GROUP" and at + 2 < len(args)):
            raise CommandError(
                f"The {word.decode()} option is only supported by XREADGROUP. "
                "You called XREAD instead."
            )
        if at + 1 >= len(args) or word not in (b"COUNT", b"BLOCK"):
            raise syntax_error()
        if word == b"COUNT":
            # Redis XREAD: zero or less is no bound.
            number = arguments.integer(args[at + 1])
            count = number if number > 0 else None
        else:
            block = arguments.milliseconds(args[at + 1])
        at += 2
    names = args[at + 1 :]
    if at >= len(args) or not names or len(names) & 1:
        if at < len(args) and len(names) & 1:
            raise CommandError(
                "Unbalanced XREAD list of streams: for each stream key an ID or '$' must be "
                "specified."
            )
        raise syntax_error()
    half = len(names) // 2
    positions = [
        (name, _first_wanted(session, view, name, value))
        for name, value in zip(names[:half], names[half:], strict=True)
    ]
    blocked = StreamRead(session, positions, count)
    if session.executing:
        return blocked.answer(view, {}) or blocked.nothing
    service = session.service
    reply = service.making.make(session.client, blocked.steps(view), blocked.nothing)
    if reply is None or reply or block is None:
        return blocked.nothing if reply == b"" else reply
    service.waiters.block(session.client, blocked, block / 1000 or None)
    return None


def _first_wanted(session: Session, view: View, name: bytes, value: bytes) -> int:
    found, ids = source(session, view, name)
    if value == b">":
        raise CommandError(
            "The > ID can be specified only when calling XREADGROUP using the GROUP <group> "
            "<consumer> option."
        )
    if value == b"+":  # Redis 7.4: the last entry
        timeline = found.find(name)
        newest = None if timeline is None else found.read(timeline, limit=1, reverse=True).last
        if newest is not None:
            return newest
    if value in (b"$", b"+"):
        if isinstance(found, InboxView):
            return found.head + 1
        timeline = found.find(name)
        return 1 if timeline is None else found.extent(timeline).head + 1
    return ids.after(value)
