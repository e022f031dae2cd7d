"""The promise: `timeline trim` removes the oldest entries, of a directory or a daemon."""

from __future__ import annotations

import json
from pathlib import Path

import timeline
from tests.server.daemon import Daemon
from tests.tools.installed import done, refused


def test_trimming(store: Path) -> None:
    assert (
        done("trim", store, "sensor:1", "--before", "101", "--yes") == "100 entries were removed\n"
    )
    assert json.loads(done("trim", store, "sensor:1", "--length", "50", "--yes", "--json")) == {
        "timeline": "sensor:1",
        "removed": 850,
    }
    assert done("trim", store, "sensor:1", "--older-than", "30d") == "0 entries were removed\n"
    assert done("trim", store, "sensor:1", "--older-than", "0s", "-y").startswith("50 entries")
    assert "no timeline 'nothing'" in refused("trim", store, "nothing", "--before", "3")
    assert "`timeline retention`" in refused("trim", store, "@conv:c1", "--before", "3")
    assert "one of" in refused("trim", store, "sensor:1", status=2)
    assert "is no age" in refused("trim", store, "sensor:1", "--older-than", "soon", status=2)
    with timeline.open(store) as db:
        assert db.messaging.search("ann", "word", wait=30.0).total == 200
        assert db.index.searchable.builds == 0, "the index went on from where it was"


def test_the_same_on_a_daemon(daemon: Daemon) -> None:
    there = ("--connect", f"127.0.0.1:{daemon.port}")
    for bounds, count in (("--before", "101"), 100), (("--length", "50"), 850):
        removed = done("trim", *there, "sensor:1", *bounds, "--yes")
        assert removed == f"{count} entries were removed\n"
    assert done("trim", *there, "sensor:1", "--older-than", "1d") == "0 entries were removed\n"
    assert "no timeline 'nothing'" in refused("trim", *there, "nothing", "--before", "1")
