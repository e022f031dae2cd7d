"""What is known of a raw timeline as a Redis stream (XINFO), and the commands of consumer groups.

Rule: XINFO answers as Redis does for a stream without consumer groups. There are none here, so
their commands are refused with a sentence that says what to use.
"""

from __future__ import annotations

from timeline.engine.view import Source, View
from timeline.lsm.timeline import Timeline

from ...errors import CommandError
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.making import Steps, finish
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import Ids
from ..declaring import container, plain, read
from .ranges import answer, entries, source, state_of

_FULL = 10  # entries of XINFO STREAM FULL without COUNT
_ATTEMPTS = 2  # to make these in turns while something goes; then they are made in one go

container("XINFO", "What is known of a timeline.", group="stream")


@read(
    "XINFO STREAM",
    "key [FULL [COUNT count]]",
    "Length, head, first and last entry of a timeline, or of the references in an in-box.",
    group="stream",
    flags="readonly",
    lenient=True,
)
def xinfo_stream(session: Session, args: Arguments, view: View) -> bytes | None:
    _existing(source(session, view, args[2])[0], args[2])
    count = _full(args) if len(args) > 3 else None
    return answer(session, stream_facts(session, args[2], view, count, full=len(args) > 3))


def stream_facts(
    session: Session, name: bytes, view: View, count: int | None, *, full: bool
) -> Steps:
    """Makes the reply to XINFO STREAM. If it is `full` it has entries, which may take turns."""
    found, ids = source(session, view, name)
    if not full:
        pairs = [*_facts(found, name, ids), *_ends(found, name, session.resp)]
        return _reply(pairs, session.resp)
    for _ in range(_ATTEMPTS):
        state, facts = state_of(found, name), _facts(found, name, ids)
        made = yield from entries(session, found, name, 0, ids.top, count)
        if state_of(found, name) == state:  # nothing went meanwhile: they are of one moment
            break
    else:
        facts = _facts(found, name, ids)
        made = finish(entries(session, found, name, 0, ids.top, count))
    pairs = [*facts, ("entries", b"".join(made)), ("groups", replies.EMPTY_ARRAY)]
    return _reply(pairs, session.resp)


def _facts(view: Source, name: bytes, ids: Ids) -> list[tuple[str, bytes]]:
    timeline = _existing(view, name)
    extent = view.extent(timeline)
    return [
        ("length", replies.integer(extent.length)),
        ("radix-tree-keys", replies.integer(1 if extent.length else 0)),
        ("radix-tree-nodes", replies.integer(2)),
        ("last-generated-id", _id(ids, extent.head)),
        ("max-deleted-entry-id", _id(ids, extent.deleted)),
        ("entries-added", replies.integer(extent.added)),
        ("recorded-first-entry-id", _id(ids, view.read(timeline, limit=1).last or 0)),
    ]


def _ends(view: Source, name: bytes, resp: int) -> list[tuple[str, bytes]]:
    timeline = _existing(view, name)
    return [
        ("groups", replies.integer(0)),
        ("first-entry", _entry(view, timeline, resp, reverse=False)),
        ("last-entry", _entry(view, timeline, resp, reverse=True)),
    ]


def _existing(view: Source, name: bytes) -> Timeline:
    timeline = view.find(name)
    if timeline is None:
        raise CommandError("no such key")
    return timeline


def _reply(pairs: list[tuple[str, bytes]], resp: int) -> list[bytes]:
    found = [replies.map_header(len(pairs), resp)]
    for label, value in pairs:
        found += (replies.bulk(label.encode()), value)
    return found


def _full(args: Arguments) -> int | None:
    """How many entries `FULL [COUNT count]` asks for; None: all."""
    if (
        len(args) not in (4, 6)
        or args[3].upper() != b"FULL"
        or (len(args) == 6 and args[4].upper() != b"COUNT")
    ):
        raise CommandError(
            f"unknown subcommand or wrong number of arguments for '{shown(args[1])}'. "
            "Try XINFO HELP."
        )
    number = arguments.integer(args[5]) if len(args) == 6 else _FULL
    return _FULL if number < 0 else number or None


def _id(ids: Ids, number: int) -> bytes:
    return replies.bulk(ids.show(number))


def _entry(view: Source, timeline: Timeline, resp: int, *, reverse: bool) -> bytes:
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
    _existing(view, args[2])
    return replies.EMPTY_ARRAY


@read(
    "XINFO CONSUMERS",
    "key group",
    "An error: there are no consumer groups.",
    group="stream",
    flags="readonly",
)
def xinfo_consumers(session: Session, args: Arguments, view: View) -> bytes:
    _existing(view, args[2])
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
