"""The engine against a plain-Python oracle: any operations, in any order, give the same answers.

A Hypothesis state machine: every rule does one thing to the store and to the oracle. Sealing,
compaction, a clean restart and a kill are rules like any other, and change no answer. Bounds are
so small that memtable, segments, caches, slices and pages all overflow within a few steps.

A failure prints the steps and a `@reproduce_failure` line; `--model-examples N` looks longer.
"""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.engine.compared import AUDIENCES, FOLLOWER, USERS, Compared, names, places
from tests.engine.oracle import Items, Pending
from tests.engine.stores import abandon, copy_as_killed
from timeline.errors import NotFoundError, SequenceError
from timeline.formats.numbers import TimelineId

values = st.one_of(
    st.binary(max_size=12),
    st.sampled_from([b"", b"\r\n", b"*2\r\n$3\r\n", b"x" * 90, b"y" * 700]),
)
fields = st.lists(values, min_size=1, max_size=3).map(
    lambda found: tuple(part for value in found for part in (value[:20], value))
)
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


class Machine(Compared):
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
