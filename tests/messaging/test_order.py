"""What a transaction makes comes to every reader in the order in which it was made.

A Hypothesis state machine of transactions that send, edit, set, describe, join and leave in two
conversations, whose diffusion switches at four members, back and forth within one transaction as
well. Devices read an entry or a few at a time, so that their cursors stand in the middle of commits
while diffusion switches, messages are trimmed, conversations go, everything is sealed, or the
process is killed.
"""

from __future__ import annotations

import shutil
from array import array
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

import timeline
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    other_log,
    scratch_directory,
    small_steps,
    with_payloads,
)
from timeline.commit.draft import Draft
from timeline.fanout import ORDINAL
from timeline.formats.entries import decode_items, encode_entry
from timeline.formats.records import DELIVER, NOTIFY, Operation, Record, decode_target
from timeline.messaging.conversations import bulk, lifecycle, sending, userstate
from timeline.options import Options

USERS = [b"ann", b"bob", b"cat", b"dan", b"eve"]
NAMES = [b"one", b"two"]
LIMIT = 3

# What a transaction does: the verb, where, who, and a number for verbs that need one.
verbs = st.tuples(
    st.sampled_from(["send"] * 4 + ["edit", "settle", "describe"] + ["join", "leave"] * 3),
    st.sampled_from(NAMES),
    st.sampled_from(USERS),
    st.integers(0, 50),
)


