"""The engine against a plain-Python oracle: any operations, in any order, give the same answers.

A Hypothesis state machine: every rule does one thing to the store and to the oracle. Sealing,
compaction, a clean restart and a kill are rules like any other, and change no answer. Bounds are
so small that memtable, segments, caches, slices and pages all overflow within a few steps.

A failure prints the steps and a `@reproduce_failure` line; `--model-examples N` looks longer.
"""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import timeline
from tests.engine.oracle import Change, Items, Kept, Oracle, Pending
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    scratch_directory,
    small_steps,
)
from tests.engine.twin import plain
from timeline.engine.upkeep.retention import RetentionKeeper
from timeline.errors import NotFoundError, SequenceError, TrimmedError
from timeline.formats.numbers import Lsn, TimelineId
from timeline.formats.rows import INBOX

NAMES = [b"a", b"b", b"ba", b"c", b"\xff\xff", b"d", b"e"]
USERS = [b"@user:0", b"@user:1", b"@user:2", b"@user:3", b"@user:4"]
AUDIENCES = [1, 2, 3]
FOLLOWER = b"the test"

names = st.sampled_from(NAMES)
values = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"", b"\r\n", b"*2\r\n$3\r\n", b"x" * 90, b"y" * 700]),
)
fields = st.lists(values, min_size=1, max_size=3).map(
    lambda found: tuple(part for value in found for part in (value[:20], value))
)
places = st.integers(-3, 40)  # a number as a distance from the first one
gaps = st.sampled_from([1, 1, 2, 3, 70, 2**33])
inboxes = st.lists(st.integers(0, len(USERS) - 1), min_size=1, max_size=4, unique=True)

# (kind, timeline, argument, fields) of one part of a transaction
steps = st.tuples(
    st.sampled_from(["append", "append", "append", "at", "delete", "trim", "drop"]),
    names,
    places,
    fields,
)
# (kind, audience, timeline, in-boxes, number) of one part of a commit to in-boxes
sendings = st.tuples(
    st.sampled_from(["send", "send", "send", "join", "join", "leave", "deliver", "notify"]),
    st.sampled_from(AUDIENCES),
    names,
    inboxes,
    st.integers(0, 9),
)


def pairs(items: Items) -> list[tuple[bytes, bytes]]:
    return list(zip(items[::2], items[1::2], strict=True))


class AbortedError(Exception):
    """Raised inside a transaction that is to leave nothing."""


