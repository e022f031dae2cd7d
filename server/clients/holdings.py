"""What clients hold of the daemon's memory, together, and what happens when it is too much.

A client holds incomplete requests, commands that wait, what MULTI queued, replies that are being
made, and output that it has not taken yet. The memory of the objects that hold them counts too.
Each of these has a bound of its own (`request_bytes`, `backlog_bytes`, `transaction_bytes`,
`reply_bytes`, `output_pause_bytes`). The option `clients_bytes` bounds the sum over all clients. As
the sum comes near it:

1. A reply of more than a page is made only when there is room for all of it. It counts before it is
   made. Replies without room wait for it in order of arrival, and are refused with BUSY after
   `busy_ms`.
2. Beyond `clients_bytes` the daemon reads nothing more from a client that holds more than an equal
   share. It serves the others as usual.
3. A client that holds more than a share, and frees less than a sixteenth of it in a second while
   others wait for memory, is closed. The largest go first, as many as it takes. Time in which its
   own reply is being made does not count against a client.
4. Beyond five quarters of `clients_bytes` the largest are closed immediately, whatever they do.

The log says why a client was closed, and INFO counts them (`evicted_clients`).

Rule: a client reports what it holds at the end of each turn that leaves something. Nobody reports
what lies in small output buffers, so the daemon looks at all clients now and then, some at a time.
When much was freed, it asks the allocator to give the memory back to the system.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Final, Protocol

LOOK: Final = 0.1  # seconds between looks
_LOOKED_AT: Final = 256  # clients in one look
_FEW: Final = 16  # clients between which a share is reckoned when there are fewer
_SMALLEST: Final = 64 << 10  # bytes that are never too many for one client
_PATIENCE: Final = 1.0  # seconds in which a client has to free something
_WORTH_IT: Final = 16 << 20  # bytes freed, after which memory is given back
_REST: Final = 10.0  # seconds between these times: meanwhile the allocator lets others wait

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone


class Holder(Protocol):
    """A client, as it is seen here."""

    held: int  # bytes, as it reported last
    claimed: int  # those of them that are for a reply that is being made

    def account(self) -> None:
        """Tells what it holds now."""

    def proceed(self) -> None:
        """Goes on, if it can."""

    def disconnect(self, reason: str) -> None: ...


class Claim:
    """Room for a reply that is to be made. Either `granted` or `refused` is called, once."""

    __slots__ = ("granted", "holder", "refused", "since", "size")

    def __init__(
        self,
        holder: Holder,
        size: int,
        since: float,
        granted: Callable[[], None],
        refused: Callable[[], None],
    ) -> None:
        self.holder = holder
        self.size = size
        self.since = since
        self.granted = granted
        self.refused = refused


class Holdings:
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clients: Mapping[int, Holder],
        most: Callable[[], int],
        wait_seconds: float,
    ) -> None:
        self._loop = loop
        self._clients = clients
        self._most = most
        self._wait_seconds = wait_seconds
        self.total = 0
        self.evicted = 0
        self._claims: OrderedDict[Claim, None] = OrderedDict()  # in order of arrival
        # Those that are not read from, until there is room again.
        self._held_back: dict[Holder, None] = {}
        self._round: Iterator[Holder] = iter(())
        # Since when memory has been short (0: it is not), and what each client held then.
        self._short_since = 0.0
        self._then: dict[Holder, int] = {}
        self._peak = 0
        self._given_back = 0.0
        self._reacting = False
        self._timer: asyncio.TimerHandle | None = None

    # --- what is held -------------------------------------------------------------------------

    def note(self, holder: Holder, held: int) -> None:
        """A client holds so many bytes now."""
        self.total += held - holder.held
        holder.held = held
        if not self._reacting and (
            self._claims or self._held_back or self.total > self._most() * 5 // 4
        ):
            self._reacting = True
            self._loop.call_soon(self._react)

    def arrive(self) -> None:
        """There is one client more."""
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK, self._look)

    def forget(self, holder: Holder) -> None:
        """A client is gone."""
        self.note(holder, 0)
        self._held_back.pop(holder, None)
        self._then.pop(holder, None)

    def holds_back(self, holder: Holder) -> bool:
        """Whether nothing is read from a client now. `proceed` is called when that may go on."""
        if self.total <= self._most() or holder.held <= self.share:
            return False
        self._held_back[holder] = None
        return True

    @property
    def share(self) -> int:
        """What each may hold when memory is short."""
        return max(_SMALLEST, self._most() // max(_FEW, len(self._clients)))

    @property
    def waiting(self) -> int:
        """How many replies wait for room."""
        return len(self._claims)

    # --- room for replies ---------------------------------------------------------------------

    def claim(
        self,
        holder: Holder,
        size: int,
        granted: Callable[[], None],
        refused: Callable[[], None],
    ) -> Claim:
        """Asks for room for a reply of `size` bytes, which the client then counts as held.

        `granted` is called when there is room, perhaps before this returns. `refused` is called
        when there is none in time, and never before this returns, since the command that asks is
        still being carried out.
        """
        claim = Claim(holder, size, self._loop.time(), granted, refused)
        if not self._claims and self._fits(claim):
            granted()
        elif size > self._most():
            self._loop.call_soon(refused)
        else:
            self._claims[claim] = None
        return claim

    def withdraw(self, claim: Claim) -> None:
        """Nobody waits for this room any more."""
        self._claims.pop(claim, None)

    @property
    def _first(self) -> Claim:
        return next(iter(self._claims))

    def _fits(self, claim: Claim) -> bool:
        return self.total + claim.size <= self._most()

    def _react(self) -> None:
        self._reacting = False
        lacking = self.total - self._most()
        if lacking > self._most() // 4:
            self._close(list(self._clients.values()), lacking)
        self._relieve()

    def _relieve(self) -> None:
        """Lets clients go on that can."""
        while self._claims and self._fits(self._first):
            self._claims.popitem(last=False)[0].granted()
        if self._held_back and self.total <= self._most() * 7 // 8:
            held_back, self._held_back = self._held_back, {}
            for holder in held_back:
                holder.proceed()

    # --- looking after ------------------------------------------------------------------------

    def _look(self) -> None:
        for _ in range(min(_LOOKED_AT, len(self._clients))):
            holder = next(self._round, None)
            if holder is None:
                self._round = iter(list(self._clients.values()))
                break
            holder.account()
        self._refuse_late()
        self._look_at_the_slow()
        self._relieve()
        self._give_back()
        more = self._clients or self.total
        self._timer = self._loop.call_later(LOOK, self._look) if more else None

    def _refuse_late(self) -> None:
        before = self._loop.time() - self._wait_seconds
        while self._claims and self._first.since < before:
            self._claims.popitem(last=False)[0].refused()

    def _look_at_the_slow(self) -> None:
        """Closes those that hold much and free little, while others wait."""
        lacking = self.total - self._most()
        if self._claims:
            lacking += self._first.size
        elif lacking <= 0 and not self._held_back:
            self._short_since = 0.0
            self._then.clear()
            return
        now = self._loop.time()
        if not self._short_since:
            self._short_since = now
            self._then = {each: each.held for each in self._large()}
        elif now - self._short_since > _PATIENCE:
            self._short_since = 0.0
            slow = [
                each
                for each, held in self._then.items()
                if each.held > held * 15 // 16 and not each.claimed
            ]
            self._close(slow, max(1, lacking))

    def _large(self) -> list[Holder]:
        share = self.share
        return [each for each in self._clients.values() if each.held > share]

    def _close(self, holders: list[Holder], lacking: int) -> None:
        """Closes the largest of `holders`, until `lacking` bytes are free."""
        most = self._most()
        for holder in sorted(holders, key=lambda each: each.held, reverse=True):
            if lacking <= 0:
                break
            lacking -= holder.held
            self.evicted += 1
            holder.disconnect(
                f"it holds {holder.held} bytes, and all clients together more than they may: "
                f"{most} (option clients_bytes)"
            )

    def _give_back(self) -> None:
        """Gives back to the system what clients have freed: the allocator would keep it."""
        self._peak = max(self._peak, self.total)
        now = self._loop.time()
        if (
            self._peak - self.total > max(_WORTH_IT, self._peak // 2)
            and now - self._given_back > _REST
        ):
            self._peak = self.total
            self._given_back = now
            if _malloc_trim is not None:
                self._loop.run_in_executor(None, _malloc_trim, 0)
