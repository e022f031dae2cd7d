"""What a draft tells of timelines and audiences that no group has applied yet, and chores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from timeline.commit.draft import Draft
from timeline.engine.engine import Engine
from timeline.engine.view import View
from timeline.errors import TooLargeError
from timeline.formats.numbers import NO_LSN, TimelineId
from timeline.formats.rows import INBOX
from timeline.options import Options

AUDIENCE: Final = TimelineId(7)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = Engine(tmp_path / "store", Options(fsync="inline", retention_check_ms=1))
    yield opened
    opened.close()


def test_a_timeline_is_loaded_by_id_before_it_is_applied(engine: Engine) -> None:
    with engine.lock:
        draft = engine.begin()
        made = draft.create(b"a")
        assert draft.load(made.id) is made
        draft.commit()
        later = engine.begin()
        assert later.load(made.id) is made, "staged in the open group"
        later.drop(made)
        assert later.load(made.id) is None
        later.commit()
        assert engine.begin().load(made.id) is None
        assert engine.begin().load(10**6) is None
    engine.flush()
    with engine.lock:
        assert engine.begin().load(made.id) is None


@given(
    layers=st.lists(
        st.lists(
            st.tuples(st.sampled_from(["append", "replace", "delete", "trim"]), st.integers(1, 8))
        ),
        min_size=3,
        max_size=3,
    ),
    sealed=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_an_entry_by_its_number_is_that_of_the_range(
    engine: Engine, layers: list[list[tuple[str, int]]], *, sealed: bool
) -> None:
    """Whether it was applied, staged or drafted, and what became of it in each of these."""

    def change(draft: Draft, action: str, seq: int) -> None:
        there = next(draft.stored(t, seq, seq), None) is not None
        if action == "append":
            draft.append(t, [b"n", b"%d" % seq])
        elif action == "trim":
            draft.trim(t, seq)
        elif there and action == "replace":
            draft.replace(t, seq, [b"n", b"again"])
        elif there:
            draft.delete(t, [seq])

    def compare(view: View) -> None:
        for seq in range(12):
            assert view.entry(t, seq) == next(view.stored(t, seq, seq), None)

    with engine.lock:
        draft = engine.begin()
        t = draft.create(b"t%d" % draft.lsn)
        for number, layer in enumerate(layers):
            for action, seq in layer:
                change(draft, action, seq)
                compare(draft)
            if number < len(layers) - 1:
                draft.commit()
                compare(engine.begin())
                if number == 0:
                    engine.flush()
                    if sealed:
                        engine.store.begin_pass()
                        engine.store.finish_pass()
                    compare(engine.view)
                draft = engine.begin()


def test_a_delivery_reaches_those_who_are_members_when_it_is_made(engine: Engine) -> None:
    with engine.lock:
        draft = engine.begin()
        early, late = (draft.create(name, INBOX).id for name in (b"@user:a", b"@user:b"))
        target = draft.create(b"t")
        draft.join(AUDIENCE, [early])
        draft.deliver(AUDIENCE, target, 1, 0)
        draft.join(AUDIENCE, [late])
        draft.deliver(AUDIENCE, target, 2, 0)
        draft.leave(AUDIENCE, [early])
        draft.deliver(AUDIENCE, target, 3, 0)
        draft.join(AUDIENCE, [early])
        draft.deliver(AUDIENCE, target, 4, 0)
        draft.commit()
    engine.flush()
    with engine.lock:
        got = [
            [(reference.seq, reference.ordinal) for reference, _ in engine.inboxes.read(*place)]
            for place in ((early, NO_LSN, 0, 9), (late, NO_LSN, 0, 9))
        ]
    assert got == [[(1, 0), (2, 1), (4, 3)], [(2, 1), (3, 2), (4, 3)]]


def test_who_comes_and_goes_in_one_commit_is_bounded(engine: Engine) -> None:
    with engine.lock:
        draft = engine.begin()
        target = draft.create(b"t")
        people = range(1_000, 1_000 + engine.options.group_bytes // 8 + 1)
        draft.deliver(AUDIENCE, target, 1, 0)
        with pytest.raises(TooLargeError):
            draft.join(AUDIENCE, people)


def test_references_in_memory_are_read_from_a_position_on(engine: Engine) -> None:
    with engine.lock:
        draft = engine.begin()
        inbox = draft.create(b"@user:a", INBOX).id
        target = draft.create(b"t")
        draft.commit()
        for seq in range(1, 50):
            draft = engine.begin()
            for kind in range(seq % 3 + 1):
                draft.notify([inbox], target, seq, kind)
            draft.commit()
    engine.flush()
    with engine.lock:
        everything = engine.inboxes.read(inbox, NO_LSN, 0, 1_000)
        assert len(everything) == sum(seq % 3 + 1 for seq in range(1, 50))
        for at, (reference, ordinal) in enumerate(everything):
            behind = engine.inboxes.read(inbox, reference.lsn, ordinal, 1_000)
            assert behind == everything[at + 1 :]


def test_chores_are_done_when_idle_until_they_say_so(engine: Engine) -> None:
    left = [3]
    calls = []

    def chore(draft: Draft) -> bool:
        calls.append(draft.lsn)
        if not left[0]:
            return False
        left[0] -= 1
        draft.put(b"u-chore", b"%d" % left[0])
        return True

    engine.chores.add(chore)
    while left[0]:
        engine.work()
        engine.flush()
    with engine.lock:
        assert engine.state.get(b"u-chore") == b"0"
        assert engine.applied == 3


def test_a_draft_that_is_dropped_or_refused_takes_no_id(engine: Engine) -> None:
    """Nothing happens before it is committed, and an id is part of nothing."""
    with engine.lock:
        before = engine.stage.next_id
        engine.begin().create(b"dropped")
        draft = engine.begin()
        first = draft.create(b"a").id
        assert draft.create(b"b").id == first + 1
        draft.commit()
        assert (first, engine.stage.next_id) == (before, before + 2)
        refused = engine.begin()
        refused.append(refused.create(b"c"), [b"f", b"x"])
        refused._size = engine.options.group_bytes
        with pytest.raises(TooLargeError):
            refused.commit()
        assert engine.stage.next_id == before + 2
    engine.flush()
