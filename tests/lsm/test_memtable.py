"""The promise: readers see what was applied, in whichever generation it is, and nothing else."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from hypothesis import given, strategies as st

from timeline.formats import keys
from timeline.formats.numbers import Lsn, Seq, TimelineId
from timeline.formats.records import Appends
from timeline.formats.references import encode_reference
from timeline.formats.rows import RAW, TimelineRow
from timeline.lsm.memtable import REFERENCE_BYTES, TAIL_BYTES, Memtable
from timeline.lsm.timeline import Inbox, Timeline


def made(timeline_id: int = 1) -> Timeline:
    return Timeline(TimelineId(timeline_id), b"t", TimelineRow(RAW, 0, 1, 0, 0, 0, b"t"))


def stage(memtable: Memtable, timeline: Timeline, count: int) -> list[int]:
    """Give the next entries their numbers and rows, as a commit in the making does."""
    memtable.touch(timeline)
    first = max(memtable.visible, timeline.tail[-1] + 1 if timeline.tail else 0)
    timeline.tail.extend(range(first, first + count))
    seqs = list(range(timeline.next, timeline.next + count))
    timeline.next += count
    return seqs


def apply(memtable: Memtable, timeline: Timeline, seqs: Sequence[int]) -> None:
    """Apply a group whose entries are `b"<seq>;"` each."""
    parts = [b"%d;" % seq for seq in seqs]
    appends = Appends(
        array("Q", [timeline.id] * len(seqs)), array("Q", seqs), array("I", map(len, parts)), None
    )
    memtable.append(b"record" + b"".join(parts), 6, appends, range(1, len(seqs) + 1), 99)


def append(memtable: Memtable, timeline: Timeline, count: int) -> None:
    apply(memtable, timeline, stage(memtable, timeline, count))


def read(memtable: Memtable, timeline: Timeline, *, reverse: bool = False) -> list[bytes]:
    found: list[bytes] = []
    for piece in memtable.pieces(timeline, 1, keys.MAX - 1, 4, reverse=reverse):
        part = piece.payloads(0, len(piece))
        found += reversed(part) if reverse else part
    return found


def test_what_is_staged_is_not_seen_before_it_is_applied() -> None:
    memtable, timeline = Memtable(), made()
    append(memtable, timeline, 2)
    seqs = stage(memtable, timeline, 1)
    assert (memtable.head(timeline), memtable.applied(timeline)) == (2, 2)
    assert read(memtable, timeline) == [b"1;", b"2;"]
    apply(memtable, timeline, seqs)
    assert memtable.head(timeline) == 3
    assert read(memtable, timeline, reverse=True) == [b"3;", b"2;", b"1;"]


def test_the_immutable_generation_is_read_until_it_is_on_the_disk() -> None:
    memtable, timeline = Memtable(), made()
    append(memtable, timeline, 3)
    generation = memtable.rotate(3, [])
    append(memtable, timeline, 2)
    assert memtable.unsealed(timeline) == 3
    assert generation.timelines == {1: timeline}
    expected = [b"%d;" % seq for seq in range(1, 6)]
    assert read(memtable, timeline) == expected
    assert read(memtable, timeline, reverse=True) == expected[::-1]
    memtable.sealed(timeline, 3, 3)
    memtable.release()
    assert read(memtable, timeline) == expected[3:]
    assert (memtable.first(timeline), memtable.head(timeline)) == (4, 5)


def test_a_staged_entry_belongs_to_the_generation_that_takes_it() -> None:
    memtable, timeline = Memtable(), made()
    append(memtable, timeline, 1)
    seqs = stage(memtable, timeline, 1)
    memtable.rotate(1, [timeline])
    assert memtable.active.timelines == {1: timeline}
    assert memtable.unsealed(timeline) == 1
    apply(memtable, timeline, seqs)
    assert read(memtable, timeline) == [b"1;", b"2;"]


def test_a_stretch_is_given_where_nothing_needs_a_closer_look() -> None:
    memtable, timeline = Memtable(), made()
    append(memtable, timeline, 4)
    assert memtable.stretch(timeline, 2, 9, 2, reverse=False) == ([b"2;", b"3;"], 3)
    assert memtable.stretch(timeline, 1, 9, 2, reverse=True) == ([b"4;", b"3;"], 3)
    assert memtable.stretch(timeline, 0, 9, 9, reverse=False) is None, "begins before memory does"
    memtable.rotate(4, [])
    append(memtable, timeline, 1)
    assert memtable.stretch(timeline, 4, 5, 9, reverse=False) is None, "in both generations"


def test_a_patch_takes_the_place_of_an_entry() -> None:
    memtable, timeline = Memtable(), made()
    append(memtable, timeline, 3)
    memtable.patch(timeline, 2, b"new;")
    memtable.patch(timeline, 3, b"")
    assert read(memtable, timeline) == [b"1;", b"new;"]
    memtable.rotate(3, [])
    memtable.patch(timeline, 1, b"newer;")
    assert memtable.patches(timeline.id, range(1, 4)) == {1: b"newer;", 2: b"new;", 3: b""}
    assert memtable.patches(timeline.id, range(2, 2**62)) == {2: b"new;", 3: b""}


def test_a_trim_leaves_the_head_and_is_noted_for_the_disk() -> None:
    memtable, timeline = Memtable(), made()
    append(memtable, timeline, 3)
    memtable.trim(timeline, 3)
    assert read(memtable, timeline) == [b"3;"]
    assert memtable.active.garbage == {1: 3}
    memtable.drop(timeline)
    memtable.trim(timeline, 9)
    assert memtable.active.garbage == {1: None}, "dropped, which is more than trimmed"


def test_state_is_the_newest_value_of_both_generations() -> None:
    memtable = Memtable()
    memtable.put(b"a", b"1")
    memtable.put(b"b", b"1")
    memtable.put(b"d", b"1")
    memtable.rotate(1, [])
    memtable.put(b"b", None)
    memtable.put(b"c", b"2")
    assert memtable.state(b"a") == (True, b"1")
    assert memtable.state(b"b") == (True, None)
    assert memtable.state(b"e") == (False, None)
    assert list(memtable.scan(b"a", b"d")) == [(b"a", b"1"), (b"b", None), (b"c", b"2")]
    memtable.release()
    assert list(memtable.scan(b"a", b"z")) == [(b"b", None), (b"c", b"2")]


def test_an_in_box_keeps_what_is_being_sealed_apart() -> None:
    memtable, inbox = Memtable(), Inbox(TimelineId(5))
    old, new = (encode_reference(Lsn(n), TimelineId(1), Seq(n), 1) for n in (1, 2))
    memtable.deliver([inbox], old)
    generation = memtable.rotate(1, [])
    memtable.deliver([inbox], new)
    assert (inbox.immutable, inbox.tail) == ([old], [new])
    assert generation.inboxes == memtable.active.inboxes == {5: inbox}
    assert generation.tails == 1


def references(*lsns: int) -> list[bytes]:
    return [encode_reference(Lsn(lsn), TimelineId(1), Seq(lsn), 1) for lsn in lsns]


def test_what_is_delivered_together_comes_in_order_to_each_in_box() -> None:
    memtable = Memtable()
    ann, bob, cat = (Inbox(TimelineId(number)) for number in (5, 6, 7))
    old, *new = references(1, 2, 3, 4, 5, 6, 7)
    memtable.deliver([ann, bob], old)
    group, other = [ann, bob], [bob, cat]
    before = memtable.size
    memtable.deliver_all(list(zip([group, other, other, group, group, other], new, strict=True)))
    assert ann.tail == [old, new[0], new[3], new[4]]
    assert bob.tail == [old, *new]
    assert cat.tail == [new[1], new[2], new[5]]
    assert memtable.active.inboxes == {5: ann, 6: bob, 7: cat}
    assert memtable.size - before == 12 * REFERENCE_BYTES + TAIL_BYTES


def test_what_is_delivered_together_leaves_apart_what_is_being_sealed() -> None:
    memtable, ann = Memtable(), Inbox(TimelineId(5))
    group = [ann]
    old, *new = references(1, 2, 3)
    memtable.deliver(group, old)
    memtable.rotate(1, [])
    memtable.deliver_all([(group, each) for each in new])
    assert (ann.immutable, ann.tail) == ([old], new)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=24))
def test_deliveries_together_are_as_one_by_one(chosen: list[tuple[int, int]]) -> None:
    def delivered(*, together: bool) -> tuple[list[list[bytes]], int]:
        memtable, inboxes = Memtable(), [Inbox(TimelineId(number)) for number in range(1, 6)]
        audiences = [inboxes[:3], inboxes[1:4], inboxes[4:], inboxes]
        deliveries = []
        for at, (audience, kind) in enumerate(chosen):
            lsn, owner = Lsn(2 + at // 3), TimelineId(audience + 9)
            reference = encode_reference(lsn, owner, Seq(at), kind, at)
            deliveries.append((audiences[audience], reference))
        if together:
            memtable.deliver_all(deliveries)
        else:
            for to, reference in deliveries:
                memtable.deliver(to, reference)
        return [inbox.tail for inbox in inboxes], memtable.size

    assert delivered(together=True) == delivered(together=False)
