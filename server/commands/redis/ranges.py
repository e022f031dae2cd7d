"""Raw timelines as Redis streams: what reads them (XLEN, XRANGE, XREVRANGE, XREAD).

Rule: entries are stored as they are sent, so a range is a header and slices of the store. No reply
grows beyond `reply_bytes`: a read that would is refused, and COUNT is the way out. A reply of more
than a page is made in turns, between those of others. It shows all the same what one moment would
have shown; where XREAD names several timelines, each has a moment of its own. In-boxes (`@user:…`)
are read the same way and show references.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from timeline.engine.inboxview import TOP, InboxView
from timeline.formats.names import USERS
from timeline.lsm.timeline import Timeline

from ...clients.blocking import Shared
from ...clients.view import View
from ...errors import CommandError
from ...registry.command import Arguments
from ...service.making import Steps, finish
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import ENTRIES, REFERENCES, Ids, syntax_error
from ..declaring import read

_FIRST_STEP = 256  # entries read before it is known how large they are
_STEP = 4096  # entries, and
_STEP_BYTES = 256 << 10  # bytes read at a time of what is longer, about
_ATTEMPTS = 3  # at a range from which something goes while it is read, the last of them at once
_REFERENCES = 100_000  # in an in-box, for want of a number that costs nothing


def source(session: Session, view: View, name: bytes) -> tuple[View, Ids]:
    """What to read the timeline called `name` from, and how its ids are read and shown."""
    if name.startswith(USERS):
        return InboxView(session.service.engine), REFERENCES
    return view, ENTRIES


def entries(
    session: Session,
    view: View,
    name: bytes,
    first: int,
    last: int,
    count: int | None,
    *,
    reverse: bool = False,
) -> Steps:
    """Makes the entries of a range, a page at a time. Raises `CommandError` above `reply_bytes`.

    What comes meanwhile is left out. When something goes meanwhile it begins anew, and at last does
    all at once, so that the reply shows no hole that was never there.
    """
    timeline = view.find(name)
    if timeline is None or first > last:
        return [replies.EMPTY_ARRAY]
    if count is not None and count <= _FIRST_STEP:
        return [_page(view, timeline, first, last, count, reverse=reverse)]
    if not isinstance(view, InboxView):
        last = min(last, view.extent(timeline).head)
    for attempts_left in reversed(range(_ATTEMPTS)):
        made = yield from _pages(
            session, view, name, first, last, count, reverse=reverse, fixed=attempts_left == 0
        )
        if made is not None:
            return made
    raise AssertionError("nothing changes in one turn")


def _page(
    view: View, timeline: Timeline, first: int, last: int, count: int, *, reverse: bool
) -> bytes:
    page = view.read(timeline, first, last, count, reverse=reverse)
    return b"".join((replies.array_header(page.count), *page.chunks))


def _pages(
    session: Session,
    view: View,
    name: bytes,
    first: int,
    last: int,
    count: int | None,
    *,
    reverse: bool,
    fixed: bool,
) -> Generator[int, None, list[bytes] | None]:
    """An attempt at that; None when something went meanwhile. `fixed`: without a pause."""
    most = session.service.configuration.settings.reply_bytes
    left = TOP if count is None else count
    step = _FIRST_STEP
    found = size = 0
    chunks: list[bytes] = [b""]
    state = state_of(view, name)
    while left > 0 and first <= last:
        timeline = view.find(name)
        assert timeline is not None, "its state is the same"
        page = view.read(timeline, first, last, min(step, left), reverse=reverse)
        if page.last is None:
            break
        chunks += page.chunks
        size += sum(map(len, page.chunks))
        if size > most:
            raise _too_large(most)
        found += page.count
        left -= page.count
        if page.count < step:
            break
        if reverse:
            last = page.last - 1
        else:
            first = page.last + 1
        step = max(1, min(_STEP, _STEP_BYTES * found // size))
        if left > 0 and not fixed:
            ahead = _REFERENCES if isinstance(view, InboxView) else last - first + 1
            yield min(most, size + size * min(left, ahead) // found)
            if state_of(view, name) != state:
                return None
    chunks[0] = b"*%d\r\n" % found
    return chunks


def _too_large(most: int) -> CommandError:
    return CommandError(
        f"the reply would exceed {most} bytes (option reply_bytes): ask for less by COUNT"
    )


def state_of(view: View, name: bytes) -> tuple[int, ...] | None:
    """What differs once an entry has gone; in-boxes only grow and expire."""
    timeline = view.find(name)
    if timeline is None:
        return None
    if isinstance(view, InboxView):
        return (timeline.id,)
    extent = view.extent(timeline)
    return timeline.id, extent.first, extent.head - extent.length, extent.deleted


def at_once(steps: Steps) -> bytes:
    """The whole reply."""
    return b"".join(finish(steps))


def answer(session: Session, steps: Steps) -> bytes | None:
    """The reply; in EXEC it is made at once, else perhaps in turns."""
    if session.executing:
        return at_once(steps)
    return session.service.making.make(session.client, steps)


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
) -> bytes | None:
    view, ids = source(session, view, args[1])
    first = _bound(ids, low, ids.start)
    last = _bound(ids, high, ids.end)
    count = _count(args) if len(args) > 4 else None
    timeline = view.find(args[1])
    if timeline is None:
        return replies.EMPTY_ARRAY
    if count == 0:
        return replies.nil_array(session.resp)
    if first > last:
        return replies.EMPTY_ARRAY
    if count is not None and count <= _FIRST_STEP:  # as it mostly is
        return _page(view, timeline, first, last, count, reverse=reverse)
    return answer(session, entries(session, view, args[1], first, last, count, reverse=reverse))


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
    lenient=True,
    complexity="O(log N + M) for M entries returned",
)
def xrange(session: Session, args: Arguments, view: View) -> bytes | None:
    return _range(session, args, view, args[2], args[3], reverse=False)


@read(
    "XREVRANGE",
    "key end start [COUNT count]",
    "Entries of a timeline, or references of an in-box, from one id back to another, newest first.",
    group="stream",
    flags="readonly",
    lenient=True,
    complexity="O(log N + M) for M entries returned",
)
def xrevrange(session: Session, args: Arguments, view: View) -> bytes | None:
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
        """The reply, made at once, or None when there is nothing new anywhere."""
        return at_once(self.steps(view, shared)) or None

    def steps(self, view: View, shared: Shared | None = None) -> Steps:
        """Makes the reply; without a piece when there is nothing new anywhere."""
        most = self.session.service.configuration.settings.reply_bytes
        resp = self.session.resp
        pieces: list[bytes] = [b""]
        found = size = paused = 0
        for done, (name, first) in enumerate(self.positions, 1):
            asked = (name, first, self.count)
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
                raise _too_large(most)
            if size - paused > _STEP_BYTES and done < len(self.positions):
                yield min(most, size * len(self.positions) // done)
                paused = size
        if not found:
            return []
        pieces[0] = replies.map_header(found, 3) if resp == 3 else replies.array_header(found)
        return pieces

    def _one(self, view: View, name: bytes, first: int) -> Steps:
        view, ids = source(self.session, view, name)
        timeline = view.find(name)
        if timeline is None:
            return []
        if ids is ENTRIES and view.extent(timeline).head < first:  # the quickest way to know
            return []
        found = yield from entries(self.session, view, name, first, ids.top, self.count)
        return [] if found[0] == replies.EMPTY_ARRAY else [replies.bulk(name), *found]


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
    "What several timelines or in-boxes hold behind given ids; with BLOCK it waits for the first.",
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
    reading = StreamRead(session, positions, count)
    nothing = replies.nil_array(session.resp)
    if session.executing:
        return reading.answer(view, {}) or nothing
    reply = session.service.making.make(session.client, reading.steps(view), nothing)
    if reply is None or reply or block is None:
        return nothing if reply == b"" else reply
    _wait(session, names[:half], reading, nothing, block)
    return None


def _first_wanted(session: Session, view: View, name: bytes, value: bytes) -> int:
    view, ids = source(session, view, name)
    if value == b">":
        raise CommandError(
            "The > ID can be specified only when calling XREADGROUP using the GROUP <group> "
            "<consumer> option."
        )
    if value == b"+":  # Redis 7.4: the last entry
        timeline = view.find(name)
        newest = None if timeline is None else view.read(timeline, limit=1, reverse=True).last
        if newest is not None:
            return newest
    if value in (b"$", b"+"):
        if isinstance(view, InboxView):
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
                service.waiters.listen(session.client, inbox.id)

    def attempt(shared: Shared) -> bytes | None:
        follow()  # it may have been made meanwhile
        return reading.answer(service.engine, shared)

    def ended() -> None:
        for inbox in watched.values():
            watch.remove(inbox)

    service.waiters.block(session.client, names, attempt, nothing, block / 1000 or None, ended)
    follow()
