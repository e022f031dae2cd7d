"""Figures: what INFO shows of an engine.

Rule: reading them costs little, since they are asked for every few seconds. While the storage is
closed after a failure, those are left out that are only there. The caller holds the engine's lock.
"""

from __future__ import annotations

from contextlib import suppress

from timeline.engine.pipeline import Pipeline
from timeline.engine.statistics import Statistics
from timeline.engine.store.store import Store
from timeline.engine.upkeep.upkeep import Upkeep
from timeline.engine.view import Applied
from timeline.engine.writecontrol import WriteControl
from timeline.errors import ClosedError


def figures(
    store: Store,
    upkeep: Upkeep,
    view: Applied,
    pipeline: Pipeline,
    control: WriteControl,
    statistics: Statistics,
) -> dict[str, int | float | str]:
    sealing, memtable = store.sealing, store.memtable
    cache = store.timelines.ranges.cache
    found: dict[str, int | float | str] = {
        "lsn": store.log.applied,
        "sealed_lsn": sealing.sealed,
        "sealing": int(sealing.under_way),
        "sealing_fraction": round(sealing.fraction, 3),
        "sealing_passes": sealing.passes,
        "commits": round(statistics.groups.sum),
        "groups": statistics.groups.count,
        "appends": statistics.appends,
        "deliveries": statistics.deliveries,
        "fsyncs": statistics.fsyncs.count,
        "fsync_usec": round(pipeline.fsync_seconds * 1e6),
        "fsync_usec_counts": statistics.fsyncs.listed(1e6),
        "unsealed_bytes": memtable.size,
        "unsealed_timelines": memtable.active.tails,
        "loaded_timelines": len(store.timelines.by_id),
        "segment_cache_bytes": cache.size,
        "segment_cache_hits": cache.hits,
        "segment_cache_misses": cache.misses,
        "segments_merged": store.compaction.merged,
        "compaction_waiting": store.compaction.waiting,
        "retention_trimmed": upkeep.retention.trimmed,
        "inbox_floor": store.inboxes.floor,
        "inbox_sweep": int(store.expiry.sweeping),
        "epoch": store.epoch,
        "durability": store.options.durability,
        "writing": "off" if control.refusal is not None else "on",
        "writing_turned_off": statistics.poisoned,
    }
    with suppress(ClosedError):
        found["timelines"] = view.count
        found["log_first"] = store.log.first()
    return found
