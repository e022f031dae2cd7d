"""The promise: `timeline compact` gains what it said before, of a directory or a daemon."""

from __future__ import annotations

import json
from pathlib import Path

from tests.server.daemon import Daemon
from tests.tools.installed import done, refused


def test_compacting_gains_what_it_said(store: Path) -> None:
    said = json.loads(done("compact", store, "--prefix", "small:", "--dry-run", "--json"))
    assert said["segments"] > said["after"] == 50
    did = json.loads(done("compact", store, "--prefix", "small:", "--json"))
    assert did["fewer"] == said["segments"] - said["after"]
    again = json.loads(done("compact", store, "--prefix", "small:", "--dry-run", "--json"))
    assert again["segments"] == again["after"] == 50
    assert "segments" in done("compact", store)
    assert done("verify", store).startswith("sound: ")


def test_the_same_on_a_daemon(daemon: Daemon) -> None:
    there = ("--connect", f"127.0.0.1:{daemon.port}")
    said = json.loads(done("compact", *there, "--prefix", "small:", "--dry-run", "--json"))
    did = json.loads(done("compact", *there, "--prefix", "small:", "--json"))
    assert did["fewer"] == said["segments"] - said["after"] > 0
    assert json.loads(done("compact", *there, "small:1", "--json"))["fewer"] == 0
    assert "segments" in done("compact", *there)
    assert "no timeline 'nothing'" in refused("compact", *there, "nothing")
