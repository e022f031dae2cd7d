"""Faults that users of Redis and Valkey streams reported in public, each told as a promise of ours.

The report is named beside each promise. What it describes must not happen here.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.server.clients.test_blocking import wait_for_blocked
from tests.server.daemon import Client, Daemon, Start


def fill(client: Client, count: int) -> None:
    for number in range(1, count + 1):
        client.xadd("t", {"n": number})


def test_a_stream_that_ran_empty_still_blocks(daemon: Daemon, client: Client) -> None:
    """Redis #5299: XREAD BLOCK answers an empty list at once when all entries were deleted."""
    fill(client, 1)
    client.xdel("t", "1-0")
    with ThreadPoolExecutor(1) as pool, daemon.client() as reader:
        answer = pool.submit(reader.xread, {"t": "0"}, block=10_000)
        wait_for_blocked(client, 1)
        fill(client, 1)
        assert answer.result(10) == [[b"t", [(b"2-0", {b"n": b"1"})]]]


def test_a_reader_before_a_deleted_end_blocks(daemon: Daemon, client: Client) -> None:
    """Redis #7355: a reader of the entry before a deleted newest one does not block."""
    fill(client, 2)
    client.xdel("t", "2-0")
    with ThreadPoolExecutor(1) as pool, daemon.client() as reader:
        answer = pool.submit(reader.xread, {"t": "1-0"}, block=10_000)
        wait_for_blocked(client, 1)
        fill(client, 1)
        assert answer.result(10) == [[b"t", [(b"3-0", {b"n": b"1"})]]]


def test_an_append_and_its_deletion_together_wake_nobody(daemon: Daemon, client: Client) -> None:
    """Redis #6703: a blocked reader gets an empty array for what is gone already."""
    with ThreadPoolExecutor(1) as pool, daemon.client() as reader:
        answer = pool.submit(reader.xread, {"t": "$"}, block=10_000)
        wait_for_blocked(client, 1)
        client.pipeline(transaction=True).xadd("t", {"n": "1"}).xdel("t", "1-0").execute()
        client.xadd("t", {"n": "2"})
        assert answer.result(10) == [[b"t", [(b"2-0", {b"n": b"2"})]]]


def test_the_last_entry_is_the_last_that_is_there(client: Client) -> None:
    """Redis #13628: XREAD with `+` answers null when the newest entry was deleted."""
    fill(client, 2)
    client.xdel("t", "2-0")
    expected = [(b"1-0", {b"n": b"1"})]
    found = client.xread({"t": "+"})
    assert found in ([[b"t", expected]], {b"t": [expected]}), "a list, or a map in RESP3"


def test_a_lower_bound_takes_nothing_above_it(client: Client) -> None:
    """Redis #9410: XTRIM MINID removes entries above the bound when numbers are far apart."""
    client.xadd("t", {"n": 1}, id="10")
    client.xadd("t", {"n": 2}, id="1629903486170")
    client.xadd("t", {"n": 3})
    assert client.xtrim("t", minid="1629903486170", approximate=False) == 1
    assert [each[0] for each in client.xrange("t")] == [b"1629903486170-0", b"1629903486171-0"]


def test_a_deleted_entry_is_not_counted(client: Client) -> None:
    """Redis #4989: XLEN counts entries that XDEL removed."""
    fill(client, 5)
    assert client.xdel("t", "1-0", "3-0") == 2
    assert client.xlen("t") == 3
    assert client.xinfo_stream("t")["length"] == 3


def test_a_reader_outlives_the_deletion_of_what_it_follows(start: Start) -> None:
    """Redis #5625: a reader of a stream that is deleted and made anew never hears of it."""
    daemon = start()
    with ThreadPoolExecutor(1) as pool, daemon.client() as client, daemon.client() as reader:
        fill(client, 3)
        answer = pool.submit(reader.xread, {"t": "3-0"}, block=10_000)
        wait_for_blocked(client, 1)
        client.delete("t")
        fill(client, 1)
        assert answer.result(10) == [[b"t", [(b"4-0", {b"n": b"1"})]]]


def test_a_bound_is_kept_however_often_it_is_asked_for(client: Client) -> None:
    """Redis #14656: a stream grows for ever although every append carries MAXLEN ~."""
    for number in range(1000):
        client.xadd("t", {"n": number}, maxlen=10, approximate=True)
    assert client.xlen("t") <= 10 + 64
