"""Keys: raw timelines by name (DEL, UNLINK, EXISTS, TYPE, SCAN, KEYS, DBSIZE, FLUSHALL, FLUSHDB).

Rule: these see raw timelines only, never a name that begins with `@`. In a transaction they see
what it has staged. A walk over all timelines holds the engine for one page at most. FLUSHALL is a
multi-commit command.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import randrange

from timeline.commit.draft import Draft
from timeline.engine.engine import Engine
from timeline.engine.view import View
from timeline.formats import keys as store_keys

from ...errors import CommandError
from ...registry.command import Arguments
from ...service.making import Steps
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import syntax_error, writable
from ..declaring import read, write
from ..glob import Glob, compiled
from .ranges import answer

_RESERVED = ord("@")
_MOST_COUNT = 10_000
NAMES = 2_000  # looked at by KEYS in one turn, some 4 ms
_PASSED = 1_000  # timelines of the store itself that one SCAN passes over, some 1 ms; RANDOMKEY too
_DROPS = 250  # timelines that each commit of FLUSHALL deletes: some 5 ms, for which others wait
_MOST_DROPS = 1_000  # the same inside MULTI, where there is one commit
_DROP_BYTES = 1_600  # of operations to delete one, at most, besides three times its name


def raw_names(catalog: View, prefix: bytes = b"", after: bytes | None = None) -> Iterator[bytes]:
    """Names of raw timelines in byte order. Exhaust or drop it under the engine's lock."""
    if prefix[:1] == b"@":
        return
    if prefix or (after is not None and after[:1] > b"@"):
        yield from catalog.names(prefix, after)
        return
    if after is None or after[:1] < b"@":
        for name in catalog.names(b"", after):
            if name[0] >= _RESERVED:
                break
            yield name
    # The reserved names are skipped in one step, however many they are.
    yield from catalog.names(b"", b"@" + b"\xff" * 600)


def _engine(session: Session) -> Engine:
    return session.service.engine


def _drop(args: Arguments, draft: Draft) -> bytes:
    dropped = 0
    for name in args[1:]:
        timeline = draft.find(writable(name))
        if timeline is not None:
            draft.drop(timeline)
            dropped += 1
    return replies.integer(dropped)


@write(
    "DEL",
    "key...",
    "Deletes timelines and answers how many there were.",
    group="generic",
    flags="write",
    access="RM delete",
)
def delete(session: Session, args: Arguments, draft: Draft) -> bytes:
    return _drop(args, draft)


@write(
    "UNLINK",
    "key...",
    "The same as DEL.",
    group="generic",
    flags="write fast",
    access="RM delete",
)
def unlink(session: Session, args: Arguments, draft: Draft) -> bytes:
    return _drop(args, draft)


def is_visible(view: View, name: bytes) -> bool:
    return name[:1] != b"@" and view.find(name) is not None


@read(
    "EXISTS",
    "key...",
    "How many of the keys exist.",
    group="generic",
    flags="readonly fast",
    access="RO",
)
def exists(session: Session, args: Arguments, view: View) -> bytes:
    return replies.integer(sum(is_visible(view, name) for name in args[1:]))


@read(
    "TYPE",
    "key",
    "`stream` for a timeline, else `none`.",
    group="generic",
    flags="readonly fast",
    access="RO",
)
def type_of(session: Session, args: Arguments, view: View) -> bytes:
    return b"+stream\r\n" if is_visible(view, args[1]) else b"+none\r\n"


def _ttl(session: Session, args: Arguments, view: View) -> bytes:
    return replies.integer(-1 if is_visible(view, args[1]) else -2)


for _name in ("TTL", "PTTL"):
    read(
        _name,
        "key",
        "-1 for a timeline, which never expires as a whole, else -2. See TIMELINE.RETENTION.",
        group="generic",
        flags="readonly fast",
        access="RO",
    )(_ttl)


@read(
    "RANDOMKEY",
    "",
    "The name of some raw timeline, or null.",
    group="generic",
    flags="readonly",
    complexity="O(N) for the names looked at",
)
def randomkey(session: Session, args: Arguments, view: View) -> bytes:
    chance = randrange(_engine(session).stage.next_id)  # noqa: S311  no secret
    for after in (chance, 0):
        for _, name in islice(view.ids(after), _PASSED):
            if name[:1] != b"@":
                return replies.bulk(name)
    found = next(raw_names(view), None)
    return replies.nil(session.resp) if found is None else replies.bulk(found)


@read("DBSIZE", "", "How many raw timelines there are.", flags="readonly fast")
def dbsize(session: Session, args: Arguments, view: View) -> bytes:
    return replies.integer(view.count)


