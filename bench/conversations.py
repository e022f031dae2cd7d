"""Conversations and users: sends to groups of any size beside Redis, and what a device waits for.

Run by `python -m bench.conversations` (and by `make bench`). Sends: a 100-byte text from 50
connections to a group of 2 to 100,000 members; beside it what Redis does for the same by write
diffusion, an XADD to the conversation and one to each member, as long pipelines. A rate counts
messages. Catch-up: a device that is 10,000 messages behind, in pages of 500, beside XRANGE over a
stream of copies, by one client in Python each. Both sides fsync before they acknowledge.

The rest has no peer and is told as it is: quantiles of single requests, one at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import quantiles
from typing import Any, Final

from bench import beside
from bench.pairs import Comparison, Run, Work, drive
from bench.servers import Server

TEXT: Final = "x" * 100
SIZES: Final = (2, 50, 500, 5_000, 100_000)
SENDERS: Final = 2  # users from which messages come: u000000000000 and the next
BACKLOG: Final = 10_000
PAGE: Final = 500


def user(number: int) -> str:
    return f"u{number:012}"


def make_group(server: Server, name: str, members: int) -> None:
    with server.connect() as client:
        users = [user(number) for number in range(members)]
        client.execute_command("CONV.CREATE", name, "-", "MEMBERS", len(users), *users)


# --- beside Redis ---------------------------------------------------------------------------------


def send(members: int, requests: int) -> Callable[[Server, Server, int], Comparison]:
    def compare(peer: Server, ours: Server, pairs: int) -> Comparison:
        make_group(ours, "group", members)
        copies = members + 1
        pipeline = min(copies, 500)
        theirs = Work(
            name="XADD to each member",
            command=("XADD", "inbox:__rand_int__", "*", "conv", "group", "seq", "1"),
            requests=max(200_000, 20 * pipeline),
            pipeline=pipeline,
            random_up_to=members,
        )
        own = Work(
            name="CONV.SEND",
            command=("CONV.SEND", "group", "u__rand_int__", "*", "text", TEXT),
            requests=requests,
            pipeline=16,
            random_up_to=SENDERS,
        )
        drive(theirs, peer, theirs.requests // 10)
        drive(own, ours, requests // 10)
        rows = Comparison(f"send to {members:,} members")
        for _ in range(pairs):
            run = drive(theirs, peer, theirs.requests)
            rows.peer.append(Run(run.per_second / copies, run.cpu_us * copies))
            rows.ours.append(drive(own, ours, requests))
        return rows

    return compare


def catch_up(peer: Server, ours: Server, pairs: int) -> Comparison:
    with peer.connect() as theirs, ours.connect() as own:
        with theirs.pipeline(transaction=False) as pipe:
            for number in range(1, BACKLOG + 1):
                pipe.xadd("inbox", {"conv": "c", "from": "ann", "text": TEXT}, id=f"{number}-0")
            pipe.execute()
        position = fill_backlog(own)
        rows = Comparison(f"catch up {BACKLOG:,} messages of 20 conversations")
        for _ in range(pairs):
            rows.peer.append(timed(peer, lambda: read_stream(theirs)))
            rows.ours.append(timed(ours, lambda: sync_all(own, position)))
    return rows


def fill_backlog(client: Any) -> bytes:  # noqa: ANN401  a Redis client
    for number in range(20):
        client.execute_command("CONV.CREATE", f"c{number}", "ann", "MEMBERS", 1, "bob")
    position: bytes = listed(client.execute_command("USER.CONVERSATIONS", "bob"))[b"position"]
    with client.pipeline(transaction=False) as pipe:
        for number in range(BACKLOG):
            pipe.execute_command("CONV.SEND", f"c{number * 7 % 20}", "ann", "*", "text", TEXT)
        pipe.execute()
    return position


def listed(reply: Any) -> dict[bytes, Any]:  # noqa: ANN401  a map, or a flat list in RESP2
    return dict(zip(reply[::2], reply[1::2], strict=True)) if isinstance(reply, list) else reply


def read_stream(client: Any) -> int:  # noqa: ANN401
    found, after = 0, "-"
    while page := client.execute_command("XRANGE", "inbox", after, "+", "COUNT", PAGE):
        found += len(page)
        after = "(" + page[-1][0].decode()
    return found


def sync_all(client: Any, cursor: bytes) -> int:  # noqa: ANN401
    found = 0
    while True:
        words = ("USER.SYNC", "bob", "phone", "AFTER", cursor, "COUNT", PAGE)
        page = listed(client.execute_command(*words))
        found += len(page[b"entries"])
        cursor = page[b"cursor"]
        if not page[b"more"]:
            return found


def timed(server: Server, work: Callable[[], int]) -> Run:
    before, begin = server.cpu_seconds(), time.perf_counter()
    count = 0
    for _ in range(5):
        found = work()
        if found != BACKLOG:
            raise RuntimeError(f"{server.name} gave {found} messages of {BACKLOG}")
        count += found
    seconds = time.perf_counter() - begin
    return Run(count / seconds, (server.cpu_seconds() - before) / count * 1e6)


# --- with no peer ---------------------------------------------------------------------------------


def quantile(work: Callable[[], object], times: int) -> dict[str, float]:
    """Milliseconds of single requests: the median and the 99th of a hundred."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        took.append((time.perf_counter() - begin) * 1e3)
    cuts = quantiles(took, n=100)
    return {"p50_ms": round(cuts[49], 2), "p99_ms": round(cuts[98], 2)}


def single_sends(server: Server) -> Iterator[tuple[str, dict[str, float]]]:
    for members in SIZES:
        name = f"single{members}"
        make_group(server, name, members)
        with server.connect() as client:
            words = ("CONV.SEND", name, user(0), "*", "text", TEXT)
            yield (
                f"send to {members:,} members, one at a time",
                quantile(lambda: client.execute_command(*words), 2_000),  # noqa: B023  called here
            )


def lists(server: Server) -> Iterator[tuple[str, dict[str, float]]]:
    for person, count in (("few", 200), ("some", 1_000), ("many", 5_000)):
        with server.connect() as client:
            with client.pipeline(transaction=False) as pipe:
                for number in range(count):
                    name = f"{person}{number}"
                    pipe.execute_command("CONV.CREATE", name, "ann", "MEMBERS", 1, person)
                    pipe.execute_command("CONV.SEND", name, "ann", "*", "text", TEXT)
                pipe.execute()
            size = 50 if count == 5_000 else 200
            words = ("USER.CONVERSATIONS", person, "COUNT", size)
            client.execute_command(*words)
            yield (
                f"conversation list, {size} of {count:,}",
                quantile(lambda: client.execute_command(*words), 200),  # noqa: B023
            )
            yield (
                f"unread over {count:,} conversations",
                quantile(lambda: client.execute_command("USER.UNREAD", person), 200),  # noqa: B023
            )


def main() -> None:
    works = [*(send(size, 30_000) for size in SIZES), catch_up]
    beside.run("conversations", __doc__, "Conversations beside Redis", works, [single_sends, lists])


if __name__ == "__main__":
    main()
