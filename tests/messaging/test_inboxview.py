"""Raw reads of an in-box show its references, the same through both doors and both ways."""

# ruff: noqa: ANN401  replies of redis-py

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from redis.exceptions import ResponseError

import timeline
from tests.engine.stores import SMALL, Clock, small_steps
from tests.messaging.doors.door import Door
from tests.messaging.doors.embedded import EmbeddedDoor
from tests.messaging.doors.wire import WireDoor
from timeline.embedded.database import Database
from timeline.engine.inboxview import TOP, InboxView, number_of
from timeline.entry import Entry
from timeline.errors import NoPermissionError, WrongTypeError
from timeline.formats.numbers import NO_LSN
from timeline.formats.rows import INBOX
from timeline.options import DAY

WAIT = 20.0


class Shown(NamedTuple):
    id: str
    kind: str
    timeline: str
    seq: int


OPTIONS = {"diffusion_limit": 3}


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[WireDoor]:
    door = WireDoor(tmp_path / "store")
    yield door
    door.close()


def of_wire(found: list[Any]) -> list[Shown]:
    shown = []
    for identity, items in found:
        fields = (
            items if isinstance(items, dict) else dict(zip(items[::2], items[1::2], strict=True))
        )
        assert list(fields) == [b"kind", b"timeline", b"seq"]
        values = [value.decode() for value in fields.values()]
        shown.append(Shown(identity.decode(), values[0], values[1], int(values[2])))
    return shown


def of_embedded(entries: Iterator[Entry]) -> list[Shown]:
    return [
        Shown(entry.id, entry.text("kind"), entry.text("timeline"), int(entry.text("seq")))
        for entry in entries
    ]


def read(door: Door, user: str, *, reverse: bool = False) -> list[Shown]:
    if isinstance(door, WireDoor):
        if reverse:
            return of_wire(door.do("XREVRANGE", f"@user:{user}", "+", "-"))
        return of_wire(door.do("XRANGE", f"@user:{user}", "-", "+"))
    assert isinstance(door, EmbeddedDoor)
    return of_embedded(door.db.timeline(f"@user:{user}").range(reverse=reverse))


def test_an_in_box_shows_references_and_not_what_they_refer_to(door: Door) -> None:
    door.create("team", "ann", ["bob"])
    start = door.lsn()
    door.send("team", "ann", "hi")
    door.send("team", "bob", "ho")
    door.edit("team", 1, "hello", "ann")
    door.hide("bob", "team", 1)
    door.recall("team", 1, "ann")
    expected = [
        ("join", "@event:team", 1),
        ("message", "@conv:team", 1),
        ("message", "@conv:team", 2),
        ("edit", "@conv:team", 1),
        ("hide", "@conv:team", 1),
        ("recall", "@conv:team", 1),
    ]
    found = read(door, "bob")
    assert [each[1:3] for each in found] == [each[:2] for each in expected]
    assert [each.seq for each in found if each.kind in ("message", "hide")] == [1, 2, 1]
    assert [each.id for each in found[1:]] == [f"{start + n}-0" for n in range(1, 6)]
    assert read(door, "bob", reverse=True) == found[::-1]
    door.restart()
    assert read(door, "bob") == found
    assert read(door, "bob", reverse=True) == found[::-1]
    assert read(door, "nobody") == []


def test_a_reference_to_what_is_gone_has_no_name(door: Door) -> None:
    door.create("team", "ann", ["bob"])
    door.send("team", "ann", "hi")
    door.delete("team")
    assert {each.timeline for each in read(door, "bob")} == {""}
    assert read(door, "bob")[-1].kind == "delete"


