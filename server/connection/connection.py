"""One client: its commands in order.

Rule: a client's commands take effect and are answered in the order sent, whatever they wait for. No
client takes more than its turn: `_WORK` of commands and requests, `output_pause_bytes` of replies,
or `_SECONDS`, whichever comes first. The rest stays here as it came, and goes on in a later turn,
after those of others (`turns`). No replies are made that the client does not take. So each client
costs a bounded amount of time and memory, and `holdings` bounds what all of them hold together.
`states` lists the states, and which may be together.

It does not know what any command means. Only appends and short reads have paths of their own, since
they make up most of the daemon's cost.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any, Final

from timeline.errors import BusyError

from ..errors import ProtocolError
from ..registry.command import READ, WRITE, Command
from ..registry.lookup import resolve
from ..service.service import Service
from ..service.session import Session
from ..wire.parser import OBJECT_BYTES, Parser, Request
from .appends import ADD, Appends
from .dispatch import kind_of, perform
from .link import Link
from .shortreads import READS, short_reads
from .states import CLOSING, ENDED, GONE, GROUP, NOTHING, OPEN, READER, REPLY, ROOM, TURN
from .table import COMMANDS

# A turn, about. A command counts as one. So do `_BYTES` of requests that are read, or `_ITEM_BYTES`
# where they are read item by item and no command is complete yet.
_WORK: Final = 1024
_BYTES: Final = 128
_ITEM_BYTES: Final = 8
_SHARE: Final = 128  # of `_WORK` is done on arrival, while others wait for their turns
_SECONDS = 0.001  # in one turn, of commands that are carried out one by one
# With no more than this waiting, a client goes on as soon as it can, and not after others.
_FEW: Final = 64  # commands
_LITTLE: Final = 16 << 10  # bytes

_ADD_COMMAND: Final = COMMANDS[b"XADD"]
_RUNS: Final = {verb: COMMANDS[verb.upper()] for verb in ADD | READS}


class Connection(Link):
    def __init__(self, service: Service) -> None:
        super().__init__(service)
        # What was received: bytes in the parser, then commands, of which those before `_place` are
        # done.
        self._parser = Parser(self._settings.limits)
        self._fault: ProtocolError | None = None
        self._commands: list[Request] = []
        self._place = 0
        self._appends = Appends(service.engine)
        lock = service.engine.lock
        self._acquire, self._release = lock.acquire, lock.release
        self._stalled_since = 0.0

    # --- the socket ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        service = self._service
        service.counters.connections += 1
        local = transport.get_extra_info("sockname")
        self.session = Session(
            id=service.next_client,
            service=service,
            client=self,
            address=_address(transport.get_extra_info("peername") or local),
            local_address=_address(local),
            created=service.loop.time(),
            active=service.loop.time(),
        )
        service.next_client += 1
        service.clients[self.session.id] = self
        service.holdings.arrive()

    def data_received(self, data: bytes) -> None:
        if self._life != OPEN or self._fault is not None:
            return
        service = self._service
        service.counters.input_bytes += len(data)
        self.session.active = service.loop.time()
        self._parser.feed(data)
        if self._waits:
            self.account()
        else:
            self._have_turn(_SHARE if service.turns.busy else _WORK)

    def eof_received(self) -> bool:
        """The client sends no more. It may still wait for replies to what it sent."""
        self._life = max(self._life, ENDED)
        if self.waiter is not None:
            return self.waiter.soon
        return bool(self._waits or self._pending or self._output.waits)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        service = self._service
        self._free()
        service.clients.pop(self.session.id, None)
        if not service.clients:
            service.emptied.set()
        service.push.forget(self)
        service.channels.forget(self)
        service.tracker.forget(self)
        if self.waiter is not None:
            service.waiters.remove(self.waiter)

    # --- what it holds ------------------------------------------------------------------------

    @property
    def input_bytes(self) -> int:
        """Bytes received and not carried out yet."""
        return self._parser.unread + self._parser.kept

    def holds(self) -> int:
        """Bytes of memory, about: what was received and not done, what was made and not taken."""
        if self._life == GONE:
            return 0
        transaction = self.session.transaction
        objects = 4 * (len(self._commands) - self._place)  # a guess: they lie in one small piece
        if transaction is not None:
            objects += transaction.objects
        return (
            self.input_bytes
            + (0 if transaction is None else transaction.bytes)
            + OBJECT_BYTES * objects
            + self._size
            + self.claimed
            + self.output_bytes
        )

    def account(self) -> None:
        """Tells what it holds, and reads from the socket or not, as that allows."""
        if self._life == GONE:
            return
        holdings, unread = self._service.holdings, self._parser.unread
        held = self.holds()
        if held != self.held:
            holdings.note(self, held)
        enough = _LITTLE if self._waits == TURN else self._settings.backlog_bytes
        if (
            self._life != OPEN
            or self._fault is not None
            or unread > enough
            or holdings.holds_back(self)
        ):
            if self._reading:
                self._reading = False
                self._transport.pause_reading()
        elif not self._reading and not (unread and self._waits):
            self._reading = True
            self._transport.resume_reading()

    # --- turns --------------------------------------------------------------------------------

    def turn(self) -> None:
        """Goes on with what waits, if that is still to be done."""
        if self._life < CLOSING:
            self._have_turn(_WORK)

    def _have_turn(self, work: int) -> None:
        """Carries out what it may of what was received. The rest waits."""
        if self._output.full:
            waits = READER
        else:
            self._acquire()  # `with` costs three times as much
            try:
                waits = self._carry_on(work)
            finally:
                self._release()
        self._waits = waits
        if self._out and self._pending is None:
            self._send_out()
        if waits == TURN:
            self._service.turns.add(self)
        elif not waits:
            self._commands, self._place = [], 0
            self._stalled_since = 0.0
            if self._fault is not None:
                self._fail()
        left = waits or self._parser.kept or self.held
        if left or not (self.session.plain and self._reading):
            self.account()
        if self._life:
            self._settle()

    def proceed(self) -> None:
        """Goes on with what waits, since what it waited for may have happened."""
        if not self._waits:
            if self.held or not self._reading:
                self.account()
        elif self._waits == TURN or self.waiter is not None or self._output.full:
            return
        elif len(self._commands) - self._place > _FEW or self._parser.unread > _LITTLE:
            self._waits = TURN
            self._service.turns.add(self)
        else:
            self.turn()

    def _carry_on(self, left: int) -> int:
        """Carries out commands until one must wait, and returns for what."""
        session, parser, service = self.session, self._parser, self._service
        commands, place = self._commands, self._place
        begun = service.seconds
        while left > 0:
            if place == len(commands):
                unread = parser.unread
                if not unread or self._life >= CLOSING:
                    return NOTHING
                try:
                    commands = parser.next()
                except ProtocolError as problem:
                    self._fault = problem
                    commands = problem.commands
                self._commands = commands
                self._place = place = self._appends.singly = 0
                left -= 1 + (unread - parser.unread) // (_BYTES if commands else _ITEM_BYTES)
                continue
            args = commands[place]
            run = None
            if session.plain:
                run = _ADD_COMMAND if args[0] == b"XADD" else _RUNS.get(args[0])
            if run is not None and (done := self._run(run, commands, place)):
                left -= done
                self._place = place = place + done
            else:
                waits = self._carry_out(args)
                if waits:
                    return waits
                left = left - 1 if service.seconds - begun <= _SECONDS else 0
                if self._commands is commands:
                    self._place = place = place + 1
                else:  # they were dropped
                    commands, place = self._commands, self._place
                if self.waiter is not None:
                    return REPLY
            if self._size > self._settings.output_pause_bytes:
                if self._pending is not None:
                    return GROUP
                self._send_out()
                left = 0
        if self._output.full:
            return READER
        return TURN if place < len(commands) or parser.unread else NOTHING

    def _run(self, command: Command, commands: list[Request], place: int) -> int:
        """Carries out together the appends or short reads from `place` on. The first command there
        is `command`.

        Returns how many those were. When it is 0, the first is carried out by itself.
        """
        begin = perf_counter()
        if command is _ADD_COMMAND:
            ids = self._appends.take(commands, place)
            if not ids:
                return 0
            self._board()
            self._out += ids
            done = len(ids)
        elif self._pending is None:
            done = self._read(commands, place)
        else:
            return 0
        if done:
            seconds = perf_counter() - begin
            self._service.note(self.session, command, commands[place], seconds, done)
        return done

    def _read(self, commands: list[Request], place: int) -> int:
        room = self._settings.output_pause_bytes - self._size
        done, reply = short_reads(self._service.engine.view, commands, place, room)
        if done:
            self._out.append(reply)
            self._size += len(reply)
        return done

    def _carry_out(self, args: Request) -> int:
        """Carries out one command, or does nothing and returns what it must wait for."""
        session = self.session
        command = resolve(args)
        kind = command.kind if command and session.plain else kind_of(session, command)
        if kind == READ and self._pending is not None:
            return GROUP
        try:
            reply, refused = perform(session, command, args)
        except BusyError as problem:
            if self._may_stall():
                return ROOM
            assert session.last is not None
            session.last.account.calls += 1
            reply, refused = self._service.refuse_late(session, problem), True
        if reply is not None:
            # Also a write that changed nothing: it may have seen what is staged and not durable.
            promises = kind == WRITE and not refused and self._service.engine.pending
            if promises:
                self._board()
            if not session.plain and session.swallows():
                return NOTHING
            if not promises and self._pending is not None:
                self._kept.append(len(self._out))
            self._out.append(reply)
            self._size += len(reply)
        return NOTHING

    def _may_stall(self) -> bool:
        """Whether a write that met BUSY waits for room. It does not any more after `busy_ms`, until
        a turn ends with nothing left.
        """
        now = self._service.loop.time()
        self._stalled_since = self._stalled_since or now
        if (now - self._stalled_since) * 1000 > self._settings.busy_ms:
            return False
        self._service.pipeline.stall(self)
        return True

    # --- closing ------------------------------------------------------------------------------

    def close(self) -> None:
        """Closes once everything answered so far is sent; later commands are not carried out."""
        self._life = max(self._life, CLOSING)
        self._commands, self._place, self._waits = [], 0, NOTHING

    def finish(self) -> None:
        """The daemon stops: no more is read, what was received is answered, then it closes."""
        self._life = max(self._life, ENDED)
        self.account()
        if self.waiter is not None and not self.waiter.soon:
            self.close()
            self._service.waiters.remove(self.waiter)
        self._settle()

    def does_nothing(self) -> bool:
        """Whether nothing is owed to the client, now or when something happens. What it does not
        take is not owed.
        """
        return not (
            self.waiter is not None
            or self._pending is not None
            or self._waits not in (NOTHING, READER)
            or self.session.listening
            or self._service.push.count(self)
        )

    def _free(self) -> None:
        """It holds nothing any more."""
        self._life = GONE
        self._service.holdings.forget(self)
        self._service.turns.dispose(self._parser.forget())
        self._commands, self._place, self._waits = [], 0, NOTHING
        self._output.drop()
        if self.session.transaction is not None:
            self._service.turns.dispose(self.session.transaction.commands)
            self.session.transaction = None

    def _fail(self) -> None:
        """Answers a protocol error after everything before it, then closes."""
        fault = self._fault
        if fault is None or self._life >= CLOSING:
            return
        self._tell(str(fault))
        self.push(self._service.refusal(fault))
        self.close()
        self._settle()


def _address(name: Any) -> str:  # noqa: ANN401  whatever the transport says
    if isinstance(name, tuple) and len(name) >= 2:
        return f"[{name[0]}]:{name[1]}" if ":" in str(name[0]) else f"{name[0]}:{name[1]}"
    return f"{name}:0" if isinstance(name, str) and name else "?:0"  # a Unix socket, as Redis
