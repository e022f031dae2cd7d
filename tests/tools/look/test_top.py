"""The promise: `timeline top` shows what happened a second between two looks."""

from __future__ import annotations

from timeline_tools.look.top import Look, hottest, rates
from timeline_tools.sources.source import Commit


def look(at: float, **figures: float | str) -> Look:
    return Look(at, {name: str(value) for name, value in figures.items()}, {b"mail": 90})


def test_rates_are_differences_a_second() -> None:
    before = look(10.0, lsn=100, groups=10, appends=50, deliveries=0, fsync_usec=900)
    after = look(12.0, lsn=300, groups=60, appends=90, deliveries=1_000, fsync_usec=200)
    found = rates(before, after)
    assert (found["commits"], found["appends"], found["fan_out"]) == (100.0, 20.0, 500.0)
    assert found["group_commits"] == 4.0
    assert found["fsync_usec"] == 200.0
    assert found["consumers"] == {"mail": 210}


def test_fsyncs_are_told_by_those_of_the_interval() -> None:
    """At most so long took half of them, and 99 of a hundred."""
    before = look(1.0, fsync_usec_counts="100=90,250=10,1000=0,more=5")
    after = look(2.0, fsync_usec_counts="100=140,250=58,1000=1,more=6")
    found = rates(before, after)
    assert (found["fsync_p50_usec"], found["fsync_p99_usec"]) == (100.0, 1000.0)
    found = rates(after, after)
    assert (found["fsync_p50_usec"], found["fsync_p99_usec"]) == (0.0, 0.0), "there were none"
    beyond = look(3.0, fsync_usec_counts="100=140,250=58,1000=1,more=9")
    assert rates(after, beyond)["fsync_p50_usec"] == 1000.0, "the last bound, and more"
    anew = look(4.0, fsync_usec_counts="100=0,250=3,1000=0,more=0")
    assert rates(beyond, anew)["fsync_p99_usec"] == 250.0


def test_a_daemon_that_was_started_anew_did_not_go_backwards() -> None:
    found = rates(look(1.0, lsn=5, groups=9), look(2.0, lsn=5, groups=1))
    assert found["commits"] == found["group_commits"] == 0.0


def test_the_hottest_are_those_with_most_appends() -> None:
    commits = [
        Commit(1, 0, [("append", b"a", [1, 3]), ("deliver", b"a", [3])]),
        Commit(2, 0, [("append", b"b", [1, 1]), ("append", b"c", [5, 14])]),
        Commit(3, 0, [("append", b"b", [2, 2]), ("drop", b"a", [])]),
    ]
    assert hottest(commits) == [(b"c", 10), (b"a", 3), (b"b", 2)]