class Place:
    """A conversation: its members, how many messages were sent, how many of them are gone."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.members: set[bytes] = set()
        self.head = 0
        self.first = 1
        self.gone = False
        self.events = 1
        self.changes: list[tuple[int, str, int]] = []  # events that are told who comes back, and
        self.left: dict[bytes, tuple[int, int]] = {}  # the head and the event of their leave

    def note(self, kind: str, seq: int = 0) -> None:
        self.events += 1
        if kind in ("edit", "meta"):
            self.changes.append((self.events, kind, seq))


class Left(NamedTuple):
    """Where the messages and the events were when somebody left, and when they came back."""

    head: int
    head_then: int
    event: int
    event_then: int


@dataclass
class Told:
    kind: str
    place: Place
    seq: int

    @property
    def still(self) -> bool:
        if self.place.gone:
            return self.kind == "delete"
        return self.kind not in ("message", "edit") or self.seq >= self.place.first


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(Clock().installed())
        self.stack.enter_context(small_steps())
        self.directory = scratch_directory()
        self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.options: Options = replace(SMALL, fsync="inline", diffusion_limit=LIMIT)
        self.generation = 0
        self.told: dict[bytes, list[Told]] = {user: [] for user in USERS}
        self.passed = dict.fromkeys(USERS, 0)
        self.places: dict[bytes, Place] = {}
        self.changes = 0
        self.back: list[tuple[bytes, Place, Left]] = []  # who came back in this transaction
        self.open()

    def open(self) -> None:
        self.db = timeline.open(self.directory / str(self.generation), self.options)
        self.im = self.db.messaging

    def teardown(self) -> None:
        with self.stack:  # also after a failure: the tests behind it need their own clock
            self.stack.callback(abandon, self.db)
            for user in USERS:
                self.look(user, 10_000)

    def tell(self, users: set[bytes], kind: str, place: Place, seq: int = 0) -> None:
        for user in users:
            self.told[user].append(Told(kind, place, seq))

    @initialize()
    def begin(self) -> None:
        for user in USERS:
            self.im.set_user_meta(user, {"name": user})
        self.cursors = {user: self.im.conversations(user).position for user in USERS}
        for name, members in zip(NAMES, (USERS[:4], USERS[:2]), strict=True):
            self.create(name, members)

    def create(self, name: bytes, members: list[bytes]) -> None:
        self.im.create(name, members=members, history="all")
        place = self.places[name] = Place(name)
        place.members.update(members)
        self.tell(place.members, "join", place)

    @rule(parts=st.lists(verbs, min_size=1, max_size=8))
    def transact(self, parts: list[tuple[str, bytes, bytes, int]]) -> None:
        engine = self.db.engine
        with engine.lock:
            draft = engine.begin()
            for verb, name, user, number in parts:
                getattr(self, verb)(draft, self.places[name], user, number)
            draft.commit()
        self.db.flush()
        self.tell_again()

    def tell_again(self) -> None:
        """Users who came back are told what they missed when all else of the transaction is told:
        the messages, then the events. For those who left once more that ends where they left.
        """
        for user, place, left in self.back:
            stays = user in place.members
            head, event = (place.head, place.events) if stays else place.left[user]
            if left.head < left.head_then:
                for seq in range(left.head + 1, head + 1):
                    self.tell({user}, "message", place, seq)
            for number, kind, seq in place.changes if left.event < left.event_then else ():
                if left.event < number <= event:
                    self.tell({user}, kind, place, seq)
        self.back.clear()

    # --- verbs --------------------------------------------------------------------------------

    def send(self, draft: Draft, place: Place, user: bytes, number: int) -> None:
        if user in place.members:
            sending.send(
                draft,
                place.name,
                user,
                [b"text", b"@ordinal %d" % number],  # which is no place in a commit
                keys=self.im.messages.keys,
                options=self.options,
            )
            place.head += 1
            self.tell(place.members, "message", place, place.head)

    def edit(self, draft: Draft, place: Place, _user: bytes, number: int) -> None:
        if place.head >= place.first:
            seq = place.first + number % (place.head - place.first + 1)
            sending.edit(draft, place.name, seq, b"-", [b"text", b"new"], self.options)
            place.note("edit", seq)
            self.tell(place.members, "edit", place, seq)

    def settle(self, draft: Draft, place: Place, user: bytes, number: int) -> None:
        if user in place.members:
            userstate.set_fields(draft, user, place.name, [b"nick", b"%d" % number])
            self.tell({user}, "set", place)

    def describe(self, draft: Draft, place: Place, _user: bytes, _number: int) -> None:
        self.changes += 1
        lifecycle.set_metadata(draft, place.name, b"-", [b"title", b"%d" % self.changes])
        place.note("meta")
        self.tell(place.members, "meta", place)

    def join(self, draft: Draft, place: Place, user: bytes, _number: int) -> None:
        if user not in place.members:
            bulk.join(place.name, b"-", [user], self.options).step(draft)
            place.members.add(user)
            if user in place.left:
                head, event = place.left[user]
                self.back.append((user, place, Left(head, place.head, event, place.events)))
            place.note("join")
            self.tell({user}, "join", place)

    def leave(self, draft: Draft, place: Place, user: bytes, _number: int) -> None:
        if user in place.members:
            bulk.leave(place.name, b"-", [user], self.options).step(draft)
            place.members.remove(user)
            place.note("leave")
            place.left[user] = (place.head, place.events)
            self.tell({user}, "leave", place)

    # --- between transactions -----------------------------------------------------------------

    @rule(user=st.sampled_from(USERS), count=st.integers(1, 6))
    def look(self, user: bytes, count: int) -> None:
        """Others' coming and going is told to all or to some, and is left out."""
        found: list[tuple[str, str, int]] = []
        expected: list[Told] = []
        at, told = self.passed[user], self.told[user]
        while at < len(told) and len(expected) < count:
            expected += [told[at]] if told[at].still else []
            at += 1
        while True:
            if len(found) == len(expected) and expected and at < len(told):
                break
            page = self.im.sync(user, "phone", after=self.cursors[user], limit=1)
            assert not page.resync
            self.cursors[user] = page.cursor
            for entry in page.entries:
                mine = entry.kind not in ("join", "leave") or (b"@user", user) in list(entry.fields)
                found += [(entry.kind, entry.conversation, entry.seq)] if mine else []
            if not page.more:
                break
        wanted = [(each.kind, each.place.name.decode(), each.seq) for each in expected]
        assert found == wanted
        self.passed[user] = at

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 3))
    def trim(self, name: bytes, count: int) -> None:
        place = self.places[name]
        place.first = min(place.first + count, place.head + 1)
        engine = self.db.engine
        with engine.lock:
            draft = engine.begin()
            messages = draft.find(b"@conv:" + name)
            assert messages is not None
            draft.trim(messages, place.first)
            draft.commit()
        self.db.flush()

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 5))
    def delete_and_make_anew(self, name: bytes, count: int) -> None:
        self.im.delete(name)
        place = self.places[name]
        place.gone = True
        self.tell(place.members | place.left.keys(), "delete", place)
        self.create(name, USERS[:count])

    @rule()
    def seal(self) -> None:
        self.db.compact()

    @rule()
    def kill(self) -> None:
        self.generation += 1
        copy_as_killed(self.db, self.directory / str(self.generation))
        abandon(self.db)
        self.open()


