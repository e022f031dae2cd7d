"""The layers of a store: what answers reads, from the memtable down to the files, put together.

Rule: they belong to one opening of the storage. At first they hold only what is sealed; then a
replay applies the log to them.
"""

from __future__ import annotations

from typing import NamedTuple

from timeline.formats.rows import ProgressRow
from timeline.lsm.clock import Clock
from timeline.lsm.inboxes import Inboxes
from timeline.lsm.memtable import Memtable
from timeline.lsm.ranges import Ranges
from timeline.lsm.segmentcache import SegmentCache
from timeline.lsm.state import State
from timeline.lsm.timelines import Timelines
from timeline.options import Options
from timeline.storage.rocks import Storage


class Layers(NamedTuple):
    memtable: Memtable
    state: State
    timelines: Timelines
    inboxes: Inboxes


def layers(
    storage: Storage,
    options: Options,
    clock: Clock,
    progress: ProgressRow,
) -> Layers:
    """The layers of a store that is sealed as far as `progress` says."""
    memtable = Memtable()
    memtable.reached = max(progress.sealed, progress.upto)
    state = State(storage, memtable)
    cache = SegmentCache(storage, memtable, options.segment_cache_bytes)
    timelines = Timelines(
        storage,
        state,
        Ranges(memtable, cache, clock),
        limit=options.timeline_cache,
        head_cache=options.dormant_timelines,
    )
    inboxes = Inboxes(storage, state, options.audience_cache)
    inboxes.sealed = progress.sealed
    return Layers(memtable, state, timelines, inboxes)
