"""MULTI, EXEC and DISCARD: several commands as one commit; WATCH and UNWATCH.

Rule: all or nothing, which is more than Redis gives. When one command of the queue is refused, none
takes effect, and EXEC answers EXECABORT with the refusal. Reads in a transaction see what it has
staged. A transaction that only reads sees one applied state. PUBLISH in a transaction sends when
the commit is durable.
"""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import BusyError, NoPermissionError, TimelineError

from ...clients.state import Transaction
from ...clients.watches import changed, mark
from ...errors import CommandError
from ...registry.command import PLAIN, READ, WRITE, Arguments, Command
from ...registry.lookup import explained
from ...service.session import Session
from ...wire import replies
from ..declaring import execute, plain, write

_MOST_WATCHED = 1024  # keys of one client


@plain(
    "MULTI",
    "",
    "Begins a transaction: the commands that follow are queued.",
    group="transactions",
    flags="noscript fast",
    queued=False,
)
def multi(session: Session, args: Arguments) -> bytes:
    if session.transaction is not None:
        raise CommandError("MULTI calls can not be nested")
    session.transaction = Transaction()
    session.settle()
    return replies.OK


@plain(
    "DISCARD",
    "",
    "Drops the queued commands.",
    group="transactions",
    flags="noscript fast",
    queued=False,
)
def discard(session: Session, args: Arguments) -> bytes:
    if session.transaction is None:
        raise CommandError("DISCARD without MULTI")
    _end(session)
    return replies.OK


def _end(session: Session) -> None:
    session.transaction = None
    session.watched.clear()
    session.settle()


@write(  # so that it sees what others have staged, and its reply waits until that is applied
    "WATCH",
    "key...",
    "The next EXEC answers null if one of these timelines has changed by then.",
    group="transactions",
    flags="noscript loading stale fast",
    complexity="O(1) for each key",
    access="RO",
    queued=False,
)
def watch(session: Session, args: Arguments, draft: Draft) -> bytes:
    if session.transaction is not None:
        raise CommandError("WATCH inside MULTI is not allowed")
    names = [name for name in args[1:] if name not in session.watched]
    if any(name.startswith(b"@") for name in names):
        raise NoPermissionError(
            "names that begin with @ belong to the store: they cannot be watched"
        )
    if len(session.watched) + len(names) > _MOST_WATCHED:
        raise CommandError(f"a client watches at most {_MOST_WATCHED} keys")
    dropped = session.service.engine.dropped
    session.watched |= {name: mark(draft, dropped, name) for name in names}
    return replies.OK


@plain(
    "UNWATCH",
    "",
    "Forgets what WATCH has named.",
    group="transactions",
    flags="noscript loading stale fast",
)
def unwatch(session: Session, args: Arguments) -> bytes:
    session.watched.clear()
    return replies.OK


@execute(
    "EXEC",
    "",
    "Carries out the queued commands as one commit, all or none.",
    group="transactions",
    flags="noscript skip_slowlog",
    complexity="that of its commands",
    queued=False,
)
def exec_(session: Session, args: Arguments) -> bytes:
    transaction = session.transaction
    if transaction is None:
        raise CommandError("EXEC without MULTI")
    if transaction.failed:
        _end(session)
        raise CommandError("Transaction discarded because of previous errors.", "EXECABORT")
    service = session.service
    writes = any(command.kind == WRITE for command, _ in transaction.commands)
    calls: list[_Call] = []
    try:
        draft = service.engine.begin() if writes else None
        view: View = service.engine.view if draft is None else draft
        if _changed(session, view):
            _end(session)
            return replies.nil_array(session.resp)
        reply = _run(session, transaction, view, calls)
        group = service.engine.latest() if draft is None else draft.commit().group
    except BusyError:  # nothing was done: the connection tries again
        transaction.afterwards.clear()
        raise
    except TimelineError:
        _end(session)
        _account(session, calls)
        raise
    _end(session)
    _account(session, calls)
    for work in transaction.afterwards:
        service.when_applied(group, work)
    return reply


def _changed(session: Session, view: View) -> bool:
    """Whether something that WATCH named has changed since."""
    dropped = session.service.engine.dropped
    return any(changed(view, dropped, name, then) for name, then in session.watched.items())


class _Call(NamedTuple):
    """A command of the transaction that was carried out."""

    command: Command
    args: Arguments
    seconds: float
    failed: bool


def _account(session: Session, calls: list[_Call]) -> None:
    for command, args, seconds, failed in calls:
        session.service.note(session, command, args, seconds)
        command.account.failures += failed


def _run(session: Session, transaction: Transaction, view: View, calls: list[_Call]) -> bytes:
    """The replies of all members. `calls` is given those that were carried out."""
    most = session.service.configuration.settings.reply_bytes
    parts: list[bytes] = []
    size = 0
    session.executing = True
    try:
        for number, (command, args) in enumerate(transaction.commands, 1):
            begin = perf_counter()
            try:
                if command.kind == PLAIN:
                    reply = command.handler(session, args)
                else:
                    reply = command.handler(session, args, view)  # a draft, if one writes
            except BusyError:
                raise
            except TimelineError as problem:
                calls.append(_Call(command, args, perf_counter() - begin, failed=True))
                raise CommandError(
                    f"Transaction discarded, nothing was done: command {number} ({command.name}): "
                    f"{problem.code} {explained(command, problem)}",
                    "EXECABORT",
                ) from problem
            calls.append(_Call(command, args, perf_counter() - begin, failed=False))
            if command.kind == READ and session.tracks:
                session.service.tracker.note(session.client, command, args)
            assert reply is not None, f"{command.name} answers immediately in EXEC"
            parts.append(reply)
            size += len(reply)
            if size > most:
                raise CommandError(
                    f"Transaction discarded, nothing was done: its reply would exceed {most} bytes "
                    "(option reply_bytes)",
                    "EXECABORT",
                )
    finally:
        session.executing = False
    return replies.array(parts)
