"""The promise: damage is found also where only what was deleted lies, which no reader meets; and
who has it compacted is told, instead of whoever writes next.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import timeline
from timeline.errors import CorruptError, ReadOnlyError
from timeline.formats import keys
from timeline.verification import repair, verify


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store whose largest file holds a timeline that was deleted, and nothing else."""
    path = tmp_path / "data"
    with timeline.open(path, search=False, fsync="inline", segment_entries=50) as db:
        for _ in range(4):
            db.timeline("gone").append_many([{"text": os.urandom(100).hex()}] * 3_000)
        db.engine.seal()
        db.engine.store.flush()
        db.timeline("gone").drop()
        db.timeline("audit").append({"text": "the last"})
        db.engine.seal()
    return path


def damage(store: Path) -> str:
    """Flip a bit in the middle of the largest file; its name."""
    file = max((store / "rocks").glob("*.sst"), key=lambda path: path.stat().st_size)
    value = bytearray(file.read_bytes())
    value[len(value) // 2] ^= 16
    file.write_bytes(value)
    return file.name


def test_a_sound_store_has_nothing_of_it(store: Path) -> None:
    assert verify(store).findings == []


def test_it_is_found_and_mended(store: Path, tmp_path: Path) -> None:
    name = damage(store)
    (finding,) = verify(store).findings
    assert finding.text.startswith(f"{name} is damaged where nothing is read")
    assert not finding.lost
    repair(store, tmp_path / "new")
    assert verify(tmp_path / "new").findings == []
    with timeline.open(tmp_path / "new", search=False) as db:
        assert len(list(db.timeline("audit"))) == 1


def test_who_compacts_is_told(store: Path) -> None:
    damage(store)
    with timeline.open(store, search=False) as db:
        with pytest.raises(CorruptError, match="mismatch"):
            db.compact()
        with pytest.raises(ReadOnlyError):
            db.timeline("audit").append({"text": "refused, and not in doubt"})
        assert len(db.timeline("audit")) == 1


def test_nobody_is_in_doubt_when_it_was_met_in_the_background(store: Path) -> None:
    damage(store)
    with timeline.open(store, search=False) as db:
        erasure = db.engine.store.erasure
        with db.engine.lock:
            erasure.note(keys.pair(1, 0), keys.pair(2, 0), 0)
            erasure.begin(inboxes=False)
        erasure.wait()
        with pytest.raises(ReadOnlyError):
            db.timeline("audit").append({"text": "refused, and not in doubt"})
        assert len(db.timeline("audit")) == 1
