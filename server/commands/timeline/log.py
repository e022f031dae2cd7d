"""LOG.*: the commit log for users' own consumers.

Rule: a consumer reads with LOG.TAIL from the LSN it has reached, does its work, and moves its
checkpoint with LOG.CONSUMER. It sees again what it did not confirm. The log is kept from the lowest
checkpoint on, within bounds. Below what is kept, LOG.TAIL answers TRIMMED.
"""

from __future__ import annotations

from timeline.engine.view import View
from timeline.errors import NoPermissionError, UsageError
from timeline.lsm.log import Change, consumer_name
from timeline.search.generations import CONSUMER

from ...clients.blocking import LOG, BlockedRead, Shared
from ...registry.command import Arguments
from ...registry.lookup import shown
from ...service.service import Service
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import syntax_error
from ..declaring import read


@read(
    "LOG.TAIL",
    "[AFTER lsn] [COUNT count] [BLOCK milliseconds]",
    "Commits after an LSN, each with its number, its time and its changes.",
    group="log",
    flags="readonly blocking",
    complexity="O(M) for M commits returned",
)
def tail(session: Session, args: Arguments, view: View) -> bytes | None:
    service = session.service
    after, at_end = 0, False
    count = service.configuration.settings.page_entries
    block: int | None = None
    if len(args) % 2 == 0:
        raise syntax_error()
    for word, value in zip(args[1::2], args[2::2], strict=True):
        match word.upper():
            case b"AFTER":
                at_end = value == b"$"
                after = service.engine.applied if at_end else arguments.lsn(value)
            case b"COUNT":
                count = min(count, arguments.count(value))
            case b"BLOCK":
                block = arguments.milliseconds(value)
            case _:
                raise syntax_error()

    service.engine.log.check_given_out(after)
    nothing = _end(service, session.resp) if at_end else replies.EMPTY_ARRAY
    blocked = TailRead(session, after, count, nothing)
    reply = blocked.read({})
    if reply is not None:
        return reply
    if block is None or session.executing:
        return nothing
    service.waiters.block(session.client, blocked, block / 1000 or None)
    return None


class TailRead(BlockedRead):
    """One LOG.TAIL: the commits after an LSN."""

    __slots__ = ("_after", "_count", "_resp", "_service")

    def __init__(self, session: Session, after: int, count: int, nothing: bytes) -> None:
        super().__init__([LOG], nothing)
        self._service = session.service
        self._resp = session.resp
        self._after = after
        self._count = count

    def read(self, shared: Shared) -> bytes | None:
        asked = (LOG, self._after, self._count, self._resp)
        if asked not in shared:
            shared[asked] = _commits(self._service, self._after, self._count, self._resp)
        return shared[asked]


def _end(service: Service, resp: int) -> bytes:
    """The last commit, without its changes: where a reader begins that follows from now on."""
    engine = service.engine
    return replies.encode([[engine.applied, engine.view.clock.time, []]], resp)


def _commits(service: Service, after: int, count: int, resp: int) -> bytes | None:
    commits = service.engine.view.commits(after, count)
    if not commits:
        return None
    found: list[replies.Value] = [
        [commit.lsn, commit.time, [_change(change) for change in commit.changes]]
        for commit in commits
    ]
    return replies.encode(found, resp)


def _change(change: Change) -> replies.Value:
    """`[kind, timeline, …]`; the name is null when the timeline was deleted since."""
    found: list[replies.Value] = [change.kind, change.timeline]
    if change.kind == "append":
        found += [change.first, change.last]
    elif change.kind != "drop":
        found.append(change.first)
    return found


@read(
    "LOG.CONSUMER",
    "name [lsn]",
    "Answers the LSN that a named consumer has reached, or moves it there.",
    group="log",
    flags="fast",
)
def consumer(session: Session, args: Arguments, view: View) -> bytes | None:
    if len(args) == 2:
        return replies.integer(session.service.engine.log.checkpoint(consumer_name(args[1])))
    _move(session, args[1], arguments.lsn(args[2]))
    return None


@read(
    "LOG.FORGET",
    "name",
    "Forgets a named consumer. The log is no longer kept for it.",
    group="log",
    flags="fast",
)
def forget(session: Session, args: Arguments, view: View) -> None:
    session.service.engine.log.checkpoint(consumer_name(args[1]))  # which says when there is none
    _move(session, args[1], None)


def _move(session: Session, name: bytes, lsn: int | None) -> None:
    """Moves a consumer, or forgets it, and answers then."""
    if session.executing:
        raise UsageError("moving a consumer is not part of a commit: call it outside MULTI")
    if consumer_name(name) == CONSUMER:
        raise NoPermissionError(
            f"{shown(name)} is the search index, which moves its own checkpoint"
        )
    engine = session.service.engine

    def move() -> bytes:
        engine.move_checkpoint(name, lsn)
        return replies.OK if lsn is None else replies.integer(lsn)

    session.service.threads.detach(session.client, move)


@read("LOG.CONSUMERS", "", "All named consumers and the LSN each has reached.", group="log")
def consumers(session: Session, args: Arguments, view: View) -> bytes:
    found = session.service.engine.log.checkpoints()
    return replies.map_header(len(found), session.resp) + b"".join(
        [replies.bulk(name) + replies.integer(lsn) for name, lsn in found.items()]
    )
