"""Raw timelines as Redis streams: ranges of them (XLEN, XRANGE, XREVRANGE).

Rule: entries are stored as they are sent, so a range is a header and slices of the store. No reply
grows beyond `reply_bytes`: a read that would is refused, and COUNT asks for less. A reply of more
than a page is made in turns, between those of others. Even so it shows the timeline as it was at
one moment. In-boxes (`@user:…`, `@home:…`, `@note:…`) are read the same way and show references.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from timeline.engine.inboxview import TOP, InboxView
from timeline.engine.view import Source, View
from timeline.formats.names import INBOXES
from timeline.lsm.timeline import Timeline

from ...errors import CommandError
from ...registry.command import Arguments
from ...service.making import Steps, finish
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import ENTRIES, REFERENCES, Ids, syntax_error
from ..declaring import read

_FIRST_STEP = 256  # entries of the first step, when it is not known how large they are
_STEP = 4096  # entries of a later step, at most
STEP_BYTES = 256 << 10  # bytes of a later step, about
_ATTEMPTS = 3  # at a range from which something goes while it is read; the last without a pause
_REFERENCES = 100_000  # guessed to be in an in-box: counting them would cost too much


def source(session: Session, view: View, name: bytes) -> tuple[Source, Ids]:
    """What to read the timeline called `name` from, and how its ids are read and shown."""
    if name.startswith(INBOXES):
        return InboxView(session.service.engine.view), REFERENCES
    return view, ENTRIES


def entries(
    session: Session,
    view: Source,
    name: bytes,
    first: int,
    last: int,
    count: int | None,
    *,
    reverse: bool = False,
) -> Steps:
    """Makes the entries of a range, a page at a time. Raises `CommandError` above `reply_bytes`.

    What comes meanwhile is left out. When something goes meanwhile, the range is read again; the
    last attempt reads it without a pause. So the reply shows no hole that was never there.
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
    view: Source, timeline: Timeline, first: int, last: int, count: int, *, reverse: bool
) -> bytes:
    page = view.read(timeline, first, last, count, reverse=reverse)
    return b"".join((replies.array_header(page.count), *page.chunks))


def _pages(
    session: Session,
    view: Source,
    name: bytes,
    first: int,
    last: int,
    count: int | None,
    *,
    reverse: bool,
    fixed: bool,
) -> Generator[int, None, list[bytes] | None]:
    """An attempt at a range; None when something went meanwhile. `fixed`: without a pause."""
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
        chunks += map(bytes, page.chunks)  # they may wait for long
        size += sum(map(len, page.chunks))
        if size > most:
            raise too_large(most)
        found += page.count
        left -= page.count
        if page.count < step:
            break
        if reverse:
            last = page.last - 1
        else:
            first = page.last + 1
        step = max(1, min(_STEP, STEP_BYTES * found // size))
        if left > 0 and not fixed:
            ahead = _REFERENCES if isinstance(view, InboxView) else last - first + 1
            yield min(most, size + size * min(left, ahead) // found)
            if state_of(view, name) != state:
                return None
    chunks[0] = b"*%d\r\n" % found
    return chunks


def too_large(most: int) -> CommandError:
    return CommandError(
        f"the reply would exceed {most} bytes (option reply_bytes): ask for less by COUNT"
    )


def state_of(view: Source, name: bytes) -> tuple[int, ...] | None:
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
    """The reply; in EXEC it is made in one go, else perhaps in turns."""
    if session.executing:
        return at_once(steps)
    return session.service.making.make(session.client, steps)


@read(
    "XLEN",
    "key",
    "How many entries a timeline has, or how many references an in-box has (O(N) then).",
    group="stream",
    flags="readonly fast",
    access="RO",
)
def xlen(session: Session, args: Arguments, view: View) -> bytes:
    found, _ = source(session, view, args[1])
    timeline = found.find(args[1])
    return replies.integer(0 if timeline is None else found.extent(timeline).length)


def _range(
    session: Session, args: Arguments, view: View, low: bytes, high: bytes, *, reverse: bool
) -> bytes | None:
    found, ids = source(session, view, args[1])
    first = _bound(ids, low, ids.start)
    last = _bound(ids, high, ids.end)
    count = _count(args) if len(args) > 4 else None
    timeline = found.find(args[1])
    if timeline is None:
        return replies.EMPTY_ARRAY
    if count == 0:
        return replies.nil_array(session.resp)
    if first > last:
        return replies.EMPTY_ARRAY
    if count is not None and count <= _FIRST_STEP:  # as it mostly is
        return _page(found, timeline, first, last, count, reverse=reverse)
    return answer(session, entries(session, found, args[1], first, last, count, reverse=reverse))


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
