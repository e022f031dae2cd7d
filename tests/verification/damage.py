"""Stores to be damaged, and damages: raw writes with the right RocksDB checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import timeline
from timeline.options import Options
from timeline.storage.rocks import Storage

OPTIONS = Options(segment_entries=16, diffusion_limit=8)


def fill(path: Path) -> None:
    """A store in which there is something of everything."""
    with timeline.open(path, OPTIONS) as db:
        db.log.move("reader", 0)  # so that the log is kept
        audit = db.timeline("audit")
        for start in range(0, 100, 20):
            audit.append_many([{"n": str(n)} for n in range(start, start + 20)])
        audit.set_metadata({"owner": "ann"})
        audit.set_retention(length=1_000)
        db.timeline("other").append_many([{"v": str(n)} for n in range(40)])
        db.timeline("gone").append({"x": "y"})
        db.timeline("gone").drop()
        im = db.messaging
        im.create("team", "ann", members=["bob", "cat"], meta={"title": "Team"})
        im.create("crowd", "ann", members=[f"user{n}" for n in range(12)])
        im.create("old", "ann", members=["bob"])
        im.direct("ann", "bob")
        for number in range(30):
            im.send("team", "ann", {"text": f"word {number}"}, key=f"k{number}", mentions=["bob"])
            im.send("crowd", "ann", {"text": f"news {number}"})
        im.send("team", "bob", {"text": "everyone"}, mention_all=True)
        im.edit("team", 4, "ann", {"text": "edited"})
        im.recall("team", 5, "ann")
        im.hide("bob", "team", 6)
        im.set("bob", "team", {"@pin": "1", "draft": "so"})
        im.read("bob", "team", 10)
        im.leave("team", users=["cat"])
        im.delete("old")
        im.ack("bob", "phone", im.conversations("bob").position)
        im.search("ann", "word", wait=10.0)
        audit.delete(30)
        audit.replace(31, {"n": "changed"})
        audit.trim(before=3)
    # What is changed once it is in a segment; nothing works beside it, so that patches stay.
    with timeline.open(path, OPTIONS, fsync="inline") as db:
        db.timeline("audit").delete(40)


@contextmanager
def raw(path: Path) -> Iterator[Storage]:
    """The database of a closed store, to be written to behind its back."""
    storage = Storage(path / "rocks", Options(create=False))
    try:
        yield storage
    finally:
        storage.close()


def put(path: Path, family: str, key: bytes, value: bytes | None) -> None:
    with raw(path) as storage:
        batch = storage.batch()
        if value is None:
            batch.delete(family, key)
        else:
            batch.put(family, key, value)
        storage.write(batch)


def pairs(path: Path, family: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
    with raw(path) as storage:
        return [
            (key, value)
            for key, value in storage.scan(family, prefix, b"\xff" * 40)
            if key.startswith(prefix)
        ]


def change(
    path: Path, family: str, prefix: bytes, alter: Callable[[bytes], bytes | None], place: int = 0
) -> bytes:
    """Alter the value at a place among the keys with a prefix; the key."""
    key, value = pairs(path, family, prefix)[place]
    put(path, family, key, alter(value))
    return key


def flipped(value: bytes) -> bytes:
    """With one bit in the middle turned over."""
    middle = len(value) // 2
    return value[:middle] + bytes((value[middle] ^ 1,)) + value[middle + 1 :]


def state(path: Path) -> dict[str, tuple[int, str]]:
    """Every file below a directory: when it was last written, and a digest of what it holds."""
    return {
        str(file.relative_to(path)): (
            file.stat().st_mtime_ns,
            hashlib.sha256(file.read_bytes()).hexdigest(),
        )
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }
