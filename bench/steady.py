"""Half an hour at half of what the daemon takes: whether it stays even.

Run by `python -m bench.steady` (`--minutes`, `--rate`). The load is a chat's: sends to
conversations of 2 to 50 members, appends to raw timelines, pages of history, syncs of devices, all
at random. First the most that it takes is measured for `_PROBE_SECONDS`, by 64 connections that
each have a few requests under way; then half of that is asked for. Requests leave when they are
due, however late the replies to others are, and latency counts from when a request was due. So a
stall is seen by every request that falls into it. A line a minute is printed; a summary follows.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import hiredis
import uvloop

from bench.conversations import listed
from bench.scale import resident, texts
from bench.servers import Server, start_timelined

CONNECTIONS: Final = 64
CONVERSATIONS: Final = 2_000
USERS: Final = 10_000
TIMELINES: Final = 100_000
_UNDER_WAY: Final = 4  # requests of each connection while the most is measured
_PROBE_SECONDS: Final = 15.0
_TICK: Final = 0.001
_MOST_LATE: Final = 200_000  # requests without a reply at which this gives up


def requests(
    members: list[list[int]], cursors: dict[int, bytes], seed: int
) -> Iterator[tuple[bytes, int | None]]:
    """Packed requests without an end, each with the user whose device it syncs, if it does."""
    draw, text = random.Random(seed), texts(seed)
    users = list(cursors)
    while True:
        syncs = None
        kind = draw.random()
        group = draw.randrange(CONVERSATIONS)
        words: tuple[Any, ...]
        if kind < 0.5:
            sender = draw.choice(members[group])
            words = ("CONV.SEND", f"c{group}", f"u{sender}", "*", "text", next(text))
        elif kind < 0.8:
            words = ("XADD", f"t{draw.randrange(TIMELINES)}", "*", "text", next(text))
        elif kind < 0.9:
            reader = draw.choice(members[group])
            words = ("CONV.HISTORY", f"c{group}", f"u{reader}", "COUNT", "20")
        else:
            syncs = draw.choice(users)
            words = ("USER.SYNC", f"u{syncs}", "phone", "AFTER", cursors[syncs], "COUNT", "50")
        yield hiredis.pack_command(words), syncs  # type: ignore[arg-type]


class Line(asyncio.Protocol):
    """A connection: what is due leaves at once, and each reply is timed."""

    def __init__(self, answered: Callable[[float, int | None, Any], None]) -> None:
        self._answered = answered
        self._reader = hiredis.Reader()
        self._due: deque[tuple[float, int | None]] = deque()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, request: bytes, due: float, syncs: int | None) -> None:
        self._due.append((due, syncs))
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        now = time.perf_counter()
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            due, syncs = self._due.popleft()
            self._answered(now - due, syncs, reply)


class Load:
    """The connections, and the latencies of the minute under way in microseconds."""

    def __init__(self, members: list[list[int]], cursors: dict[int, bytes]) -> None:
        self._stream = requests(members, cursors, seed=1)
        self._cursors = cursors
        self.lines: list[Line] = []
        self.latencies = array("I")
        self.sent = self.done = 0

    async def connect(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(CONNECTIONS):
            _, line = await loop.create_connection(lambda: Line(self._note), "127.0.0.1", port)
            self.lines.append(line)

    def _note(self, seconds: float, syncs: int | None, reply: Any) -> None:  # noqa: ANN401
        if syncs is not None:
            self._cursors[syncs] = listed(reply)[b"cursor"]
        self.latencies.append(int(seconds * 1e6))
        self.done += 1

    def send(self, line: Line, due: float) -> None:
        request, syncs = next(self._stream)
        line.send(request, due, syncs)
        self.sent += 1

    async def most(self, seconds: float) -> float:
        """Requests a second when each connection has a few under way at any time."""
        begin = now = time.perf_counter()
        while now - begin < seconds:
            for number in range(CONNECTIONS * _UNDER_WAY - (self.sent - self.done)):
                self.send(self.lines[number % CONNECTIONS], now)
            await asyncio.sleep(0)
            now = time.perf_counter()
        await self.drain()
        return self.done / (time.perf_counter() - begin)

    async def drain(self) -> None:
        while self.done < self.sent:  # noqa: ASYNC110  an event would cost each reply
            await asyncio.sleep(_TICK)

    async def keep(self, rate: float, seconds: float) -> None:
        """`rate` requests a second for `seconds`."""
        begin = time.perf_counter()
        started = self.sent
        while (elapsed := time.perf_counter() - begin) < seconds:
            due = int(elapsed * rate) - (self.sent - started)
            for _ in range(due):
                at = begin + (self.sent - started) / rate
                self.send(self.lines[self.sent % CONNECTIONS], at)
            if self.sent - self.done > _MOST_LATE:
                raise RuntimeError(f"{_MOST_LATE:,} requests wait for a reply: it cannot keep up")
            await asyncio.sleep(_TICK)


def make(server: Server) -> tuple[list[list[int]], dict[int, bytes]]:
    """Conversations with their members, and where each user's device begins to sync."""
    draw = random.Random(7)
    members = []
    with server.connect() as client, client.pipeline(transaction=False) as pipe:
        for number in range(CONVERSATIONS):
            size = min(50, 2 + int(draw.expovariate(1 / 6)))
            chosen = draw.sample(range(USERS), size)
            members.append(chosen)
            names = [f"u{each}" for each in chosen]
            pipe.execute_command("CONV.CREATE", f"c{number}", "-", "MEMBERS", size, *names)
        pipe.execute()
        users = sorted({each for chosen in members for each in chosen})
        for number in users:
            pipe.execute_command("USER.CONVERSATIONS", f"u{number}")
        replies = pipe.execute()
    positions = [listed(each)[b"position"] for each in replies]
    return members, dict(zip(users, positions, strict=True))


