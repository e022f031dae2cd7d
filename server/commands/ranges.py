"""Raw timelines as Redis streams: what reads them (XLEN, XRANGE, XREVRANGE, XREAD, XINFO).

Rule: entries are stored as they are sent, so a range is a header and slices of the store. No reply
grows beyond `reply_bytes`: a read that would is refused, and COUNT is the way out. In-boxes
(`@user:…`) are read the same way and show references.
"""

from __future__ import annotations

from collections.abc import Callable

from timeline.messaging.names import USERS
from timeline.tails import Timeline
from timeline.unresolved import TOP, Unresolved

from .. import replies
from ..blocking import Shared
from ..errors import CommandError
from ..registry import Arguments, View, container, plain, read, shown
from ..session import Session
from . import arguments
from .arguments import ENTRIES, REFERENCES, Ids, syntax_error

_FIRST_STEP = 256  # entries read before it is known how large they are
_STEP_BYTES = 4 << 20


def source(session: Session, view: View, name: bytes) -> tuple[View, Ids]:
    """What to read the timeline called `name` from, and how its ids are read and shown."""
    if name.startswith(USERS):
        return Unresolved(session.service.engine), REFERENCES
    return view, ENTRIES


def entries(
    session: Session,
    view: View,
    timeline: Timeline,
    first: int,
    last: int,
    count: int | None,
    *,
    reverse: bool = False,
) -> bytes:
    """The entries of a range as a reply. Raises `CommandError` above `reply_bytes`."""
    if count is not None and count <= _FIRST_STEP:
        page = view.read(timeline, first, last, count, reverse=reverse)
        return b"".join((replies.array_header(page.count), *page.chunks))
    most = session.service.configuration.settings.reply_bytes
    left = TOP if count is None else count
    step = _FIRST_STEP
    found = size = 0
    chunks: list[bytes] = [b""]
    while left > 0 and first <= last:
        page = view.read(timeline, first, last, min(step, left), reverse=reverse)
        if page.last is None:
            break
        chunks += page.chunks
        size += sum(map(len, page.chunks))
        if size > most:
            raise CommandError(
                f"the reply would exceed {most} bytes (option reply_bytes): ask for less by COUNT"
            )
        found += page.count
        left -= page.count
        if page.count < step:
            break
        if reverse:
            last = page.last - 1
        else:
            first = page.last + 1
        step = max(1, min(8192, _STEP_BYTES * found // size))
    chunks[0] = b"*%d\r\n" % found
    return b"".join(chunks)


@read(
    "XLEN",
    "key",
    "How many entries a timeline has, or references an in-box (O(N) then).",
    group="stream",
    flags="readonly fast",
    access="RO",
)
def xlen(session: Session, args: Arguments, view: View) -> bytes:
    view, _ = source(session, view, args[1])
    timeline = view.find(args[1])
    return replies.integer(0 if timeline is None else view.extent(timeline).length)


def _range(
    session: Session, args: Arguments, view: View, low: bytes, high: bytes, *, reverse: bool
) -> bytes:
    view, ids = source(session, view, args[1])
    first = _bound(ids, low, ids.start)
    last = _bound(ids, high, ids.end)
    count = _count(args) if len(args) > 4 else None
    if count == 0:
        return replies.nil_array(session.resp)
    timeline = view.find(args[1])
    if timeline is None or first > last:
        return replies.EMPTY_ARRAY
    return entries(session, view, timeline, first, last, count, reverse=reverse)


def _bound(ids: Ids, value: bytes, read_id: Callable[[bytes], int]) -> int:
    return 0 if value == b"-" else ids.top if value == b"+" else read_id(value)


def _count(args: Arguments) -> int:
    """What the last COUNT of a range says."""
    count = 0
    for at in range(4, len(args), 2):
        if args[at].upper() != b"COUNT" or at + 1 >= len(args):
            raise syntax_error()
        count = max(0, arguments.integer(args[at + 1]))
    return count


@read(
    "XRANGE",
    "key start end [COUNT count]",
    "Entries of a timeline, or references of an in-box, from one id to another, oldest first.",
    group="stream",
    flags="readonly",
    complexity="O(log N + M) for M entries returned",
)
def xrange(session: Session, args: Arguments, view: View) -> bytes:
    return _range(session, args, view, args[2], args[3], reverse=False)


@read(
    "XREVRANGE",
    "key end start [COUNT count]",
    "Entries of a timeline, or references of an in-box, from one id back to another, newest first.",
    group="stream",
    flags="readonly",
    complexity="O(log N + M) for M entries returned",
)
def xrevrange(session: Session, args: Arguments, view: View) -> bytes:
    return _range(session, args, view, args[3], args[2], reverse=True)


class StreamRead:
    """One XREAD: what lies behind an id in each of several timelines."""

    __slots__ = ("count", "positions", "session")

    def __init__(
        self, session: Session, positions: list[tuple[bytes, int]], count: int | None
    ) -> None:
        self.session = session
        self.positions = positions  # (name, first number wanted)
        self.count = count

    def answer(self, view: View, shared: Shared) -> bytes | None:
        """The reply, or None when there is nothing new anywhere."""
        parts: list[bytes] = []
        for name, first in self.positions:
            asked = (name, first, self.count)
            if asked not in shared:
                shared[asked] = self._one(view, name, first)
            found = shared[asked]
            if found is not None:
                parts.append(found)
        if not parts:
            return None
        if self.session.resp == 3:
            return replies.map_header(len(parts), 3) + b"".join(parts)
        return replies.array([b"*2\r\n" + part for part in parts])

    def _one(self, view: View, name: bytes, first: int) -> bytes | None:
        view, ids = source(self.session, view, name)
        timeline = view.find(name)
        if timeline is None:
            return None
        if ids is ENTRIES and view.extent(timeline).head < first:  # the quickest way to know
            return None
        found = entries(self.session, view, timeline, first, ids.top, self.count)
        return None if found.startswith(replies.EMPTY_ARRAY) else replies.bulk(name) + found


@read(
    "XREAD",
    "[COUNT count] [BLOCK milliseconds] STREAMS key... id...",
    "What several timelines or in-boxes hold behind given ids; with BLOCK it waits for the first.",
    group="stream",
    flags="readonly blocking",
    complexity="O(M) for M entries returned",
)
def xread(session: Session, args: Arguments, view: View) -> bytes | None:
    count: int | None = None
    block: int | None = None
    at = 1
    while at < len(args) and args[at].upper() != b"STREAMS":
        word = args[at].upper()
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
                "Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must "
                "be specified."
            )
        raise syntax_error()
    half = len(names) // 2
    positions = [
        (name, _first_wanted(session, view, name, value))
        for name, value in zip(names[:half], names[half:], strict=True)
    ]
    reading = StreamRead(session, positions, count)
    reply = reading.answer(view, {})
    if reply is not None:
        return reply
    nothing = replies.nil_array(session.resp)
    if block is None or session.executing:
        return nothing
    _wait(session, names[:half], reading, nothing, block)
    return None


def _first_wanted(session: Session, view: View, name: bytes, value: bytes) -> int:
    view, ids = source(session, view, name)
    if value == b"+":  # Redis 7.4: the last entry
        timeline = view.find(name)
        newest = None if timeline is None else view.read(timeline, limit=1, reverse=True).last
        if newest is not None:
            return newest
    if value in (b"$", b"+"):
        if isinstance(view, Unresolved):
            return view.head + 1
        timeline = view.find(name)
        return 1 if timeline is None else view.extent(timeline).head + 1
    return ids.after(value)


def _wait(
    session: Session, names: list[bytes], reading: StreamRead, nothing: bytes, block: int
) -> None:
    """Answers once there is something; the in-boxes among `names` are watched meanwhile."""
    service = session.service
    watch = service.messages.watch
    watched: dict[bytes, int] = {}
    inboxes = [name for name in dict.fromkeys(names) if name.startswith(USERS)]

    def follow() -> None:
        for name in inboxes:
            inbox = None if name in watched else service.engine.find(name)
            if inbox is not None:
                watched[name] = inbox.id
                watch.add(inbox.id)
                service.waiters.listen(session.connection, inbox.id)

    def attempt(shared: Shared) -> bytes | None:
        follow()  # it may have been made meanwhile
        return reading.answer(service.engine, shared)

    def ended() -> None:
        for inbox in watched.values():
            watch.remove(inbox)

    service.waiters.block(session.connection, names, attempt, nothing, block / 1000 or None, ended)
    follow()


container("XINFO", "What is known of a timeline.", group="stream")


@read(
    "XINFO STREAM",
    "key [FULL [COUNT count]]",
    "Length, head, first and last entry of a timeline, or reference of an in-box.",
    group="stream",
    flags="readonly",
)
def xinfo_stream(session: Session, args: Arguments, view: View) -> bytes:
    count: int | None = 10
    if len(args) > 3:
        if args[3].upper() != b"FULL" or len(args) not in (4, 6):
            raise syntax_error()
        if len(args) == 6:
            if args[4].upper() != b"COUNT":
                raise syntax_error()
            number = arguments.integer(args[5])
            count = number if number > 0 else None
    view, ids = source(session, view, args[2])
    timeline = view.find(args[2])
    if timeline is None:
        raise CommandError("no such key")
    extent = view.extent(timeline)
    resp = session.resp
    pairs: list[tuple[str, bytes]] = [
        ("length", replies.integer(extent.length)),
        ("radix-tree-keys", replies.integer(1 if extent.length else 0)),
        ("radix-tree-nodes", replies.integer(2)),
        ("last-generated-id", _id(ids, extent.head)),
        ("max-deleted-entry-id", _id(ids, extent.deleted)),
        ("entries-added", replies.integer(extent.added)),
        ("recorded-first-entry-id", _id(ids, view.read(timeline, limit=1).last or 0)),
    ]
    if len(args) > 3:
        pairs += [
            ("entries", entries(session, view, timeline, 0, ids.top, count)),
            ("groups", replies.EMPTY_ARRAY),
        ]
    else:
        pairs += [
            ("groups", replies.integer(0)),
            ("first-entry", _entry(view, timeline, resp, reverse=False)),
            ("last-entry", _entry(view, timeline, resp, reverse=True)),
        ]
    return replies.map_header(len(pairs), resp) + b"".join(
        [replies.bulk(name.encode()) + value for name, value in pairs]
    )


def _id(ids: Ids, number: int) -> bytes:
    return replies.bulk(ids.show(number))


def _entry(view: View, timeline: Timeline, resp: int, *, reverse: bool) -> bytes:
    page = view.read(timeline, limit=1, reverse=reverse)
    return b"".join(page.chunks) if page.count else replies.nil(resp)


@read(
    "XINFO GROUPS",
    "key",
    "An empty list: there are no consumer groups.",
    group="stream",
    flags="readonly",
)
def xinfo_groups(session: Session, args: Arguments, view: View) -> bytes:
    if view.find(args[2]) is None:
        raise CommandError("no such key")
    return replies.EMPTY_ARRAY


@read(
    "XINFO CONSUMERS",
    "key group",
    "An error: there are no consumer groups.",
    group="stream",
    flags="readonly",
)
def xinfo_consumers(session: Session, args: Arguments, view: View) -> bytes:
    if view.find(args[2]) is None:
        raise CommandError("no such key")
    raise CommandError(
        f"No such consumer group '{shown(args[3])}' for key name '{shown(args[2])}'", "NOGROUP"
    )


_NO_GROUPS = (
    "consumer groups are not supported: keep a position per device or use LOG.CONSUMER, and read "
    "with XREAD"
)


def _refuse_groups(session: Session, args: Arguments) -> bytes:
    raise CommandError(_NO_GROUPS)


container("XGROUP", "Consumer groups, which are not supported.", group="stream", listed=False)
for _name in (
    "XGROUP CREATE",
    "XGROUP SETID",
    "XGROUP DESTROY",
    "XGROUP CREATECONSUMER",
    "XGROUP DELCONSUMER",
    "XREADGROUP",
    "XACK",
    "XCLAIM",
    "XAUTOCLAIM",
    "XPENDING",
):
    plain(
        _name,
        "[argument...]",
        "Not supported: answers an error that says what to use.",
        group="stream",
        listed=False,
    )(_refuse_groups)
