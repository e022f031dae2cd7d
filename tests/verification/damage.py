"""Stores to be damaged, and damages: raw writes with the right RocksDB checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import timeline
from timeline.formats.logfiles import HEADER_BYTES, encode_frame, padding, salted
from timeline.log.file import LogFile
from timeline.options import Options
from timeline.storage.rocks import Storage

OPTIONS = Options(segment_entries=16, diffusion_limit=8, feed_diffusion_limit=3)


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
        fill_feeds(db)
        im.ack("bob", "phone", im.conversations("bob").position)
        im.search("ann", "word", wait=10.0)
        audit.delete(30)
        audit.replace(31, {"n": "changed"})
        audit.trim(before=3)
    # What is changed once it is in a segment; nothing works beside it, so that patches stay.
    with timeline.open(path, OPTIONS, fsync="inline") as db:
        db.timeline("audit").delete(40)


def fill_feeds(db: timeline.Database) -> None:
    """Of `zoe` posts are delivered, of `star` they are pulled, since more follow them. `yan` mutes
    `zoe` and asks to follow them; `zoe` blocks `xia`.
    """
    feeds = db.feeds
    for author in ("zoe", "star"):
        feeds.publish(author, {"text": "first"}, key="k")
    feeds.follow("bob", ["zoe", "star"])
    for user in ("ann", "cat", "yan", "xia"):
        feeds.follow(user, ["star"])
    for number in range(20):
        for author in ("zoe", "star"):
            feeds.publish(author, {"text": f"post {number}"})
    feeds.follow("cat", ["zoe"])
    feeds.unfollow("xia", ["star"])
    for author in ("zoe", "star"):
        feeds.publish(author, {"text": "last"})
        feeds.delete(author, 4)
        feeds.edit(author, 5, author, {"text": "edited"})
    feeds.set("zoe", "zoe", {"@protected": "1", "name": "Zoe"})
    feeds.set("yan", "zoe", {"@mute": "1"})
    feeds.follow("yan", ["zoe"])
    feeds.block("zoe", ["xia"])


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


class Framed(NamedTuple):
    """Where in the log a record lies."""

    file: Path
    first: int
    last: int
    place: int
    end: int


def log_files(path: Path) -> list[Path]:
    return sorted((path / "log").glob("*.log"))


def opened(file: Path) -> LogFile:
    found = LogFile.open(file, read_only=True)
    assert found is not None
    return found


def frames(path: Path) -> list[Framed]:
    """Every record in the files of a store's log, one after another."""
    return [
        Framed(file, each.first, each.last, each.place, each.end)
        for file in log_files(path)
        for each in opened(file).frames()
    ]


def frame_of(path: Path, lsn: int) -> Framed:
    """The record that holds a commit."""
    return next(each for each in frames(path) if each.first <= lsn <= each.last)


def flip(file: Path, at: int, bit: int = 1) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= bit
    file.write_bytes(content)


def flip_record(path: Path, lsn: int) -> None:
    """Turn over a bit in the middle of the record that holds a commit."""
    found = frame_of(path, lsn)
    flip(found.file, (found.place + found.end) // 2)


def take_out(path: Path, *lsns: int) -> None:
    """Take the records of commits out of the log: what follows them moves up."""
    for lsn in lsns:
        found = frame_of(path, lsn)
        content = found.file.read_bytes()
        rest = content[found.end :] + bytes(found.end - found.place)
        found.file.write_bytes(content[: found.place] + rest)


def swap_records(path: Path, lsn: int) -> None:
    """Exchange the record of a commit and the next one, which lies in the same file."""
    one, other = frame_of(path, lsn), frame_of(path, lsn + 1)
    content = one.file.read_bytes()
    swapped = content[other.place : other.end] + content[one.place : one.end]
    one.file.write_bytes(content[: one.place] + swapped + content[other.end :])


def put_record(path: Path, lsn: int, body: bytes) -> None:
    """Have the log say something else of a commit, with the right checksums; it ends there."""
    found = frame_of(path, lsn)
    seed = salted(opened(found.file).header.salt)
    written = (
        encode_frame(seed, found.first, found.last, 0, body) + body + bytes(padding(len(body)))
    )
    content = found.file.read_bytes()
    rest = bytes(len(content) - found.place - len(written))
    found.file.write_bytes(content[: found.place] + written + rest)


def spoil_header(file: Path, *copies: int) -> None:
    """Make zeros of one or both of the two copies of a file's header."""
    content = bytearray(file.read_bytes())
    half = HEADER_BYTES // 2
    for copy in copies:
        content[copy * half : (copy + 1) * half] = bytes(half)
    file.write_bytes(content)


def spoil(
    path: Path, random: Random, places: list[tuple[str, bytes]]
) -> list[tuple[str, bytes, str]]:
    """One to eight raw writes to rows of some families and prefixes; where, and what."""
    where: list[tuple[str, bytes, str]] = []
    for _ in range(random.choice([1, 1, 2, 4, 8])):
        family, prefix = random.choice(places)
        done = spoil_one(path, random, family, prefix)
        if done is not None:
            where.append(done)
    return where


def spoil_one(
    path: Path, random: Random, family: str, prefix: bytes
) -> tuple[str, bytes, str] | None:
    """One raw write to a row; where, and what. None when there is no row."""
    found = pairs(path, family, prefix)
    if not found:
        return None
    (key, value), (_, other) = random.choice(found), random.choice(found)
    at = random.randrange(len(value) + 1)
    noise = value[:at] + random.randbytes(min(8, len(value) - at)) + value[at + 8 :]
    kinds = {"remove": None, "swap": other, "cut": value[:at], "noise": noise, "more": value}
    kind = random.choice(list(kinds))
    if kind == "more":
        key = key[:-1] + random.randbytes(random.choice([0, 1, 2]))
    put(path, family, key, kinds[kind])
    return family, key, kind


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
