"""A store and its oracle side by side: opened together, and compared in all that they answer.

The rules here read. What happens to both is for the machine that is made of this (`test_model`).
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

import timeline
from tests.engine.oracle import Change, Kept, Oracle, Pending
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    scratch_directory,
    small_steps,
)
from tests.engine.twin import plain
from timeline.engine.upkeep.retention import RetentionKeeper
from timeline.errors import TrimmedError
from timeline.formats.numbers import Lsn
from timeline.formats.rows import INBOX

NAMES = [b"a", b"b", b"ba", b"c", b"\xff\xff", b"d", b"e"]
USERS = [b"@user:0", b"@user:1", b"@user:2", b"@user:3", b"@user:4"]
AUDIENCES = [1, 2, 3]
FOLLOWER = b"the test"


names = st.sampled_from(NAMES)
places = st.integers(-3, 40)  # a number as a distance from the first one


class Compared(RuleBasedStateMachine):
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
