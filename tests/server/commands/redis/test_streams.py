"""The promise: raw timelines answer as Redis streams do, with ids `<seq>-0`, through redis-py."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import ResponseError

from tests.server.daemon import Client


def ids(entries: list[tuple[bytes, dict[bytes, bytes]]]) -> list[bytes]:
    return [entry[0] for entry in entries]


def fill(client: Client, key: str, count: int) -> None:
    pipe = client.pipeline(transaction=False)
    for number in range(1, count + 1):
        pipe.xadd(key, {"n": number})
    pipe.execute()


def test_numbers_follow_each_other_from_one(client: Client) -> None:
    assert [client.xadd("t", {"f": "v"}) for _ in range(3)] == [b"1-0", b"2-0", b"3-0"]
    assert client.xadd("other", {"f": "v"}) == b"1-0"
    assert client.xlen("t") == 3


def test_fields_come_back_as_sent_in_order_with_duplicates(client: Client) -> None:
    client.execute_command("XADD", "t", "*", "b", "1", "a", b"\x00\xff\r\n", "b", "")
    connection = client.connection_pool.get_connection()
    connection.send_command("XRANGE", "t", "-", "+")
    assert connection.read_response() == [[b"1-0", [b"b", b"1", b"a", b"\x00\xff\r\n", b"b", b""]]]
    connection.disconnect()


def test_explicit_ids_must_exceed_the_head(client: Client) -> None:
    assert client.xadd("t", {"f": "v"}, id="5") == b"5-0"
    assert client.xadd("t", {"f": "v"}, id="7-0") == b"7-0"
    assert client.xadd("t", {"f": "v"}) == b"8-0"
    with pytest.raises(ResponseError, match="equal or smaller than the target stream top item"):
        client.xadd("t", {"f": "v"}, id="8-0")
    with pytest.raises(ResponseError, match="must be greater than 0-0"):
        client.xadd("t", {"f": "v"}, id="0-0")
    assert client.xadd("t", {"f": "v"}, id="9-*") == b"9-0"  # the second part is 0 as ever
    for bad in ("10-1", "9-*", "0-*", "x", "-", "1-2-3", "99999999999999999999999"):
        with pytest.raises(ResponseError):
            client.xadd("t", {"f": "v"}, id=bad)
    for number in (2**63, 2**64 - 1, 2**64):  # no integers of RESP
        with pytest.raises(ResponseError):
            client.xadd("t", {"f": "v"}, id=f"{number}-0")
        with pytest.raises(ResponseError):
            client.execute_command("XSETID", "t", f"{number}-0")
    assert ids(client.xrange("t")) == [b"5-0", b"7-0", b"8-0", b"9-0"]


def test_a_missing_timeline_is_not_made_when_asked(client: Client) -> None:
    assert client.xadd("t", {"f": "v"}, nomkstream=True) is None
    assert client.exists("t") == 0


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("-", "+", range(1, 11)),
        ("3", "5", (3, 4, 5)),
        ("3-0", "5-0", (3, 4, 5)),
        ("(3", "(5", (4, 5)),  # as in Redis: the end is (5-18446744073709551615
        ("(3", "(5-0", (4,)),
        ("(3-0", "5", (4, 5)),
        ("3-1", "5-9", (4, 5)),
        ("11", "+", ()),
        ("5", "3", ()),
        ("-", "0", ()),
        ("+", "+", ()),
    ],
)
def test_bounds_of_ranges(client: Client, start: str, end: str, expected: tuple[int, ...]) -> None:
    fill(client, "t", 10)
    wanted = [b"%d-0" % number for number in expected]
    assert ids(client.xrange("t", start, end)) == wanted
    assert ids(client.xrevrange("t", end, start)) == wanted[::-1]
    assert ids(client.xrange("t", start, end, count=2)) == wanted[:2]
    assert ids(client.xrevrange("t", end, start, count=2)) == wanted[::-1][:2]


def test_a_range_larger_than_a_page_comes_whole(client: Client) -> None:
    fill(client, "t", 3_000)
    wanted = [b"%d-0" % number for number in range(1, 3_001)]
    assert ids(client.xrange("t")) == wanted
    assert ids(client.xrevrange("t", count=2_000)) == wanted[:999:-1]


def test_trimming_by_length_and_by_id_keeps_the_head(client: Client) -> None:
    fill(client, "t", 10)
    assert client.xtrim("t", maxlen=8, approximate=False) == 2
    assert client.xtrim("t", minid="5", approximate=False) == 2
    assert ids(client.xrange("t")) == [b"%d-0" % number for number in range(5, 11)]
    assert client.xadd("t", {"f": "v"}, maxlen=2, approximate=False) == b"11-0"
    assert ids(client.xrange("t")) == [b"10-0", b"11-0"]
    assert client.xtrim("t", maxlen=0) == 2
    assert client.exists("t") == 1
    assert client.xrange("t") == []
    assert client.xadd("t", {"f": "v"}) == b"12-0"


@pytest.mark.parametrize(
    "words",
    [
        "XTRIM t MAXLEN -1",
        "XTRIM t MAXLEN x",
        "XTRIM t MAXLEN = 5 LIMIT 3",
        "XTRIM t SIZE 5",
        "XTRIM t MAXLEN 5 more",
        "XADD t MAXLEN 5 MINID 3 * f v",
        "XADD t * f",
        "XADD t *",
        "XRANGE t - + COUNT x",
        "XRANGE t - + LIMIT 3",
        "XRANGE t a b",
        "XREAD STREAMS",
        "XREAD STREAMS a b c",
        "XREAD COUNT STREAMS a 0",
        "XREAD BLOCK -1 STREAMS a 0",
        "XSETID t 5-5",
        "XSETID missing 5",
        "XINFO STREAM missing",
        "XINFO NOTHING t",
        "XGROUP CREATE t g $ MKSTREAM",
        "XREADGROUP GROUP g c STREAMS t >",
        "XLEN",
        "XLEN a b",
    ],
)
def test_bad_use_is_an_error_and_changes_nothing(client: Client, words: str) -> None:
    fill(client, "t", 3)
    with pytest.raises(ResponseError):
        client.execute_command(*words.split())
    assert client.xlen("t") == 3
    assert client.keys("*") == [b"t"]


def test_deleting_entries_leaves_holes(client: Client) -> None:
    fill(client, "t", 5)
    assert client.xdel("t", "2", "4-0", "4-1", "9") == 2
    assert ids(client.xrange("t")) == [b"1-0", b"3-0", b"5-0"]
    assert client.xlen("t") == 3
    assert client.xdel("t", "5") == 1
    assert client.xadd("t", {"f": "v"}) == b"6-0"
    assert client.xinfo_stream("t")["max-deleted-entry-id"] == b"5-0"


def test_the_head_moves_forward_only(client: Client) -> None:
    fill(client, "t", 2)
    assert client.execute_command("XSETID", "t", "10", "ENTRIESADDED", "10") in (True, b"OK")
    assert client.xadd("t", {"f": "v"}) == b"11-0"
    with pytest.raises(ResponseError, match="smaller than the target stream top item"):
        client.execute_command("XSETID", "t", "5")


def test_reading_what_lies_behind_ids(client: Client) -> None:
    fill(client, "a", 3)
    fill(client, "b", 2)
    found = client.execute_command(
        "XREAD", "COUNT", "1", "STREAMS", "a", "b", "none", "1", "0-0", "0"
    )
    assert set(found if isinstance(found, dict) else dict(found)) == {b"a", b"b"}
    assert client.xread({"a": "3", "b": "$"}) in ([], {}, None)
    last = client.xread({"a": "+"})
    assert last


def test_what_is_known_of_a_timeline(client: Client) -> None:
    fill(client, "t", 3)
    found = client.xinfo_stream("t")
    assert found["length"] == 3
    assert found["last-generated-id"] == b"3-0"
    assert found["first-entry"][0] == b"1-0"
    assert found["last-entry"][0] == b"3-0"
    full = client.xinfo_stream("t", full=True)
    assert len(full["entries"]) == 3
    assert full["groups"] in ([], {})


def test_keys_are_raw_timelines(client: Client) -> None:
    for name in ("a", "b1", "b2", "*x", "\xff"):
        client.xadd(name, {"f": "v"})
    assert client.dbsize() == 5
    assert client.type("a") == b"stream"
    assert client.type("none") == b"none"
    assert client.exists("a", "a", "none") == 2
    assert set(client.keys("b*")) == {b"b1", b"b2"}
    assert client.keys("b[2-9]") == [b"b2"]
    assert client.keys("\\*x") == [b"*x"]
    assert sorted(client.scan_iter(count=2)) == sorted(client.keys())
    assert list(client.scan_iter(match="b?", count=1, _type="stream")) == [b"b1", b"b2"]
    assert list(client.scan_iter(_type="string")) == []
    assert client.delete("a", "none") == 1
    assert client.unlink("b1") == 1
    assert client.exists("a") == 0
    client.flushdb()
    assert client.dbsize() == 0


def test_a_timeline_made_again_begins_anew(client: Client) -> None:
    fill(client, "t", 3)
    client.delete("t")
    assert client.xrange("t") == []
    assert client.xadd("t", {"f": "v"}) == b"1-0"


@pytest.mark.parametrize(
    "words",
    [
        "XADD @conv:a * f v",
        "XADD @conv:a NOMKSTREAM * f v",
        "XDEL @conv:a 1",
        "XTRIM @user:a MAXLEN 0",
        "XSETID @conv:a 5",
        "DEL @conv:a",
        "UNLINK t @conv:a",
    ],
)
def test_names_of_the_store_are_read_only(client: Client, words: str) -> None:
    client.xadd("t", {"f": "v"})
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*words.split())
    assert client.exists("t") == 1
    assert client.xrange("@conv:a") == []
    assert client.xlen("@conv:a") == 0


def test_values_over_the_limits_are_refused(client: Client) -> None:
    for words in (
        ["XADD", "t", "*", "f", b"x" * (1 << 20)],
        ["XADD", "t", "*", "f" * 256, "v"],
        ["XADD", "t", "*", *["f", "v"] * 257],
        ["XADD", "k" * 513, "*", "f", "v"],
        ["XADD", "", "*", "f", "v"],
    ):
        with pytest.raises(ResponseError):
            client.execute_command(*words)
    assert client.dbsize() == 0


def test_appends_behind_a_pipeline_of_refused_ones(client: Client) -> None:
    """What was learnt of one pipeline is not taken for the next."""
    link = client.connection_pool.get_connection()
    bad = ["XADD", "", "*", "f", "v"]
    found: list[object] = []
    for commands in ([bad] * 9, [["PING"], ["XADD", "t", "*", "f", "v"]], [["XLEN", "t"]]):
        link.send_packed_command(link.pack_commands(commands))
        found.clear()
        for _ in commands:
            try:
                found.append(link.read_response())
            except ResponseError:
                found.append(None)
    client.connection_pool.release(link)
    assert found == [1]
