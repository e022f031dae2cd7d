"""Keys: raw timelines by name (DEL, UNLINK, EXISTS, TYPE, SCAN, KEYS, DBSIZE, FLUSHALL, FLUSHDB).

Rule: these see raw timelines only, never a name that begins with `@`. Walks of all names go in
order of names and hold the engine for one page at most, except KEYS, which Redis's users know to
avoid. FLUSHALL deletes in a series of commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from timeline.engine import Draft, Engine
from timeline.formats import keys as store_keys

from .. import replies
from ..errors import CommandError
from ..registry import Arguments, View, read, write
from ..session import Session
from . import arguments
from .arguments import syntax_error, writable
from .glob import Glob, compiled

_RESERVED = ord("@")
_MOST_CURSORS = 4096
_MOST_COUNT = 10_000
_DROPS = 250  # timelines that each commit of FLUSHALL deletes: some 5 ms, for which others wait
_MOST_DROPS = 1_000  # the same inside MULTI, where there is one commit
_DROP_BYTES = 512  # of operations that deleting one takes at most, beside its name three times


def raw_names(engine: Engine, prefix: bytes = b"", after: bytes | None = None) -> Iterator[bytes]:
    """Names of raw timelines in byte order. Exhaust or drop it under the engine's lock."""
    if prefix[:1] == b"@":
        return
    if prefix or (after is not None and after[:1] > b"@"):
        yield from engine.names(prefix, after)
        return
    if after is None or after[:1] < b"@":
        for name in engine.names(b"", after):
            if name[0] >= _RESERVED:
                break
            yield name
    # From here the reserved names are jumped over, however many they are.
    yield from engine.names(b"", b"@" + b"\xff" * 600)


def matching(engine: Engine, glob: Glob, after: bytes | None = None) -> Iterator[bytes]:
    for name in raw_names(engine, glob.prefix, after):
        if glob.matches(name):
            yield name


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
    "Deletes timelines; how many there were.",
    group="generic",
    flags="write",
    access="RM delete",
)
def delete(session: Session, args: Arguments, draft: Draft) -> bytes:
    return _drop(args, draft)


@write(
    "UNLINK",
    "key...",
    "Deletes timelines; the same as DEL.",
    group="generic",
    flags="write fast",
    access="RM delete",
)
def unlink(session: Session, args: Arguments, draft: Draft) -> bytes:
    return _drop(args, draft)


def _visible(view: View, name: bytes) -> bool:
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
    return replies.integer(sum(_visible(view, name) for name in args[1:]))


@read(
    "TYPE",
    "key",
    "`stream` for a timeline, else `none`.",
    group="generic",
    flags="readonly fast",
    access="RO",
)
def type_of(session: Session, args: Arguments, view: View) -> bytes:
    return b"+stream\r\n" if _visible(view, args[1]) else b"+none\r\n"


@read("DBSIZE", "", "How many raw timelines there are.", flags="readonly fast")
def dbsize(session: Session, args: Arguments, view: View) -> bytes:
    return replies.integer(session.service.timelines())


@read(
    "KEYS",
    "pattern",
    "The names of raw timelines that match a glob. Prefer SCAN.",
    group="generic",
    flags="readonly",
    complexity="O(N) for N timelines",
)
def keys(session: Session, args: Arguments, view: View) -> bytes:
    most = session.service.configuration.settings.reply_bytes
    parts: list[bytes] = []
    size = 0
    for name in matching(_engine(session), compiled(args[1])):
        parts.append(replies.bulk(name))
        size += len(name)
        if size > most:
            raise CommandError(
                f"the reply would exceed {most} bytes (option reply_bytes): use SCAN"
            )
    return replies.array(parts)


@read(
    "SCAN",
    "cursor [MATCH pattern] [COUNT count] [TYPE type]",
    "The names of raw timelines, a page at a time, until the cursor is 0.",
    group="generic",
    flags="readonly",
    complexity="O(N) for the names looked at",
)
def scan(session: Session, args: Arguments, view: View) -> bytes:
    cursor, glob, count, kind = _scan_options(args)
    service = session.service
    after: bytes | None = None
    if cursor:
        after = service.cursors.get(cursor)
        if after is None:
            raise CommandError("invalid cursor")
    page = list(islice(raw_names(service.engine, glob.prefix, after), count))
    following = 0
    if len(page) == count:
        following = _remember(service.cursors, page[-1])
    names = [name for name in page if glob.matches(name)] if kind == b"stream" else []
    return replies.array([replies.bulk(b"%d" % following), replies.bulks(names)])


def _scan_options(args: Arguments) -> tuple[int, Glob, int, bytes]:
    if not args[1].isdigit() or len(args[1]) > 20:
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


def _remember(cursors: dict[int, bytes], name: bytes) -> int:
    """A number for the place behind `name`; the oldest are forgotten beyond a bound.

    Redis's cursors are numbers, ours are names. The number is a hash of the name, so that several
    clients that scan share the table instead of growing it.
    """
    number = (hash(name) & ((1 << 63) - 1)) or 1
    cursors.pop(number, None)
    cursors[number] = name
    while len(cursors) > _MOST_CURSORS:
        del cursors[next(iter(cursors))]
    return number


@write(
    "FLUSHALL",
    "[ASYNC|SYNC]",
    "Deletes every raw timeline; conversations and users stay. Not atomic: a series of commits, "
    "between which others may append; what is made meanwhile may go or stay.",
    flags="write",
    complexity="O(N) for N timelines",
)
def flushall(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    return _flush(session, args, draft)


@write(
    "FLUSHDB",
    "[ASYNC|SYNC]",
    "The same as FLUSHALL.",
    flags="write",
    complexity="O(N) for N timelines",
)
def flushdb(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    return _flush(session, args, draft)


def _flush(session: Session, args: Arguments, draft: Draft) -> bytes | None:
    if len(args) > 1 and args[1].upper() not in (b"ASYNC", b"SYNC"):
        raise syntax_error()
    room = _engine(session).options.group_bytes // 2
    if not session.executing:
        session.service.commit_in_steps(session.connection, _Clearing(_DROPS, room))
        return None
    if _Clearing(_MOST_DROPS, room)(draft):
        raise CommandError(
            f"inside MULTI, where all is one commit, {args[0].decode().upper()} deletes at most "
            f"{_MOST_DROPS} timelines in {room} bytes: call it outside MULTI",
            "TOOLARGE",
        )
    return replies.OK


class _Clearing:
    """Deletes raw timelines in order of names, each time the next `most` or as many as fit into
    `room` bytes of a commit; True while there are more.
    """

    __slots__ = ("_after", "_most", "_room")

    def __init__(self, most: int, room: int) -> None:
        self._most = most
        self._room = room
        self._after = b""

    def __call__(self, draft: Draft) -> bool:
        room = self._room
        for count, name in enumerate(list(islice(self._names(draft), self._most + 1))):
            room -= _DROP_BYTES + 3 * len(name)
            if count == self._most or (room < 0 and count):
                return True
            timeline = draft.find(name)
            if timeline is not None:
                draft.drop(timeline)
            self._after = name
        return False

    def _names(self, draft: Draft) -> Iterator[bytes]:
        """Names behind the last one, as they are with what is staged; those of the store not."""
        family, reserved = store_keys.NAME, store_keys.NAME + b"@"
        start, behind = family + self._after + b"\0", store_keys.successor(reserved)
        for first, last in ((start, reserved), (max(start, behind), store_keys.successor(family))):
            for key, _ in draft.scan(first, last):
                yield key[1:]
