"""TIMELINE.*: what a timeline is, beyond its entries.

Rule: commands that read take any timeline, also one whose name begins with `@`. Metadata and
retention are changed by commits, as entries are. TIMELINE.FIND and TIMELINE.SEARCH are in `search`.
"""

from __future__ import annotations

from collections.abc import Container
from itertools import islice

from timeline.admin import compact as compaction
from timeline.admin.progress import Progress
from timeline.commit.draft import Draft
from timeline.embedded.handle import TimelineHandle
from timeline.engine.inboxview import InboxView, is_inbox
from timeline.engine.view import View
from timeline.errors import NotFoundError, UsageError, WrongTypeError
from timeline.formats.keys import MAX
from timeline.formats.names import CONVERSATIONS
from timeline.formats.rows import Retention
from timeline.lsm.timeline import Timeline

from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.session import Session
from ...wire import replies
from ...wire.entries import encode_fields
from .. import arguments
from ..arguments import syntax_error, writable
from ..declaring import read, reads, write
from ..options import Options, page_size

_PAGE_BYTES = 4 << 20  # after which a page ends
_RETENTION = {b"MAXAGE": "age", b"MAXLEN": "length", b"MAXBYTES": "size"}


def _existing(view: View | Draft, name: bytes) -> Timeline:
    timeline = view.find(name)
    if timeline is None:
        raise NotFoundError(f"there is no timeline '{shown(name)}': XADD makes one")
    return timeline


@read(
    "TIMELINE.INFO",
    "key",
    "First, head, length, age, retention of a timeline.",
    group="timeline",
    flags="readonly fast",
)
def info(session: Session, args: Arguments, view: View) -> bytes:
    timeline = _existing(view, args[1])
    if is_inbox(timeline):  # its numbers are LSNs
        extent = InboxView(session.service.engine.view).span(timeline)
    else:
        extent = view.extent(timeline)
    retention = view.retention(timeline)
    return replies.encode(
        {
            "name": timeline.name,
            "id": timeline.id,
            "first": extent.first,
            "head": extent.head,
            "length": extent.length,
            "created": extent.created,
            "maxage": retention.age,
            "maxlen": retention.length,
            "maxbytes": retention.size,
        },
        session.resp,
    )


@read(
    "TIMELINE.LIST",
    "[PREFIX prefix] [AFTER token] [COUNT count]",
    "Names of timelines in order, a page at a time; the cursor is empty at the end.",
    group="timeline",
    flags="readonly",
    complexity="O(M) for M names returned",
)
def list_(session: Session, args: Arguments, view: View) -> bytes:
    prefix, after, count = b"", None, session.service.configuration.settings.page_entries
    most = count
    for word, value in _pairs(args, 1):
        if word == b"PREFIX":
            prefix = value
        elif word == b"AFTER":
            after = value
        elif word == b"COUNT":
            count = arguments.count(value)
        else:
            raise syntax_error()
    count = min(count, most)
    names = list(islice(view.names(prefix, after), count))
    cursor = names[-1] if len(names) == count else b""
    return replies.encode({"timelines": list[replies.Value](names), "cursor": cursor}, session.resp)


@read(
    "TIMELINE.RANGE",
    "key [FROM seq] [TO seq] [SINCE milliseconds] [UNTIL milliseconds] [COUNT count] [REV]",
    "Entries with the times of their commits, bounds inclusive, a page at a time.",
    group="timeline",
    flags="readonly",
    complexity="O(log N + M) for M entries returned",
)
def range_(session: Session, args: Arguments, view: View) -> bytes:
    if session.executing:
        raise UsageError("TIMELINE.RANGE is not part of a commit: call it outside MULTI")
    timeline = _existing(view, args[1])
    if is_inbox(timeline):
        raise WrongTypeError("an in-box keeps no times: read it with XRANGE")
    first, last, count, reverse = 0, MAX, page_size(session, None), False
    since: int | None = None
    until: int | None = None
    options = Options(args, 2)
    while (word := options.word()) is not None:
        if word == b"REV":
            reverse = True
        elif word == b"FROM":
            first = arguments.message(options.value())
        elif word == b"TO":
            last = arguments.message(options.value())
        elif word == b"SINCE":
            since = arguments.moment(options.value())
        elif word == b"UNTIL":
            until = arguments.moment(options.value())
        elif word == b"COUNT":
            count = page_size(session, options.value())
        else:
            raise options.unknown()
    found: list[replies.Value] = []
    size = 0
    for entry in TimelineHandle(session.service.engine, timeline.name).range(
        first=first, last=last, since=since, until=until, limit=count, reverse=reverse
    ):
        items = [item for pair in entry.fields for item in pair]
        found.append([entry.id, entry.time, list[replies.Value](items)])
        size += sum(map(len, items))
        if size >= _PAGE_BYTES:
            break
    return replies.encode(found, session.resp)


def _pairs(args: Arguments, at: int) -> list[tuple[bytes, bytes]]:
    """Options that are a word and a value each."""
    if (len(args) - at) & 1:
        raise syntax_error()
    return [(args[index].upper(), args[index + 1]) for index in range(at, len(args), 2)]


@write(
    "TIMELINE.META",
    "key [* (field value)...]",
    "Merges metadata into a timeline and answers all of it. An empty value removes a field.",
    group="timeline",
    flags="write fast",
)
def meta(session: Session, args: Arguments, draft: Draft) -> bytes:
    timeline = _existing(draft, writable(args[1]))
    items = args[3:]
    if args[2] != b"*" or not items or len(items) & 1:
        raise syntax_error()
    found = draft.merge_metadata(timeline, zip(items[::2], items[1::2], strict=True))
    return encode_fields(found, session.resp)


