"""Corners in which one promise meets another: a refusal and a resend, a commit and a switch."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ExecAbortError, ResponseError

from tests.engine.adapters import Refused
from tests.messaging.doors.door import Door
from tests.messaging.doors.wire import WireDoor

OPTIONS = {"diffusion_limit": 3}


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[WireDoor]:
    door = WireDoor(tmp_path / "store", diffusion_limit=3)
    yield door
    door.close()


@pytest.mark.parametrize("ordinal", [2**32, 9_999_999_999])
def test_an_ordinal_that_no_commit_has_is_refused(door: Door, ordinal: int) -> None:
    door.create("team", members=["ann", "bob"])
    door.send("team", "ann", "hi")
    epoch = door.conversations("ann").position.split("-")[0]
    with pytest.raises(Refused, match="cursor"):
        door.ack("ann", "phone", f"{epoch}-1-{ordinal}")
    assert door.sync("ann", "phone", f"{epoch}-1-{ordinal}").resync


def test_receipts_are_for_who_could_see_the_message(door: Door) -> None:
    door.create("team", members=["ann", "bob"])
    door.send("team", "ann", "hi")
    door.join("team", ["late"])
    door.read("bob", "team", 1)
    assert door.receipts("team", 1, "ann") == ({"bob"}, set())
    with pytest.raises(Refused, match="NOTFOUND"):
        door.receipts("team", 1, "late")


@pytest.mark.parametrize("change", ["leave", "reader"])
def test_a_resend_is_answered_though_its_sender_may_send_no_more(door: Door, change: str) -> None:
    door.create("team", members=["ann", "bob"])
    assert door.send("team", "bob", "hi", key="k") == (1, "stored")
    if change == "leave":
        door.leave("team", ["bob"])
    else:
        door.set_role("team", "bob", "reader")
    assert door.send("team", "bob", "hi", key="k") == (1, "duplicate")
    with pytest.raises(Refused, match="NOPERM"):
        door.send("team", "bob", "hi", key="other")


def test_what_a_leaver_took_off_his_list_is_not_brought_back_by_others(door: Door) -> None:
    door.create("team", members=["ann", "bob"])
    door.leave("team", ["bob"])
    door.set("bob", "team", {"@listed": "0"})
    door.send("team", "ann", "not for bob")
    assert not door.conversations("bob").rows
    door.join("team", ["bob"])
    assert [row.id for row in door.conversations("bob").rows] == ["team"]


def execute(door: WireDoor, *commands: tuple[Any, ...]) -> None:
    """All of them as one commit."""
    pipeline = door.client.pipeline(transaction=True)
    for command in commands:
        pipeline.execute_command(*command)
    pipeline.execute()


def said(text: str) -> tuple[str, ...]:
    return ("CONV.SEND", "team", "ann", "*", "text", text)


def test_a_commit_that_switches_the_diffusion_keeps_the_order(wire: WireDoor) -> None:
    wire.create("team", members=["ann", "bob", "cat", "dan", "eve"])
    position = wire.conversations("bob").position
    execute(wire, said("1"), ("CONV.LEAVE", "team", "-", "cat", "dan", "eve"), said("2"))
    execute(wire, said("3"), ("CONV.JOIN", "team", "-", "cat", "dan", "eve"), said("4"))
    execute(wire, said("5"), ("CONV.LEAVE", "team", "-", "cat", "dan", "eve"), said("6"))
    entries = wire.sync("bob", "phone", position).entries
    assert [each.seq for each in entries if each.kind == "message"] == [1, 2, 3, 4, 5, 6]


def test_the_last_entry_of_a_leaver_is_his_leave(wire: WireDoor) -> None:
    wire.create("team", members=["ann", "bob", "cat", "dan", "eve"])
    position = wire.conversations("eve").position
    execute(wire, said("1"), ("CONV.LEAVE", "team", "-", "eve"))
    entries = wire.sync("eve", "phone", position).entries
    assert [each.kind for each in entries] == ["message", "leave"]


def test_a_group_made_small_is_written_to_again_whatever_the_transaction_sent(
    wire: WireDoor,
) -> None:
    wire.create("team", members=["ann", "bob", "cat", "dan", "eve"])
    execute(wire, said("1"), ("CONV.LEAVE", "team", "-", "cat", "dan", "eve"))
    assert wire.info("team")["diffusion"] == "write"


def test_who_leaves_in_a_transaction_is_not_told_what_it_does_then(wire: WireDoor) -> None:
    wire.create("team", members=["ann", "eve"])
    wire.send("team", "ann", "old")
    position = wire.conversations("eve").position
    execute(
        wire,
        ("CONV.LEAVE", "team", "-", "eve"),
        ("CONV.EDIT", "team", 1, "ann", "*", "text", "new"),
        ("CONV.META", "team", "-", "*", "title", "ours"),
    )
    assert [each.kind for each in wire.sync("eve", "phone", position).entries] == ["leave"]


def test_a_cursor_in_a_transaction_counts_what_it_made_and_not_what_is_left(wire: WireDoor) -> None:
    for name in ("other", "team"):
        wire.create(name, members=["ann", "bob", "cat", "dan", "eve"])
    position = wire.conversations("bob").position
    execute(wire, said("1"), said("2"), said("3"), ("CONV.LEAVE", "other", "-", "eve"))
    first = wire.sync("bob", "phone", position, limit=2)
    wire.delete("other")
    rest = wire.sync("bob", "phone", first.cursor).entries
    seqs = [each.seq for each in (*first.entries, *rest) if each.kind == "message"]
    assert seqs == [1, 2, 3]


def test_a_transaction_that_was_refused_leaves_the_list_as_it_was(wire: WireDoor) -> None:
    for team in ("team", "other"):
        wire.create(team, members=["ann", "bob"])
    with pytest.raises(ExecAbortError):
        execute(wire, said("never"), ("USER.CONVERSATIONS", "bob"), ("CONV.INFO", "none", "-"))
    wire.send("other", "ann", "1")
    wire.send("other", "ann", "2")
    wire.send("team", "ann", "newest")
    assert [row.id for row in wire.conversations("bob").rows] == ["team", "other"]


def test_frames_end_when_a_connection_goes_back_to_resp2(wire: WireDoor) -> None:
    wire.create("team", members=["ann", "bob"])
    wire.ack("bob", "phone", wire.conversations("bob").position)
    with socket.create_connection(("127.0.0.1", wire.daemon.port), timeout=5) as client:
        client.sendall(b"HELLO 3\r\nUSER.SUBSCRIBE bob phone\r\nHELLO 2\r\n")
        wire.send("team", "ann", "hi")
        client.sendall(b"PING\r\n")
        got = b""
        while not got.endswith(b"+PONG\r\n"):
            got += client.recv(65_536)
        wire.send("team", "ann", "hi")
        client.sendall(b"PING\r\n")
        assert client.recv(65_536) == b"+PONG\r\n"
    assert b"message" not in got


LARGE = "y" * 1_000_000


def test_a_page_of_events_is_bounded_however_large_the_message(door: Door) -> None:
    door.create("team", members=["ann", "bob"])
    door.send("team", "ann", "hi")
    for number in range(19):
        door.edit("team", 1, f"{number}", "ann")
    door.edit("team", 1, LARGE, "ann")
    kinds: list[str] = []
    cursor = ""
    while True:
        entries, cursor = door.events("team", "bob", cursor, limit=1_000)
        assert sum(len(value) for each in entries for _, value in each.fields) < 6_000_000
        kinds += [each.kind for each in entries]
        if not cursor:
            break
    assert kinds == ["join"] + ["edit"] * 20


def test_a_page_of_events_looks_at_so_many(door: Door) -> None:
    door.create("team", members=["ann", "bob"])
    door.send("team", "ann", "hi")
    for number in range(600):
        door.edit("team", 1, f"{number}", "ann")
    door.clear("bob", "team", 1)
    entries, cursor = door.events("team", "bob", limit=2)
    assert ([each.kind for each in entries], bool(cursor)) == (["join"], True)
    assert door.events("team", "bob", cursor, limit=2) == ([], "")


def test_a_page_of_the_list_is_bounded_however_large_the_messages(door: Door) -> None:
    teams = [f"team{number}" for number in range(10)]
    for team in teams:
        door.create(team, members=["ann", "bob"])
        door.send(team, "ann", LARGE)
    found: list[str] = []
    cursor = ""
    while True:
        page = door.conversations("bob", cursor, limit=1_000)
        assert len(page.rows) <= 5
        found += [row.id for row in page.rows]
        cursor = page.cursor
        if not cursor:
            break
    assert found == teams[::-1]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("CONV.SEND team ann hi there you", r"no option hi here: CONV.SEND .* \* .*, quote it"),
        (
            "CONV.SEND team ann text hi",
            "for 'conv.send' command: CONV.SEND conversation",
        ),
        ("USER.SYNC ann phone $", r"there is no option \$ here: USER.SYNC user device .*econds]$"),
        ("USER.SYNC ann", "for 'user.sync' command: USER.SYNC user device"),
        ("USER.SYNC ann phone * a b", "syntax error: USER.SYNC user device"),
        ("TIMELINE.COMPACT a b c", r"syntax error: TIMELINE.COMPACT \[key | PREFIX prefix]"),
        ("BACKUP", "wrong number of arguments for 'backup' command: BACKUP path"),
        ("LOG.TAIL AFTER x", "an LSN is a whole number, 0 or more, not x"),
        ("LOG.CONSUMER c -1", "an LSN is a whole number, 0 or more, not -1"),
        ("TIMELINE.RETENTION @conv:team MAXAGE 30d", "after MAXAGE comes a whole number, 0 or"),
        ("TIMELINE.RETENTION @conv:team MAXSIZE 30", "syntax error: TIMELINE.RETENTION key"),
        ("TIMELINE.EXCESS @conv:team MAXLEN -1", "after MAXLEN comes a whole number, 0 or more"),
        ("TIMELINE.EXCESS @conv:team MAXSIZE x", "syntax error: TIMELINE.EXCESS key"),
        ("LOG.TAIL BEFORE 4", "syntax error: LOG.TAIL"),
        ("LOG.TAIL AFTER 1000000 BLOCK 1", "LSN 1000000 is above the last one"),
        ("CONV.SENT team ann * text hi", "unknown command 'CONV.SENT': did you mean CONV.SEND"),
        ("user.conversatons ann", "'user.conversatons': did you mean USER.CONVERSATIONS"),
        ("TIMELINES.LIST", "did you mean TIMELINE.LIST"),
        ("LOG.CONSUMR", "did you mean LOG.CONSUMER"),
        ("CONV.BANANA team", "unknown command 'CONV.BANANA', with args beginning with: 'team'"),
        ("CONV.SEND team ann SILENT MENTIONALL KEY", "a value is missing after KEY"),
        ("CONV.SEND team ann KEY * text hi", "no option text here"),
        (
            "CONV.SEND team ann MENTIONS 5 bob * text hi",
            "MENTIONS announces 5 values, but 4 follow",
        ),
        ("CONV.SEND team ann KEY k * text", "pairs of field and value come after"),
        ("CONV.CREATE other ann KIND banana", "one of group, channel is wanted, not banana"),
        ("USER.CONVERSATIONS ann FROM 3", "no option FROM here"),
        ("CONV.SEND team ann MENTIONS bob * text hi", "a list begins with how many follow"),
        ("CONV.EDIT team ann 1 * text hi", "the number of a message is written 5 or 5-0, not ann"),
        ("CONV.RECALL team 1-1 ann", "the number of a message is written 5 or 5-0, not 1-1"),
        ("CONV.RECALL team 18446744073709551616 ann", "the number of a message is written"),
        ("CONV.RECEIPTS team -1 ann", "the number of a message is written 5 or 5-0, not -1"),
        ("CONV.HISTORY team ann FROM - TO +", "the number of a message is written 5 or 5-0, not -"),
        ("CONV.HISTORY team ann TO +", "the number of a message is written"),
        ("CONV.HISTORY team ann SINCE today", "a time is a whole number of milliseconds"),
        ("USER.READ ann team last", "the number of a message is written"),
        ("USER.HIDE ann team 1 x", "the number of a message is written"),
        ("USER.CLEAR ann team 1-", "the number of a message is written"),
        ("CONV.HISTORY team ann COUNT 0", "after COUNT comes a whole number, 1 or more, not 0"),
        ("CONV.EVENTS team ann COUNT 0", "after COUNT comes a whole number, 1 or more, not 0"),
        ("CONV.MEMBERS team ann COUNT x", "after COUNT comes a whole number, 1 or more, not x"),
        ("USER.CONVERSATIONS ann COUNT -1", "after COUNT comes a whole number, 1 or more, not -1"),
        ("USER.SYNC ann phone COUNT 0", "after COUNT comes a whole number, 1 or more, not 0"),
        ("LOG.TAIL COUNT 0", "after COUNT comes a whole number, 1 or more, not 0"),
        ("TIMELINE.LIST COUNT 0", "after COUNT comes a whole number, 1 or more, not 0"),
        ("LOG.CONSUMER indexer", "there is no consumer 'indexer': move it to an LSN"),
        ("CONV.META team ann title x", "pairs of field and value come after"),
        ("USER.META nobody", "there is no such user"),
    ],
)
def test_a_mistake_in_a_command_is_named(wire: WireDoor, line: str, sentence: str) -> None:
    wire.create("team", members=["ann", "bob"])
    before = wire.lsn()
    with pytest.raises(ResponseError, match=sentence):
        wire.client.execute_command(*line.split())
    assert wire.lsn() == before


def test_numbers_of_messages_are_written_with_and_without_their_second_part(wire: WireDoor) -> None:
    wire.create("team", "ann", ["bob"])
    for number in range(1, 6):
        wire.send("team", "ann", str(number))
    for first, second in (("2", "3-0"), ("2-0", "3")):
        found = wire.do("CONV.HISTORY", "team", "bob", "FROM", first, "TO", second)
        assert [entry[0] for entry in found] == [b"2-0", b"3-0"]
    assert wire.do("USER.READ", "bob", "team", "1-0") == 1
    assert wire.do("USER.READ", "bob", "team", "2") == 2
    assert wire.do("CONV.RECEIPTS", "team", "2-0", "ann")[b"read"] == [b"bob"]
    assert wire.do("CONV.EDIT", "team", "5-0", "ann", "*", "text", "five") == b"OK"
    assert wire.do("CONV.RECALL", "team", "4-0", "ann") == b"OK"
    assert wire.do("USER.HIDE", "bob", "team", "3-0", "5") == 2
    assert wire.do("USER.CLEAR", "bob", "team", "1-0") == b"OK"
    assert [message.seq for message in wire.history("team", "bob")] == [2, 4]


def test_what_describes_is_read_without_being_written(wire: WireDoor) -> None:
    wire.create("team", "ann", ["bob", "cat"], meta={"title": "Team"})
    wire.set_role("team", "cat", "reader")
    wire.leave("team", ["bob"], "bob")
    wire.set_user_meta("ann", {"name": "Ann"})
    before = wire.lsn()
    for actor in ("ann", "cat", "-"):
        assert wire.do("CONV.META", "team", actor) == {b"title": b"Team"}
    assert wire.do("CONV.META", "team", "bob") == {}  # who has left
    assert wire.do("USER.META", "ann") == {b"name": b"Ann"}
    assert wire.do("USER.META", "bob") == {}
    with pytest.raises(ResponseError, match="no such conversation"):
        wire.client.execute_command("CONV.META", "team", "stranger")
    assert wire.lsn() == before


def test_whom_a_message_mentions_is_kept_as_the_client_said(wire: WireDoor) -> None:
    """Who is no member is told nothing, and may have been one when the message was written."""
    wire.create("team", "ann", ["bob"])
    wire.leave("team", ["bob"], "bob")
    wire.send("team", "ann", "hi", mentions=["bob", "nobody"])
    (message,) = wire.history("team", "ann")
    assert message.stamp("@mentions") == ["bob", "nobody"]
    assert wire.conversations("bob").rows[0].mentions == 0
    wire.join("team", ["bob"])
    assert wire.conversations("bob").rows[0].mentions == 0


def test_a_transaction_reads_what_it_has_described(wire: WireDoor) -> None:
    wire.create("team", "ann")
    wire.client.xadd("a", {"f": "v"})
    words = (
        ("CONV.META", "team", "ann"), ("USER.META", "ann"), ("TIMELINE.META", "a"),
    )  # fmt: skip
    pipe = wire.client.pipeline(transaction=True)
    for each in words:
        pipe.execute_command(*each, "*", "title", "x")
        pipe.execute_command(*each)
    pipe.execute_command("TIMELINE.RETENTION", "a", "MAXLEN", 7)
    pipe.execute_command("TIMELINE.RETENTION", "a")
    *described, bounds, read = pipe.execute()
    assert described == [{b"title": b"x"}] * 6
    assert bounds == read == {b"maxage": 0, b"maxlen": 7, b"maxbytes": 0}


def test_reading_and_changing_by_one_command_are_counted_as_one(wire: WireDoor) -> None:
    wire.create("team", "ann")
    wire.do("CONV.META", "team", "ann", "*", "title", "x")
    wire.do("CONV.META", "team", "ann")
    assert wire.client.info("commandstats")["cmdstat_conv.meta"]["calls"] == 2


def test_keys_of_a_transaction_that_was_refused_are_not_counted(wire: WireDoor) -> None:
    wire.create("team", members=["ann", "bob"])
    wire.send("team", "ann", "hi", key="first")
    before = wire.client.info()["idempotency_bytes"]
    with pytest.raises(ExecAbortError):
        execute(
            wire,
            *(("CONV.SEND", "team", "ann", "KEY", f"{n}", "*", "text", "hi") for n in range(300)),
            ("CONV.INFO", "none", "-"),
        )
    assert wire.client.info()["idempotency_bytes"] == before
    execute(wire, ("CONV.SEND", "team", "ann", "KEY", "second", "*", "text", "hi"))
    assert wire.client.info()["idempotency_bytes"] - before == 96 + len("second")


def test_a_command_whose_first_commit_is_refused_goes_no_further(tmp_path: Path) -> None:
    people = [f"user{number}" for number in range(300)]
    door = WireDoor(tmp_path / "store")
    door.create("team", members=people)
    door.close()
    door = WireDoor(tmp_path / "store", group_bytes=20_000, entry_bytes=10_000)
    before = door.lsn()
    with socket.create_connection(("127.0.0.1", door.daemon.port), timeout=5) as client:
        client.sendall(f"CONV.LEAVE team - {' '.join(people)}\r\nPING\r\n".encode())
        got = b""
        while not got.endswith(b"+PONG\r\n"):
            got += client.recv(65_536)
    assert got.startswith(b"-TOOLARGE a commit of ")
    assert b"once more" not in got, "nothing was done"
    assert door.lsn() == before
    door.close()


def test_a_transaction_that_writes_has_nothing_to_sync(wire: WireDoor) -> None:
    wire.create("team", members=["ann", "bob"])
    position = wire.conversations("bob").position
    before = wire.lsn()
    sync = ("USER.SYNC", "bob", "phone", "AFTER", position)
    with pytest.raises(ExecAbortError, match="no position yet"):
        execute(wire, said("never"), sync)
    assert wire.lsn() == before
    execute(wire, sync, ("USER.UNREAD", "bob"))


def test_a_large_join_over_the_wire_is_looked_at_before_it_is_begun(tmp_path: Path) -> None:
    people = [f"user{number}" for number in range(2_100)]
    door = WireDoor(tmp_path / "store", diffusion_limit=3, pulled_limit=1)
    door.create("other", members=["a", "b", "c", people[-1]])
    before = door.lsn()
    with pytest.raises(Refused, match=f"user {people[-1]} is in 1 read-diffused"):
        door.create("team", "ann", members=people)
    assert door.lsn() == before
    with pytest.raises(Refused, match="NOPERM"):
        door.join("team", people)
    door.create("team", "ann", members=people[:-1])
    assert door.info("team", "ann")["members"] == 2_100
    assert door.join("team", people[:-1]) == 0
    door.close()