def test_raw_writes_are_refused(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        db.messaging.create("team", "ann", members=["bob"])
        handle = db.timeline("@user:bob")
        before = db.engine.applied
        with pytest.raises(NoPermissionError):
            handle.append({"a": "1"})
        with pytest.raises(NoPermissionError):
            handle.trim(length=0)
        with pytest.raises(NoPermissionError):
            handle.drop()
        with pytest.raises(WrongTypeError):
            next(handle.range(since=0))
        assert db.engine.applied == before


# --- every range, wherever the references lie ---------------------------------------------------


def fill(db: Database, draw: random.Random, inbox: int, target: bytes) -> None:
    with db.engine.lock:
        for _ in range(draw.randrange(6)):
            draft = db.engine.begin()
            place = draft.find(target)
            assert place is not None
            for _ in range(draw.choice([0, 1, 1, 1, 2, 5])):
                draft.notify([inbox], place, draw.randrange(100), draw.randrange(1, 14))
            draft.put(b"u-test", b"")
            draft.commit()
    db.flush()


def check(db: Database, draw: random.Random, name: bytes, inbox: int) -> None:
    reads = InboxView(db.engine.view)
    with db.engine.lock:
        found = db.engine.inboxes.read(inbox, NO_LSN, -1, 10**6)
        box = reads.find(name)
        assert box is not None
        numbers = [number_of(reference.lsn, ordinal) for reference, ordinal in found]
        extent = reads.extent(box)
        assert extent.length == len(numbers)
        assert (extent.first, extent.head) == ((numbers[0], numbers[-1]) if numbers else (0, 0))
        for _ in range(30):
            ends = [0, TOP, *numbers] + [number + 1 for number in numbers]
            first, last = draw.choice(ends), draw.choice(ends)
            limit = draw.choice([0, 1, 2, 7, 10**6])
            reverse = draw.random() < 0.5
            expected = [number for number in numbers if first <= number <= last]
            expected = (expected[::-1] if reverse else expected)[:limit]
            page = reads.read(box, first, last, limit, reverse=reverse)
            assert page.count == len(page.chunks) == len(expected)
            assert page.last == (expected[-1] if expected else None)


@pytest.mark.parametrize("seed", range(8))
def test_ranges_are_the_same_wherever_references_lie(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    options = replace(
        SMALL, fsync="inline", retention_check_ms=1, inbox_age_ms=DAY, inbox_references=40
    )
    with (
        Clock().installed() as clock,
        small_steps(),
        timeline.open(tmp_path / "store", options) as db,
    ):
        with db.engine.lock:
            draft = db.engine.begin()
            inbox = draft.create(b"@user:bob", INBOX).id
            draft.create(b"@conv:team")
            draft.commit()
        db.flush()
        for _ in range(25):
            fill(db, draw, inbox, b"@conv:team")
            clock.now += DAY // 8
            check(db, draw, b"@user:bob", inbox)
            for _ in range(draw.randrange(20)):  # part of a pass, of a sweep
                db.engine.work()
            check(db, draw, b"@user:bob", inbox)
            if draw.random() < 0.3:
                db.engine.seal()
                check(db, draw, b"@user:bob", inbox)
        assert db.engine.inboxes.floor_of(inbox) > 0


# --- over the wire ------------------------------------------------------------------------------


def fill_wire(wire: WireDoor) -> int:
    """Three messages for bob; the LSN before the first."""
    wire.create("team", "ann", ["bob"])
    start = wire.lsn()
    for number in range(3):
        wire.send("team", "ann", str(number))
    return start


def test_ids_are_bounds_as_in_redis(wire: WireDoor) -> None:
    start = fill_wire(wire)
    ids = [f"{start + n}-0" for n in (1, 2, 3)]

    def ranged(*words: Any) -> list[str]:
        return [each.id for each in of_wire(wire.do("XRANGE", "@user:bob", *words))]

    assert ranged(ids[0], ids[1]) == ids[:2]
    assert ranged(start + 1, start + 2) == ids[:2], "an LSN alone is all of the commit"
    assert ranged(f"({ids[0]}", "+") == ids[1:]
    assert ranged(ids[0], f"({ids[2]}") == ids[:2]
    assert ranged(f"{start + 1}-1", "+") == ids[1:]
    assert ranged(f"{start + 1}-{2**64 - 1}", "+") == ids[1:]
    assert ranged(ids[0], "+", "COUNT", 2) == ids[:2]
    assert ranged("+", "-") == []
    back = wire.do("XREVRANGE", "@user:bob", "+", ids[1], "COUNT", 1)
    assert [each.id for each in of_wire(back)] == ids[2:]
    with pytest.raises(ResponseError, match="Invalid stream ID"):
        wire.client.execute_command("XRANGE", "@user:bob", "nonsense", "+")
    assert wire.do("XLEN", "@user:bob") == 4
    assert wire.do("XLEN", "@user:nobody") == 0
    assert wire.do("EXISTS", "@user:bob") == 0, "keys are raw timelines"


def test_xinfo_and_timeline_info_tell_of_an_in_box(wire: WireDoor) -> None:
    start = fill_wire(wire)
    info = wire.do("XINFO", "STREAM", "@user:bob")
    assert info[b"length"] == 4
    assert info[b"last-generated-id"] == b"%d-0" % (start + 3)
    assert of_wire([info[b"last-entry"]]) == [Shown(f"{start + 3}-0", "message", "@conv:team", 3)]
    assert of_wire([info[b"first-entry"]])[0].kind == "join"
    full = wire.do("XINFO", "STREAM", "@user:bob", "FULL", "COUNT", 2)
    assert len(of_wire(full[b"entries"])) == 2
    info = wire.do("TIMELINE.INFO", "@user:bob")
    assert (info[b"length"], info[b"head"]) == (4, start + 3)
    assert b"@user:bob" in wire.do("TIMELINE.LIST", "PREFIX", "@user:")[b"timelines"]


def test_xread_goes_on_behind_an_id(wire: WireDoor) -> None:
    start = fill_wire(wire)

    def xread(*words: Any) -> list[str]:
        found = wire.do("XREAD", *words)
        return [each.id for each in of_wire(found[b"@user:bob"][0])] if found else []

    ids = [f"{start + n}-0" for n in (1, 2, 3)]
    assert xread("STREAMS", "@user:bob", ids[0]) == ids[1:]
    assert xread("COUNT", 1, "STREAMS", "@user:bob", ids[0]) == ids[1:2]
    assert xread("STREAMS", "@user:bob", "+") == ids[2:]
    assert xread("STREAMS", "@user:bob", "$") == []
    assert xread("STREAMS", "@user:bob", ids[2]) == []
    wire.do("XADD", "raw", "*", "a", "1")
    found = wire.do("XREAD", "STREAMS", "raw", "@user:bob", 0, ids[1])
    assert list(found) == [b"raw", b"@user:bob"]


@pytest.mark.parametrize(
    ("known", "last"),
    [(True, "$"), (True, "id"), (False, "$"), (False, "id"), (False, "0")],
)
def test_a_blocked_xread_is_answered_by_the_next_reference(
    wire: WireDoor, last: str, known: bool
) -> None:
    start = fill_wire(wire)
    user = "bob" if known else "eve"
    behind = {"$": "$", "id": f"{start + 3}-0", "0": "0"}[last]
    found: list[Any] = []
    client = wire.daemon.client(protocol=3, socket_timeout=WAIT)
    words = ("XREAD", "BLOCK", 0, "STREAMS", "raw", f"@user:{user}", "$", behind)
    reader = threading.Thread(target=lambda: found.append(client.execute_command(*words)))
    reader.start()
    while not wire.client.info("clients")["blocked_clients"]:
        pass
    if not known:
        wire.set_user_meta(user, {"name": "Eve"})  # which makes an in-box and puts nothing in it
        assert found == []
        wire.join("team", [user])
    wire.send("team", "ann", "again")
    reader.join(WAIT)
    client.close()
    ((name, (entries,)),) = found[0].items()
    assert name == f"@user:{user}".encode()
    assert of_wire(entries)[0].kind == ("message" if known else "join")
    assert wire.client.info("timeline")["watched_inboxes"] == 0


def test_in_boxes_are_read_in_transactions_as_they_were_before(wire: WireDoor) -> None:
    start = fill_wire(wire)
    pipe = wire.client.pipeline(transaction=True)
    pipe.execute_command("CONV.SEND", "team", "ann", "*", "text", "hi")
    pipe.execute_command("XREVRANGE", "@user:bob", "+", "-", "COUNT", 1)
    pipe.execute_command("XLEN", "@user:bob")
    _, entries, length = pipe.execute()
    assert ([each.id for each in of_wire(entries)], length) == ([f"{start + 3}-0"], 4)
    assert wire.do("XLEN", "@user:bob") == 5