class Machine(RuleBasedStateMachine):
    fsync: ClassVar[Any] = "inline"
    durability: ClassVar[Any] = "sync"

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = self.stack.enter_context(Clock().installed())
        self.stack.enter_context(small_steps())
        # Retention runs when its rule says so, not by itself after every opening.
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        self.trim_next = RetentionKeeper.trim_next
        patch.setattr(RetentionKeeper, "trim_next", lambda *_: False)
        self.directory = scratch_directory()
        self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.options = replace(SMALL, fsync=self.fsync, durability=self.durability)
        self.generation = 0
        self.oracle = Oracle()
        self.checkpoint = 0
        self.users: list[int] = []
        self.open()

    def open(self) -> None:
        path = self.directory / str(self.generation)
        self.db = timeline.open(path, self.options)
        self.engine = self.db.engine

    def teardown(self) -> None:
        abandon(self.db)
        self.stack.close()

    # --- both sides ---------------------------------------------------------------------------

    def begin(self) -> Pending:
        return self.oracle.begin(self.clock.now)

    def accept(self, pending: Pending) -> None:
        for name, kept in pending.timelines.items():
            if kept.id is None:
                found = self.engine.view.find(name)
                assert found is not None, f"{name!r} is missing"
                kept.id = found.id
                assert kept.id not in self.oracle.ids, "an id was given out twice"
                self.oracle.ids.add(kept.id)
        pending.accept()
        assert self.engine.applied == self.oracle.lsn

    def seq(self, name: bytes, place: int) -> int:
        kept = self.oracle.timelines.get(name)
        return max(0, place + (kept.first if kept else 1))

    @initialize()
    def make_inboxes(self) -> None:
        self.db.log.move(FOLLOWER, 0)
        with self.engine.lock:
            draft = self.engine.begin()
            self.users = [draft.create(name, INBOX).id for name in USERS]
            draft.commit()
        self.db.flush()
        self.oracle.ids.update(self.users)
        pending = self.begin()
        pending.changed = True
        self.accept(pending)

    # --- writing ------------------------------------------------------------------------------

    @rule(name=names, items=fields)
    def append(self, name: bytes, items: Items) -> None:
        pending = self.begin()
        expected = pending.append(name, items)
        assert self.db.timeline(name).append(pairs(items)) == expected
        self.accept(pending)

    @rule(name=names, items=fields, gap=gaps)
    def append_above_the_head(self, name: bytes, items: Items, gap: int) -> None:
        handle = self.db.timeline(name)
        seq = handle.head + gap
        pending = self.begin()
        assert pending.append(name, items, seq) == seq
        assert handle.append(pairs(items), seq=seq) == seq
        self.accept(pending)

    @rule(name=names, items=fields, gap=st.integers(0, 5))
    def append_below_the_head(self, name: bytes, items: Items, gap: int) -> None:
        handle = self.db.timeline(name)
        with pytest.raises(SequenceError):
            handle.append(pairs(items), seq=max(0, handle.head - gap))
        self.begin()

    @rule(name=names, many=st.lists(fields, min_size=1, max_size=12))
    def append_many(self, name: bytes, many: list[Items]) -> None:
        pending = self.begin()
        expected = [pending.append(name, items) for items in many]
        assert list(self.db.timeline(name).append_many(map(pairs, many))) == expected
        self.accept(pending)

    @rule(several=st.lists(st.tuples(names, fields), min_size=1, max_size=8))
    def append_async(self, several: list[tuple[bytes, Items]]) -> None:
        waiting: list[tuple[Future[int], Pending, int | None]] = []
        with self.engine.lock:
            for name, items in several:
                future = self.db.timeline(name).append_async(pairs(items))
                pending = self.begin()
                expected = pending.append(name, items)
                found = self.engine.stage.find(name)
                assert found is not None
                pending.timelines[name].id = found.id
                self.oracle.ids.add(found.id)
                pending.accept()
                waiting.append((future, pending, expected))
        self.db.flush()
        for future, _, expected in waiting:
            assert future.result(timeout=30) == expected
        assert self.engine.applied == self.oracle.lsn

    @rule(parts=st.lists(steps, min_size=1, max_size=8), abort=st.booleans())
    def transaction(self, parts: list[tuple[str, bytes, int, Items]], abort: bool) -> None:
        pending = self.begin()
        try:
            with self.db.transaction() as write:
                for kind, name, place, items in parts:
                    kept = pending.timelines.get(name)
                    seq = max(0, place + (kept.first if kept else 1))
                    if kind == "append":
                        expected = pending.append(name, items)
                        assert write.append(name, pairs(items)) == expected
                    elif kind == "at":
                        seq = max(place, 1) + (kept.head if kept else 0)
                        assert pending.append(name, items, seq) == seq
                        assert write.append(name, pairs(items), seq=seq) == seq
                    elif kind == "delete":
                        some = (seq, seq + 1, seq + 3)
                        assert write.delete(name, *some) == pending.delete(name, some)
                    elif kind == "trim":
                        assert write.trim(name, before=seq) == pending.trim(name, seq)
                    else:
                        assert write.drop(name) == pending.drop(name)
                if abort:
                    raise AbortedError
        except AbortedError:
            return
        self.accept(pending)

    @rule(name=names, chosen=st.lists(places, min_size=1, max_size=6))
    def delete(self, name: bytes, chosen: list[int]) -> None:
        seqs = [self.seq(name, place) for place in chosen]
        pending = self.begin()
        assert self.db.timeline(name).delete(*seqs) == pending.delete(name, seqs)
        self.accept(pending)

    @rule(name=names, back=st.integers(0, 12))
    def delete_the_newest(self, name: bytes, back: int) -> None:
        head = self.db.timeline(name).head
        seqs = range(max(0, head - back), head + 1)
        pending = self.begin()
        assert self.db.timeline(name).delete(*seqs) == pending.delete(name, seqs)
        self.accept(pending)

    @rule(name=names, place=places, items=fields)
    def replace(self, name: bytes, place: int, items: Items) -> None:
        seq = self.seq(name, place)
        pending = self.begin()
        if pending.replace(name, seq, items):
            self.db.timeline(name).replace(seq, pairs(items))
        else:
            with pytest.raises(NotFoundError):
                self.db.timeline(name).replace(seq, pairs(items))
        self.accept(pending)

    @rule(name=names, place=places)
    def trim_by_number(self, name: bytes, place: int) -> None:
        seq = self.seq(name, place)
        pending = self.begin()
        assert self.db.timeline(name).trim(before=seq) == pending.trim(name, seq)
        self.accept(pending)

    @rule(name=names, length=st.integers(0, 20))
    def trim_by_length(self, name: bytes, length: int) -> None:
        pending = self.begin()
        expected = pending.trim_to_length(name, length)
        assert self.db.timeline(name).trim(length=length) == expected
        self.accept(pending)

    @rule(name=names, age=st.integers(0, 200))
    def trim_by_age(self, name: bytes, age: int) -> None:
        pending = self.begin()
        kept = pending.timelines.get(name)
        since = pending.time - age
        old = [seq for seq, (at, _) in kept.entries.items() if at < since] if kept else []
        assert self.db.timeline(name).trim(age_ms=age) == len(old)
        if kept is not None:
            # Where nothing is left of the old ones, how far the first number moves is the store's.
            assert pending.trim(name, self.db.timeline(name).extent().first) == len(old)
        self.accept(pending)

    @rule(name=names)
    def drop(self, name: bytes) -> None:
        pending = self.begin()
        assert self.db.timeline(name).drop() == pending.drop(name)
        self.accept(pending)

    @rule(name=names, age=st.sampled_from([0, 0, 50]), length=st.sampled_from([0, 3, 9]))
    def set_retention(self, name: bytes, age: int, length: int) -> None:
        age = 0 if length else age
        pending = self.begin()
        pending.retain(name, age, length)
        self.db.timeline(name).set_retention(age_ms=age, length=length)
        self.accept(pending)

    @rule()
    def retain(self) -> None:
        """Retention runs: one commit for every timeline from which something goes."""
        keeper = self.engine.upkeep.retention
        with self.engine.lock:
            more = True
            while more:
                draft = self.engine.begin()
                more = self.trim_next(keeper, draft, ())
                draft.commit()
        self.db.flush()
        for name, kept in sorted(self.oracle.timelines.items(), key=lambda pair: pair[1].id or 0):
            age, length = kept.retention
            pending = self.begin()
            if length:
                removed = pending.trim_to_length(name, length)
            else:
                since = self.clock.now - age if age else 0
                removed = sum(at < since for at, _ in kept.entries.values())
                if removed:
                    first = self.db.timeline(name).extent().first
                    assert pending.trim(name, first) == removed
            if removed:
                pending.accept()
        assert self.engine.applied == self.oracle.lsn

    @rule(commits=st.lists(st.lists(sendings, min_size=1, max_size=5), min_size=1, max_size=4))
    def messages(self, commits: list[list[tuple[str, int, bytes, list[int], int]]]) -> None:
        """Several commits of one group: members come and go, references are delivered."""
        with self.engine.lock:
            for parts in commits:
                pending = self.begin()
                draft = self.engine.begin()
                for kind, audience, name, chosen, number in parts:
                    ids = [self.users[index] for index in chosen]
                    if kind == "join":
                        assert draft.join(audience, ids) == pending.join(audience, ids)
                    elif kind == "leave":
                        assert draft.leave(audience, ids) == pending.leave(audience, ids)
                    else:
                        found = draft.find_or_create(name)
                        kept = pending.find_or_create(name)
                        kept.id = found.id
                        self.oracle.ids.add(found.id)
                        if kind == "send":
                            items = (b"n", b"%d" % number)
                            seq = pending.append(name, items)
                            assert draft.append(found, items) == seq
                            assert seq is not None
                        else:
                            seq = number
                        if kind == "notify":
                            draft.notify(ids, found, seq, number)
                            pending.notify(ids, kept, seq, number)
                        else:
                            draft.deliver(TimelineId(audience), found, seq, number)
                            pending.deliver(audience, kept, seq, number)
                draft.commit()
                pending.accept()
        self.db.flush()
        assert self.engine.applied == self.oracle.lsn

    # --- time, sealing, restarts --------------------------------------------------------------

    @rule(step=st.sampled_from([1, 3, 60, -40]))
    def tick(self, step: int) -> None:
        self.clock.now += step

    @rule()
    def seal(self) -> None:
        self.engine.seal()
        self.check_everything()

    @rule(slices=st.integers(1, 6))
    def seal_a_little(self, slices: int) -> None:
        with self.engine.standing_still():
            sealing = self.engine.store.sealing
            if not sealing.under_way:
                self.engine.store.begin_pass()
            for _ in range(slices):
                sealing.slice()
        self.check_everything()

    @rule()
    def work(self) -> None:
        for _ in range(20):
            if not self.engine.work():
                break
        self.check_everything()

    @rule(name=st.one_of(st.none(), names))
    def compact(self, name: bytes | None) -> None:
        if name is None or name not in self.oracle.timelines:
            self.db.compact()
        else:
            self.db.timeline(name).compact()
        self.check_everything()

    @precondition(lambda self: self.oracle.lsn > self.checkpoint)
    @rule(data=st.data())
    def follow(self, data: st.DataObject) -> None:
        """The follower moves on, so that the log behind it may go."""
        self.checkpoint = data.draw(st.integers(self.checkpoint, self.oracle.lsn))
        self.db.log.move(FOLLOWER, self.checkpoint)
        self.check_log()

    @rule()
    def restart(self) -> None:
        self.db.close()
        self.open()
        self.check_everything()

    @rule()
    def kill(self) -> None:
        self.generation += 1
        copy_as_killed(self.db, self.directory / str(self.generation))
        abandon(self.db)
        self.open()
        self.check_everything()

    # --- reading ------------------------------------------------------------------------------

    @rule(
        name=names,
        ends=st.tuples(places, places),
        span=st.one_of(st.none(), st.tuples(st.integers(-5, 200), st.integers(0, 200))),
        limit=st.one_of(st.none(), st.integers(0, 12)),
        backward=st.booleans(),
    )
    def read(
        self,
        name: bytes,
        ends: tuple[int, int],
        span: tuple[int, int] | None,
        limit: int | None,
        backward: bool,
    ) -> None:
        kept = self.oracle.timelines.get(name, Kept(0))
        first, last = sorted(self.seq(name, place) for place in ends)
        bounds: dict[str, Any] = {"first": first, "last": last}
        if span is not None:
            since = self.oracle.time - span[0]
            bounds |= {"since": since, "until": since + span[1]}
        found = self.db.timeline(name).range(**bounds, limit=limit, reverse=backward)
        assert plain(list(found)) == kept.range(**bounds, limit=limit, reverse=backward)
        with self.engine.lock:
            here = self.engine.view.find(name)
            if here is not None:
                page = self.engine.view.read(here, first, last, limit, reverse=backward)
                expected = kept.range(first, last, limit=limit, reverse=backward)
                assert page.count == len(expected)
                assert page.last == (expected[-1][0] if expected else None)

    @rule(name=names, place=places)
    def get(self, name: bytes, place: int) -> None:
        kept = self.oracle.timelines.get(name, Kept(0))
        seq = self.seq(name, place)
        found = self.db.timeline(name).get(seq)
        assert plain([found] if found else []) == kept.range(seq, seq)

    @rule(user=st.integers(0, len(USERS) - 1), limit=st.integers(1, 4))
    def read_inbox(self, user: int, limit: int) -> None:
        """Page by page from each position: every reference once, in order."""
        self.check_inbox(user, limit)

    @invariant()
    def extents(self) -> None:
        for name in NAMES:
            kept = self.oracle.timelines.get(name)
            extent = self.db.timeline(name).extent()
            if kept is None:
                assert extent[:4] == (0, 0, 0, 0)
            else:
                expected = (kept.first, kept.head, len(kept.entries), kept.created)
                assert extent[:4] == expected, name

    def check_everything(self) -> None:
        assert list(self.db.timelines()) == sorted(self.oracle.timelines)
        for name, kept in self.oracle.timelines.items():
            handle = self.db.timeline(name)
            assert plain(list(handle.range())) == kept.range(), name
            assert plain(list(handle.range(reverse=True))) == kept.range(reverse=True), name
        for user in range(len(self.users)):
            self.check_inbox(user, 1_000)
        self.check_log()

    def check_inbox(self, user: int, limit: int) -> None:
        if not self.users:
            return
        inbox_id = self.users[user]
        expected = (
            self.oracle.inboxes[inbox_id].references if inbox_id in self.oracle.inboxes else []
        )
        found: list[tuple[int, int, int, int]] = []
        lsn, ordinal = 0, -1
        while True:
            with self.engine.lock:
                page = self.engine.inboxes.read(inbox_id, Lsn(lsn), ordinal, limit)
            if not page:
                break
            assert len(page) <= limit
            found += [reference[:4] for reference, _ in page]
            lsn, ordinal = page[-1][0].lsn, page[-1][1]
        assert found == expected

    def check_log(self) -> None:
        for after in {0, self.checkpoint}:
            try:
                found = self.db.log.read(after=after, limit=10**6)
            except TrimmedError:
                assert after < self.checkpoint, "the log was let go above a checkpoint"
                continue
            expected = self.oracle.log[after:]
            assert [(commit.lsn, commit.time) for commit in found] == [
                (commit.lsn, commit.time) for commit in expected
            ]
            for commit, wanted in zip(found, expected, strict=True):
                assert len(commit.changes) == len(wanted.changes)
                for change, target in zip(commit.changes, wanted.changes, strict=True):
                    self.check_change(change, target)

    @staticmethod
    def check_change(change: timeline.Change, wanted: Change) -> None:
        expected = (wanted.kind, wanted.first, wanted.last, wanted.audience)
        assert (change.kind, change.first, change.last, change.audience) == expected
        assert wanted.target.id in (None, change.id)


class ThreadMachine(Machine):
    """The same while the engine's own thread flushes, seals and compacts."""

    fsync = "thread"


class IntervalMachine(Machine):
    durability = "interval"


class IntervalThreadMachine(Machine):
    fsync = "thread"
    durability = "interval"


@pytest.mark.parametrize(
    ("machine", "share"),
    [(Machine, 0.55), (ThreadMachine, 0.25), (IntervalMachine, 0.1), (IntervalThreadMachine, 0.1)],
    ids=["inline", "thread", "interval inline", "interval thread"],
)
@pytest.mark.timeout(0)
def test_any_operations_give_the_answers_of_the_oracle(
    machine: type[Machine], share: float, model_examples: int
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(1, int(model_examples * share)),
            stateful_step_count=60,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
