"""Inspection: what a store, a timeline and a segment are made of.

Responsibility: gather the facts about a store, the same for embedders, the daemon and the tools.

Rule: an inspection changes nothing and keeps nobody waiting. Long lists are read in steps, and the
lock is released between two steps. So the parts of one answer may be of different moments. A
segment is shown as it is stored, even if it is damaged. The caller does not hold the engine's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from struct import unpack_from
from typing import Any, Final, NamedTuple

from timeline.engine.engine import Engine
from timeline.engine.inboxview import InboxView, is_inbox
from timeline.errors import CorruptError, NotFoundError, shown
from timeline.formats import keys
from timeline.formats.names import CONVERSATIONS, EVENTS, FEED_EVENTS, FEEDS, HOMES, NOTES, USERS
from timeline.formats.references import count_references, decode_references, packed_references
from timeline.formats.rows import FORMAT, Retention
from timeline.formats.segments import Segment
from timeline.lsm.ranges import Extent
from timeline.lsm.timeline import Timeline
from timeline.storage.rocks import FAMILIES, INBOXES, PATCHES, SEGMENTS

_STEP_SEGMENTS: Final = 64  # read under one hold of the lock
_LISTED_SEGMENTS: Final = 1_000  # the newest ones; all are counted

# The kind of a timeline, by the beginning of its name.
KINDS: Final = {
    CONVERSATIONS: "conversation",
    EVENTS: "events",
    USERS: "inbox",
    FEEDS: "feed",
    FEED_EVENTS: "feed-events",
    HOMES: "home",
    NOTES: "notes",
}


class FamilyFacts(NamedTuple):
    """A column family: its keys, about, and its bytes in files and in memory."""

    name: str
    keys: int
    size: int
    memory: int


class ConsumerFacts(NamedTuple):
    """A consumer of the log, and how many commits it has not taken yet."""

    name: bytes
    lsn: int
    behind: int


class LogFacts(NamedTuple):
    """The commit log: its first and last LSN, the LSN up to which it is sealed, its bytes, and its
    consumers.
    """

    first: int
    last: int
    sealed: int
    size: int
    consumers: list[ConsumerFacts]


class StoreFacts(NamedTuple):
    """A store. `search` has the facts of the index; it is empty where there is no index."""

    format: int
    epoch: int
    timelines: int
    conversations: int
    users: int
    unsealed_bytes: int
    families: list[FamilyFacts]
    log: LogFacts
    search: dict[str, int | str]


class SegmentFacts(NamedTuple):
    """A stored segment. `last` is its last sequence number, for an in-box its last LSN."""

    last: int
    entries: int
    size: int


class TimelineFacts(NamedTuple):
    """A timeline. `kind` is as `kind_of` says. `tail` counts the entries, or references, that are
    not sealed yet. `segments` are the newest thousand.
    """

    name: bytes
    id: int
    kind: str
    created: int
    first: int
    head: int
    length: int
    deleted: int
    floor: int  # of an in-box
    tail: int
    segment_count: int
    segment_bytes: int
    patches: int
    maxage: int
    maxlen: int
    maxbytes: int
    metadata: dict[bytes, bytes]
    segments: list[SegmentFacts]


class EntryFacts(NamedTuple):
    """An entry of a segment: its columns, and where its stored form begins and how long it is."""

    seq: int
    lsn: int
    time: int
    start: int
    size: int


class ReferenceFacts(NamedTuple):
    lsn: int
    timeline: int
    seq: int
    kind: int
    ordinal: int


class SegmentContent(NamedTuple):
    """A segment as it is stored. Where it is not `intact`, `rows` is empty and `problem` says
    why.
    """

    key: bytes
    version: int
    flags: int
    entries: int
    size: int
    intact: bool
    problem: str
    rows: list[EntryFacts] | list[ReferenceFacts]
    value: bytes


def plain(value: Any) -> Any:  # noqa: ANN401  facts of any kind
    """Facts as nested dicts and lists."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(each) for name, each in value._asdict().items()}
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    return value


# --- a store --------------------------------------------------------------------------------------


def inspect_store(engine: Engine, index: dict[str, int | str]) -> StoreFacts:
    """`index` has the facts of the search index (`Serving.stats`)."""
    counts = Counter(kind_of(name) for name, _ in engine.view.each())
    with engine.lock:
        engine.check_usable()
        storage = engine.store.storage
        families = [
            FamilyFacts(
                name,
                storage.measure("estimate-num-keys", name),
                storage.measure("live-sst-files-size", name),
                storage.measure("cur-size-all-mem-tables", name),
            )
            for name in FAMILIES
        ]
        applied = engine.applied
        consumers = [
            ConsumerFacts(name, lsn, max(0, applied - lsn))
            for name, lsn in sorted(engine.log.checkpoints().items())
        ]
        log = LogFacts(
            engine.log.first(),
            applied,
            engine.store.sealing.sealed,
            engine.log.size,
            consumers,
        )
        return StoreFacts(
            FORMAT,
            engine.view.epoch,
            counts["timeline"],
            counts["conversation"],
            counts["inbox"],
            engine.store.memtable.size,
            families,
            log,
            index,
        )


def kind_of(name: bytes) -> str:
    """timeline, conversation, events, inbox, feed, feed-events or home."""
    return KINDS.get(name[: name.find(b":") + 1], "timeline")


