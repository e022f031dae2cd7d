"""Every bound and choice of the engine, with its default.

Rule: a limit lives here and nowhere else; whoever needs one reads it from the `Options` the
engine was opened with. Sizes are bytes, times milliseconds unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from timeline.errors import UsageError

KIB = 1024
MIB = 1024 * KIB
DAY = 24 * 60 * 60 * 1000


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
    dormant_timelines: int = 300_000  # of those beyond, what finds them again without the disk
    audience_cache: int = 500_000  # members, over all cached audiences

    # Background work: the longest a slice may hold the engine, in milliseconds.
    slice_ms: float = 1.0
    compact_after: int = 8  # small segments of one timeline before they are merged
    retention_check_ms: int = 10_000
    # What was recalled, edited or deleted is gone from the disk after the sum of these two, beside
    # what a follower still holds of the log (`log_age_ms`).
    seal_after_ms: int = 10 * 60_000
    erase_after_ms: int = 10 * 60_000

    # The commit log behind the sealed position, for followers.
    log_bytes: int = 256 * MIB
    log_age_ms: int = 7 * DAY

    # RocksDB.
    write_buffer_bytes: int = 32 * MIB
    block_cache_bytes: int = 64 * MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
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
        if self.segment_entries > 65_535:
            raise UsageError("segment_entries is at most 65535, the width of a segment's count")
