"""Online push: deliveries to thousands of devices of one group, beside a bare loop.

Run by `python -m bench.pushes` (and by `make bench`). The peer is `bench.bare`, a uvloop server
that writes the same bytes to as many sockets and does nothing else: what it takes is the floor of
one write each. Messages are sent one at a time, the next when every device has the last; and
several under way at a time, which a server may then give together. A rate counts deliveries.

Beside that, how long a send to another conversation takes, from a process of its own: alone; while
the bare loop pushes, which shows what it costs to share the processors; and while the daemon does.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import hiredis

from bench import report
from bench.pairs import Comparison, Run
from bench.servers import Server, missing_programs, start_bare, start_timelined

TEXT: Final = "x" * 100
MESSAGES: Final = 20  # of one turn
WINDOW: Final = 10  # messages under way
PROBE_SECONDS: Final = 2.0
_BUFFER: Final = 1 << 16


def user(number: int) -> str:
    return f"u{number:012}"


class Line:
    """A connection in RESP3 that asks and is answered."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self.ask("HELLO", "3")

    def send(self, *words: str | int) -> None:
        packed: tuple[Any, ...] = tuple(map(str, words))
        self.socket.sendall(hiredis.pack_command(packed))

    def reply(self) -> Any:  # noqa: ANN401  whatever it is
        while (found := self._reader.gets()) is False:
            data = self.socket.recv(_BUFFER)
            if not data:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(data)
        if isinstance(found, hiredis.ReplyError):
            raise found
        return found

    def ask(self, *words: str | int) -> Any:  # noqa: ANN401
        self.send(*words)
        return self.reply()


class Crowd:
    """So many devices of one group, each on a connection of its own, all subscribed by a stream."""

    def __init__(self, server: Server, devices: int, stack: ExitStack) -> None:
        self.server = server
        self.devices = devices
        self.sender = Line(server.port)
        stack.callback(self.sender.socket.close)
        users = [user(number) for number in range(devices)]
        self.sender.ask("CONV.CREATE", "crowd", "-", "MEMBERS", devices, *users)
        page = self.sender.ask("USER.CONVERSATIONS", user(0))
        position = page[b"position"].decode() if isinstance(page, dict) else "0"
        self._epoll = stack.enter_context(select.epoll())
        self._receive: dict[int, Callable[[bytearray], int]] = {}
        self._buffer = bytearray(_BUFFER)
        for each in users:
            line = Line(server.port)
            stack.callback(line.socket.close)
            line.ask("USER.SUBSCRIBE", each, "phone", "AFTER", position)
            line.socket.setblocking(False)
            self._epoll.register(line.socket, select.EPOLLIN)
            self._receive[line.socket.fileno()] = line.socket.recv_into

    def drive(self, messages: int, window: int) -> Run:
        """Send so many messages, up to `window` under way, until every device has all of them."""
        cpu, begin = self.server.cpu_seconds(), time.perf_counter()
        sent, missing = 0, 0
        while sent < messages or missing:
            while sent < messages and missing <= (window - 1) * self.devices:
                self.sender.send("CONV.SEND", "crowd", user(0), "*", "text", TEXT)
                sent += 1
                missing += self.devices
            missing -= self._drain()
        for _ in range(sent):
            self.sender.reply()
        seconds = time.perf_counter() - begin
        count = messages * self.devices
        return Run(count / seconds, (self.server.cpu_seconds() - cpu) / count * 1e6)

    def _drain(self) -> int:
        """The frames that have come."""
        buffer, found = self._buffer, 0
        ready = self._epoll.poll(10, self.devices)
        if not ready:
            raise RuntimeError(f"{self.server.name} owes deliveries and is silent")
        for number, _ in ready:
            size = self._receive[number](buffer)
            if not size:
                raise ConnectionError(f"{self.server.name} closed a connection")
            # A frame is never cut: each write holds whole ones and is far below a socket's buffer.
            found += buffer.count(b">7\r\n$4\r\nsync\r\n", 0, size)
        return found


def probe(port: int, seconds: float) -> list[float]:
    """Milliseconds that sends to a conversation of two took, one at a time."""
    line = Line(port)
    line.ask("CONV.DIRECT", "ann", "bob")
    name = line.ask("CONV.DIRECT", "ann", "bob").decode()
    took = []
    until = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < until:
        line.ask("CONV.SEND", name, "ann", "*", "text", TEXT)
        took.append((time.perf_counter() - begin) * 1e3)
    line.socket.close()
    return took


def beside(peer: Crowd, ours: Crowd, pool: ProcessPoolExecutor) -> dict[str, dict[str, float]]:
    """What a send to another conversation takes, alone and beside pushes."""
    found = {}
    for name, crowd in (("alone", None), ("beside a bare loop", peer), ("beside pushes", ours)):
        took: Future[list[float]] = pool.submit(probe, ours.server.port, PROBE_SECONDS)
        while crowd is not None and not took.done():
            crowd.drive(1, 1)
        found[f"a send to another conversation, {name}"] = _quantiles(took.result())
    return found


def _quantiles(took: list[float]) -> dict[str, float]:
    cuts = quantiles(took, n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2), "count": len(took)}


def measure(devices: int, pairs: int) -> tuple[list[Comparison], dict[str, dict[str, float]]]:
    one = Comparison(f"push to {devices:,} devices, one message at a time")
    several = Comparison(f"push to {devices:,} devices, {WINDOW} messages under way")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        for side in ("peer", "ours"):
            (directory / side).mkdir()
        pool = stack.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        peer = Crowd(stack.enter_context(start_bare(directory / "peer")), devices, stack)
        ours = Crowd(stack.enter_context(start_timelined(directory / "ours")), devices, stack)
        for rows, window in ((one, 1), (several, WINDOW)):
            for crowd in (peer, ours):
                crowd.drive(MESSAGES // 4, window)
            for _ in range(pairs):
                rows.peer.append(peer.drive(MESSAGES, window))
                rows.ours.append(ours.drive(MESSAGES, window))
            print(report.line(rows), flush=True)
        alone = beside(peer, ours, pool)
    return [one, several], alone


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pushes", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument("--devices", type=int, default=5_000, help="devices online (5000)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), metavar="DIR")
    arguments = parser.parse_args()
    rows, alone = measure(arguments.devices, arguments.pairs)
    for name, figures in alone.items():
        print(name, figures, flush=True)
    print("\n" + report.table(rows))
    if missing_programs():
        return  # the machine is told with its Redis
    for path in report.write(rows, "Pushes beside a bare loop", arguments.out, "pushes"):
        print(f"written: {path}")
    target = arguments.out / "pushes-alone.json"
    target.write_text(json.dumps(alone, indent=2) + "\n", "utf-8")
    print(f"written: {target}")


if __name__ == "__main__":
    main()
