"""An fsync that fails may have lost the pages that it was to write, and the next one goes well. The
promise: nothing that was acknowledged is lost, also if the power goes at once.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

import timeline
from tests.engine.power import copy_without_power, count, numbers
from tests.engine.stores import SMALL, heal_when_asked, healed
from tests.log.disk import Disk
from timeline.errors import ReadOnlyError, StorageError, UncertainError

# Nothing is fsynced, also not because a pass of sealing begins.
UNSYNCED = replace(
    SMALL,
    fsync="inline",
    durability="interval",
    interval_ms=10**9,
    unsealed_bytes=2**25,
    tails=10**6,
    write_buffer_bytes=2**25,
)


@pytest.mark.parametrize("shows", [False, True], ids=["gone", "shown"])
@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_an_fsync_that_fails_and_loses_its_pages_costs_nothing_that_was_acknowledged(
    directory: Path,
    durability: Literal["sync", "interval"],
    shows: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Some systems go on showing such a page, until they forget it; the next fsync goes well."""
    heal_when_asked(monkeypatch)
    options = replace(UNSYNCED, durability=durability, log_file_bytes=2**14)
    disk = Disk(monkeypatch)
    disk.watch(directory / "store" / "log")
    disk.shows_what_it_dropped = shows
    draw = random.Random(1)
    with timeline.open(directory / "store", options) as db:
        handle = db.timeline("a")
        stands = 0
        for turn in range(3):  # it may happen again
            for _ in range(5):
                stands = handle.append({"n": str(stands + 1)})
            if durability == "sync":
                disk.fail_next_write = True
                with pytest.raises(UncertainError):
                    handle.append({"n": str(stands + 1)})
            else:
                disk.fail_next_fsync = True
                with pytest.raises(StorageError):
                    db.engine.seal()
            with pytest.raises(ReadOnlyError):
                handle.append({"n": "refused"})
            assert numbers(db) == count(stands), "reads go on"
            assert healed(db)
            stands += durability == "sync"  # what was in doubt stands
            assert numbers(db) == count(stands)
            copy_without_power(db, disk, directory / str(turn), draw)
            with timeline.open(directory / str(turn), options) as copy:
                assert numbers(copy) == count(stands)
                assert copy.timeline("a").append({"n": "next"}) == stands + 1


@pytest.mark.parametrize("durability", ["sync", "interval"])
def test_closing_after_a_failed_fsync_keeps_what_was_acknowledged_too(
    directory: Path, durability: Literal["sync", "interval"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was only in doubt is no worse for it."""
    options = replace(UNSYNCED, durability=durability)
    disk = Disk(monkeypatch)
    disk.watch(directory / "store" / "log")
    disk.shows_what_it_dropped = True
    with timeline.open(directory / "store", options) as db:
        for number in range(1, 6):
            db.timeline("a").append({"n": str(number)})
        if durability == "sync":
            disk.fail_next_write = True
            with pytest.raises(UncertainError):
                db.timeline("a").append({"n": "6"})
        else:
            disk.fail_next_fsync = True
            with pytest.raises(StorageError):
                db.engine.seal()
    for turn in range(2):
        disk.restore_power(random.Random(turn))
        with timeline.open(directory / "store", SMALL) as db:
            head = db.timeline("a").head
            assert head >= 5
            assert numbers(db) == count(head)
            db.timeline("a").append({"n": str(head + 1)})
