"""Conversations and users against a plain oracle: any operations, in any order, same answers.

A Hypothesis state machine of several users with several devices each and a few conversations. The
diffusion limit is three members, so that conversations switch to and fro all the time; bounds are
so small that everything overflows. A restart, a kill and sealing are rules like any other. Every
device, whenever it catches up, is told exactly what the oracle says, in order, and holds by then
what CONV.HISTORY shows, entry by entry; lists, unread and mentions are exact after every step that
asks.

A failure prints the steps and a `@reproduce_failure` line; `--model-examples N` looks longer.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

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
from tests.engine.stores import (
    SMALL,
    Clock,
    abandon,
    copy_as_killed,
    scratch_directory,
    small_steps,
)
from tests.messaging.oracle import Conversation, Oracle, Sent
from timeline.entry import Entry, Fields
from timeline.errors import NotFoundError
from timeline.messaging.access.access import find_user
from timeline.messaging.conversations import membership
from timeline.messaging.conversations.retention import tell_trimmed
from timeline.messaging.lists.summaries import Summaries
from timeline.messaging.lists.userlist import UserList
from timeline.messaging.pages import SyncEntry

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


def lsn_of(cursor: str) -> int:
    _, lsn, ordinal = cursor.split("-")
    assert ordinal == "0", "a page that ends the backlog ends between commits"
    return int(lsn)


class Phone:
    """What a device shows: entries applied by conversation and id, the latest wins."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], Fields] = {}

    def roam(self, name: str, history: list[Entry]) -> None:
        for entry in history:
            self.held[name, entry.seq] = entry.fields

    def apply(self, told: SyncEntry) -> None:
        name, seq = told.conversation, told.seq
        if told.kind in ("message", "edit", "recall"):
            self.held[name, seq] = told.fields
        elif told.kind == "hide":
            self.held.pop((name, seq), None)
        elif told.kind == "clear":
            self.drop(lambda of, number: of == name and number <= seq)
        elif told.kind == "delete":
            self.drop(lambda of, _: of == name)

    def drop(self, gone: Callable[[str, int], bool]) -> None:
        self.held = {key: value for key, value in self.held.items() if not gone(*key)}


