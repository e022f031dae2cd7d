"""From the words a client sent to the handler that answers them.

Rule: one command in, one reply out. A refusal is a reply. Only `BusyError` reaches the connection
as an exception, and tells it to wait. A write gets a draft here, which becomes a commit when its
handler has returned.
"""

from __future__ import annotations

from time import perf_counter
from typing import Final

from timeline.errors import BusyError, TimelineError

from ..errors import CommandError
from ..registry.command import EXECUTE, PLAIN, READ, WRITE, Arguments, Command
from ..registry.lookup import explained, shown, unknown, unknown_subcommand, wrong_number
from ..service.session import Session
from ..wire import replies

_CACHING: Final = ("CLIENT CACHING", "CLIENT TRACKING")
_WHILE_SUBSCRIBED: Final = frozenset(
    b"SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE PING QUIT RESET".split()
)
# As Redis since 3.2.7. A web page can make a browser post to any local port, and each line of what
# it posts would be a command. The first line gives it away, or the one that names the host.
_OF_HTTP: Final = frozenset((b"post", b"host:"))
_CROSS_PROTOCOL: Final = (
    "this looks like HTTP (POST or Host:): a page in somebody's browser may be trying to send "
    "commands through it (cross-protocol scripting)"
)


def kind_of(session: Session, command: Command | None) -> int:
    """What running `command` now would be: PLAIN, READ or WRITE."""
    if command is None:
        return PLAIN
    transaction = session.transaction
    if transaction is None:
        return PLAIN if command.kind == EXECUTE else command.kind
    if command.kind != EXECUTE or transaction.failed:
        return PLAIN
    kinds = {queued.kind for queued, _ in transaction.commands}
    return WRITE if WRITE in kinds else READ if READ in kinds or session.watched else PLAIN


def perform(
    session: Session, command: Command | None, args: Arguments
) -> tuple[bytes | None, bool]:
    """Carries out one command under the engine's lock: its reply, and whether that was a refusal.

    Raises `BusyError` when a write must wait; nothing was done then.
    """
    if command is None:
        return _turn_away(session, args), True
    if command.subcommands and len(args) > 1:
        return _refuse(session, command, unknown_subcommand(command.name, args)), True
    if len(args) < command.low or len(args) > command.high >= 0:
        return _reject(session, command, explained(command, wrong_number(command))), True
    if not session.plain:
        try:
            queued = _special(session, command, args)
        except CommandError as problem:
            return _reject(session, command, problem), True
        if queued is not None:
            return queued, False
    session.last = command
    refused = False
    begin = perf_counter()
    try:
        if command.kind == READ:
            reply = command.handler(session, args, session.service.engine.view)
        else:
            reply = _run(session, command, args)
    except BusyError:
        raise
    except TimelineError as problem:
        refused = True
        reply = _refuse(session, command, explained(command, problem))
    except Exception as problem:  # a mistake of ours, which must not cost others their answers
        refused = True
        reply = _refuse(session, command, session.service.own_mistake(problem))
    seconds = perf_counter() - begin
    service = session.service
    service.seconds += seconds
    service.note(session, command, args, seconds)
    if refused:
        command.account.failures += 1
    if not session.plain or session.caching is not None:
        _track(session, command, args)
    return reply, refused


def _track(session: Session, command: Command, args: Arguments) -> None:
    """Notes what a client that keeps answers has read."""
    if command.kind == READ and session.tracks:
        session.service.tracker.note(session.client, command, args)
    if session.caching is not None and not session.transaction and command.name not in _CACHING:
        session.caching = None
        session.settle()


def _reject(session: Session, command: Command, problem: TimelineError) -> bytes:
    """Refuses a call that was not begun."""
    command.account.rejections += 1
    return _refuse(session, command, problem)


def _turn_away(session: Session, args: Arguments) -> bytes | None:
    """What calls no command: an error, or the end of a connection that speaks HTTP."""
    if args[0].lower() in _OF_HTTP:
        session.client.disconnect(_CROSS_PROTOCOL)
        return None
    begin = perf_counter()
    problem = unknown(args)  # which may look at all names for one that is like it
    session.service.seconds += perf_counter() - begin
    return _refuse(session, None, problem)


def _refuse(session: Session, command: Command | None, problem: TimelineError) -> bytes:
    """The error reply, and what the error means for an open transaction."""
    if command is not None and command.kind == EXECUTE and session.transaction is not None:
        # Redis: an EXEC that is itself wrong ends the transaction.
        session.transaction = None
        session.watched.clear()
        session.settle()
        problem = CommandError(f"Transaction discarded because of: {problem}", "EXECABORT")
    if command is None or session.transaction is not None:
        _fail_transaction(session, command)
    return session.service.refusal(problem)


def _fail_transaction(session: Session, command: Command | None) -> None:
    """A command that could not even be queued makes EXEC refuse."""
    if session.transaction is not None and (command is None or command.queued):
        session.transaction.failed = True


def _special(session: Session, command: Command, args: Arguments) -> bytes | None:
    """The reply to a command that a transaction queues; None: carry it out. Raises `CommandError`
    for one that is not allowed now.
    """
    transaction = session.transaction
    if transaction is not None and "no_multi" in command.flags:
        raise CommandError("Command not allowed inside a transaction")
    if transaction is not None and command.queued:
        size = sum(map(len, args))
        most = session.service.configuration.settings.transaction_bytes
        if transaction.bytes + size > most:
            raise CommandError(f"transaction above the limit of {most} bytes (transaction_bytes)")
        transaction.bytes += size
        transaction.objects += len(args) + 2
        transaction.commands.append((command, args))
        return replies.QUEUED
    if session.listening and session.resp == 2 and args[0].upper() not in _WHILE_SUBSCRIBED:
        raise CommandError(
            f"Can't execute '{shown(args[0]).lower()}': only (P|S)SUBSCRIBE / "
            "(P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        )
    return None


def _run(session: Session, command: Command, args: Arguments) -> bytes | None:
    """Calls a handler that does not read. One that writes is given a draft."""
    if command.kind == WRITE:
        draft = session.service.engine.begin()
        reply = command.handler(session, args, draft)
        draft.commit()
        return reply
    return command.handler(session, args)
