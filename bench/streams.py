"""Timelines beside Redis Streams, both fsynced before each acknowledgement.

Run by `make bench` or `python -m bench.streams`. Writes: XADD of a 100-byte text to 5,000 keys from
50 connections. Reads: XRANGE over a stream of 2,000 such entries. Each row starts both servers anew
on empty directories.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import report
from bench.pairs import Comparison, Work, compare
from bench.servers import TIMELINED, Server, missing_programs, start_redis, start_timelined

TEXT: Final = "x" * 100
KEYS: Final = 5_000
ENTRIES: Final = 2_000
STREAM: Final = "stream"


def append(pipeline: int, requests: int) -> Work:
    return Work(
        name=f"XADD, pipeline {pipeline}",
        command=("XADD", "key:__rand_int__", "*", "text", TEXT),
        requests=requests,
        pipeline=pipeline,
        random_up_to=KEYS,
        check=_everything_was_appended,
    )


def page(count: int, pipeline: int, requests: int, *, anywhere: bool = False) -> Work:
    """A page from the stream's beginning, or from any entry that a full page follows."""
    return Work(
        name=f"XRANGE COUNT {count}{' from anywhere' * anywhere}, pipeline {pipeline}",
        command=(
            *("XRANGE", STREAM, "__rand_int__" if anywhere else "-", "+"),
            *("COUNT", str(count)),
        ),
        requests=requests,
        pipeline=pipeline,
        random_up_to=ENTRIES - count if anywhere else 0,
        prepare=_fill_stream,
        check=lambda server, _: _pages_are_full(server, count),
    )


def _everything_was_appended(server: Server, sent: int) -> None:
    with server.connect() as client, client.pipeline(transaction=False) as pipe:
        for number in range(KEYS):
            pipe.xlen(f"key:{number:012}")
        stored = sum(pipe.execute())
    if stored != sent:
        raise RuntimeError(f"{server.name} holds {stored} entries of {sent}")


def _fill_stream(server: Server) -> None:
    with server.connect() as client:
        with client.pipeline(transaction=False) as pipe:
            for number in range(1, ENTRIES + 1):
                pipe.xadd(STREAM, {"text": TEXT}, id=f"{number}-0")
            pipe.execute()
        if server.name == TIMELINED:  # from memory into segments, where history lies
            client.execute_command("TIMELINE.COMPACT", STREAM)


def _pages_are_full(server: Server, count: int) -> None:
    expected = [(f"{n}-0".encode(), {b"text": TEXT.encode()}) for n in range(1, count + 1)]
    with server.connect() as client:
        if client.xrange(STREAM, count=count) != expected:
            raise RuntimeError(f"{server.name} does not answer XRANGE as it should")


WORKS: Final = (
    append(1, 100_000),
    append(16, 400_000),
    append(64, 600_000),
    page(10, 1, 150_000),
    page(10, 16, 300_000),
    page(10, 16, 300_000, anywhere=True),
    page(100, 1, 40_000),
    page(100, 16, 40_000),
    page(500, 1, 10_000),
    page(500, 16, 10_000),
)


def measure(work: Work, pairs: int, requests: int | None, *, itself: bool) -> Comparison:
    """One row, on two servers started for it."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        for side in ("peer", "ours"):
            (directory / side).mkdir()
        peer = stack.enter_context(start_redis(directory / "peer"))
        start = start_redis if itself else start_timelined
        ours = stack.enter_context(start(directory / "ours"))
        return compare(work, peer, ours, pairs, requests)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument("--requests", type=int, help="requests of a run, instead of each row's own")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose name holds TEXT")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), metavar="DIR")
    parser.add_argument(
        "--itself",
        action="store_true",
        help="Redis against Redis: what the machine's noise comes to",
    )
    arguments = parser.parse_args()
    if missing := missing_programs():
        print(f"skipped: {' and '.join(missing)} not found (Debian: redis-server, redis-tools)")
        return
    works = [work for work in WORKS if arguments.only.lower() in work.name.lower()]
    if not works:
        parser.error(f"no row's name holds {arguments.only!r}")
    rows = []
    for work in works:
        rows.append(measure(work, arguments.pairs, arguments.requests, itself=arguments.itself))
        print(report.line(rows[-1]), flush=True)
    title = "Redis against itself" if arguments.itself else "Timeline beside Redis Streams"
    name = "itself" if arguments.itself else "streams"
    print("\n" + report.table(rows))
    for path in report.write(rows, title, arguments.out, name):
        print(f"written: {path}")


if __name__ == "__main__":
    main()
