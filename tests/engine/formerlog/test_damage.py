"""The promise: damage for which a store of format 1 was refused refuses it when it is to move on,
and it stays of format 1. Damage that cost followers alone costs them alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.formerlog.stores import (
    INTERVAL,
    NAME,
    OPTIONS,
    check_moved_on,
    format_of,
    former_lsns,
    rooms,
    sealed_in,
)
from tests.engine.golden.stores import unpack
from tests.engine.test_corruption import Forgetful
from tests.verification.damage import pairs, put
from timeline.errors import CorruptError, TrimmedError
from timeline.formats import keys
from timeline.storage.mark import DurableMark
from timeline.storage.rocks import FORMER_LOG, META


def spoil(path: Path, last: int) -> None:
    """Flip a bit of the record that ends at LSN `last`, below RocksDB's checksums."""
    ((_, value),) = [pair for pair in pairs(path, FORMER_LOG) if pair[0] == keys.number(last)]
    put(path, FORMER_LOG, keys.number(last), value[:-5] + bytes((value[-5] ^ 1,)) + value[-4:])


def test_a_damaged_record_that_is_sealed_costs_its_followers_only(
    store: Path, listed: dict[str, Any]
) -> None:
    sealed = sealed_in(store)
    last = [each for each in former_lsns(store) if each <= sealed][-3]
    spoil(store, last)
    with timeline.open(store, OPTIONS) as db:
        assert rooms(db) == listed["timelines"]
        commits = db.log.read(after=last, limit=10**6)
        assert [each.lsn for each in commits] == list(range(last + 1, listed["lsn"] + 1))
        with pytest.raises(TrimmedError):
            db.log.read(after=listed["checkpoints"]["behind"], limit=10)
    check_moved_on(store)


@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_damaged_record_that_is_not_sealed_refuses_the_opening(store: Path, which: int) -> None:
    sealed = sealed_in(store)
    last = [each for each in former_lsns(store) if each > sealed][which]
    spoil(store, last)
    for options in (OPTIONS, INTERVAL):
        with pytest.raises(CorruptError, match=str(last)):
            timeline.open(store, options)
    assert format_of(store) == 1


def test_a_record_that_is_missing_refuses_the_opening(store: Path) -> None:
    sealed = sealed_in(store)
    first, second, *_ = [each for each in former_lsns(store) if each > sealed]
    put(store, FORMER_LOG, keys.number(second), None)
    for options in (OPTIONS, INTERVAL):  # the mark is above it
        with pytest.raises(CorruptError, match=f"from LSN {first} to .*restore a backup"):
            timeline.open(store, options)
    assert format_of(store) == 1


def mark(path: Path, lsn: int) -> None:
    (path / "MARK").unlink()
    written = DurableMark(path / "MARK")
    written.write(lsn)
    written.close()


def test_a_gap_above_the_mark_is_the_end_in_interval_durability(
    store: Path, listed: dict[str, Any]
) -> None:
    sealed = sealed_in(store)
    above = [each for each in former_lsns(store) if each > sealed]
    put(store, FORMER_LOG, keys.number(above[4]), None)
    put(store, META, keys.CHECKPOINT + b"ahead", keys.number(listed["lsn"]))
    mark(store, above[2])
    with pytest.raises(CorruptError, match="lost"):
        timeline.open(store, OPTIONS)
    assert format_of(store) == 1
    with timeline.open(store, INTERVAL) as db:
        assert db.engine.applied == above[3]
        assert db.log.checkpoint("ahead") == above[3], "what it saw above has gone"
        db.timeline("room:0").append({"v": "in the place of what was lost"})
    with timeline.open(store, INTERVAL) as db:
        assert db.engine.applied == above[3] + 1
    check_moved_on(store)


def test_damage_in_the_wal_above_the_mark_is_the_end_in_interval_durability(store: Path) -> None:
    unsealed = [each for each in former_lsns_of_copy(store) if each > 0]
    (wal,) = (store / "rocks").glob("*.log")
    content = bytearray(wal.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    wal.write_bytes(content)
    with pytest.raises(CorruptError):
        timeline.open(store, OPTIONS)
    with pytest.raises(CorruptError, match="acknowledged"):  # the mark is above the damage
        timeline.open(store, INTERVAL)
    mark(store, unsealed[1])
    with timeline.open(store, INTERVAL) as db:
        assert db.engine.applied in unsealed
    check_moved_on(store)


def former_lsns_of_copy(store: Path) -> list[int]:
    """What `former_lsns` says, of a copy: RocksDB writes its WAL into tables when it opens one."""
    copy = store.with_name("looked-at")
    shutil.copytree(store, copy)
    return former_lsns(copy)


def test_a_log_that_misses_its_end_is_refused_and_stays_of_format_1(store: Path) -> None:
    above = [each for each in former_lsns(store) if each > sealed_in(store)]
    for last in above[-3:]:
        put(store, FORMER_LOG, keys.number(last), None)
    for options in (OPTIONS, INTERVAL):
        with pytest.raises(CorruptError, match=f"ends at LSN {above[-4]}, .*acknowledged"):
            timeline.open(store, options)
    assert format_of(store) == 1


def test_a_torn_last_write_is_left_out(store: Path) -> None:
    """A power cut tore it, and it was never acknowledged."""
    lsns = former_lsns_of_copy(store)
    (wal,) = (store / "rocks").glob("*.log")
    content = wal.read_bytes()
    wal.write_bytes(content[:-20])
    mark(store, lsns[-2])
    with timeline.open(store, OPTIONS) as db:
        assert db.engine.applied == lsns[-2]
    check_moved_on(store)


def test_damaged_blocks_of_a_sealed_log_cost_its_followers_only(
    tmp_path: Path, listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table of the former log that cannot be read, below the sealed LSN."""
    store = unpack(NAME, tmp_path)
    monkeypatch.setattr("timeline.storage.tuning._caches", Forgetful())
    table = max((store / "rocks").glob("*.sst"), key=lambda path: path.stat().st_size)
    content = bytearray(table.read_bytes())
    content[2_000] ^= 1
    table.write_bytes(content)
    with timeline.open(store, OPTIONS) as db:
        assert rooms(db) == listed["timelines"]
        behind = listed["checkpoints"]["behind"]
        with pytest.raises(TrimmedError):
            db.log.read(after=behind, limit=10)
        assert (
            db.log.read(after=db.engine.store.log.first() - 1, limit=10**6)[-1].lsn
            == (listed["lsn"])
        )
    check_moved_on(store)
