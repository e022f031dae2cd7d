"""What an embedder gets: appends fsynced when they return, and ranges of sealed segments."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import timeline
from bench.conftest import Rate

FIELDS: Final = {"text": "x" * 100}
BATCH: Final = 1_000
ENTRIES: Final = 20_000


@pytest.fixture
def database(tmp_path: Path) -> Iterator[timeline.Database]:
    with timeline.open(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def sealed(database: timeline.Database) -> timeline.TimelineHandle:
    """A timeline whose entries all lie in segments."""
    handle = database.timeline("sealed")
    for _ in range(ENTRIES // BATCH):
        handle.append_many([FIELDS] * BATCH)
    database.engine.seal()
    return handle


def test_append_waits_for_its_fsync(database: timeline.Database, rate: Rate) -> None:
    handle = database.timeline("one")
    head = rate(lambda: handle.append(FIELDS), 1, "entries")
    assert head == len(handle)


def test_append_many_is_one_commit(database: timeline.Database, rate: Rate) -> None:
    handle = database.timeline("many")
    numbers = rate(lambda: handle.append_many([FIELDS] * BATCH), BATCH, "entries")
    assert numbers[-1] == len(handle)


def test_append_async_shares_its_fsync(database: timeline.Database, rate: Rate) -> None:
    handle = database.timeline("async")

    def work() -> int:
        futures = [handle.append_async(FIELDS) for _ in range(BATCH)]
        return max(future.result() for future in futures)

    head = rate(work, BATCH, "entries")
    assert head == len(handle)


def test_range_of_segments_as_entries(sealed: timeline.TimelineHandle, rate: Rate) -> None:
    last = rate(lambda: deque(sealed.range(), maxlen=1), ENTRIES, "entries")
    assert last[0].seq == ENTRIES


def test_range_of_segments_with_their_fields(sealed: timeline.TimelineHandle, rate: Rate) -> None:
    def work() -> int:
        return sum(len(entry.fields["text"]) for entry in sealed.range())

    assert rate(work, ENTRIES, "entries") == ENTRIES * 100


def test_range_of_segments_as_wire_bytes(
    database: timeline.Database, sealed: timeline.TimelineHandle, rate: Rate
) -> None:
    engine = database.engine
    found = engine.view.find(sealed.name)
    assert found is not None

    def work() -> int:
        with engine.lock:
            return sum(map(len, engine.view.read(found).chunks))

    size = work()
    assert size > ENTRIES * 100
    assert rate(work, size, "bytes") == size


def test_latest_entry(sealed: timeline.TimelineHandle, rate: Rate) -> None:
    latest = rate(sealed.latest, 1, "reads")
    assert latest.seq == ENTRIES
