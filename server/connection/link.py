"""One client's socket: what it is sent, in order, and how it ends.

Rule: replies leave in the order of their commands. A reply that promises a write leaves when its
commit group is done, and those after it leave no earlier. What is pushed goes after the replies
that wait. A client is closed when it does not take what it is sent, and more than `output_bytes`
wait for it.

Which commands come, and when each is carried out, is the business of `Connection`.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from timeline.errors import TimelineError

from ..clients.blocking import Waiter
from ..clients.state import Tracking
from ..service.pipeline import PendingGroup
from ..service.service import Service
from ..service.session import Session
from ..wire import replies
from .output import Output
from .states import CLOSING, GONE, NOTHING, OPEN


class Link(asyncio.Protocol):
    _transport: asyncio.Transport  # from `connection_made` on, as the next two
    _output: Output
    session: Session

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.configuration.settings
        self._life = OPEN
        # What the client holds, as `Holdings` was told last; what of it is for a reply that is
        # being made; and whether more is read.
        self.held = 0
        self.claimed = 0
        self._reading = True
        # What the next command waits for.
        self._waits = NOTHING
        self.waiter: Waiter | None = None
        # The last group that this client has writes in, while it is not done.
        self._pending: PendingGroup | None = None
        # Replies to be sent, in pieces, with the pending group if there is one; the indexes of
        # those that promise no write; and the bytes of those that are no ids of appended entries.
        self._out: list[bytes] = []
        self._kept: list[int] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        service = self._service
        self._output = Output(self._transport, service.loop, service.counters, self._taken)
        self._transport.set_write_buffer_limits(high=self._settings.output_pause_bytes)

    def pause_writing(self) -> None:
        self._output.pause()

    def resume_writing(self) -> None:
        self._output.resume()

    # --- what `Connection` does -----------------------------------------------------------------

    def account(self) -> None:
        """Tells what it holds, and reads from the socket or not, as that allows."""
        raise NotImplementedError

    def proceed(self) -> None:
        """Goes on with what waits, since what it waited for may have happened."""
        raise NotImplementedError

    def _free(self) -> None:
        """It holds nothing any more."""
        raise NotImplementedError

    # --- replies that wait for a group --------------------------------------------------------

    def _board(self) -> None:
        """Makes the replies that follow wait for what was staged last."""
        pending = self._service.pipeline.pending()
        if self._pending is not pending:
            if self._pending is not None:  # those before wait for an earlier one
                self._out, self._kept = [], []
            elif self._out:  # those before waited for nothing
                self._kept = list(range(len(self._out)))
            pending.entries.append((self, self._out, self._kept))
            self._pending = pending

    def release(
        self,
        group: PendingGroup,
        out: list[bytes],
        kept: list[int],
        problem: TimelineError | None,
    ) -> bool:
        """Sends the replies that waited for `group`; `problem` replaces promised writes. Returns
        whether there may be something to proceed with.
        """
        if self._pending is group:
            self._pending, self._out, self._kept, self._size = None, [], [], 0
        if self._life == GONE:
            return False
        if problem is not None:
            keep = set(kept)
            refusal = replies.error(problem)
            self._service.counters.errors[problem.code] += len(out) - len(keep)
            out = [reply if index in keep else refusal for index, reply in enumerate(out)]
        self._output.send(out)
        if self._pending is None:
            self._service.push.resume(self.session.client)
        if self._life:
            self._settle()
        return self._waits != NOTHING or self.held > 0 or not self._reading

    # --- sending ------------------------------------------------------------------------------

    def _send_out(self) -> None:
        """Sends the replies that wait for nothing."""
        out, self._out, self._kept, self._size = self._out, [], [], 0
        if self._life != GONE:
            self._output.send(out)

    @property
    def output_bytes(self) -> int:
        """Bytes the client has yet to take."""
        return self._output.size

    @property
    def takes_more(self) -> bool:
        """Whether something may be pushed: the client reads, and no replies wait to go first."""
        return self._life != GONE and self._pending is None and not self._output.full

    def _taken(self) -> None:
        """The client took some of what waited for it; when all, its commands go on."""
        if self._life == GONE:
            return
        self.session.active = self._service.loop.time()
        self.account()
        if not self._output.full:
            self.proceed()
            self._service.push.resume(self.session.client)
            self._settle()

    def answer(self, reply: bytes | list[bytes]) -> None:
        """Sends the reply to a command that has waited; a long one comes in parts."""
        if self.session.swallows() or self._life == GONE:
            return
        if isinstance(reply, bytes):
            self.push(reply)
        elif self._out:  # of pushes
            self.push(b"".join(reply))
        else:
            self._output.send_in_parts(reply)
        if self.session.tracking is not Tracking.OFF:
            self._service.tracker.answered(self.session.client)

    def push(self, data: bytes) -> None:
        """Sends what the client did not ask for just now. One that never reads it is closed."""
        if self._life == GONE:
            return
        if self._out:  # after the replies that wait
            if self._pending is not None:
                self._kept.append(len(self._out))
            self._out.append(data)
            self._size += len(data)
            waits = self._size
        else:
            self._output.send([data])
            waits = self._output.size
        if waits > self._settings.output_bytes:
            self.disconnect("slow reader: more than output_bytes wait for it")

    def offer(self, data: bytes) -> bool:
        """Sends what a subscriber is owed; False when it is to be offered again once the client
        takes more, when `Push.resume` is called.
        """
        if not self.takes_more:
            return False
        self._output.send([data])
        return True

    def offer_shared(self, prefix: bytes, suffixes: Sequence[bytes]) -> bool:
        """As `offer` of `prefix.join(suffixes)`, without a copy of the suffixes for each client."""
        if not self.takes_more:
            return False
        self._output.offer([part for suffix in suffixes for part in (suffix, prefix)][1:-1])
        return True

    # --- closing ------------------------------------------------------------------------------

    def disconnect(self, reason: str) -> None:
        """Closes immediately, without what waits to be sent."""
        if self._life == GONE:
            return
        self._tell(reason)
        self._free()
        _hang_up(self._transport)

    def expire(self, seconds: int) -> None:
        """Closes it, since it did nothing for so long."""
        self._service.log.info(
            "closed", client=self.session.id, address=self.session.address, idle_for=seconds
        )
        self._free()
        self._transport.abort()

    def _tell(self, reason: str) -> None:
        self._service.counters.disconnected += 1
        self._service.log.warning(
            "disconnected", client=self.session.id, address=self.session.address, reason=reason
        )

    def _settle(self) -> None:
        """Closes when that was asked for and nothing is left to send."""
        life = self._life
        if life in (OPEN, GONE) or self._pending is not None or self._output.waits:
            return
        if life == CLOSING or not (self._waits or self.waiter is not None):
            self._transport.close()


def _hang_up(transport: asyncio.Transport) -> None:
    """Ends a connection now. `abort` alone ends it a turn later: the client that asked for it may
    have its answer before that.
    """
    ours = transport.get_extra_info("socket")
    with suppress(OSError), socket.socket(fileno=os.dup(ours.fileno())) as twin:
        twin.shutdown(socket.SHUT_RDWR)
    transport.abort()
