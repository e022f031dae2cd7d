"""What users do in the model: rules that change a store and a plain oracle alike.

Rule: nothing is checked here but what a call itself answers. `test_model` adds the devices, and
what is asked of both.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import timeline
from tests.engine.stores import SMALL, Clock, abandon, scratch_directory, small_steps
from tests.messaging.oracle import Conversation, Oracle, Sent
from tests.messaging.phone import Phone
from timeline.errors import NotFoundError
from timeline.messaging.conversations import membership
from timeline.messaging.conversations.retention import tell_trimmed

USERS = ["ann", "bob", "cat", "dan", "eve"]
DEVICES = ["phone", "desk"]
NAMES = ["one", "two", "three"]
LIMIT = 3

users = st.sampled_from(USERS)
some_users = st.lists(users, min_size=1, max_size=4, unique=True)
devices = st.sampled_from(DEVICES)
names = st.sampled_from(NAMES)
texts = st.sampled_from(["hi", "已添加为好友", "", "x" * 300])
places = st.integers(0, 12)


class Acting(RuleBasedStateMachine):
    """A store and an oracle, to which the same is done."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = self.stack.enter_context(Clock().installed())
        self.stack.enter_context(small_steps())
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(membership, "_PULLED_STRETCHES", 1_000)
        self.directory = scratch_directory()
        self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.options = replace(SMALL, fsync="inline", diffusion_limit=LIMIT)
        self.generation = 0
        self.oracle = Oracle(LIMIT)
        self.acked: dict[tuple[str, str], int] = {}
        self.phones: dict[tuple[str, str], Phone] = {}
        self.open()
        for user in USERS:
            self.im.set_user_meta(user, {"name": user})
            self.oracle.commit()

    def open(self) -> None:
        self.db = timeline.open(self.directory / str(self.generation), self.options)
        self.im = self.db.messaging

    def teardown(self) -> None:
        abandon(self.db)
        self.stack.close()

    def place(self, name: str) -> Conversation | None:
        return self.oracle.conversations.get(name)

    def somebody(self, name: str, number: int, *roles: str) -> str | None:
        place = self.place(name)
        if place is None:
            return None
        found = [u for u in sorted(place.members) if place.members[u].role in roles]
        return found[number % len(found)] if found else None

    @invariant()
    def commits_are_counted_alike(self) -> None:
        assert self.db.engine.applied == self.oracle.lsn

    # --- conversations ------------------------------------------------------------------------

    @initialize(
        histories=st.lists(st.sampled_from(["join", "all"]), min_size=2, max_size=2),
        members=st.lists(some_users, min_size=2, max_size=2),
    )
    def begin(self, histories: list[str], members: list[list[str]]) -> None:
        for name, history, people in zip(NAMES, histories, members, strict=False):
            self.create(name, history, "-", people)
        self.create(NAMES[2], "join", "-", USERS)  # which is large

    @rule(
        name=names,
        history=st.sampled_from(["join", "all"]),
        actor=st.sampled_from([*USERS, "-"]),
        members=some_users,
    )
    def create(self, name: str, history: str, actor: str, members: list[str]) -> None:
        if self.place(name) is None:
            self.im.create(name, actor, members=members, history=history)
            self.oracle.create(name, "group", history, actor, members)

    @rule(one=users, other=users)
    def meet(self, one: str, other: str) -> None:
        if one == other:
            return
        name = self.im.direct(one, other)
        if self.place(name) is None:
            self.oracle.create(name, "direct", "join", "-", sorted((one, other)))

    @rule(name=names, people=some_users)
    def join(self, name: str, people: list[str]) -> None:
        if self.place(name) is not None:
            assert self.im.join(name, users=people) == self.oracle.join(name, people)

    @rule(name=names, people=some_users)
    def leave(self, name: str, people: list[str]) -> None:
        if self.place(name) is not None:
            assert self.im.leave(name, users=people) == self.oracle.leave(name, people)

    @rule(name=names, number=places, role=st.sampled_from(["admin", "member", "reader"]))
    def give_role(self, name: str, number: int, role: str) -> None:
        user = self.somebody(name, number, "admin", "member", "reader")
        if user is not None:
            self.im.set_role(name, user=user, role=role)
            self.oracle.set_role(name, user, role)

    @rule(name=names, value=texts)
    def describe(self, name: str, value: str) -> None:
        place = self.place(name)
        if place is not None:
            before = self.im.info(name).meta
            merged = self.im.set_meta(name, fields={"title": value})
            if merged != before:
                self.oracle.describe(name, value)

    @rule(name=names)
    @precondition(lambda self: self.oracle.lsn % 5 == 0)
    def delete(self, name: str) -> None:
        place = self.place(name)
        if place is not None:
            self.im.delete(name)
            self.oracle.commit()
            people = list(place.members)
            del self.oracle.conversations[name]
            self.oracle.deleted(name)
            self.oracle.tell(people, "delete", name, 0)

    # --- messages -----------------------------------------------------------------------------

    # What matters most is drawn more often: this, and `look_at_all`.
    @rule(name=names, number=places, text=texts)
    def send_plainly(self, name: str, number: int, text: str) -> None:
        sender = self.somebody(name, number, "admin", "member")
        if sender is not None:
            seq = self.oracle.send(name, Sent(0, sender, text))
            assert self.im.send(name, sender, {"text": text}).seq == seq

    @rule(
        name=names,
        number=places,
        text=texts,
        mentions=st.lists(users, max_size=2, unique=True),
        mention_all=st.booleans(),
        silent=st.booleans(),
    )
    def send(
        self,
        name: str,
        number: int,
        text: str,
        mentions: list[str],
        mention_all: bool,
        silent: bool,
    ) -> None:
        sender = self.somebody(name, number, "admin", "member")
        if sender is not None:
            sent = Sent(0, sender, text, tuple(mentions), mention_all, silent)
            seq = self.oracle.send(name, sent)
            found = self.im.send(
                name,
                sender,
                {"text": text},
                mentions=mentions,
                mention_all=mention_all,
                silent=silent,
            )
            assert (found.seq, found.status) == (seq, "stored")

    @rule(number=places, text=texts)
    def send_directly(self, number: int, text: str) -> None:
        direct = [name for name in sorted(self.oracle.conversations) if name not in NAMES]
        if direct:
            name = direct[number % len(direct)]
            sender = sorted(self.oracle.conversations[name].members)[number % 2]
            seq = self.oracle.send(name, Sent(0, sender, text))
            assert self.im.send(name, sender, {"text": text}).seq == seq

    @rule(
        name=names,
        number=places,
        text=texts,
        mentions=st.lists(users, max_size=2, unique=True),
        mention_all=st.booleans(),
    )
    def edit(
        self, name: str, number: int, text: str, mentions: list[str], mention_all: bool
    ) -> None:
        place = self.place(name)
        if place is None or not place.messages:
            return
        seq = sorted(place.messages)[number % len(place.messages)]
        sent = place.messages[seq]
        if sent.recalled is not None:
            with pytest.raises(NotFoundError):
                self.im.edit(name, seq, fields={"text": text})
            return
        fields = {"text": text}
        self.im.edit(name, seq, fields=fields, mentions=mentions, mention_all=mention_all)
        self.oracle.edit(name, seq, text, tuple(mentions), mention_all)

    @rule(name=names, number=places)
    def recall(self, name: str, number: int) -> None:
        place = self.place(name)
        if place is None or not place.messages:
            return
        seq = sorted(place.messages)[number % len(place.messages)]
        self.im.recall(name, seq)
        self.oracle.recall(name, seq)

    @rule(name=names, number=places)
    def trim(self, name: str, number: int) -> None:
        """What retention does to a conversation."""
        place = self.place(name)
        if place is None or place.first + number % 4 > place.head + 1:
            return
        first = place.first + number % 4
        if first == place.first:
            return
        engine = self.db.engine
        with engine.lock:
            draft = engine.begin()
            timeline_ = draft.find(b"@conv:" + name.encode())
            assert timeline_ is not None
            draft.trim(timeline_, first)
            tell_trimmed(draft, timeline_)
            group = draft.commit().group
        engine.wait(group)
        self.oracle.trim(name, first)

    # --- one's own ----------------------------------------------------------------------------

    def mine(self, user: str, number: int) -> Conversation | None:
        found = [
            place
            for name, place in sorted(self.oracle.conversations.items())
            if user in place.members
        ]
        return found[number % len(found)] if found else None

    @rule(user=users, which=places, number=places)
    def read(self, user: str, which: int, number: int) -> None:
        place = self.mine(user, which)
        if place is None:
            return
        seq = min(number, place.head_seen(user))
        member = place.members[user]
        moved = seq > member.read
        member.read = max(member.read, seq)
        assert self.im.read(user, place.name, number) == member.read
        if moved:
            self.oracle.commit()
            self.oracle.tell([user], "read", place.name, seq)
            if place.kind == "direct":
                peers = [each for each in place.members if each != user]
                self.oracle.tell(peers, "receipt", place.name, seq)

    @rule(user=users, which=places, numbers=st.lists(places, min_size=1, max_size=3))
    def hide(self, user: str, which: int, numbers: list[int]) -> None:
        place = self.mine(user, which)
        if place is None:
            return
        could = [seq for seq in sorted(place.messages) if place.reaches(user, seq)]
        if not could:
            return
        seqs = list(dict.fromkeys(could[number % len(could)] for number in numbers))
        fresh = [seq for seq in seqs if seq not in place.members[user].hidden]
        assert self.im.hide(user, place.name, *seqs) == len(fresh)
        if fresh:
            place.members[user].hidden.update(fresh)
            self.oracle.commit()
            for seq in fresh:
                self.oracle.tell([user], "hide", place.name, seq)

    @rule(user=users, which=places, number=places)
    def clear(self, user: str, which: int, number: int) -> None:
        place = self.mine(user, which)
        if place is None:
            return
        seq = min(number, place.head_seen(user))
        self.im.clear(user, place.name, number)
        if seq > place.members[user].cleared:
            place.members[user].cleared = seq
            self.oracle.commit()
            self.oracle.tell([user], "clear", place.name, seq)

    @rule(
        user=users,
        which=places,
        field=st.sampled_from(["@pin", "@mute", "@listed"]),
        value=st.booleans(),
    )
    def set(self, user: str, which: int, field: str, value: bool) -> None:
        place = self.mine(user, which)
        if place is None:
            return
        self.im.set(user, place.name, {field: "1" if value else "0"})
        member = place.members[user]
        if field == "@pin":
            member.pinned = value
        elif field == "@mute":
            member.muted = value
        else:
            member.unlisted = None if value else place.head
        self.oracle.commit()
        self.oracle.tell([user], "set", place.name, 0)
