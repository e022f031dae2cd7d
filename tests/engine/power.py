"""Stores that lose power: where their log ends, what is left of them, and what is in them."""

from __future__ import annotations

import random
from pathlib import Path

from tests.engine.stores import copy_store_but_log
from tests.log.disk import Disk
from timeline.embedded.database import Database


def log_of(path: Path) -> Path:
    (log,) = (path / "log").glob("*.log")
    return log


def end_of(path: Path) -> int:
    """The place after the last byte of the log that is not zero."""
    return len(log_of(path).read_bytes().rstrip(b"\0"))


def copy_without_power(db: Database, disk: Disk, target: Path, draw: random.Random) -> None:
    """Copy an open store as a power cut would leave it now."""
    with db.engine.standing_still():
        copy_store_but_log(db, target)
        disk.copy_without_power(target / "log", draw)


def numbers(db: Database) -> list[str]:
    return [entry.text("n") for entry in db.timeline("a").range()]


def count(head: int) -> list[str]:
    return [str(number) for number in range(1, head + 1)]
