"""The promise: `timeline verify` says whether a store is sound, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.server.daemon import Daemon
from tests.tools.installed import done, refused
from tests.verification.damage import put, state
from timeline.formats.rows import StoreRow, encode_store


def test_a_sound_store_is_called_sound_and_is_left_as_it_is(store: Path) -> None:
    before = state(store)
    assert done("verify", store).startswith("sound: 60,970 entries, ")
    report = json.loads(done("verify", store, "--json", "--index", "whole"))
    assert (report["sound"], report["findings"]) == (True, [])
    assert report["documents"] == 200
    assert state(store) == before


def test_a_store_that_a_daemon_has_open_is_verified(daemon: Daemon, store: Path) -> None:
    assert done("verify", store).startswith("sound: ")


@pytest.mark.parametrize("verb", ["verify", "compact"])
def test_what_is_no_store_or_a_newer_one(verb: str, store: Path, tmp_path: Path) -> None:
    assert "is no Timeline store" in refused(verb, tmp_path)
    put(store, "default", b"store", encode_store(StoreRow(99, 7)))
    assert "has format 99" in refused(verb, store)
