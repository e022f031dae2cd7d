"""A store of format 1, and what it must hold when it has moved on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from rocksdict import Rdict

from tests.verification.damage import pairs, raw
from timeline.embedded.database import Database
from timeline.engine.store.directory import STORE_KEY
from timeline.formats import keys
from timeline.formats.rows import decode_progress, decode_store
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.options import DAY, Options
from timeline.storage.rocks import FORMER_LOG, META

NAME = "v1-load"
OPTIONS = Options(search=False, log_age_ms=200 * 365 * DAY, log_file_bytes=4_096)
INTERVAL = replace(OPTIONS, durability="interval")


def rooms(db: Database) -> dict[str, list[str]]:
    return {
        name.decode(): [entry.text("v") for entry in db.timeline(name).range()]
        for name in db.timelines()
    }


def check(db: Database, listed: dict[str, Any]) -> None:
    """`db` holds what is listed, and its log what a follower needs."""
    assert rooms(db) == listed["timelines"]
    assert db.engine.applied == listed["lsn"]
    assert db.log.checkpoint("behind") == listed["checkpoints"]["behind"]
    behind = listed["checkpoints"]["behind"]
    commits = db.log.read(after=behind, limit=10**6)
    assert [commit.lsn for commit in commits] == list(range(behind + 1, listed["lsn"] + 1))


def check_moved_on(path: Path) -> None:
    assert FORMER_LOG not in Rdict.list_cf(str(path / "rocks"))
    assert format_of(path) == 2
    assert pairs(path, META, keys.CHAPTER) == []


def format_of(path: Path) -> int:
    with raw(path) as storage:
        return decode_store(storage.get(META, STORE_KEY) or b"").format


def sealed_in(path: Path) -> int:
    with raw(path) as storage:
        return decode_progress(storage.get(META, PROGRESS_KEY) or b"").sealed


def former_lsns(path: Path) -> list[int]:
    """The last LSNs of the records of a store of format 1."""
    return [keys.split_number(key) for key, _ in pairs(path, FORMER_LOG)]
