"""A store and its oracle, driven together through a fixed scenario.

Responsibility: do one step on both sides, remember what the store must hold after every commit,
and say whether another opening of the directory holds exactly that.

Rule: a step that raises changes the oracle only if the commit turns out to stand (`settle`).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

import timeline
from tests.engine.oracle import Items, Oracle, Pending
from tests.engine.stores import Clock
from timeline.embedded.database import Database
from timeline.errors import NotFoundError
from timeline.formats.numbers import NO_LSN, TimelineId
from timeline.formats.rows import INBOX
from timeline.options import Options

USERS = [b"@user:0", b"@user:1", b"@user:2"]
AUDIENCE: Final = TimelineId(7)

Step = tuple[Any, ...]  # the name of a method of Twin, then its arguments
Picture = tuple[dict[bytes, Any], dict[int, list[tuple[int, int, int, int]]]]


def plain(entries: Sequence[timeline.Entry]) -> list[tuple[int, int, Items]]:
    """Entries as (seq, time, items), as the oracle keeps them."""
    return [
        (entry.seq, entry.time, tuple(part for pair in entry.fields for part in pair))
        for entry in entries
    ]


def picture_of(db: Database, inbox_ids: Sequence[int]) -> Picture:
    """All that can be read of a store: timelines forward and backward, and in-boxes."""
    timelines = {}
    for name in db.timelines():
        handle = db.timeline(name)
        entries = plain(list(handle.range()))
        assert plain(list(handle.range(reverse=True))) == entries[::-1]
        timelines[name] = (*handle.extent()[:4], entries)
    inboxes: dict[int, list[tuple[int, int, int, int]]] = {}
    with db.engine.lock:
        for inbox_id in inbox_ids:
            found = db.engine.inboxes.read(inbox_id, NO_LSN, -1, 10**6)
            inboxes[inbox_id] = [reference[:4] for reference, _ in found]
    return timelines, inboxes


class Twin:
    def __init__(self, path: Path, options: Options, clock: Clock) -> None:
        self.path = path
        self.options = options
        self.clock = clock
        self.oracle = Oracle()
        self.users: list[int] = []
        self.pictures: dict[int, Picture] = {}
        self.uncertain: Pending | None = None
        self.consumers: dict[bytes, int] = {}  # of the log, and what each has reached
        self.moving: tuple[bytes, int | None] | None = None  # one that is being moved
        self.db = timeline.open(path, options)
        self._remember()

    def do(self, step: Step) -> None:
        """One step on both sides; raises what the store raises."""
        self.clock.now += 7
        pending = self.uncertain = self.oracle.begin(self.clock.now)
        getattr(self, step[0])(pending, *step[1:])
        self.uncertain = None
        self._accept(pending)
        assert self.db.engine.applied == self.oracle.lsn, step

    def settle(self) -> None:
        """After a failed step: see whether its commit stands, and believe it."""
        pending, self.uncertain = self.uncertain, None
        applied = self.db.engine.applied
        consumers = self.db.log.checkpoints()
        assert consumers in self.possible_consumers()
        self.consumers, self.moving = consumers, None
        if pending is not None and applied == pending.lsn and pending.changed:
            self._accept(pending)
        assert applied == self.oracle.lsn, "a commit was lost, or came back"

    def expected(self) -> Picture:
        return self.pictures[self.oracle.lsn]

    def possible_consumers(self) -> list[dict[bytes, int]]:
        """What the store may say of its consumers: whether one that is being moved was, is open."""
        if self.moving is None:
            return [dict(self.consumers)]
        return [dict(self.consumers), moved(self.consumers, *self.moving)]

    def check(self) -> None:
        assert picture_of(self.db, self.users) == self.expected()
        assert self.db.log.checkpoints() in self.possible_consumers()

    def _accept(self, pending: Pending) -> None:
        for name, kept in pending.timelines.items():
            if kept.id is None:
                found = self.db.engine.view.find(name)
                assert found is not None
                kept.id = found.id
                assert kept.id not in self.oracle.ids, "an id was given out twice"
                self.oracle.ids.add(kept.id)
        pending.accept()
        self._remember()

    def _remember(self) -> None:
        timelines = {
            name: (kept.first, kept.head, len(kept.entries), kept.created, kept.range())
            for name, kept in self.oracle.timelines.items()
        }
        inboxes = {
            user: list(self.oracle.inboxes[user].references) if user in self.oracle.inboxes else []
            for user in self.users
        }
        self.pictures[self.oracle.lsn] = (timelines, inboxes)

    # --- steps --------------------------------------------------------------------------------

    def append(self, pending: Pending, name: bytes, value: bytes, seq: int | None = None) -> None:
        expected = pending.append(name, (b"v", value), seq)
        assert self.db.timeline(name).append({b"v": value}, seq=seq) == expected

    def append_many(self, pending: Pending, name: bytes, values: Sequence[bytes]) -> None:
        expected = [pending.append(name, (b"v", value)) for value in values]
        found = self.db.timeline(name).append_many([{b"v": value} for value in values])
        assert list(found) == expected

    def replace(self, pending: Pending, name: bytes, seq: int, value: bytes) -> None:
        handle = self.db.timeline(name)
        if pending.replace(name, seq, (b"v", value)):
            handle.replace(seq, {b"v": value})
        else:  # what it should replace was refused in a step before
            with pytest.raises(NotFoundError):
                handle.replace(seq, {b"v": value})

    def delete(self, pending: Pending, name: bytes, *seqs: int) -> None:
        expected = pending.delete(name, seqs)
        assert self.db.timeline(name).delete(*seqs) == expected

    def trim(self, pending: Pending, name: bytes, before: int) -> None:
        expected = pending.trim(name, before)
        assert self.db.timeline(name).trim(before=before) == expected

    def drop(self, pending: Pending, name: bytes) -> None:
        expected = pending.drop(name)
        assert self.db.timeline(name).drop() == expected

    def both(self, pending: Pending, one: bytes, other: bytes, value: bytes) -> None:
        """A transaction over two timelines that also deletes and trims."""
        pending.append(one, (b"v", value))
        pending.append(other, (b"w", value))
        seq = pending.timelines[one].head
        pending.delete(one, (seq - 1,))
        pending.trim(other, pending.timelines[other].head - 3)
        with self.db.transaction() as write:
            write.append(one, {b"v": value})
            write.append(other, {b"w": value})
            write.delete(one, seq - 1)
            write.trim(other, before=pending.timelines[other].head - 3)

    def make_users(self, pending: Pending) -> None:
        with self.db.engine.lock:
            draft = self.db.engine.begin()
            users: list[int] = [draft.create(name, INBOX).id for name in USERS]
            draft.join(AUDIENCE, users[:2])
            pending.join(AUDIENCE, users[:2])
            draft.commit()
        self.users = users
        self.db.flush()
        self.oracle.ids.update(users)

    def send(self, pending: Pending, name: bytes, value: bytes) -> None:
        """A message: the entry, a reference for each member, a mention for all users."""
        seq = pending.append(name, (b"text", value))
        assert seq is not None
        with self.db.engine.lock:
            draft = self.db.engine.begin()
            found = draft.find_or_create(name)
            kept = pending.timelines[name]
            kept.id = found.id
            assert draft.append(found, [b"text", value]) == seq
            draft.deliver(AUDIENCE, found, seq, 0)
            pending.deliver(AUDIENCE, kept, seq, 0)
            draft.notify(self.users, found, seq, 1)
            pending.notify(self.users, kept, seq, 1)
            group = draft.commit().group
        self.db.engine.wait(group)
        self.oracle.ids.add(found.id)

    def join(self, pending: Pending, user: int) -> None:
        self._change_members(pending, "join", user)

    def leave(self, pending: Pending, user: int) -> None:
        self._change_members(pending, "leave", user)

    def _change_members(self, pending: Pending, verb: str, user: int) -> None:
        chosen = [self.users[user]]
        expected = getattr(pending, verb)(AUDIENCE, chosen)
        with self.db.engine.lock:
            draft = self.db.engine.begin()
            assert getattr(draft, verb)(AUDIENCE, chosen) == expected
            draft.commit()
        self.db.flush()

    def move(self, _: Pending, name: bytes, behind: int | None) -> None:
        """Move a consumer to `behind` commits below the last; with None forget it."""
        lsn = None if behind is None else max(0, self.oracle.lsn - behind)
        self.moving = name, lsn
        self.db.log.move(name, lsn)
        self.consumers, self.moving = moved(self.consumers, name, lsn), None

    def seal(self, _: Pending) -> None:
        self.db.engine.seal()

    def seal_a_little(self, _: Pending, slices: int) -> None:
        engine = self.db.engine
        with engine.standing_still():
            if not engine.store.sealing.under_way:
                engine.store.begin_pass()
            for _slice in range(slices):
                engine.store.sealing.slice()

    def compact(self, _: Pending) -> None:
        self.db.compact()

    def work(self, _: Pending) -> None:
        for _slice in range(50):
            if not self.db.engine.work():
                break

    def erase(self, _: Pending) -> None:
        """Work until the log has let go of what patches replaced."""
        pause = threading.Event()
        began = False
        for _try in range(2_000):
            self.db.engine.work()
            wanted = bool(self.db.engine.store.erasure.log)
            if began and not wanted:
                return
            began |= wanted
            pause.wait(0.001)
        pytest.fail("the log was not let go")


def moved(consumers: dict[bytes, int], name: bytes, lsn: int | None) -> dict[bytes, int]:
    others = {each: reached for each, reached in consumers.items() if each != name}
    return others if lsn is None else {**others, name: lsn}


def with_moves(steps: Sequence[Step], seed: int) -> list[Step]:
    """The same steps, and consumers of the log that are made, moved and forgotten between them."""
    draw = random.Random(seed)
    found = [*steps[:1]]
    for step in steps[1:]:
        found.append(step)
        while draw.random() < 0.4:
            found.append(("move", draw.choice((b"r", b"s")), draw.choice((0, 0, 1, 5, None))))
    return found


def scenario(length: int, seed: int) -> list[Step]:
    """Steps of every kind, the same for the same seed; each has an effect."""
    draw = random.Random(seed)
    heads: dict[bytes, int] = {}
    names = [b"a", b"b", b"c", b"d"]
    steps: list[Step] = [("make_users",)]

    def grow(name: bytes, by: int = 1) -> int:
        heads[name] = heads.get(name, 0) + by
        return heads[name]

    def value() -> bytes:
        return draw.randbytes(draw.choice((0, 5, 40, 200)))

    def send() -> Step:
        name = draw.choice(names)
        grow(name)
        return ("send", name, value())

    def many() -> Step:
        name, count = draw.choice(names), draw.randint(2, 9)
        grow(name, count)
        return ("append_many", name, [value() for _ in range(count)])

    def at() -> Step:
        name = draw.choice(names)
        return ("append", name, value(), grow(name, draw.randint(2, 5)))

    def both() -> Step:
        one, other = draw.sample(names, 2)
        grow(one)
        grow(other)
        return ("both", one, other, value())

    def replace() -> Step:
        # The newest entry is never deleted here before it is replaced.
        name = draw.choice(names)
        seq = grow(name)
        steps.append(("append", name, value()))
        if draw.random() < 0.5:
            steps.append(("seal_a_little", draw.randint(1, 5)))
        return ("replace", name, seq, value())

    def delete() -> Step:
        name = draw.choice(names)
        head = heads.get(name, 0)
        return ("delete", name, *range(max(1, head - draw.randint(0, 4)), head + 1))

    def trim() -> Step:
        name = draw.choice(names)
        return ("trim", name, max(1, heads.get(name, 0) - draw.randint(0, 5)))

    def drop() -> Step:
        return ("drop", draw.choice(names))  # its numbers go on

    makers: list[tuple[int, Callable[[], Step]]] = [
        (6, send),
        (5, many),
        (2, at),
        (4, both),
        (3, replace),
        (3, delete),
        (3, trim),
        (1, drop),
        (1, lambda: ("join", draw.randrange(len(USERS)))),
        (1, lambda: ("leave", draw.randrange(len(USERS)))),
        (4, lambda: ("seal_a_little", draw.randint(1, 6))),
        (1, lambda: ("seal",)),
        (2, lambda: ("compact",)),
        (2, lambda: ("work",)),
    ]
    weights, functions = zip(*makers, strict=True)
    while len(steps) < length:
        steps.append(draw.choices(functions, weights)[0]())
    return steps
