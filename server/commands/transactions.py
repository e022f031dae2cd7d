"""MULTI, EXEC and DISCARD: several commands as one commit.

Rule: all or nothing, which is more than Redis gives: when one command of the queue is refused, none
takes effect and EXEC answers EXECABORT, with the refusal. Reads in a transaction see what it has
staged. One that only reads sees one applied state.
"""

from __future__ import annotations

from time import perf_counter
from typing import NamedTuple

from timeline.engine import Draft
from timeline.errors import BusyError, TimelineError

from .. import replies
from ..errors import CommandError
from ..registry import PLAIN, READ, WRITE, Arguments, Command, View, execute, plain
from ..session import Session, Transaction


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
    session.settle()


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
    engine = session.service.engine
    writes = any(command.kind == WRITE for command, _ in transaction.commands)
    calls: list[_Call] = []
    try:
        draft = engine.begin() if writes else None
        reply = _run(session, transaction, draft, calls)
        if draft is not None:
            draft.commit()
    except BusyError:  # nothing was done: the connection tries again
        raise
    except TimelineError:
        _end(session)
        _account(session, calls)
        raise
    _end(session)
    _account(session, calls)
    return reply


class _Call(NamedTuple):
    """A member that was carried out."""

    command: Command
    args: Arguments
    seconds: float
    failed: bool


def _account(session: Session, calls: list[_Call]) -> None:
    for command, args, seconds, failed in calls:
        session.service.note(session, command, args, seconds, 1, int(failed))


def _run(
    session: Session, transaction: Transaction, draft: Draft | None, calls: list[_Call]
) -> bytes:
    """The replies of all members; which of them were carried out goes into `calls`."""
    view: View = session.service.engine if draft is None else draft
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
                    reply = command.handler(session, args, view if command.kind == READ else draft)
            except BusyError:
                raise
            except TimelineError as problem:
                calls.append(_Call(command, args, perf_counter() - begin, failed=True))
                raise CommandError(
                    f"Transaction discarded, nothing was done: command {number} ({command.name}): "
                    f"{problem.code} {problem}",
                    "EXECABORT",
                ) from problem
            calls.append(_Call(command, args, perf_counter() - begin, failed=False))
            assert reply is not None, f"{command.name} answers at once in EXEC"
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
