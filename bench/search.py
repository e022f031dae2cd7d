"""Search: how fast messages are indexed, how far behind the index is, how long a search takes.

Run by `python -m bench.search` (and by `make bench`, smaller). A daemon is filled with short
messages of words as frequent as in a language, a tenth of them Chinese, in conversations of which
one user sees 1 % and another 5,000. There is no peer: figures are told as they are.

    indexing   the index built again from the store, documents a second
    lag        the largest lag seen, sampled, while messages are sent at a steady rate
    latency    quantiles of single searches, one at a time, through the socket
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import hiredis

from bench.conversations import listed, quantile
from bench.scale import texts
from bench.servers import Server, start_timelined

_BATCH: Final = 500
_CONVERSATIONS: Final = 10_000
_FEW: Final = 100  # conversations of one user, a hundredth
_MANY: Final = 5_000  # of another
_CHINESE: Final = (
    "今天天气真好",
    "我们去公园玩吧",
    "已添加为好友",
    "明天见",
    "会议改到下午三点",
    "谢谢你的帮助",
)
_RATE: Final = 20_000  # messages a second


def messages(seed: int) -> Iterator[str]:
    source = random.Random(seed)
    for number, text in enumerate(texts(seed)):
        yield source.choice(_CHINESE) if number % 10 == 0 else text.decode()


def _packed(*words: Any) -> bytes:  # noqa: ANN401  what its stub takes for a 1-tuple
    packed: bytes = hiredis.pack_command(words)
    return packed


class Sender:
    """Sends messages in large pipelines; each batch is answered before the next."""

    def __init__(self, server: Server, seed: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._reader = hiredis.Reader()
        self._texts = messages(seed)
        self._source = random.Random(seed)

    def send(self, count: int) -> None:
        choose = self._source.randrange
        chosen = [choose(_CONVERSATIONS) for _ in range(count)]
        self.ask(
            [
                _packed("CONV.SEND", f"c{number}", f"u{number}", "*", "text", next(self._texts))
                for number in chosen
            ]
        )

    def ask(self, commands: list[bytes]) -> None:
        self._socket.sendall(b"".join(commands))
        for _ in commands:
            while (reply := self._reader.gets()) is False:
                self._reader.feed(self._socket.recv(1 << 16))
            if isinstance(reply, hiredis.ReplyError):
                raise reply

    def close(self) -> None:
        self._socket.close()


def make_conversations(sender: Sender) -> None:
    for start in range(0, _CONVERSATIONS, _BATCH):
        commands = []
        for number in range(start, start + _BATCH):
            users = [f"u{number}"]
            if number < _FEW:
                users.append("few")
            if number < _MANY:
                users.append("many")
            commands.append(
                _packed("CONV.CREATE", f"c{number}", "-", "MEMBERS", str(len(users)), *users)
            )
        sender.ask(commands)


def index_of(client: Any) -> dict[str, Any]:  # noqa: ANN401  a Redis client
    found: dict[str, Any] = client.info("timeline")
    return found


def wait_until(client: Any, done: Any) -> None:  # noqa: ANN401
    while not done(index_of(client)):
        time.sleep(0.05)


def lag_under_load(server: Server, client: Any, seconds: float) -> dict[str, float]:  # noqa: ANN401
    """Sends at `_RATE` from this thread; looks at the lag ten times a second."""
    sender = Sender(server, 7)
    lags = []
    begin = time.perf_counter()
    sent = 0
    look = begin
    while (now := time.perf_counter()) - begin < seconds:
        due = int((now - begin) * _RATE)
        if sent < due:
            sender.send(min(_BATCH, due - sent))
            sent += min(_BATCH, due - sent)
        if now >= look:
            look += 0.1
            lags.append(int(index_of(client)["index_lag_ms"]))
    sender.close()
    return {"sends_per_s": round(sent / seconds), "max_lag_ms": max(lags)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.search", description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000, help="(default 1000000)")
    parser.add_argument("--seconds", type=float, default=15.0, help="of load (default 15)")
    parser.add_argument("--out", type=Path, default=Path("bench/results"), metavar="DIR")
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}

    def tell(name: str, found: dict[str, float]) -> None:
        figures[name] = found
        print(name, found, flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="bench-") as scratch,
        start_timelined(Path(scratch)) as server,
        server.connect() as client,
    ):
        sender = Sender(server, 1)
        make_conversations(sender)
        begin = time.perf_counter()
        for _ in range(0, arguments.messages, _BATCH):
            sender.send(_BATCH)
        filled = time.perf_counter() - begin
        wait_until(client, lambda found: found["index_lag"] == 0)
        behind = time.perf_counter() - begin - filled
        tell(
            "fill", {"sends_per_s": round(arguments.messages / filled), "then_s": round(behind, 1)}
        )
        tell("lag at a steady rate", lag_under_load(server, client, arguments.seconds))
        wait_until(client, lambda found: found["index_lag"] == 0)
        before = index_of(client)
        begin = time.perf_counter()
        client.execute_command("TIMELINE.REINDEX")
        wait_until(client, lambda found: found["index_builds"] > before["index_builds"])
        took = time.perf_counter() - begin
        after = index_of(client)
        tell(
            "index built again",
            {
                "documents": after["index_documents"],
                "documents_per_s": round(after["index_documents"] / took),
                "bytes_a_document": round(after["index_bytes"] / after["index_documents"], 1),
            },
        )
        for name, words in searches():
            client.execute_command(*words)
            total = listed(client.execute_command(*words))[b"total"]
            tell(name, {"total": total, **quantile(lambda: client.execute_command(*words), 200)})  # noqa: B023  called here
        sender.close()
    arguments.out.mkdir(parents=True, exist_ok=True)
    target = arguments.out / "search.json"
    target.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(f"written: {target}")


def searches() -> Iterator[tuple[str, tuple[str, ...]]]:
    source = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgk"
    ranked = ["".join(source.choices(letters, k=source.randint(2, 9))) for _ in range(5_000)]
    queries = {
        "the commonest word": ranked[0],
        "a rare word": ranked[2_000],
        "two words": f"{ranked[3]} {ranked[40]}",
        "Chinese": "添加",
        "a beginning": ranked[10][:2] + "*",
        "all but a word": f"NOT {ranked[0]}",
    }
    for (name, query), (user, count) in itertools.product(
        queries.items(), (("few", _FEW), ("many", _MANY))
    ):
        yield f"search: {name}, in {count:,} conversations", ("USER.SEARCH", user, query)


if __name__ == "__main__":
    main()