class Machine(RuleBasedStateMachine):
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

    # What matters most is drawn more often: a message, and a look by one of those who may see some.
    @rule(name=names, number=places, text=texts)
    def send_plainly(self, name: str, number: int, text: str) -> None:
        sender = self.somebody(name, number, "admin", "member")
        if sender is not None:
            seq = self.oracle.send(name, Sent(0, sender, text))
            assert self.im.send(name, sender, {"text": text}).seq == seq

    @rule(name=names)
    def look_at_all(self, name: str) -> None:
        place = self.place(name)
        for user in place.members if place else ():
            assert place is not None
            found = self.im.history(name, user, limit=1_000)
            assert [entry.seq for entry in found] == [sent.seq for sent in place.shown(user)]
            assert self.im.unread(user, name) == len(place.unread(user))

    @rule(limit=st.integers(1, 3))
    def all_catch_up(self, limit: int) -> None:
        for user in USERS:
            self.catch_up(user, "phone", limit, 1_000)

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

    # --- devices ------------------------------------------------------------------------------

    @rule(user=users, device=devices, limit=st.integers(1, 7), most=st.integers(1, 6))
    def catch_up(self, user: str, device: str, limit: int, most: int) -> None:
        after = self.acked.get((user, device))
        if after is None:
            page = self.im.sync(user, device)
            assert page.resync
            assert not page.entries
            cursor = self.im.conversations(user).position
            after = lsn_of(cursor)
            assert after == self.oracle.lsn
            self.phones[user, device] = Phone()
            for name in self.of(user):
                self.phones[user, device].roam(name, self.im.history(name, user, limit=1_000))
        else:
            cursor = ""
        found: list[tuple[str, str, int]] = []
        pages = 0
        while True:
            page = self.im.sync(user, device, after=cursor or None, limit=limit)
            assert not page.resync
            assert len(page.entries) <= limit
            cursor = page.cursor
            for entry in page.entries:
                self.check_entry(entry.kind, entry.conversation, entry.seq, dict(entry.fields))
                self.phones[user, device].apply(entry)
                told = (entry.kind, entry.conversation, entry.seq)
                if entry.kind == "edit" and told in found:
                    found.remove(told)
                found.append(told)
            pages += 1
            if not page.more or (pages >= most and cursor.endswith("-0")):
                break
        reached = lsn_of(cursor)
        expected = self.oracle.to_be_told(user, after, reached)
        assert found == expected
        if not page.more:
            assert reached == self.oracle.lsn
            self.holds_what_is_shown(user, self.phones[user, device])
        self.im.ack(user, device, cursor)
        self.oracle.commit()
        self.acked[user, device] = reached

    def of(self, user: str) -> list[str]:
        return [n for n, place in self.oracle.conversations.items() if user in place.members]

    def holds_what_is_shown(self, user: str, phone: Phone) -> None:
        """A phone that has heard everything: of each conversation its user is in, nothing is stale,
        and nothing is missing that was sent while they were in it since the phone began.
        """
        assert {name for name, _ in phone.held} <= set(self.of(user))
        for name in self.of(user):
            place = self.oracle.conversations[name]
            if user not in place.current():
                continue
            history = {e.seq: e.fields for e in self.im.history(name, user, limit=1_000)}
            held = {seq: fields for (of, seq), fields in phone.held.items() if of == name}
            assert held == {seq: fields for seq, fields in history.items() if seq in held}
            spans = place.members[user].spans
            if place.history == "all":
                spans = [[spans[0][0], None]]
            for after, upto in spans:
                for seq in history:
                    if seq > (after or 0) and (upto is None or seq <= upto):
                        assert seq in held

    def check_entry(self, kind: str, name: str, seq: int, fields: dict[bytes, bytes]) -> None:
        place = self.place(name)
        if kind in ("message", "edit", "recall"):
            assert place is not None
            self.check_message(place.messages[seq], fields)

    @staticmethod
    def check_message(sent: Sent, fields: dict[bytes, bytes]) -> None:
        assert fields[b"@from"] == sent.sender.encode()
        named = b"@mentions" in fields
        assert named == (sent.recalled is None and bool(sent.mentions or sent.mention_all))
        if sent.recalled is None:
            assert fields[b"text"] == sent.text.encode()
            assert (b"@edited" in fields) == sent.edited
        else:
            assert fields[b"@recalled"] == sent.recalled.encode()
            assert b"text" not in fields

    # --- looking ------------------------------------------------------------------------------

    @rule(user=users, which=places, first=places, limit=st.integers(1, 5), reverse=st.booleans())
    def look_back(self, user: str, which: int, first: int, limit: int, reverse: bool) -> None:
        place = self.mine(user, which)
        if place is None:
            return
        shown = [sent for sent in place.shown(user) if sent.seq >= first]
        expected = (shown[::-1] if reverse else shown)[:limit]
        found = self.im.history(place.name, user, first=first, limit=limit, reverse=reverse)
        assert [entry.seq for entry in found] == [sent.seq for sent in expected]
        for entry, sent in zip(found, expected, strict=True):
            self.check_message(sent, dict(entry.fields))

    @rule(user=users, limit=st.integers(1, 4))
    def list_conversations(self, user: str, limit: int) -> None:
        expected = []
        for name, place in self.oracle.conversations.items():
            member = place.members.get(user)
            if member is None:
                continue
            if not place.listed(user):
                continue
            expected.append((not member.pinned, -place.newest_lsn(user), name))
        expected.sort(key=lambda each: each[:2])
        found = []
        after = ""
        while True:
            page = self.im.conversations(user, after=after, limit=limit)
            found += page.conversations
            after = page.cursor
            if not after:
                break
            assert len(page.conversations) == limit
        order = [(each.settings["@pin"] != b"1", each.id) for each in found]
        assert sorted(each.id for each in found) == sorted(name for *_, name in expected)
        by_name = {name: (pinned, lsn) for pinned, lsn, name in expected}
        keys = [by_name[each.id] for each in found]
        assert keys == sorted(keys)
        assert [pinned for pinned, _ in order] == [pinned for pinned, _ in keys]
        for each in found:
            place = self.oracle.conversations[each.id]
            member = place.members[user]
            assert each.role == member.role
            assert each.unread == len(place.unread(user)), each.id
            assert each.mentions == len(place.mentions(user)), each.id
            assert each.read == member.read
            assert each.head == place.head_seen(user)
            current = place.current() if user in place.current() else []
            assert each.members == len(current)
            assert each.meta == ({b"title": place.title} if current and place.title else {})
            others = [one for one in place.members if one != user]
            assert each.peer == (others[0] if place.kind == "direct" else "")
            assert self.im.conversation(user, each.id) == each
            shown = place.shown(user)
            assert (each.last[0] if each.last else None) == (shown[-1].seq if shown else None)
            if each.last is not None:
                self.check_message(shown[-1], dict(each.last[1]))

    @rule(user=users)
    def kept_lists_are_as_new_ones(self, user: str) -> None:
        messages = self.im.messages
        view = messages.view
        with self.db.engine.lock:
            inbox = find_user(view, user.encode()).id
            kept, new = messages.lists.of(view, inbox), UserList(view, inbox, Summaries())
            found, expected = (
                [(item.sort_key, each.describe(view, item)) for item in each.behind(None, 100)]
                for each in (kept, new)
            )
        assert found == expected

    @rule(user=users)
    def count_unread(self, user: str) -> None:
        mine = [p for p in self.oracle.conversations.values() if user in p.members]
        counted = [p for p in mine if p.listed(user) and not p.members[user].muted]
        total = sum(len(p.unread(user)) for p in counted)
        assert self.im.unread(user) == total
        for place in mine:
            assert self.im.unread(user, place.name) == len(place.unread(user))

    # --- what changes no answer -----------------------------------------------------------------

    @rule()
    def seal(self) -> None:
        self.db.compact()

    @rule()
    def restart(self) -> None:
        self.db.close()
        self.open()

    @rule()
    def kill(self) -> None:
        self.generation += 1
        copy_as_killed(self.db, self.directory / str(self.generation))
        abandon(self.db)
        self.open()


def test_any_history_gives_the_oracles_answers(model_examples: int) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=model_examples,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
