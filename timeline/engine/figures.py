"""Figures: what is watched of an engine, for INFO and for metrics.

Rule: reading them costs little, since they are asked for every few seconds. Those that lie in the
storage alone are None where it cannot be read, as while it is closed after a failure. The caller
holds the engine's lock.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from timeline.engine.pipeline import Pipeline
from timeline.engine.statistics import Statistics
from timeline.engine.store.store import Store
from timeline.engine.upkeep.upkeep import Upkeep
from timeline.engine.view import Applied
from timeline.engine.writecontrol import WriteControl
from timeline.errors import TimelineError


class Figures(NamedTuple):
    """By the names that INFO gives them, in its order."""

    lsn: int
    sealed_lsn: int
    sealing: int
    sealing_fraction: float  # of the pass under way, 0 to 1
    sealing_passes: int
    commits: int
    groups: int
    appends: int
    deliveries: int
    fsyncs: int
    fsync_usec: int
    fsync_usec_counts: str
    unsealed_bytes: int
    unsealed_timelines: int
    loaded_timelines: int
    segment_cache_bytes: int
    segment_cache_hits: int
    segment_cache_misses: int
    segments_merged: int
    compaction_waiting: int
    retention_trimmed: int
    inbox_floor: int
    inbox_sweep: int
    epoch: int
    durability: str
    writing: str
    writing_turned_off: int
    timelines: int | None
    log_first: int | None

    def shown(self) -> dict[str, int | float | str]:
        """Those that are known, by their names."""
        known = {name: value for name, value in self._asdict().items() if value is not None}
        return known | {"sealing_fraction": round(self.sealing_fraction, 3)}


def figures(
    store: Store,
    upkeep: Upkeep,
    view: Applied,
    pipeline: Pipeline,
    control: WriteControl,
    statistics: Statistics,
) -> Figures:
    sealing, memtable = store.sealing, store.memtable
    cache = store.timelines.ranges.cache
    timelines: int | None = None
    log_first: int | None = None
    with suppress(TimelineError):
        timelines = view.count
        log_first = store.log.first()
    return Figures(
        lsn=store.log.applied,
        sealed_lsn=sealing.sealed,
        sealing=int(sealing.under_way),
        sealing_fraction=sealing.fraction,
        sealing_passes=sealing.passes,
        commits=round(statistics.groups.sum),
        groups=statistics.groups.count,
        appends=statistics.appends,
        deliveries=statistics.deliveries,
        fsyncs=statistics.fsyncs.count,
        fsync_usec=round(pipeline.fsync_seconds * 1e6),
        fsync_usec_counts=statistics.fsyncs.listed(1e6),
        unsealed_bytes=memtable.size,
        unsealed_timelines=memtable.active.tails,
        loaded_timelines=len(store.timelines.by_id),
        segment_cache_bytes=cache.size,
        segment_cache_hits=cache.hits,
        segment_cache_misses=cache.misses,
        segments_merged=store.compaction.merged,
        compaction_waiting=store.compaction.waiting,
        retention_trimmed=upkeep.retention.trimmed,
        inbox_floor=store.inboxes.floor,
        inbox_sweep=int(store.expiry.sweeping),
        epoch=store.epoch,
        durability=store.options.durability,
        writing="off" if control.refusal is not None else "on",
        writing_turned_off=statistics.poisoned,
        timelines=timelines,
        log_first=log_first,
    )
