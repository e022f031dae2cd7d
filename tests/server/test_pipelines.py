"""Mixed pipelines: every reply in its place, and nothing else in the store than what they say.

Random bursts of commands of several clients at once, cut anywhere on their way, against a plain
dictionary, with bounds so small that sealing and merging never rest, and kills in between. A
failure prints its seed: the bursts follow from it.
"""

from __future__ import annotations

import random
import signal
import socket
from functools import partial
from typing import Any

import hiredis
import pytest

from tests.engine.test_threads import run_together
from tests.server.daemon import Daemon, Start

MAX = 2**64 - 1
LAST = 2**63 - 1  # the highest number there may be
REFUSED = object()  # stands for any error
TINY = {
    "unsealed-bytes": 20_000,
    "tails": 40,
    "segment-entries": 4,
    "segment-bytes": 600,
    "segment-cache-bytes": 3_000,
    "timeline-cache": 3,
    "compact-after": 2,
    "group-bytes": 65_536,
    "entry-bytes": 20_000,
    "write-buffer-bytes": 65_536,
    "busy-ms": 20_000,
}

Words = list[bytes]
Pair = tuple[Words, Any]  # a command and its reply


def encoded(words: Words) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


class Client:
    """Commands of one client on timelines of its own, and what they must answer."""

    def __init__(self, seed: str, number: int) -> None:
        self.random = random.Random(seed)
        self.names = [b"c%d-%d" % (number, each) for each in range(5)]
        self.entries: dict[bytes, dict[int, Words]] = {}
        self.heads: dict[bytes, int] = {}
        self.gone: dict[bytes, int] = {}  # heads of those that were deleted

    # --- what they must answer ----------------------------------------------------------------

    def add(self, name: bytes, seq: int | None, items: Words) -> Any:  # noqa: ANN401  a reply
        head = self.heads.get(name, 0)
        seq = (head or self.gone.get(name, 0)) + 1 if seq is None else seq
        too_large = len(items[0]) > 255 or sum(map(len, items)) > 20_000
        if too_large or name[:1] == b"@" or seq <= head or seq > LAST:
            return REFUSED
        self.gone.pop(name, None)
        self.entries.setdefault(name, {})[seq] = items
        self.heads[name] = seq
        return b"%d-0" % seq

    def remove(self, name: bytes, seqs: list[int]) -> int:
        entries = self.entries.get(name, {})
        return sum(entries.pop(seq, None) is not None for seq in seqs)

    def drop(self, name: bytes) -> int:
        self.entries.pop(name, None)
        head = self.heads.pop(name, 0)
        if 0 < head < LAST:
            self.gone[name] = head
        return int(head > 0)

    def range(self, name: bytes, first: int, last: int, most: int, *, back: bool) -> list[Any]:
        entries = self.entries.get(name, {})
        found = sorted((seq for seq in entries if first <= seq <= last), reverse=back)[:most]
        return [[b"%d-0" % seq, entries[seq]] for seq in found]

    # --- commands -----------------------------------------------------------------------------

    def items(self, fields: int) -> Words:
        values = [b"", b"v", b"x" * 300, b"y" * 4_100, b"z" * 21_000]
        found: Words = []
        for number in range(fields):
            found += [b"f%d" % number, *self.random.choices(values, (20, 70, 8, 2, 0.2))]
        if self.random.random() < 0.005:
            found[0] = b"f" * 256
        return found

    def some(self, name: bytes) -> int:
        """A number that is, was or will be in the timeline."""
        known = list(self.entries.get(name, ()))
        if known and self.random.random() < 0.8:
            return self.random.choice(known)
        return self.random.randint(1, min(self.heads.get(name, 0) + 2, MAX - 1))

    def command(self, *, queued: bool = False) -> Pair:  # noqa: PLR0911  one for each kind
        rnd = self.random
        name = rnd.choice(self.names)
        (what,) = rnd.choices(
            ["add", "add at", "delete", "trim", "drop", "count", "range"],
            (40, 0 if queued else 7, 14, 8, 3, 8, 20),
        )
        if what == "add" and not (queued and self.heads.get(name, 0) >= LAST):
            items = [b"f", b"v"] if queued else self.items(rnd.choice([1, 1, 1, 2, 3]))
            name = b"@" + name if not queued and rnd.random() < 0.01 else name
            return [rnd.choice([b"XADD", b"xadd", b"xAdd"]), name, b"*", *items], self.add(
                name, None, items
            )
        if what == "add at":
            far = rnd.choices([rnd.randint(-1, 5), 16_380, 2**32, LAST, MAX], (96, 2, 1, 0.3, 0.3))[
                0
            ]
            seq = min(max(1, self.heads.get(name, 0) + far), MAX)
            items = self.items(1)
            return [b"XADD", name, b"%d-0" % seq, *items], self.add(name, seq, items)
        if what == "delete":
            seqs = [self.some(name) for _ in range(rnd.choice([1, 1, 3]))]
            return [b"XDEL", name, *(b"%d-0" % seq for seq in seqs)], self.remove(name, seqs)
        if what == "trim":
            seqs = sorted(self.entries.get(name, ()))
            if rnd.random() < 0.5:
                length = rnd.randrange(40)
                gone = seqs[: max(0, len(seqs) - length)]
                return [b"XTRIM", name, b"MAXLEN", b"%d" % length], self.remove(name, gone)
            first = self.some(name)
            gone = [seq for seq in seqs if seq < first]
            return [b"XTRIM", name, b"MINID", b"%d-0" % first], self.remove(name, gone)
        if what == "drop":
            return [b"DEL", name], self.drop(name)
        if what == "range":
            first, last = sorted((self.some(name), self.some(name)))
            if rnd.random() < 0.4:
                first, last = 0, MAX
            most, back = rnd.choice([1, 3, 100]), rnd.random() < 0.5
            bounds = [b"%d" % first, b"%d" % last]
            verb = b"XREVRANGE" if back else b"XRANGE"
            words = [verb, name, *(bounds[::-1] if back else bounds), b"COUNT", b"%d" % most]
            return words, self.range(name, first, last, most, back=back)
        return [b"XLEN", name], len(self.entries.get(name, {}))

    def burst(self) -> list[Pair]:
        rnd = self.random
        pairs: list[Pair] = []
        size = rnd.choice([1, 3, 20, 100, 300])
        while len(pairs) < size:
            (what,) = rnd.choices(["one", "run", "transaction"], (90, 8, 2))
            if what == "one":
                pairs.append(self.command())
            elif what == "run":
                fields = rnd.choice([1, 1, 2])
                for _ in range(rnd.choice([3, 4, 5, 30, 70])):
                    name, items = rnd.choice(self.names), self.items(fields)
                    pairs.append(([b"XADD", name, b"*", *items], self.add(name, None, items)))
            else:
                queued = [self.command(queued=True) for _ in range(rnd.randint(1, 7))]
                pairs.append(([b"MULTI"], b"OK"))
                pairs += [(words, b"QUEUED") for words, _ in queued]
                pairs.append(([b"EXEC"], [reply for _, reply in queued]))
        return pairs

    def everything(self) -> list[Pair]:
        return [
            ([b"XRANGE", name, b"-", b"+"], self.range(name, 0, MAX, MAX, back=False))
            for name in self.names
        ]

    # --- the wire -----------------------------------------------------------------------------

    def talk(self, daemon: Daemon, bursts: int) -> None:
        with socket.create_connection((daemon.host, daemon.port), 30) as link:
            reader = hiredis.Reader()
            self.exchange(link, reader, self.everything())
            for _ in range(bursts):
                self.exchange(link, reader, self.burst())
            self.exchange(link, reader, self.everything())

    def exchange(self, link: socket.socket, reader: hiredis.Reader, pairs: list[Pair]) -> None:
        data = b"".join(encoded(words) for words, _ in pairs)
        cut = self.random.randrange(len(data))

        def send() -> None:
            link.sendall(data[:cut])
            link.sendall(data[cut:])

        run_together(send, lambda: self.receive(link, reader, pairs))

    @staticmethod
    def receive(link: socket.socket, reader: hiredis.Reader, pairs: list[Pair]) -> None:
        for words, expected in pairs:
            while (reply := reader.gets()) is False:
                data = link.recv(1 << 16)
                assert data, "the daemon closed the connection"
                reader.feed(data)
            if expected is REFUSED:
                assert isinstance(reply, hiredis.ReplyError), (words, reply)
                assert not str(reply).startswith(("BUSY", "READONLY", "UNCERTAIN")), reply
            else:
                assert reply == expected, words


@pytest.mark.parametrize("fsync", ["thread", "inline"])
def test_mixed_pipelines_answer_as_a_dictionary_would(start: Start, fsync: str) -> None:
    seed = str(random.randrange(10**9))
    clients = [Client(f"{seed}-{number}", number) for number in range(3)]
    options = [f"--{name}={value}" for name, value in TINY.items()]
    for bursts in (8, 8, 0):
        daemon = start(*options, f"--fsync={fsync}")
        try:
            run_together(*(partial(client.talk, daemon, bursts) for client in clients))
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}")
        daemon.stop(signal.SIGKILL)