@read(
    "KEYS",
    "pattern",
    "The names of raw timelines that match a glob. Prefer SCAN.",
    group="generic",
    flags="readonly",
    complexity="O(N) for N timelines",
)
def keys(session: Session, args: Arguments, view: View) -> bytes | None:
    return answer(session, matching(session, view, compiled(args[1])))


def matching(session: Session, view: View, glob: Glob) -> Steps:
    """The names that match, some in each turn: all that are there throughout, and perhaps those
    that come or go meanwhile.
    """
    most = session.service.configuration.settings.reply_bytes
    parts = [b""]
    size = looked = 0
    after: bytes | None = None
    while True:
        names = list(islice(raw_names(view, glob.prefix, after), NAMES))
        found = [replies.bulk(name) for name in names if glob.matches(name)]
        parts += found
        size += sum(map(len, found))
        if size > most:
            raise CommandError(
                f"the reply would exceed {most} bytes (option reply_bytes): use SCAN"
            )
        if len(names) < NAMES:
            break
        looked += len(names)
        after = names[-1]
        yield min(most, size * max(1, view.count // looked))
    parts[0] = replies.array_header(len(parts) - 1)
    return parts


@read(
    "SCAN",
    "cursor [MATCH pattern] [COUNT count] [TYPE type]",
    "The names of raw timelines, a page at a time, until the cursor is 0.",
    group="generic",
    lenient=True,
    flags="readonly",
    complexity="O(N) for the timelines looked at",
)
def scan(session: Session, args: Arguments, view: View) -> bytes:
    """A cursor is the id of the last timeline looked at. Ids are given in order, once, and never
    change. So a walk returns what is there throughout, whatever comes and goes meanwhile.
    """
    cursor, glob, count, kind = _scan_options(args)
    names: list[bytes] = []
    following = passed = 0
    for timeline_id, name in view.ids(cursor):
        if name[:1] == b"@":
            passed += 1
        else:
            count -= 1
            if glob.matches(name):
                names.append(name)
        if not count or passed == _PASSED:
            following = timeline_id
            break
    if kind != b"stream":
        names = []
    return replies.array([replies.bulk(b"%d" % following), replies.bulks(names)])


def _scan_options(args: Arguments) -> tuple[int, Glob, int, bytes]:
    if not args[1].isdigit() or len(args[1]) > 20 or int(args[1]) > store_keys.MAX:
        raise CommandError("invalid cursor")
    glob, count, kind = b"*", 10, b"stream"
    at = 2
    while at < len(args):
        word = args[at].upper()
        if at + 1 >= len(args):
            raise syntax_error()
        value = args[at + 1]
        if word == b"MATCH":
            glob = value
        elif word == b"COUNT":
            count = arguments.integer(value)
            if count < 1:
                raise syntax_error()
            count = min(count, _MOST_COUNT)
        elif word == b"TYPE":
            kind = value.lower()
        else:
            raise syntax_error()
        at += 2
    return int(args[1]), compiled(glob), count, kind


@write(
    "FLUSHALL",
    "[ASYNC|SYNC]",
    "Deletes every raw timeline; conversations and users stay. It takes several commits, "
    "and others may append between them. What is made meanwhile may go or stay.",
    lenient=True,
    flags="write",
    complexity="O(N) for N timelines",
)
def flushall(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    return _flush(session, args, draft)


@write(
    "FLUSHDB",
    "[ASYNC|SYNC]",
    "The same as FLUSHALL.",
    lenient=True,
    flags="write",
    complexity="O(N) for N timelines",
)
def flushdb(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    return _flush(session, args, draft)


def _flush(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    if len(args) > 2 or (len(args) == 2 and args[1].upper() not in (b"ASYNC", b"SYNC")):
        raise syntax_error()
    room = _engine(session).options.group_bytes // 2
    if not session.executing:
        session.service.commit_in_steps(session.client, _Clearing(_DROPS, room))
        return None
    if _Clearing(_MOST_DROPS, room)(draft):
        raise CommandError(
            f"inside MULTI, where all is one commit, {args[0].decode().upper()} deletes at most "
            f"{_MOST_DROPS} timelines in {room} bytes: call it outside MULTI",
            "TOOLARGE",
        )
    return replies.OK


class _Clearing:
    """Deletes raw timelines in order of names: with each call the next `most`, or as many as fit
    into `room` bytes of a commit. Returns True while there are more.
    """

    __slots__ = ("_after", "_most", "_room")

    def __init__(self, most: int, room: int) -> None:
        self._most = most
        self._room = room
        self._after = b""

    def __call__(self, draft: Draft) -> bool:
        room = self._room
        for count, name in enumerate(
            list(islice(raw_names(draft, after=self._after), self._most + 1))
        ):
            room -= _DROP_BYTES + 3 * len(name)
            if count == self._most or (room < 0 and count):
                return True
            timeline = draft.find(name)
            if timeline is not None:
                draft.drop(timeline)
            self._after = name
        return False
