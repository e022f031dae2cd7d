"""The promise: `timeline bench` measures how long clients wait, in bounded time, and cleans up."""

from __future__ import annotations

import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

import timeline
from tests.server.daemon import Daemon
from tests.tools.installed import done, names, refused, run, start
from timeline.errors import LockedError
from timeline_tools.histogram import Histogram

FEW = ("--users", "40", "--groups", "5", "--group-size", "4", "--connections", "3")


def test_of_a_daemon_of_its_own(tmp_path: Path) -> None:
    ran = run("bench", tmp_path, *FEW, "--seconds", "1")
    assert ran.returncode == 0, ran.stderr
    table, histogram = ran.stdout.decode().split("\n\n")
    heading, *rows = table.splitlines()
    assert heading.split() == [
        "request",
        "count",
        "per",
        "second",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
    ]
    assert [row.split()[0] for row in rows] == ["send", "sync"]
    title, heading, *lines = histogram.splitlines()
    assert (title.strip(), heading.split()) == ("Latency", ["up", "to", "sends", "syncs"])
    assert sum("▇" in line for line in lines) >= 1
    assert b"3 connections, 5 groups of 4" in ran.stderr
    assert names(tmp_path) == [], "daemon and data are gone"


def test_of_a_daemon_that_runs(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        words = ("--connect", f":{daemon.port}", *FEW, "--seconds", "1", "--rate", "50", "--json")
        sends, syncs = json.loads(done("bench", *words))
        assert 10 <= sends["count"] <= 60, "it keeps to the rate"
        assert 0 < sends["p50"] <= sends["p99"] <= sends["max"]
        assert syncs["count"] > 0
        assert sum(sends["microseconds"].values()) == sends["count"]
        assert b"users named bench:u0" in run("bench", *words[:-1]).stderr, "twice"
    finally:
        assert daemon.stop() == 0
    with timeline.open(tmp_path / "data") as db:
        assert list(db.timelines("@conv:")) == [], "its groups are gone"
        users = [name.removeprefix(b"@user:").decode() for name in db.timelines("@user:")]
        assert set(users) <= {f"bench:u{number}" for number in range(40)}, "the same each time"
        assert [user for user in users if db.messaging.devices(user)] == []
        assert [user for user in users if db.messaging.conversations(user).conversations] == []


def test_ctrl_c_prints_what_it_has(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    process = start("bench", "--connect", f":{daemon.port}", *FEW, "--seconds", "1000", "--json")
    try:
        with daemon.client() as client:
            while client.info("timeline")["lsn"] < 100:  # that is more than making the groups
                assert process.poll() is None
        process.send_signal(signal.SIGINT)
        shown, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert [row["request"] for row in json.loads(shown) if row["count"]] == ["send", "sync"]
        assert said == b""
    finally:
        process.kill()
        assert daemon.stop() == 0
    with timeline.open(tmp_path / "data") as db:
        assert list(db.timelines("@conv:")) == [], "its groups are gone"


def test_ctrl_c_before_there_is_anything(tmp_path: Path) -> None:
    process = start("bench", tmp_path, *FEW, "--groups", "5000", "--seconds", "1000")
    try:
        while not list(tmp_path.glob("*/data/rocks/CURRENT")):
            os.sched_yield()
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, said) == (130, b"stopped\n")
    assert names(tmp_path) == []


def test_its_daemon_ends_with_it_even_when_it_is_killed(tmp_path: Path) -> None:
    process = start("bench", tmp_path, *FEW, "--seconds", "1000")
    try:
        while not (found := list(tmp_path.glob("*/data/rocks/CURRENT"))):
            os.sched_yield()
            assert process.poll() is None
    finally:
        process.kill()
        process.communicate()
    data = found[0].parent.parent
    while True:  # which the test's own limit of time ends
        with suppress(LockedError), timeline.open(data) as db:
            assert db.engine.applied >= 0
            break


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--users", "2", "--group-size", "3"], "at most --users"),
        (["--seconds", "0"], "0"),
        (["--connections", "0"], "0"),
    ],
)
def test_what_makes_no_sense(tmp_path: Path, words: list[str], problem: str) -> None:
    assert problem in refused("bench", tmp_path, *words, status=2)


def test_no_daemon_to_load() -> None:
    assert "no daemon answers" in refused("bench", "--connect", "127.0.0.1:1")


def test_quantiles_are_exact_to_a_percent() -> None:
    chance = random.Random(2)
    durations = [chance.lognormvariate(-6, 2) for _ in range(20_000)]
    whole, half = Histogram(), Histogram()
    for number, duration in enumerate(durations):
        (whole if number % 2 else half).add(duration)
    whole.merge(half)
    durations.sort()
    for share in (0.5, 0.9, 0.99, 0.999):
        exact = durations[int(share * len(durations))]
        assert whole.quantile(share) == pytest.approx(exact, rel=0.011)
    assert whole.largest == durations[-1]
    assert Histogram().quantile(0.5) == 0


def test_doublings_count_each_duration_once() -> None:
    histogram = Histogram()
    for microseconds in (0.1, 0.9, 3, 3.9, 5, 900, 1_000, 1_100):
        histogram.add(microseconds / 1e6)
    assert histogram.doublings() == {1: 2, 4: 2, 8: 1, 1_024: 2, 2_048: 1}
