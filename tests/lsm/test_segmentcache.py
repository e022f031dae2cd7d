"""The promise: a cached segment is what is stored with its patches, and the cache stays small."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.numbers import TimelineId
from timeline.formats.rows import RAW, TimelineRow
from timeline.formats.segments import encode_segments
from timeline.lsm.memtable import Memtable
from timeline.lsm.segmentcache import SegmentCache
from timeline.lsm.timeline import Timeline
from timeline.options import Options
from timeline.storage.rocks import PATCHES, SEGMENTS, Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path, Options())
    yield opened
    opened.close()


def sealed(storage: Storage, timeline_id: int, count: int) -> Timeline:
    """A timeline with so many entries `b"<seq>;"` on the disk, ten to a segment."""
    numbers = array("Q", range(1, count + 1))
    payloads = [b"%d;" % seq for seq in numbers]
    batch = storage.batch()
    for key, value, _ in encode_segments(
        timeline_id, numbers, numbers, numbers, payloads, 10, 1 << 20
    ):
        batch.put(SEGMENTS, key, value)
    storage.write(batch)
    row = TimelineRow(RAW, 0, 1, count, 0, 0, b"t")
    return Timeline(TimelineId(timeline_id), b"t", row, count)


def test_a_segment_is_found_by_any_of_its_numbers_and_read_once(storage: Storage) -> None:
    cache = SegmentCache(storage, Memtable(), 1 << 20)
    timeline = sealed(storage, 1, 25)
    found = [cache.at_or_after(timeline, seq) for seq in (1, 7, 10)]
    assert [(each.first, each.last) for each in found if each] == [(1, 10)] * 3
    assert (cache.hits, cache.misses) == (2, 1)
    assert cache.before(timeline, 11) is found[0]
    assert cache.at_or_after(timeline, 26) is None
    assert cache.before(timeline, 1) is None


def test_a_whole_page_is_given_from_cached_segments_only(storage: Storage) -> None:
    cache = SegmentCache(storage, Memtable(), 1 << 20)
    timeline = sealed(storage, 1, 40)
    assert cache.whole(timeline, 1, 3, reverse=False) is None, "nothing is cached"
    cache.at_or_after(timeline, 1)
    assert cache.whole(timeline, 2, 3, reverse=False) == [b"2;3;4;"]
    assert cache.whole(timeline, 2, 3, reverse=True) == [b"4;3;2;"]
    assert cache.whole(timeline, 9, 3, reverse=False) is None, "11 is not cached"
    cache.at_or_after(timeline, 11)
    assert cache.whole(timeline, 9, 3, reverse=False) == [b"9;10;", b"11;"]
    assert cache.whole(timeline, 9, 3, reverse=True) == [b"11;", b"10;9;"]
    assert cache.whole(timeline, 20, 1, reverse=False) == [b"20;"]
    assert cache.whole(timeline, 20, 2, reverse=False) is None, "21 is not cached"
    cache.at_or_after(timeline, 31)
    assert cache.whole(timeline, 19, 14, reverse=False) is None, "there is a gap"


def test_patches_on_the_disk_and_in_memory_are_applied(storage: Storage) -> None:
    memtable = Memtable()
    cache = SegmentCache(storage, memtable, 1 << 20)
    timeline = sealed(storage, 1, 3)
    batch = storage.batch()
    batch.put(PATCHES, keys.pair(1, 1), b"old;")
    batch.put(PATCHES, keys.pair(1, 2), b"")
    storage.write(batch)
    memtable.patch(timeline, 1, b"new;")
    segment = cache.at_or_after(timeline, 1)
    assert segment is not None
    assert segment.payloads(0, segment.count) == [b"new;", b"3;"]


def test_what_is_forgotten_is_read_again(storage: Storage) -> None:
    cache = SegmentCache(storage, Memtable(), 1 << 20)
    timeline = sealed(storage, 1, 20)
    for seq in (1, 11):
        cache.at_or_after(timeline, seq)
    cache.forget(timeline, 3, 3)
    for seq in (11, 1):
        cache.at_or_after(timeline, seq)
    assert (cache.hits, cache.misses) == (1, 3)
    cache.forget(timeline)
    assert cache.size == 0


def test_the_segment_used_least_recently_goes_first(storage: Storage) -> None:
    cache = SegmentCache(storage, Memtable(), 2_000)
    one, other = sealed(storage, 1, 20), sealed(storage, 2, 20)
    for timeline, seq in ((one, 1), (one, 11), (one, 1), (other, 1), (other, 11)):
        cache.at_or_after(timeline, seq)
    assert cache.size <= 2_000
    misses = cache.misses
    cache.at_or_after(other, 11)
    assert cache.misses == misses
    cache.at_or_after(one, 11)
    assert cache.misses == misses + 1


def test_damage_is_an_error_and_is_not_kept(storage: Storage) -> None:
    cache = SegmentCache(storage, Memtable(), 1 << 20)
    timeline = sealed(storage, 1, 3)
    batch = storage.batch()
    batch.put(SEGMENTS, keys.pair(1, 3), b"damaged")
    storage.write(batch)
    for _ in range(2):
        with pytest.raises(CorruptError):
            cache.at_or_after(timeline, 1)
    assert cache.size == 0