# --- a timeline -----------------------------------------------------------------------------------


def inspect_timeline(engine: Engine, name: bytes) -> TimelineFacts:
    """Raises `NotFoundError`."""
    timeline = find_timeline(engine, name)
    timeline_id, inbox = timeline.id, is_inbox(timeline)
    total = size = 0
    newest: list[SegmentFacts] = []
    for facts in _segments(engine, timeline_id, INBOXES if inbox else SEGMENTS):
        total += 1
        size += facts.size
        newest.append(facts)
        if len(newest) > 2 * _LISTED_SEGMENTS:
            del newest[:_LISTED_SEGMENTS]
    with engine.lock:
        timeline = find_timeline(engine, name)
        start, stop = keys.pair(timeline_id, 0), keys.pair(timeline_id + 1, 0)
        patches = sum(1 for _ in engine.store.storage.keys(PATCHES, start, stop))
        extent, floor, tail = _extent(engine, timeline, inbox=inbox)
        retention: Retention = engine.view.retention(timeline)
        return TimelineFacts(
            name,
            timeline_id,
            kind_of(name),
            extent.created,
            extent.first,
            extent.head,
            extent.length,
            0 if inbox else extent.deleted,
            floor,
            tail,
            total,
            size,
            patches,
            retention.age,
            retention.length,
            retention.size,
            engine.view.metadata(timeline),
            newest[-_LISTED_SEGMENTS:],
        )


def _extent(engine: Engine, timeline: Timeline, *, inbox: bool) -> tuple[Extent, int, int]:
    """The extent, the floor of an in-box, and how much is not sealed yet."""
    if inbox:
        rows = engine.view.inboxes.inbox(timeline.id)
        floor = engine.view.inboxes.floor_of(timeline.id)
        return InboxView(engine.view).span(timeline), floor, len(rows.immutable) + len(rows.tail)
    return engine.view.extent(timeline), 0, engine.store.memtable.applied(timeline)


def _segments(engine: Engine, owner: int, family: str) -> Iterator[SegmentFacts]:
    """The stored segments of a timeline or in-box, oldest first."""
    after = 0
    stop = keys.pair(owner + 1, 0)
    while True:
        with engine.lock:
            engine.check_usable()
            found = engine.store.storage.scan(family, keys.pair(owner, after + 1), stop)
            page = list(islice(found, _STEP_SEGMENTS))
            del found
        for key, value in page:
            after = keys.split_pair(key)[1]
            counted = count_references(value) if family == INBOXES else _count_entries(value)
            yield SegmentFacts(after, counted, len(value))
        if len(page) < _STEP_SEGMENTS:
            return


def _count_entries(value: bytes) -> int:
    return int.from_bytes(value[2:4], "little")


def find_timeline(engine: Engine, name: bytes) -> Timeline:
    """Raises `NotFoundError`, which suggests another name where one is likely."""
    with engine.lock:
        timeline = engine.view.find(name)
        if timeline is None:
            raise NotFoundError(f"there is no timeline {shown(name)}{_meant(engine, name)}")
        return timeline


def _meant(engine: Engine, name: bytes) -> str:
    """A suggestion for a name that no timeline has; empty where there is none."""
    others = [prefix + name for prefix in KINDS if engine.view.find(prefix + name) is not None]
    return f": did you mean {shown(others[0])}?" if others else ""


# --- a segment ------------------------------------------------------------------------------------


def inspect_segment(engine: Engine, name: bytes, number: int) -> SegmentContent:
    """The segment that holds entry `number`, or in an in-box the references of LSN `number`.

    It is the first segment that ends at `number` or later. Raises `NotFoundError`.
    """
    timeline = find_timeline(engine, name)
    timeline_id, inbox = timeline.id, is_inbox(timeline)
    family = INBOXES if inbox else SEGMENTS
    at = max(number, 1)
    with engine.lock:
        engine.check_usable()
        found = engine.store.storage.at_or_after(
            family, keys.pair(timeline_id, at), keys.pair(timeline_id + 1, 0)
        )
    if found is None:
        raise NotFoundError(
            f"{shown(name)} has no segment that ends at {number} or later: what is not sealed "
            "yet is in its tail"
        )
    key, value = found
    rows: list[EntryFacts] | list[ReferenceFacts] = []
    problem = ""
    try:
        rows = _references(key, value) if inbox else _rows(Segment(key, value))
    except CorruptError as error:
        problem = str(error)
    counted = count_references(value) if inbox else _count_entries(value)
    version, flags = unpack_from("<BB", value.ljust(2, b"\0"))
    return SegmentContent(
        key, version, flags, counted, len(value), not problem, problem, rows, value
    )


def _rows(segment: Segment) -> list[EntryFacts]:
    found = []
    start = 0
    for (seq, lsn, time, _), end in zip(segment.stored(), segment.ends, strict=True):
        found.append(EntryFacts(seq, lsn, time, start, end - start))
        start = end
    return found


def _references(key: bytes, value: bytes) -> list[ReferenceFacts]:
    return [
        ReferenceFacts(each.lsn, each.timeline_id, each.seq, each.kind, each.ordinal)
        for each in decode_references(packed_references(key, value))
    ]
