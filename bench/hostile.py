"""Clients that do not read, do not finish or never stop, and what others notice of them.

Run by `python -m bench.hostile`. A daemon with the options it has by default; for each phase some
dozens of clients of one kind, in a process of their own, for as long as `--seconds`; beside them
one that behaves, and asks for little some hundred times a second: PING, XADD and XREVRANGE. One
line a phase: what the latter waited, for PING alone and for all three, of which XADD waits for the
disk; and how much memory the daemon had before, at most, and after those clients had gone.

The targets: others' p99 below 50 ms, and at most `clients_bytes` above what it was before, given
back within a minute. All runs on the machine's own processors, the hostile clients too: what others
notice of these sharing a processor is shown by the phase `busy neighbours`, in which nothing is
asked of the daemon.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import quantiles
from typing import Final

from bench.servers import Server, start_timelined

MIB: Final = 1 << 20
LARGE: Final = 25 * MIB  # bytes of the stream that is asked for
PAUSE: Final = 0.001  # seconds between what the others ask
GIVEN_BACK: Final = 60.0  # seconds in which memory is to be

Script = Callable[[], Iterator[bytes]]


def encoded(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


# --- what hostile clients send --------------------------------------------------------------------


def ask_much() -> Iterator[bytes]:
    yield encoded(b"XRANGE", b"large", b"-", b"+") * 20


def never_finish() -> Iterator[bytes]:
    yield b"*1000000\r\n$3\r\nDEL\r\n"
    for _ in range(99):
        yield b"$1\r\nx\r\n" * 10_000


def queue_much() -> Iterator[bytes]:
    yield encoded(b"MULTI")
    command = encoded(b"XADD", b"queued", b"*", b"field", b"x" * 1_000_000)
    for _ in range(62):
        yield command


def flood() -> Iterator[bytes]:
    while True:
        yield b"PING\r\n" * 10_000


def dribble() -> Iterator[bytes]:
    while True:
        for _ in range(60_000):
            yield b"x"
        yield b"\r\n"


def append_much() -> Iterator[bytes]:
    command = encoded(b"XADD", b"flooded", b"*", b"f", b"x" * 40)
    while True:
        yield command * 1_000


def spin() -> Iterator[bytes]:
    while True:
        yield b""


@dataclass(frozen=True)
class Phase:
    name: str
    clients: int
    script: Script
    reads: bool = False


PHASES: Final = (
    Phase("busy neighbours", 1, spin),
    Phase("60 ask 20 times for 25 MB and never read", 60, ask_much),
    Phase("30 requests of 1 M small arguments, unfinished", 30, never_finish),
    Phase("40 MULTIs of 62 MB without EXEC", 40, queue_much),
    Phase("50 floods of inline PING, never read", 50, flood),
    Phase("50 inline lines that come byte by byte", 50, dribble),
    Phase("20 floods of XADD, read", 20, append_much, reads=True),
)


def attack(port: int, phase: Phase, told: Pipe) -> None:
    """Runs the clients of a phase until something comes by the pipe."""
    with selectors.DefaultSelector() as selector:
        links = []
        for _ in range(phase.clients):
            link = socket.create_connection(("127.0.0.1", port))
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setblocking(False)
            selector.register(link, selectors.EVENT_WRITE, [b"", phase.script()])
            links.append(link)
        told.send("begun")
        while not told.poll(0 if selector.get_map() else None):
            for key, _ in selector.select(0.1):
                with suppress(BlockingIOError):
                    go_on(selector, key, reads=phase.reads)
        for link in links:
            link.close()


def go_on(selector: selectors.BaseSelector, key: selectors.SelectorKey, *, reads: bool) -> None:
    """Sends the next of what one of them has to send."""
    link = key.fileobj
    assert isinstance(link, socket.socket)
    try:
        if reads:
            with suppress(BlockingIOError):
                link.recv(MIB)
        if not key.data[0]:
            key.data[0] = next(key.data[1])
        if key.data[0]:
            key.data[0] = key.data[0][link.send(key.data[0]) :]
    except (StopIteration, OSError) as end:  # it has sent all, or was closed
        if isinstance(end, BlockingIOError):
            raise
        selector.unregister(link)


# --- what others notice ---------------------------------------------------------------------------


def resident(server: Server) -> int:
    pages = Path(f"/proc/{server.pid}/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def fill(server: Server) -> None:
    """Makes the stream that is asked for."""
    with server.connect() as client:
        for _ in range(25):
            with client.pipeline(transaction=False) as pipe:
                for _ in range(1_000):
                    pipe.xadd("large", {"field": b"x" * (LARGE // 25_000)})
                pipe.execute()
        client.execute_command("TIMELINE.COMPACT", "large")


class Watch:
    """One that behaves."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._link = socket.create_connection(("127.0.0.1", server.port))
        self._link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._requests = (
            encoded(b"PING"),
            encoded(b"XADD", b"quiet", b"*", b"f", b"v"),
            encoded(b"XREVRANGE", b"quiet", b"+", b"-", b"COUNT", b"1"),
        )
        self.peak = 0

    def watch(self, seconds: float) -> list[float]:
        """What it waited for each reply."""
        waited: list[float] = []
        until = time.perf_counter() + seconds
        while (begin := time.perf_counter()) < until:
            self._link.sendall(self._requests[len(waited) % 3])
            self._link.recv(MIB)
            waited.append(time.perf_counter() - begin)
            if len(waited) % 16 == 0:
                self.peak = max(self.peak, resident(self._server))
            time.sleep(PAUSE)
        return waited


def run(server: Server, phase: Phase, seconds: float) -> str:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    watch = Watch(server)
    watch.watch(0.5)
    before = watch.peak = resident(server)
    process = context.Process(target=attack, args=(server.port, phase, theirs))
    process.start()
    ours.recv()
    waited = watch.watch(seconds)
    ours.send("enough")
    process.join()
    begin = time.perf_counter()
    after = resident(server)
    while after > before + 16 * MIB and time.perf_counter() - begin < GIVEN_BACK:
        watch.watch(0.5)
        after = resident(server)
    took = time.perf_counter() - begin
    pings, cuts = quantiles(waited[::3], n=100), quantiles(waited, n=100)
    with server.connect() as client:
        evicted = client.info("stats")["evicted_clients"]
    return (
        f"| {phase.name} | {pings[98] * 1e3:.1f} | {cuts[49] * 1e3:.1f} | {cuts[98] * 1e3:.1f} "
        f"| {max(waited) * 1e3:.0f} | {before // MIB} | {watch.peak // MIB} "
        f"| {after // MIB} after {took:.1f} s | {evicted} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.hostile", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each phase (default 10)")
    parser.add_argument("--only", default="", metavar="TEXT", help="phases whose name holds TEXT")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as directory,
        start_timelined(Path(directory)) as server,
    ):
        fill(server)
        print(
            "| phase | PING p99 ms | all p50 | p99 | max | MiB before | peak | after "
            "| closed so far |"
        )
        print("|---|---|---|---|---|---|---|---|---|")
        for phase in PHASES:
            if arguments.only in phase.name:
                print(run(server, phase, arguments.seconds), flush=True)


if __name__ == "__main__":
    main()
