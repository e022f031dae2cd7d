"""The promise: short reads in pipelines, which have a path of their own, are answered as they are
when carried out one by one. A command in mixed case is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import hiredis
import pytest

import timeline
from tests.server.daemon import Daemon
from timeline_tools.sources.wire import Command, Wire

NAMES = ("sealed", "mixed", "young", "holes", "trimmed", "changed", "@user:bob", "nothing")


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    path = Path(tmp_path_factory.mktemp("short")) / "data"
    with timeline.open(path, segment_entries=50) as db:
        for name in NAMES[:-2]:
            if name != "young":
                db.timeline(name).append_many([{"n": str(number)} for number in range(180)])
        db.timeline("holes").delete(*range(40, 60), 100, 180)
        db.timeline("trimmed").trim(before=70)
        db.messaging.create("team", "ann", members=["bob"])
        for number in range(20):
            db.messaging.send("team", "ann", {"text": str(number)})
        db.engine.seal()
        db.timeline("changed").replace(20, {"n": "changed"})
    daemon = Daemon(path, "--segment-entries", "50")
    with Wire(f":{daemon.port}") as wire:
        for number in range(30):
            for name in ("mixed", "young"):
                wire.ask("XADD", name, "*", "n", f"young {number}")
        wire.ask("XDEL", "mixed", "190")
        yield wire
    assert daemon.stop() == 0


def bound(chance: random.Random) -> str:
    number = chance.randrange(220)
    forms = ["-", "+", f"{number}", f"{number}-0", f"{number}-1", f"({number}", f"({number}-0"]
    odd = ["", "(", "x", "-1", "1-", "99999999999999999999", "18446744073709551615", "00007"]
    return chance.choice(forms * 5 + odd)


def question(chance: random.Random) -> list[str | bytes | int]:
    counts = ["1", "2", "10", "49", "50", "120"] * 4 + [
        "0",
        "-1",
        "x",
        "",
        "007",
        "999",
        "1000",
        "²",
    ]
    options = chance.choice(
        [["COUNT", chance.choice(counts)]] * 9 + [[], ["count", "5"], ["COUNT"]]
    )
    low, high = bound(chance), bound(chance)
    if chance.random() < 0.5:
        low, high = "-", "+"
    back = chance.random() < 0.4
    verb, first, last = ("XREVRANGE", high, low) if back else ("XRANGE", low, high)
    return [verb, chance.choice(NAMES), first, last, *options]


def plain(replies: list[object]) -> list[object]:
    return [str(each) if isinstance(each, hiredis.ReplyError) else each for each in replies]


@pytest.mark.parametrize("seed", range(8))
def test_a_pipeline_is_answered_as_its_commands_are(wire: Wire, seed: int) -> None:
    chance = random.Random(seed)
    asked: list[Command] = [question(chance) for _ in range(400)]
    asked[::7] = [["PING"] for _ in asked[::7]]
    one_by_one = [[str(words[0]).capitalize(), *words[1:]] for words in asked]
    assert plain(wire.ask_all(asked)) == plain(wire.ask_all(one_by_one))


def test_they_are_counted(wire: Wire) -> None:
    def calls() -> int:
        return int(wire.info("commandstats")["cmdstat_xrange"].split(",")[0].removeprefix("calls="))

    wire.ask("XRANGE", "sealed", "-", "+")
    before = calls()
    wire.ask_all([["XRANGE", "sealed", "-", "+", "COUNT", "5"]] * 9)
    assert calls() == before + 9


def test_what_a_client_does_not_read_is_not_piled_up(wire: Wire) -> None:
    """More than `output_pause_bytes` in one pipeline."""
    wire.ask("XADD", "large", "*", "n", "x" * 100_000)
    found = wire.ask_all([["XRANGE", "large", "-", "+", "COUNT", "1"]] * 60)
    assert len(found) == 60
    assert all(len(each[0][1][1]) == 100_000 for each in found)
