"""Every bound and choice of the engine, with its default.

Rule: a limit lives here and nowhere else. Code that needs one reads it from the `Options` that the
engine was opened with. Sizes are bytes, times milliseconds, unless a name says otherwise.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from timeline.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
DAY = 24 * 60 * 60 * 1000

_MAY_BE_ZERO = (
    "deleted_names",
    "feed_backfill",
    "feed_diffusion_limit",
    "home_references",
    "inbox_age_ms",
    "inbox_references",
    "note_references",
    "note_window_ms",
    "repost_window",
)


def _option(default: Any, text: str) -> Any:  # noqa: ANN401  as each option has it
    """An option, and what it means to its user: `timelined --help` shows that."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How an engine is opened. Raises `UsageError` for values that cannot work."""

    # What an acknowledgement means: `sync` is fsynced, `interval` fsyncs every `interval_ms`.
    durability: Literal["sync", "interval"] = _option(
        "sync", "sync: fsync before each acknowledgement; interval: fsync every interval_ms"
    )
    interval_ms: int = _option(100, "time between fsyncs when durability is interval")
    # What calls fsync: `thread` a thread of the engine, `inline` the caller of `flush`. `auto` is
    # `inline` where an fsync takes less than a millisecond when the store is opened.
    fsync: Literal["thread", "inline", "auto"] = _option(
        "thread", "who calls fsync: thread, inline, or auto, by how long one takes"
    )
    create: bool = _option(True, "create the store if the directory is empty")
    # The directory is a copy that goes its own way from here on. Cursors of the original lead
    # nowhere in it: they get `resync`.
    new_epoch: bool = _option(
        False, "for a copy that goes its own way: cursors of the original resync"
    )

    # What one caller may send.
    entry_bytes: int = _option(MIB, "bytes of one entry")
    entry_fields: int = _option(256, "fields of one entry")
    field_name_bytes: int = _option(255, "bytes of a field's name")
    name_bytes: int = _option(512, "bytes of a timeline's name")

    # The commit pipeline: beyond these a write waits or is refused with BUSY.
    group_bytes: int = _option(16 * MIB, "bytes of one commit group, written and fsynced together")
    unsealed_bytes: int = _option(
        96 * MIB, "bytes in memory that are not sealed yet; beyond that writes wait"
    )
    tails: int = _option(
        200_000, "timelines with unsealed entries in memory; beyond that writes wait"
    )
    stall_ms: int = _option(
        1_000, "how long a write waits while the disk cannot keep up, before BUSY"
    )

    # When the machine's clock steps back by no more than this, a commit takes the time of the one
    # before, so that times do not fall. When it steps back by more, they do (see `clock`).
    clock_ahead_ms: int = _option(
        60_000, "how far commit times may be ahead of a clock that stepped back"
    )

    # Segments and what is kept of them in memory.
    segment_bytes: int = _option(48 * KIB, "bytes of a full segment")
    segment_entries: int = _option(256, "entries of a full segment")
    segment_cache_bytes: int = _option(64 * MIB, "memory of the cache of segments")
    timeline_cache: int = _option(50_000, "timelines kept ready in memory")
    deleted_names: int = _option(
        100_000, "deleted names that are remembered; a timeline made again continues the numbers"
    )
    dormant_timelines: int = _option(
        1_000_000, "more timelines whose newest number is known without reading the disk"
    )
    audience_cache: int = _option(500_000, "members of audiences kept in memory")

    # Background work: the longest a slice may hold the engine, in milliseconds.
    slice_ms: float = _option(1.0, "how long a slice of background work may take")
    compact_after: int = _option(8, "small segments that a timeline has when they are merged")
    retention_check_ms: int = _option(10_000, "time between checks of what has expired")
    # What was recalled, edited, deleted or dropped is gone from the disk after the sum of these
    # two, or twice that where one group held it together with what replaced it. The log that
    # a follower still needs may hold it longer (`log_age_ms`).
    seal_after_ms: int = _option(
        10 * 60_000, "time after which what is in memory is sealed, however little it is"
    )
    erase_after_ms: int = _option(
        10 * 60_000,
        "time between rounds that erase from the disk what was recalled, edited or deleted",
    )

    # The commit log: its files, and what is kept of it below the sealed position, for followers.
    log_file_bytes: int = _option(
        64 * MIB, "size of a file of the commit log; the first ones are smaller"
    )
    log_bytes: int = _option(
        256 * MIB, "most bytes of sealed log kept for registered consumers that are behind"
    )
    log_age_ms: int = _option(
        7 * DAY, "longest time that sealed log is kept for registered consumers"
    )

    # Conversations and users.
    diffusion_limit: int = _option(
        500, "a conversation with more members is read-diffused; at most 1000"
    )
    pulled_limit: int = _option(1_000, "read-diffused conversations that one user may be in")
    receipts_limit: int = _option(200, "a conversation with more members has no receipts")
    devices: int = _option(32, "devices of one user")
    device_idle_ms: int = _option(
        90 * DAY, "time until a device that acknowledges nothing is forgotten"
    )
    inbox_age_ms: int = _option(
        90 * DAY, "shortest time that in-boxes keep what was delivered; 0: for ever"
    )
    inbox_references: int = _option(
        100_000, "references within that time that an in-box keeps at least; 0: all"
    )
    idempotency_window_ms: int = _option(
        DAY, "shortest time that the key of a message is remembered"
    )
    idempotency_bytes: int = _option(
        256 * MIB, "bytes of such keys; beyond that the oldest are forgotten sooner"
    )
    edit_window_ms: int = _option(
        3_650 * DAY, "time after sending in which a message may be edited"
    )
    recall_window_ms: int = _option(
        3_650 * DAY, "time after sending in which its sender may recall a message"
    )
    list_cache_bytes: int = _option(
        64 * MIB, "memory of conversation lists, for users who asked for theirs recently"
    )

    # Feeds.
    feed_diffusion_limit: int = _option(
        500, "a feed with more followers is read-diffused; at most 1000, 0: each feed is"
    )
    feed_backfill: int = _option(100, "posts from before the follow that a home shows of an author")
    following_limit: int = _option(10_000, "authors that one user may follow")
    repost_window: int = _option(
        40, "a home leaves a repost out if the same post is among so many next older ones"
    )
    home_references: int = _option(
        1_000, "references that a home keeps at least, within inbox_age_ms; 0: all"
    )
    note_window_ms: int = _option(
        3_600_000, "a note that grows moves up at most once in this time; 0: each time"
    )
    note_references: int = _option(
        1_000, "references that an in-box of notes keeps at least, within inbox_age_ms; 0: all"
    )
    unseen_limit: int = _option(100, "unseen posts and unseen notes are counted up to this number")
    home_cache_bytes: int = _option(
        64 * MIB, "memory of whom those follow who read their homes recently"
    )

    # Search.
    search: bool = _option(True, "keep a search index of messages, posts and metadata")
    search_fields: tuple[str, ...] = _option(
        ("text", "title"), "fields of messages and posts that are indexed, separated by commas"
    )
    search_prefixes: tuple[str, ...] = _option(
        (), "raw timelines whose names begin like this are indexed too, separated by commas"
    )
    search_memory_bytes: int = _option(32 * MIB, "memory of documents that are being indexed")
    search_commit_ms: int = _option(200, "time until what was sent can be found, about")
    search_directory: str = _option(
        "", "directory of the index; empty: index, inside that of the store"
    )

    # RocksDB.
    write_buffer_bytes: int = _option(32 * MIB, "size of RocksDB's memtable")
    block_cache_bytes: int = _option(64 * MIB, "size of RocksDB's block cache")

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            _check_kind(option.name, option.default, value)
            if option.name in _MAY_BE_ZERO and value == 0:
                continue
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0:
                raise UsageError(f"option {option.name} must be above zero, not {value}")
        if self.durability not in ("sync", "interval"):
            raise UsageError(f"durability is sync or interval, not {self.durability!r}")
        if self.fsync not in ("thread", "inline", "auto"):
            raise UsageError(f"fsync is thread, inline or auto, not {self.fsync!r}")
        if self.entry_bytes > self.group_bytes:
            raise UsageError(
                "entry_bytes may not exceed group_bytes: no group could hold the entry"
            )
        if not self.search_fields or not all(self.search_fields):
            raise UsageError("search_fields names at least one field; search=False turns it off")
        if any(prefix[:1] in ("", "@") for prefix in self.search_prefixes):
            raise UsageError("search_prefixes are beginnings of names of raw timelines, never of @")
        for name in ("diffusion_limit", "feed_diffusion_limit"):
            if getattr(self, name) > 1_000:
                raise UsageError(f"{name} is at most 1000: what a switch writes is one commit")
        if self.segment_entries > 65_535:
            raise UsageError("segment_entries is at most 65535, the width of a segment's count")

    def anchored(self) -> Options:
        """The same, whatever becomes of the working directory. Raises `UsageError`."""
        if not self.search_directory:
            return self
        return replace(self, search_directory=str(anchored(self.search_directory)))

    def index_of(self, store: Path) -> Path:
        """The directory of the search index of the store at a path."""
        return Path(self.search_directory) if self.search_directory else store / "index"


def _check_kind(name: str, default: object, value: object) -> None:
    """Raises `UsageError` for text where a number is meant, and the like."""
    if isinstance(default, bool):
        right, wanted = isinstance(value, bool), "True or False"
    elif isinstance(default, int | float):
        right, wanted = isinstance(value, int | float), "a number"
    else:
        right, wanted = not isinstance(default, tuple) or not isinstance(value, str), "a list"
    if not right:
        raise UsageError(f"option {name} is {wanted}, not {value!r}")


def anchored(path: str | os.PathLike[str]) -> Path:
    """Where a path leads now, whatever becomes of the working directory and of symbolic links on
    the way. Raises `UsageError`.
    """
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError) as error:
        raise UsageError(
            f"{os.fspath(path)} leads nowhere ({error}): give an absolute path"
        ) from error
