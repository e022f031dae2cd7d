"""Conversations and users against a plain oracle: any operations, in any order, same answers.

A Hypothesis state machine of several users with several devices each and a few conversations. The
diffusion limit is three members, so that conversations switch back and forth all the time; bounds
are so small that everything overflows. A restart, a kill and sealing are rules like any other.
Every device, whenever it catches up, is told exactly what the oracle says, in order, and holds by
then what CONV.HISTORY shows, entry by entry; lists, unread and mentions are exact after every step
that asks.

A failure prints the steps and a `@reproduce_failure` line; `--model-examples N` looks longer.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.engine.stores import abandon, copy_as_killed
from tests.messaging.acting import USERS, Acting, devices, names, places, users
from tests.messaging.oracle import Sent
from tests.messaging.phone import Phone
from timeline.messaging.access.access import find_user
from timeline.messaging.lists.summaries import Summaries
from timeline.messaging.lists.userlist import UserList


def lsn_of(cursor: str) -> int:
    _, lsn, ordinal = cursor.split("-")
    assert ordinal == "0", "a page that ends the backlog ends between commits"
    return int(lsn)


class Machine(Acting):
    # --- looking ------------------------------------------------------------------------------

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
                [(item.sort_key, each.describe(view, item)) for item in each.after(None, 100)]
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