@reads("TIMELINE.META", "key")
def read_meta(session: Session, args: Arguments, view: View) -> bytes:
    return encode_fields(view.metadata(_existing(view, args[1])), session.resp)


@write(
    "TIMELINE.RETENTION",
    "key [MAXAGE milliseconds] [MAXLEN count] [MAXBYTES bytes]",
    "Bounds a timeline by age, length and bytes, and answers the bounds. 0 is no bound.",
    group="timeline",
    flags="write fast",
)
def retention(session: Session, args: Arguments, draft: Draft) -> bytes:
    name = args[1]
    if not name.startswith(CONVERSATIONS):
        writable(name)
    timeline = _existing(draft, name)
    bounds = draft.retention(timeline)
    given = _bounds(args, _RETENTION)
    bounds = bounds._replace(**{_RETENTION[word]: number for word, number in given.items()})
    draft.set_retention(timeline, bounds)
    return _encode_bounds(bounds, session.resp)


@reads("TIMELINE.RETENTION", "key")
def read_retention(session: Session, args: Arguments, view: View) -> bytes:
    return _encode_bounds(view.retention(_existing(view, args[1])), session.resp)


def _bounds(args: Arguments, words: Container[bytes]) -> dict[bytes, int]:
    """Numbers by the words before them, one at least."""
    given = dict(_pairs(args, 2))
    if not given or any(word not in words for word in given):
        raise syntax_error()
    return {word: arguments.bound(word, value) for word, value in given.items()}


def _encode_bounds(bounds: Retention, resp: int) -> bytes:
    return replies.encode(
        {"maxage": bounds.age, "maxlen": bounds.length, "maxbytes": bounds.size}, resp
    )


@write(
    "TIMELINE.TRIM",
    "key [MINID seq] [MAXLEN count] [MAXAGE milliseconds]",
    "Removes entries below a number, beyond a length or older than an age, and answers how many.",
    group="timeline",
    flags="write",
    complexity="O(log N) and the entries removed where the timeline has holes",
)
def trim(session: Session, args: Arguments, draft: Draft) -> bytes:
    timeline = _existing(draft, writable(args[1]))
    bounds = _bounds(args, (b"MINID", b"MAXLEN", b"MAXAGE"))
    removed = 0
    if b"MINID" in bounds:
        removed += draft.trim(timeline, bounds[b"MINID"])
    if b"MAXAGE" in bounds:
        removed += draft.trim_to_age(timeline, bounds[b"MAXAGE"])
    if b"MAXLEN" in bounds:
        removed += draft.trim_to_length(timeline, bounds[b"MAXLEN"])
    return replies.integer(removed)


@read(
    "TIMELINE.EXCESS",
    "key [MINID seq] [MAXLEN count] [MAXAGE milliseconds] [MAXBYTES bytes]",
    "How many entries a trim or a retention with these bounds would remove.",
    group="timeline",
    complexity="O(log N), and the entries it would remove where the timeline has holes",
)
def excess(session: Session, args: Arguments, view: View) -> bytes:
    if session.executing:
        raise UsageError("this is not part of a commit: call it outside MULTI")
    timeline = _existing(view, args[1])
    bounds = _bounds(args, (b"MINID", b"MAXLEN", b"MAXAGE", b"MAXBYTES"))
    return replies.integer(
        session.service.engine.view.excess(
            timeline,
            before=bounds.get(b"MINID"),
            age=bounds.get(b"MAXAGE"),
            length=bounds.get(b"MAXLEN"),
            size=bounds.get(b"MAXBYTES"),
        )
    )


@read(
    "TIMELINE.COMPACT",
    "[key | PREFIX prefix]",
    "Merges the segments of one timeline, of some or of all, and gives their space back. "
    "Answers how many segments fewer there are.",
    group="timeline",
    complexity="O(N) for the entries stored",
)
def compact(session: Session, args: Arguments, view: View) -> None:
    engine = session.service.engine
    name, prefix = _some(session, args, view)
    session.service.threads.detach_job(
        session.client,
        "TIMELINE.COMPACT",
        lambda tell: replies.integer(
            compaction.compact(engine, name, prefix=prefix, progress=tell)
        ),
    )


@read(
    "TIMELINE.GAIN",
    "[key | PREFIX prefix]",
    "What TIMELINE.COMPACT would do: segments before and after, their bytes, and the "
    "bytes it would free.",
    group="timeline",
    complexity="O(N) for the entries stored",
)
def gain(session: Session, args: Arguments, view: View) -> None:
    engine, resp = session.service.engine, session.resp
    name, prefix = _some(session, args, view)

    def work(tell: Progress) -> bytes:
        found = compaction.gain(engine, name, prefix=prefix, progress=tell)
        return replies.encode(
            {
                "segments": found.segments,
                "after": found.after,
                "bytes": found.size,
                "freed": found.freed,
            },
            resp,
        )

    session.service.threads.detach_job(session.client, "TIMELINE.GAIN", work)


def _some(session: Session, args: Arguments, view: View) -> tuple[bytes | None, bytes]:
    """The one timeline that is meant, or the beginning of names."""
    if session.executing:
        raise UsageError("this is not part of a commit: call it outside MULTI")
    if len(args) == 1:
        return None, b""
    if len(args) == 2:
        return _existing(view, args[1]).name, b""
    if len(args) != 3 or args[1].upper() != b"PREFIX":
        raise syntax_error()
    return None, args[2]
