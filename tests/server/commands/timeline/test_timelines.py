"""The promise: TIMELINE.* and LOG.* tell of timelines and of what happened to them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError, ResponseError

import timeline
from tests.engine.stores import copy_as_killed, other_log, with_payloads
from tests.server.daemon import Client, Daemon, Start
from tests.server.differential import Link, Reply
from timeline.formats import keys
from timeline.formats.entries import decode_items, encode_entry
from timeline.formats.records import PUT, Operation, Record, split_put
from timeline.formats.rows import decode_row, encode_row


def as_map(found: object) -> dict[bytes, Any]:
    if isinstance(found, dict):
        return found
    assert isinstance(found, list)
    return dict(zip(found[::2], found[1::2], strict=True))


def test_information_and_metadata(client: Client) -> None:
    client.xadd("t", {"f": "v"})
    info = as_map(client.execute_command("TIMELINE.INFO", "t"))
    assert (info[b"first"], info[b"head"], info[b"length"]) == (1, 1, 1)
    assert as_map(client.execute_command("TIMELINE.META", "t")) == {}
    client.execute_command("TIMELINE.META", "t", "*", "title", "Team", "topic", "x")
    merged = client.execute_command("TIMELINE.META", "t", "*", "topic", "", "owner", b"\xff")
    assert as_map(merged) == {b"title": b"Team", b"owner": b"\xff"}
    assert as_map(client.execute_command("TIMELINE.META", "t")) == as_map(merged)
    client.delete("t")
    client.xadd("t", {"f": "v"})
    assert as_map(client.execute_command("TIMELINE.META", "t")) == {}
    for words in (["TIMELINE.INFO", "none"], ["TIMELINE.META", "none"]):
        with pytest.raises(ResponseError, match="NOTFOUND"):
            client.execute_command(*words)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command("TIMELINE.META", "@conv:a", "*", "f", "v")


def test_names_in_pages(client: Client) -> None:
    for number in range(5):
        client.xadd(f"t:{number}", {"f": "v"})
    client.xadd("u", {"f": "v"})
    found: list[bytes] = []
    token = b""
    while True:
        words = [
            "TIMELINE.LIST",
            "PREFIX",
            "t:",
            "COUNT",
            "2",
            *(["AFTER", token] if token else []),
        ]
        page = as_map(client.execute_command(*words))
        found += page[b"timelines"]
        token = page[b"cursor"]
        if not token:
            break
    assert found == [b"t:%d" % number for number in range(5)]


def test_retention_is_kept(client: Client) -> None:
    client.xadd("t", {"f": "v"})
    found = as_map(
        client.execute_command("TIMELINE.RETENTION", "t", "MAXLEN", "5", "MAXAGE", "1000")
    )
    assert found == {b"maxage": 1000, b"maxlen": 5, b"maxbytes": 0}
    assert as_map(client.execute_command("TIMELINE.RETENTION", "t", "MAXAGE", "0")) == {
        b"maxage": 0,
        b"maxlen": 5,
        b"maxbytes": 0,
    }
    assert as_map(client.execute_command("TIMELINE.INFO", "t"))[b"maxlen"] == 5
    with pytest.raises(ResponseError):
        client.execute_command("TIMELINE.RETENTION", "t", "MAXLEN", "-1")


def test_compaction_changes_no_answer(client: Client) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(500):
        pipe.xadd("t", {"n": number})
    pipe.xtrim("t", maxlen=300)
    pipe.execute()
    before = client.xrange("t")
    assert client.execute_command("TIMELINE.COMPACT", "t") >= 0
    assert client.xrange("t") == before
    assert client.execute_command("TIMELINE.COMPACT") >= 0
    assert client.xrange("t") == before
    with pytest.raises(ResponseError, match="NOTFOUND"):
        client.execute_command("TIMELINE.COMPACT", "none")


def test_the_log_tells_what_happened_in_order(client: Client) -> None:
    start = client.info("timeline")["lsn"]
    client.xadd("a", {"f": "1"})
    client.pipeline().xadd("b", {"f": "2"}).xadd("b", {"f": "3"}).execute()
    client.xtrim("b", maxlen=1, approximate=False)
    client.xdel("a", "1")
    commits = client.execute_command("LOG.TAIL", "AFTER", start)
    assert [commit[0] for commit in commits] == list(range(start + 1, start + 1 + len(commits)))
    changes = [change for commit in commits for change in commit[2]]
    assert [change for change in changes if change[0] == b"append"] == [
        [b"append", b"a", 1, 1],
        [b"append", b"b", 1, 2],
    ]
    assert [b"trim", b"b", 2] in changes
    assert [b"patch", b"a", 1] in changes
    assert client.execute_command("LOG.TAIL", "AFTER", start, "COUNT", "1") == commits[:1]
    assert client.execute_command("LOG.TAIL", "AFTER", commits[-1][0]) == []


@pytest.mark.parametrize("resp", [2, 3])
def test_the_end_of_the_log_is_told_to_who_follows_from_now_on(daemon: Daemon, resp: int) -> None:
    name = f"end{resp}"
    with daemon.client(protocol=resp) as client:
        client.xadd(name, {"f": "1"})
        lsn = client.info("timeline")["lsn"]
        (end,) = client.execute_command("LOG.TAIL", "AFTER", "$")
        assert end[0] == lsn
        assert end[1] > 1_700_000_000_000
        assert end[2] == []
        assert client.execute_command("LOG.TAIL", "AFTER", "$", "BLOCK", "1") == [end]
        assert client.execute_command("LOG.TAIL", "AFTER", end[0]) == []
        client.xadd(name, {"f": "2"})
        (commit,) = client.execute_command("LOG.TAIL", "AFTER", end[0])
        assert commit[2][0][:2] == [b"append", name.encode()]
        inside = client.pipeline().xadd(name, {"f": "3"})
        inside.execute_command("LOG.TAIL", "AFTER", "$")
        assert inside.execute()[1][0][2] == []


def test_consumers_have_checkpoints(client: Client) -> None:
    client.xadd("a", {"f": "1"})
    lsn = client.info("timeline")["lsn"]
    with pytest.raises(ResponseError, match="NOTFOUND"):
        client.execute_command("LOG.CONSUMER", "nobody")
    assert client.execute_command("LOG.CONSUMER", "indexer", lsn) == lsn
    assert client.execute_command("LOG.CONSUMER", "indexer") == lsn
    assert as_map(client.execute_command("LOG.CONSUMERS"))[b"indexer"] == lsn
    with pytest.raises(ResponseError):
        client.execute_command("LOG.CONSUMER", "indexer", lsn + 100)


def test_a_consumer_is_forgotten_and_the_index_is_not(client: Client) -> None:
    client.xadd("a", {"f": "1"})
    client.execute_command("LOG.CONSUMER", "gone", 0)
    assert client.execute_command("LOG.FORGET", "gone") in (b"OK", True)
    assert b"gone" not in as_map(client.execute_command("LOG.CONSUMERS"))
    with pytest.raises(ResponseError, match="NOTFOUND there is no consumer 'gone'"):
        client.execute_command("LOG.FORGET", "gone")
    for command in (("LOG.FORGET", "index"), ("LOG.CONSUMER", "index", 0)):
        with pytest.raises(NoPermissionError, match="is the search index"):
            client.execute_command(*command)


def test_trimming_by_number_length_and_age(client: Client) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(20):
        pipe.xadd("t", {"n": number})
    pipe.execute()
    assert client.execute_command("TIMELINE.TRIM", "t", "MINID", 6) == 5
    assert client.execute_command("TIMELINE.TRIM", "t", "MAXLEN", 10) == 5
    assert client.execute_command("TIMELINE.TRIM", "t", "MAXAGE", 60_000) == 0
    assert client.execute_command("TIMELINE.TRIM", "t", "MINID", 12, "MAXLEN", 8) == 2
    assert [int(entry[0].split(b"-")[0]) for entry in client.xrange("t")] == list(range(13, 21))
    pipe = client.pipeline()
    pipe.xadd("u", {"n": 1}).execute_command("TIMELINE.TRIM", "u", "MAXAGE", 0)
    assert pipe.execute()[-1] == 0, "what a commit makes is not older than itself"
    for words, problem in (
        (["t"], "wrong number|syntax"),
        (["t", "MINID"], "syntax"),
        (["t", "NEWEST", "3"], "syntax"),
        (["t", "MINID", "-1"], "comes a whole number"),
        (["none", "MINID", "1"], "NOTFOUND"),
    ):
        with pytest.raises(ResponseError, match=problem):
            client.execute_command("TIMELINE.TRIM", *words)
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command("TIMELINE.TRIM", "@conv:a", "MINID", "1")


def test_what_bounds_would_remove_is_told_before_it_is_gone(client: Client) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(20):
        pipe.xadd("e", {"n": number})
    pipe.execute()
    client.xdel("e", 3, 7, 18)
    bounds = (
        ("MINID", 6), ("MINID", 1), ("MINID", 100), ("MAXLEN", 0), ("MAXLEN", 5), ("MAXLEN", 99),
        ("MAXAGE", 60_000), ("MINID", 6, "MAXLEN", 3), ("MINID", 12, "MAXLEN", 16),
    )  # fmt: skip
    told = [client.execute_command("TIMELINE.EXCESS", "e", *each) for each in bounds]
    assert told == [4, 0, 17, 17, 12, 0, 0, 14, 9]
    assert client.execute_command("TIMELINE.EXCESS", "e", "MAXBYTES", 1) == 0, "nothing is sealed"
    assert client.xlen("e") == 17, "nothing is removed"
    for each in (("MINID", 6), ("MINID", 9, "MAXLEN", 12), ("MAXLEN", 4), ("MAXLEN", 0)):
        expected = client.execute_command("TIMELINE.EXCESS", "e", *each)
        assert client.execute_command("TIMELINE.TRIM", "e", *each) == expected > 0
    for words, problem in (
        (["e"], "syntax"),
        (["e", "OLDEST", 3], "syntax"),
        (["e", "MAXLEN", -1], "comes a whole number"),
        (["none", "MAXLEN", 1], "NOTFOUND"),
    ):
        with pytest.raises(ResponseError, match=problem):
            client.execute_command("TIMELINE.EXCESS", *words)
    pipe = client.pipeline().execute_command("TIMELINE.EXCESS", "e", "MAXLEN", 1)
    with pytest.raises(ResponseError, match="outside MULTI"):
        pipe.execute()


def test_a_gain_is_told_before_it_is_had(client: Client) -> None:
    client.xadd("t", {"f": "v"})
    client.execute_command("TIMELINE.COMPACT", "PREFIX", "t")
    gain = as_map(client.execute_command("TIMELINE.GAIN", "t"))
    assert gain == {b"segments": 1, b"after": 1, b"bytes": gain[b"bytes"], b"freed": 0}
    assert as_map(client.execute_command("TIMELINE.GAIN", "PREFIX", "x"))[b"segments"] == 0
    assert as_map(client.execute_command("TIMELINE.GAIN"))[b"segments"] >= 1
    for command in ("TIMELINE.GAIN", "TIMELINE.COMPACT"):
        with pytest.raises(ResponseError, match="syntax"):
            client.execute_command(command, "BEGINS", "x")
        with pytest.raises(ResponseError, match="NOTFOUND"):
            client.execute_command(command, "none")
        with pytest.raises(ResponseError, match="outside MULTI"):
            client.pipeline().execute_command(command, "t").execute()


def integers(reply: Reply) -> Iterator[int]:
    if isinstance(reply.value, list):
        for item in reply.value:
            yield from integers(item)
    elif reply.kind == ":":
        yield int(reply.value)


def above_the_last(record: Record) -> Record:
    """The same commits with numbers from 2⁶³ on, where they had some from 2⁶² on."""

    def moved(number: int) -> int:
        return number + 2**62 if number >= 2**62 - 1 else number  # `skipped` is one less

    def older(operation: Operation) -> Operation:
        if operation.kind == PUT and operation.body[:1] == keys.ROW:
            key, value = split_put(operation)
            row = decode_row(value)
            row = row._replace(
                first=moved(row.first), floor=moved(row.floor), deleted=moved(row.deleted),
                skipped=moved(row.skipped),
            )  # fmt: skip
            return operation._replace(body=key + encode_row(row))
        return operation._replace(argument=moved(operation.argument))

    seqs = array("Q", map(moved, record.appends.seqs))
    payloads = [decode_items(each) for each in record.payloads]
    return with_payloads(
        record._replace(
            appends=record.appends._replace(seqs=seqs),
            operations=[older(each) for each in record.operations],
        ),
        list(map(encode_entry, seqs, payloads)),
    )


@pytest.mark.parametrize("protocol", [2, 3])
def test_numbers_that_are_no_integers_of_resp_are_told_as_strings(
    start: Start, tmp_path: Path, protocol: int
) -> None:
    """Such as the first versions gave out; a strict client breaks on the whole reply otherwise."""
    with timeline.open(tmp_path / "store") as db, other_log(above_the_last):
        db.log.move("reader", 0)  # keeps the log, which LOG.TAIL reads below
        db.timeline("old").append({"f": "v"}, seq=2**62)
        db.timeline("old").delete(db.timeline("old").append({"f": "v"}, seq=2**62 + 1))
        copy_as_killed(db, tmp_path / "data")
    daemon = start()
    with Link((daemon.host, daemon.port), protocol) as link:
        replies = link.ask(
            [
                line.split()
                for line in (
                    b"TIMELINE.INFO old",
                    b"TIMELINE.INSPECT old",
                    b"TIMELINE.RANGE old",
                    b"XINFO STREAM old",
                    b"XINFO STREAM old FULL",
                    b"XRANGE old - +",
                    b"LOG.TAIL AFTER 0",
                )
            ]
        )
    assert [reply.kind for reply in replies if reply.kind == "-"] == []
    assert all(-(2**63) <= number < 2**63 for reply in replies for number in integers(reply))
    assert str(2**63).encode() in str(replies[0]).encode()
