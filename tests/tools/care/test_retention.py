"""The promise: `timeline retention` shows and sets what a timeline keeps."""

from __future__ import annotations

import json
from pathlib import Path

from tests.server.daemon import Daemon
from tests.tools.installed import done, refused


def test_retention(store: Path) -> None:
    assert done("retention", store, "sensor:1") == "sensor:1: everything is kept\n"
    bounds = ("--max-age", "30d", "--max-bytes", "10gb")  # as timelined reads it
    assert done("retention", store, "sensor:1", *bounds) == "sensor:1: kept: for 30 d, 10.0 GiB\n"
    assert json.loads(
        done("retention", store, "sensor:1", "--max-length", "9", "--yes", "--json")
    ) == {
        "timeline": "sensor:1",
        "max_age_ms": 30 * 86_400_000,
        "max_length": 9,
        "max_bytes": 10 << 30,
        "beyond": 991,
    }
    assert done("retention", store, "sensor:1", "--none") == "sensor:1: everything is kept\n"
    assert done("retention", store, "@conv:c1", "--max-age", "1w").endswith("kept: for 7 d\n")
    assert "no timeline" in refused("retention", store, "nothing", "--max-age", "1d")
    assert "goes alone" in refused("retention", store, "x", "--none", "--max-age", "1d", status=2)


def test_the_same_on_a_daemon(daemon: Daemon) -> None:
    there = ("--connect", f"127.0.0.1:{daemon.port}")
    kept = done("retention", *there, "sensor:1", "--max-length", "9", "--yes")
    assert kept.endswith("9 entries\n")
    assert done("retention", *there, "sensor:1") == "sensor:1: kept: 9 entries\n"
    assert done("retention", *there, "sensor:1", "--none").endswith("everything is kept\n")
    assert "no timeline 'nothing'" in refused("retention", *there, "nothing")