def test_every_reader_is_told_in_the_order_of_making(model_examples: int) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=model_examples,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_who_came_back_and_left_in_one_commit_hears_nothing_after_that() -> None:
    machine = Machine()
    machine.begin()
    machine.transact(parts=[("leave", b"two", b"bob", 0)])
    machine.transact(parts=[("join", b"two", b"cat", 0)])
    machine.transact(
        parts=[
            ("join", b"two", b"bob", 0),
            ("leave", b"two", b"bob", 0),
            ("describe", b"two", b"ann", 0),
        ]
    )
    machine.teardown()  # which reads everything


def without_ordinals(record: Record) -> Record:
    """As the first stores wrote it."""

    def older(operation: Operation) -> Operation:
        if operation.kind not in (DELIVER, NOTIFY):
            return operation
        to = decode_target(operation.body)
        body = Struct("<QB").pack(to.timeline_id, to.kind) + array("Q", to.inboxes).tobytes()
        return operation._replace(body=body)

    payloads = []
    for seq, payload in zip(record.appends.seqs, record.payloads, strict=True):
        items = decode_items(payload)
        fields = zip(items[::2], items[1::2], strict=True)
        kept = [item for field in fields if field[0] != ORDINAL for item in field]
        payloads.append(encode_entry(seq, kept))
    return with_payloads(
        record._replace(operations=[older(each) for each in record.operations]), payloads
    )


def test_a_commit_that_kept_no_ordinals_is_read_to_its_end(tmp_path: Path) -> None:
    """What was delivered comes first, then what is come for."""
    options = Options(fsync="inline", diffusion_limit=LIMIT)
    with timeline.open(tmp_path / "store", options) as db, other_log(without_ordinals):
        im = db.messaging
        im.create("one", members=USERS)
        im.create("two", members=USERS[:2])
        start = im.conversations("ann").position
        with db.engine.lock:
            draft = db.engine.begin()
            for name in (b"one", b"two", b"one", b"two"):
                sending.send(
                    draft,
                    name,
                    b"ann",
                    [b"text", b"hi"],
                    keys=im.messages.keys,
                    options=db.engine.options,
                )
                userstate.set_fields(draft, b"ann", name, [b"@pin", b"1"])
            draft.commit()
        db.flush()
        copy_as_killed(db, tmp_path / "older")
    with timeline.open(tmp_path / "older", options) as db:
        im = db.messaging
        whole = im.sync("ann", "phone", after=start).entries
        assert [(each.kind, each.conversation, each.seq) for each in whole] == [
            ("set", "one", 0), ("message", "two", 1), ("set", "two", 0),
            ("set", "one", 0), ("message", "two", 2), ("set", "two", 0),
            ("message", "one", 1), ("message", "one", 2),
        ]  # fmt: skip
        one_by_one = []
        cursor = start
        for _ in whole:
            page = im.sync("ann", "phone", after=cursor, limit=1)
            one_by_one += page.entries
            cursor = page.cursor
        assert one_by_one == whole
        assert not im.sync("ann", "phone", after=cursor).entries