def quantile(latencies: array[int], part: float) -> float:
    """In milliseconds."""
    return sorted(latencies)[min(len(latencies) - 1, int(part * len(latencies)))] / 1000


async def run(server: Server, minutes: int, rate: float | None) -> None:
    load = Load(*make(server))
    await load.connect(server.port)
    most = await load.most(_PROBE_SECONDS)
    rate = rate or most / 2
    print(f"at most {most:,.0f} requests/s with this client; asked for: {rate:,.0f}", flush=True)
    medians, p99s, worsts = [], [], []
    for minute in range(1, minutes + 1):
        load.latencies = array("I")
        before = server.cpu_seconds()
        await load.keep(rate, 60.0)
        found = load.latencies
        medians.append(quantile(found, 0.5))
        p99s.append(quantile(found, 0.99))
        worsts.append(max(found) / 1000)
        print(
            f"minute {minute:3}: {len(found) / 60:8,.0f}/s, p50 {medians[-1]:6.2f} ms, "
            f"p99 {p99s[-1]:6.2f}, p99.9 {quantile(found, 0.999):7.2f}, worst {worsts[-1]:7.1f}, "
            f"CPU {(server.cpu_seconds() - before) / 60:4.0%}, "
            f"{resident(server.pid) >> 20} MiB",
            flush=True,
        )
    await load.drain()
    third = max(1, minutes // 3)
    print(
        f"p50 {min(medians):.2f} to {max(medians):.2f} ms, p99 {min(p99s):.2f} to {max(p99s):.2f}; "
        f"p99 of the first third {sum(p99s[:third]) / third:.2f}, of the last "
        f"{sum(p99s[-third:]) / third:.2f}; worst {max(worsts):.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.steady", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--rate", type=float, help="requests a second, instead of half of the most")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        (Path(directory) / "ours").mkdir()
        with start_timelined(Path(directory) / "ours") as server:
            uvloop.run(run(server, arguments.minutes, arguments.rate))


if __name__ == "__main__":
    main()
