"""One client: its socket, its commands in order, its replies in order.

Rule: a client's commands take effect and are answered in the order sent, whatever they wait for. A
command waits for: the group of the client's own writes (reads do), a blocked read before it, room
for a write that met BUSY, or the client itself, when it does not read what it asked for. What has
come meanwhile is kept, and beyond `backlog_bytes` the socket is not read. So no client costs more
than a bounded amount of memory.

It does not know what any command means; appends and short reads alone have paths of their own,
since their cost is the daemon's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import Any, cast

from timeline.errors import BusyError, TimelineError
from timeline.formats.entries import IDS, KNOWN_IDS, resp_id

from . import replies
from .appends import ADD, appends_from, is_append
from .blocking import Waiter
from .commands import COMMANDS
from .dispatch import kind_of, perform
from .errors import ProtocolError
from .pipeline import Flight
from .protocol import Command, Parser
from .registry import READ, WRITE, resolve
from .service import Service
from .session import Session
from .shortreads import READS, short_reads

_ADD_COMMAND = COMMANDS[b"XADD"]
_RUN = 4  # how many appends are staged together rather than one by one


class Connection(asyncio.Protocol):
    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.configuration.settings
        self._parser = Parser(self._settings.limits)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.session: Session = cast(Session, None)
        # Commands that wait, and the bytes in which they came.
        self._backlog: list[Command] = []
        self._backlog_bytes = 0
        # The last flight this client has writes in, if it has not landed.
        self._flight: Flight | None = None
        # Replies to be sent, in pieces, with the flight if there is one; the indexes of those that
        # promise no write; and the bytes of those that are no ids of appended entries.
        self._out: list[bytes] = []
        self._kept: list[int] = []
        self._size = 0
        self.waiter: Waiter | None = None
        self._stalled_since = 0.0
        self._stalled = False
        self._full = False  # the client does not read
        self._reading = True
        self._fault: ProtocolError | None = None
        self._ended = False  # the client has sent its last
        self._closing = False
        self._lost = False

    # --- the socket ---------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        service = self._service
        self._transport = cast(asyncio.Transport, transport)
        service.counters.connections += 1
        self.session = Session(
            id=service.next_client,
            service=service,
            connection=self,
            address=_address(transport.get_extra_info("peername")),
            local_address=_address(transport.get_extra_info("sockname")),
            created=service.loop.time(),
            active=service.loop.time(),
        )
        service.next_client += 1
        if len(service.clients) >= service.tunables.maxclients:
            service.counters.rejected += 1
            self._lost = True
            self._transport.write(b"-ERR max number of clients reached\r\n")
            self._transport.close()
            return
        service.clients[self.session.id] = self
        self._transport.set_write_buffer_limits(high=self._settings.output_pause_bytes)

    def data_received(self, data: bytes) -> None:
        if self._lost or self._closing or self._fault is not None:
            return
        service = self._service
        service.counters.input_bytes += len(data)
        self.session.active = service.loop.time()
        try:
            commands = self._parser.feed(data)
        except ProtocolError as problem:
            commands = problem.commands
            self._fault = problem
        if self._waiting:
            self._backlog += commands
            self._backlog_bytes += len(data)
            if self._backlog_bytes > self._settings.backlog_bytes:
                self._pause()
            return
        self._execute(commands)
        if self._fault is not None:
            self._fail()

    def eof_received(self) -> bool:
        """The client sends no more; it may still wait for replies to what it sent."""
        self._ended = True
        return self.waiter is None and bool(self._backlog or self._flight)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        self._lost = True
        self._backlog = []
        service = self._service
        service.clients.pop(self.session.id, None)
        if not service.clients:
            service.emptied.set()
        service.push.forget(self)
        service.channels.forget(self)
        self.session.transaction = None
        if self.waiter is not None:
            service.waiters.remove(self.waiter)

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        # Not at once: this may be called from within a write.
        self._service.loop.call_soon(self.proceed)
        self._service.push.resume(self)

    # --- commands -----------------------------------------------------------------------------

    @property
    def input_bytes(self) -> int:
        """Bytes received and not carried out yet."""
        return self._parser.waiting_bytes + self._backlog_bytes

    @property
    def output_bytes(self) -> int:
        """Bytes the client has yet to take."""
        return self._transport.get_write_buffer_size()

    @property
    def takes_more(self) -> bool:
        """Whether something may be pushed: the client reads, and no replies wait to go first."""
        return not (self._lost or self._full or self._flight is not None)

    @property
    def _waiting(self) -> bool:
        """Whether a command that comes now must wait behind something."""
        return bool(self._backlog) or self.waiter is not None or self._full

    def _execute(self, commands: list[Command]) -> None:
        """Carries out commands until one must wait; the rest becomes the backlog."""
        session = self.session
        place, end = 0, len(commands)
        with self._service.engine.lock:
            while place < end:
                done = self._run(commands, place) if session.plain else 0
                if not done:
                    if not self._carry_out(commands[place]):
                        self._backlog = commands[place:]
                        break
                    done = 1
                place += done
                if self._size > self._settings.output_pause_bytes:
                    if self._flight is None:
                        self._send_out()
                    if self._flight is not None or self._full:
                        self._backlog = commands[place:]
                        break
                if self.waiter is not None:
                    self._backlog = commands[place:]
                    break
                if self._closing or self._lost:
                    break
        if not self._stalled:
            self._stalled_since = 0.0
        if self._flight is None:
            self._send_out()
        self._settle()

    def _run(self, commands: list[Command], place: int) -> int:
        """Carries out together what can be of the commands from `place` on: appends or short reads.

        Returns how many those were; with none, the first is one that is carried out by itself.
        """
        verb = commands[place][0]
        if verb in ADD:
            begin = perf_counter()
            done = self._append(commands, place)
            if done:
                seconds = perf_counter() - begin
                self._service.note(self.session, _ADD_COMMAND, commands[place], seconds, done, 0)
            return done
        if verb in READS and self._flight is None:
            return self._read(commands, place)
        return 0

    def _read(self, commands: list[Command], place: int) -> int:
        begin = perf_counter()
        room = self._settings.output_pause_bytes - self._size
        done, pieces, size = short_reads(self._service.engine.timelines, commands, place, room)
        if done:
            self._out += pieces
            self._size += size
            command = resolve(commands[place])
            assert command is not None
            seconds = perf_counter() - begin
            self._service.note(self.session, command, commands[place], seconds, done, 0)
        return done

    def _append(self, commands: list[Command], place: int) -> int:
        """Appends for the commands from `place` on as long as they are `XADD key * …`.

        Returns how many those were. What follows is another command, or one that the engine
        refuses: it is carried out, and refused, like any other.
        """
        if len(commands) - place < _RUN:
            return self._append_one(commands[place])
        columns = appends_from(commands, place)
        if not columns:
            return 0
        seqs: Sequence[int] = ()
        if len(columns[0]) >= _RUN:
            seqs = self._service.engine.append_run(columns[1], columns[3:])
        if not seqs:
            seqs = self._append_singly(commands[place : place + len(columns[0])])
        if seqs:
            self._board()
            if max(seqs) < KNOWN_IDS:
                self._out += [IDS[seq] for seq in seqs]
            else:
                self._out += map(resp_id, seqs)
        return len(seqs)

    def _append_one(self, command: Command) -> int:
        if not is_append(command, len(command)):
            return 0
        try:
            seq = self._service.engine.append(command[1], command[3:])
        except TimelineError:
            return 0
        self._board()
        self._out.append(IDS[seq] if seq < KNOWN_IDS else resp_id(seq))
        return 1

    def _append_singly(self, run: list[Command]) -> list[int]:
        append = self._service.engine.append
        seqs = []
        for command in run:
            try:
                seqs.append(append(command[1], command[3:]))
            except TimelineError:
                break
        return seqs

    def _carry_out(self, args: Command) -> bool:
        """Carries out one command; False when it must wait, and nothing was done."""
        session = self.session
        command = resolve(args)
        kind = command.kind if command and session.plain else kind_of(session, command)
        if kind == READ and self._flight is not None:
            return False
        try:
            reply, refused = perform(session, command, args)
        except BusyError as problem:
            if self._may_stall():
                return False
            assert session.last is not None
            session.last.account.calls += 1
            reply, refused = self._service.refuse_late(self, problem), True
        if reply is not None:
            # Also one that changed nothing: it may have seen what is staged and not durable.
            promises = kind == WRITE and not refused and self._service.engine.pending
            if promises:
                self._board()
            if not session.plain and session.swallows():
                return True
            if not promises and self._flight is not None:
                self._kept.append(len(self._out))
            self._out.append(reply)
            self._size += len(reply)
        return True

    def _board(self) -> None:
        """Makes the replies that follow leave with what was staged last."""
        flight = self._service.pipeline.flight()
        if self._flight is not flight:
            if self._flight is not None:  # those before leave earlier, with their own group
                self._out, self._kept = [], []
            else:  # those before waited for nothing
                self._kept = list(range(len(self._out)))
            flight.entries.append((self, self._out, self._kept))
            self._flight = flight

    def release(
        self, flight: Flight, out: list[bytes], kept: list[int], problem: TimelineError | None
    ) -> None:
        """Sends the replies that waited for `flight`; `problem` replaces promised writes."""
        if self._flight is flight:
            self._flight, self._out, self._kept, self._size = None, [], [], 0
        if self._lost:
            return
        if problem is not None:
            keep = set(kept)
            refusal = replies.error(problem)
            self._service.counters.errors[problem.code] += len(out) - len(keep)
            out = [reply if index in keep else refusal for index, reply in enumerate(out)]
        self._send(out)
        if self._flight is None:
            self._service.push.resume(self)
        self._settle()

    def proceed(self) -> None:
        """Goes on with what was kept, now that something it may have waited for has happened."""
        self._stalled = False
        if self._lost or self.waiter is not None or self._full:
            return
        if self._backlog:
            commands, self._backlog = self._backlog, []
            self._execute(commands)
        if self._waiting or self._lost:
            return
        self._backlog_bytes = 0
        if self._fault is not None:
            self._fail()
        elif not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def _may_stall(self) -> bool:
        """Whether a write that met BUSY waits for room; no more after `busy_ms`."""
        now = self._service.loop.time()
        self._stalled_since = self._stalled_since or now
        if (now - self._stalled_since) * 1000 > self._settings.busy_ms:
            return False
        self._stalled = True
        self._service.pipeline.stall(self)
        return True

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    # --- sending and closing ------------------------------------------------------------------

    def _send_out(self) -> None:
        """Sends the replies that wait for nothing."""
        if self._out:
            out, self._out, self._kept, self._size = self._out, [], [], 0
            self._send(out)

    def _send(self, out: list[bytes]) -> None:
        data = out[0] if len(out) == 1 else b"".join(out)
        self._service.counters.output_bytes += len(data)
        self._transport.write(data)

    def answer(self, data: bytes) -> None:
        """Sends the reply to a command that has waited."""
        if not self.session.swallows():
            self.push(data)

    def push(self, data: bytes) -> None:
        """Sends what was not asked for just now; who does not read it is closed at some time."""
        if self._lost:
            return
        if self._out:  # behind the replies that wait
            if self._flight is not None:
                self._kept.append(len(self._out))
            self._out.append(data)
            self._size += len(data)
            if self._size > self._settings.output_bytes:
                self.disconnect("slow reader: more than output_bytes wait for it")
            return
        self._send([data])
        if self._transport.get_write_buffer_size() > self._settings.output_bytes:
            self.disconnect("slow reader: more than output_bytes wait for it")

    def offer(self, data: bytes) -> bool:
        """Sends what a subscriber is owed; False when it is to be offered again once the client
        takes more, of which `Push.resume` is told.
        """
        if not self.takes_more:
            return False
        self._service.counters.output_bytes += len(data)
        self._transport.write(data)
        return True

    def offer_shared(self, prefix: bytes, tails: Sequence[bytes]) -> bool:
        """As `offer` of `prefix.join(tails)`, without a copy of the tails for each who waits."""
        if not self.takes_more:
            return False
        parts = [part for tail in tails for part in (tail, prefix)][1:-1]
        self._service.counters.output_bytes += sum(map(len, parts))
        self._transport.writelines(parts)
        return True

    def close(self) -> None:
        """Closes once everything answered so far is sent; later commands are not carried out."""
        self._closing = True
        self._backlog = []

    def finish(self) -> None:
        """The daemon stops: no more is read, what was received is answered, then it closes."""
        self._pause()
        self._ended = True
        if self.waiter is not None:
            self.close()
            self._service.waiters.remove(self.waiter)
        self._settle()

    def disconnect(self, reason: str) -> None:
        """Closes at once, without what waits to be sent."""
        if self._lost:
            return
        service = self._service
        service.counters.disconnected += 1
        service.log.warning(
            "disconnected", client=self.session.id, address=self.session.address, reason=reason
        )
        self._lost = True
        self._transport.abort()

    def _fail(self) -> None:
        """Answers a protocol error behind everything before it, then closes."""
        if self._backlog or self._fault is None or self._closing:
            return
        service = self._service
        service.counters.disconnected += 1
        service.log.warning(
            "disconnected",
            client=self.session.id,
            address=self.session.address,
            reason=str(self._fault),
        )
        self.push(service.refusal(self._fault))
        self.close()
        self._settle()

    def _settle(self) -> None:
        """Closes when that was asked for and nothing is left to send."""
        if (self._closing or self._ended) and self._flight is None and not self._backlog:
            self._transport.close()


def _address(name: Any) -> str:  # noqa: ANN401  whatever the transport says
    if isinstance(name, tuple) and len(name) >= 2:
        return f"[{name[0]}]:{name[1]}" if ":" in str(name[0]) else f"{name[0]}:{name[1]}"
    return "?:0"
