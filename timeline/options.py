"""Every bound and choice of the engine, with its default.

Rule: a limit lives here and nowhere else; whoever needs one reads it from the `Options` the
engine was opened with. Sizes are bytes, times milliseconds unless a name says otherwise.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from timeline.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
DAY = 24 * 60 * 60 * 1000

_MAY_BE_ZERO = ("deleted_names", "inbox_age_ms", "inbox_references")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How an engine is opened. Raises `UsageError` for values that cannot work."""

    # What an acknowledgement means: `sync` is fsynced, `interval` fsyncs every `interval_ms`.
    durability: Literal["sync", "interval"] = "sync"
    interval_ms: int = 100
    # Who calls fsync: `thread` a thread of the engine, `inline` whoever calls `flush`; `auto` is
    # `inline` where an fsync takes less than a millisecond when the store is opened.
    fsync: Literal["thread", "inline", "auto"] = "thread"
    create: bool = True
    # The directory is a copy that goes its own way from here on: cursors of the original lead
    # nowhere in it, and are told so.
    new_epoch: bool = False

    # What one caller may send.
    entry_bytes: int = MIB
    entry_fields: int = 256
    field_name_bytes: int = 255
    name_bytes: int = 512

    # The commit pipeline: beyond these a write waits or is refused with BUSY.
    group_bytes: int = 16 * MIB
    unsealed_bytes: int = 96 * MIB
    tails: int = 200_000
    stall_ms: int = 1_000

    # Segments and what is kept of them in memory.
    segment_bytes: int = 48 * KIB
    segment_entries: int = 256
    segment_cache_bytes: int = 64 * MIB
    timeline_cache: int = 50_000
    deleted_names: int = 100_000  # that are made anew above the numbers they had given out
    dormant_timelines: int = 300_000  # of those beyond, what finds them again without the disk
    audience_cache: int = 500_000  # members, over all cached audiences

    # Background work: the longest a slice may hold the engine, in milliseconds.
    slice_ms: float = 1.0
    compact_after: int = 8  # small segments of one timeline before they are merged
    retention_check_ms: int = 10_000
    # What was recalled, edited, deleted or dropped is gone from the disk after the sum of these
    # two, and as much again where the commit that took it back had put it there itself; beside what
    # a follower still holds of the log (`log_age_ms`).
    seal_after_ms: int = 10 * 60_000
    erase_after_ms: int = 10 * 60_000

    # The commit log behind the sealed position, for followers.
    log_bytes: int = 256 * MIB
    log_age_ms: int = 7 * DAY

    # Conversations and users.
    diffusion_limit: int = 500  # members above which a conversation is read-diffused, at most 1000
    pulled_limit: int = 1_000  # read-diffused conversations that one user may be in
    receipts_limit: int = 200  # members up to which a conversation has receipts
    devices: int = 32  # of one user
    device_idle_ms: int = 90 * DAY  # until a device is forgotten
    inbox_age_ms: int = 90 * DAY  # for which in-boxes keep what came at least; 0: for ever
    inbox_references: int = 100_000  # which an in-box keeps of it at least; 0: all
    idempotency_window_ms: int = DAY  # for which a key is remembered at least, unless
    idempotency_bytes: int = 256 * MIB  # so much of them came sooner
    edit_window_ms: int = 3_650 * DAY  # how long after sending a message may be edited, and
    recall_window_ms: int = 3_650 * DAY  # recalled, by its sender
    list_cache_bytes: int = 64 * MIB  # of lists of conversations, of users who asked of late

    # Search.
    search: bool = True
    search_fields: tuple[str, ...] = ("text", "title")  # of messages, that are indexed
    search_prefixes: tuple[str, ...] = ()  # of names of raw timelines that are indexed too
    search_memory_bytes: int = 32 * MIB  # that documents take before they are written
    search_commit_ms: int = 200  # after which what was sent can be found, about
    search_directory: str = ""  # of the index; empty: `index` in that of the store

    # RocksDB.
    write_buffer_bytes: int = 32 * MIB
    block_cache_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _MAY_BE_ZERO and value == 0:
                continue
            if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0:
                raise UsageError(f"option {field.name} must be above zero, not {value}")
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
        if self.diffusion_limit > 1_000:
            raise UsageError("diffusion_limit is at most 1000: what a switch writes is one commit")
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
