"""The promise: `~` lets a trim wait until it is worth while. Because of it a timeline is never
shorter than the threshold, and after the command longer by fewer than its slack: 64 entries, or a
sixteenth of its length, up to a segment's worth. `=` is exact, LIMIT bounds what goes at once.
"""

from __future__ import annotations

from contextlib import suppress

import pytest
import redis
from hypothesis import given, settings, strategies as st

from tests.server.commands.redis.test_streams import fill, ids
from tests.server.daemon import Client, Daemon

SEGMENT = 256  # entries, by default


def slack(length: int) -> int:
    return min(max(64, length // 16), SEGMENT)


def trims_since(client: Client, lsn: int) -> int:
    commits = client.execute_command("LOG.TAIL", "AFTER", lsn)
    return sum(change[0] == b"trim" for commit in commits for change in commit[2])


@pytest.mark.parametrize(("kept", "excess"), [(1, 64), (100, 64), (2_000, 133)])
def test_appends_leave_slack_and_trim_seldom(client: Client, kept: int, excess: int) -> None:
    fill(client, "t", kept)
    before = client.info("timeline")["lsn"]
    pipe = client.pipeline(transaction=False)
    for _ in range(500):
        pipe.xadd("t", {"f": "v"}, maxlen=kept, approximate=True).xlen("t")
    lengths = pipe.execute()[1::2]
    assert min(lengths) >= kept
    assert max(lengths) == kept + excess - 1
    assert kept in lengths
    assert trims_since(client, before) == 500 // excess


def test_the_slack_is_at_most_a_segment(client: Client) -> None:
    fill(client, "t", 8_000 + SEGMENT)
    assert client.xtrim("t", maxlen=8_001) == 0
    assert client.xtrim("t", maxlen=8_000) == SEGMENT
    assert client.xlen("t") == 8_000


def test_trimming_by_id_leaves_the_same_slack(client: Client) -> None:
    fill(client, "t", 500)
    assert client.execute_command("XTRIM", "t", "MINID", "~", "64") == 0
    assert client.execute_command("XTRIM", "t", "MINID", "~", "65") == 64
    assert ids(client.xrange("t", count=1)) == [b"65-0"]
    client.xadd("t", {"f": "v"}, minid="128")
    assert client.xlen("t") == 501 - 64
    client.xadd("t", {"f": "v"}, minid="129")
    assert ids(client.xrange("t", count=1)) == [b"129-0"]


def test_to_nothing_is_exact(client: Client) -> None:
    fill(client, "t", 3)
    assert client.xtrim("t", maxlen=0) == 3
    fill(client, "t", 3)
    assert client.execute_command("XTRIM", "t", "MINID", "~", "7") == 3
    assert client.xlen("t") == 0


def test_exact_trims_leave_nothing(client: Client) -> None:
    fill(client, "t", 10)
    assert client.xtrim("t", maxlen=9, approximate=False) == 1
    assert client.execute_command("XTRIM", "t", "MAXLEN", "8") == 1
    assert client.execute_command("XTRIM", "t", "MINID", "=", "4") == 1
    client.xadd("t", {"f": "v"}, maxlen=7, approximate=False)
    assert client.xlen("t") == 7


def test_limit_bounds_what_goes_at_once(client: Client) -> None:
    fill(client, "t", 300)
    assert client.xtrim("t", maxlen=100, limit=10) == 10
    assert client.xtrim("t", minid="101", limit=20) == 20
    assert ids(client.xrange("t", count=1)) == [b"31-0"]
    client.xadd("t", {"f": "v"}, maxlen=100, limit=5)
    assert ids(client.xrange("t", count=1)) == [b"36-0"]
    assert client.xtrim("t", maxlen=0, limit=3) == 3
    assert client.execute_command("XTRIM", "t", "MAXLEN", "~", "100", "LIMIT", "0") == 163
    assert client.xlen("t") == 100


def test_limit_counts_entries_and_not_numbers(client: Client) -> None:
    """Ids that are times leave gaps of any size, and so do deletions."""
    for second in range(1, 101):
        client.xadd("t", {"f": "v"}, id=f"{second}000-0")
    client.xdel("t", "2000-0", "4000-0")
    assert client.xtrim("t", minid="90000", limit=3) == 3
    assert ids(client.xrange("t", count=1)) == [b"6000-0"]
    assert client.xtrim("t", minid="90000", limit=1_000) == 84
    assert client.xlen("t") == 11


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "delete", "skip"]), st.integers(1, 80), st.integers(0, 400)
        ),
        max_size=12,
    ),
    st.booleans(),
    st.sampled_from([0, 0, 1, 70]),
)
def test_the_bounds_hold_whatever_came_before(
    daemon: Daemon, steps: list[tuple[str, int, int]], by_length: bool, limit: int
) -> None:
    with daemon.client() as client:
        client.delete("p")
        for kind, count, argument in steps:
            present = ids(client.xrange("p"))
            if kind == "delete" and present:
                client.xdel("p", *present[:: 1 + argument][:count])
            elif kind == "skip":
                newest = int(present[-1].split(b"-")[0]) if present else 0
                # When the newest was deleted, its number may lie below the head.
                with suppress(redis.ResponseError):
                    client.xadd("p", {"f": "v"}, id=f"{newest + 1 + argument}-0")
            else:
                fill(client, "p", count)
            before = ids(client.xrange("p"))
            numbers = [int(each.split(b"-")[0]) for each in before]
            threshold = argument
            words = ["MAXLEN" if by_length else "MINID", "~", threshold]
            removed = client.execute_command("XTRIM", "p", *words, "LIMIT", limit)
            after = ids(client.xrange("p"))
            assert after == before[removed:]
            assert len(after) == client.xlen("p")
            if by_length:
                kept = min(threshold, len(before))
            else:
                kept = sum(number >= threshold for number in numbers)
            assert len(after) >= kept
            if limit:
                assert removed <= limit
            else:
                assert len(after) < kept + slack(len(before))
