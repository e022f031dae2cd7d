"""Whatever happened, a search finds exactly what a look at everything would find.

A Hypothesis state machine: several users send, alone and many in one commit, edit, recall, hide,
clear, come and go; raw timelines are appended to, trimmed and dropped; the store and its index are
closed, killed, copied, lost, healed and built anew. Every search waits for the index, and is
compared with a scan over CONV.HISTORY, or over the timelines.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack, suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import timeline
from tests.engine.stores import SMALL, Clock, abandon, copy_as_killed, copy_index, scratch_directory
from tests.search.asked import FINDS, WORDS, queries, texts
from tests.search.scan import FIELDS, Message, describes, fits, scan
from timeline.errors import NoPermissionError, NotFoundError, TimelineError, UsageError
from timeline.messaging.conversations.sending import send
from timeline.search.text.language import ANY_FIELD, parse

USERS = ("ann", "bob", "cid")
DIRECT = "@ann:bob"  # stands for the id that the store gives the conversation of these two
NAMES = ("team", "club", "pair", DIRECT)
RAW = ("log:a", "log:b")
START = 1_700_000_000_000

users = st.sampled_from(USERS)
names = st.sampled_from(NAMES)
numbers = st.one_of(st.integers(1, 4), st.integers(1, 30))
times = st.none() | st.integers(START - 1, START + 25)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = self.stack.enter_context(Clock(START).installed())
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
        self.patch = patch
        self.directory = scratch_directory()
        self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.options = replace(
            SMALL,
            fsync="inline",
            diffusion_limit=2,
            search=True,
            search_commit_ms=10_000,
            search_prefixes=("log:",),
        )
        self.generation = 0
        self.commits = 0
        self.order: dict[Message, tuple[int, int, int]] = {}  # the greatest is the newest
        self.open()

    def open(self) -> None:
        self.db = timeline.open(self.directory / str(self.generation), self.options)
        self.im = self.db.messaging

    def teardown(self) -> None:
        abandon(self.db)
        self.stack.close()

    @initialize(
        history=st.lists(st.sampled_from(["join", "all"]), min_size=3, max_size=3),
        many=st.sampled_from([1, 256]),
        few=st.sampled_from([4, 4_096]),
        little=st.booleans(),
    )
    def begin(self, history: list[str], many: int, few: int, little: bool) -> None:
        self.patch.setattr("timeline.search.search._NAMED_TIMELINES", many)
        self.patch.setattr("timeline.search.search._FILTERED_HITS", few)
        if little:  # everything that is bounded meets its bound
            self.patch.setattr("timeline.messaging.searching._STRETCHED", 1)
            self.patch.setattr("timeline.messaging.searching._MOST_STRETCHES", 1)
            self.patch.setattr("timeline.search.pages._FIRST_HITS", 2)
            self.patch.setattr("timeline.search.follower._STEP_BYTES", 1)
            self.patch.setattr("timeline.search.build._STEP_ENTRIES", 2)
            self.patch.setattr("timeline.search.build._STEP_BYTES", 50)
        for name, kind, city in zip(NAMES, history, ("see", "See you", "sea"), strict=False):
            self.im.create(name, "ann", members=["bob"], history=kind, meta={"city": city})
        self.direct = self.im.direct("ann", "bob")

    def named(self, name: str) -> str:
        return self.direct if name == DIRECT else name

    def note(self, name: str, seq: int) -> None:
        """The message was sent in the commit that is being made."""
        timeline = self.db.engine.timelines.find(b"@conv:" + name.encode())
        assert timeline is not None
        self.order[Message(name, seq)] = (self.commits, seq, timeline.id)

    # --- what people do -----------------------------------------------------------------------

    @rule(name=names, user=users, text=texts, title=st.none() | texts)
    def send(self, name: str, user: str, text: str, title: str | None) -> None:
        self.clock.now += 1
        self.commits += 1
        name = self.named(name)
        fields = {"text": text} if title is None else {"text": text, "title": title}
        with suppress(TimelineError):
            self.note(name, self.im.send(name, user, fields).seq)

    @rule(sent=st.lists(st.tuples(names, users, texts), min_size=2, max_size=8))
    def send_at_once(self, sent: list[tuple[str, str, str]]) -> None:
        """In one commit."""
        self.clock.now += 1
        self.commits += 1
        engine, messages = self.db.engine, self.im.messages
        done = []
        with engine.lock:
            draft = engine.begin()
            for given, user, text in sent:
                name = self.named(given)
                with suppress(TimelineError):
                    conversation, sender = name.encode(), user.encode()
                    items = [b"text", text.encode()]
                    outcome = send(
                        draft,
                        conversation,
                        sender,
                        items,
                        keys=messages.keys,
                        options=self.options,
                    )
                    done.append((name, outcome.seq))
            group = draft.commit().group
        if done:
            engine.wait(group)
        for name, seq in done:
            self.note(name, seq)

    @rule(name=st.sampled_from(RAW), text=texts)
    def append(self, name: str, text: str) -> None:
        self.clock.now += 1
        self.db.timeline(name).append({"text": text, "level": "see"})

    @rule(name=st.sampled_from(RAW), length=st.integers(0, 4))
    def trim_raw(self, name: str, length: int) -> None:
        self.db.timeline(name).trim(length=length)

    @rule(name=st.sampled_from(RAW), seq=numbers)
    def delete_raw(self, name: str, seq: int) -> None:
        self.db.timeline(name).delete(seq)

    @rule(name=st.sampled_from(RAW))
    def drop_raw(self, name: str) -> None:
        self.db.timeline(name).drop()

    @rule(name=st.sampled_from(RAW), seq=numbers, text=texts)
    def replace_raw(self, name: str, seq: int, text: str) -> None:
        with suppress(TimelineError):
            self.db.timeline(name).replace(seq, {"text": text})

    @rule(
        name=st.sampled_from(RAW) | names,
        field=st.sampled_from(("city", "owner")),
        value=st.sampled_from(("see", "See", "sea", "see you", "添", "")) | texts,
    )
    def describe(self, name: str, field: str, value: str) -> None:
        with suppress(TimelineError):
            if name in RAW:
                self.db.timeline(name).set_metadata({field: value})
            else:
                self.im.set_meta(self.named(name), fields={field: value})

    @rule(name=names, seq=numbers, text=texts)
    def edit(self, name: str, seq: int, text: str) -> None:
        with suppress(TimelineError):
            self.im.edit(self.named(name), seq, actor="-", fields={"text": text})

    @rule(name=names, seq=numbers)
    def recall(self, name: str, seq: int) -> None:
        with suppress(TimelineError):
            self.im.recall(self.named(name), seq, actor="-")

    @rule(name=names, user=users, seq=numbers)
    def hide(self, name: str, user: str, seq: int) -> None:
        with suppress(TimelineError):
            self.im.hide(user, self.named(name), seq)

    @rule(name=names, user=users, seq=numbers)
    def clear(self, name: str, user: str, seq: int) -> None:
        with suppress(TimelineError):
            self.im.clear(user, self.named(name), seq)

    @rule(name=names, user=users)
    def join(self, name: str, user: str) -> None:
        with suppress(TimelineError):
            self.im.join(self.named(name), users=[user])

    @rule(name=names, user=users)
    def leave(self, name: str, user: str) -> None:
        with suppress(TimelineError):
            self.im.leave(self.named(name), users=[user])

    @rule(name=names, seq=numbers)
    def trim(self, name: str, seq: int) -> None:
        engine = self.db.engine
        with engine.lock:
            draft = engine.begin()
            messages = draft.find(b"@conv:" + self.named(name).encode())
            assert messages is not None
            draft.trim(messages, seq)
            group = draft.commit().group
        engine.wait(group)

    @rule()
    def delete(self) -> None:
        self.im.delete("pair")
        for each in [each for each in self.order if each.conversation == "pair"]:
            del self.order[each]
        self.im.create("pair", "ann", members=["cid"])

    # --- what is found ------------------------------------------------------------------------

    @rule(
        user=users,
        query=queries,
        limit=st.integers(1, 5),
        sender=st.none() | users,
        name=st.none() | names,
        since=times,
        until=times,
    )
    def search(
        self,
        user: str,
        query: str,
        limit: int,
        sender: str | None,
        name: str | None,
        since: int | None,
        until: int | None,
    ) -> None:
        within = [self.named(each) for each in (NAMES if name is None else (name,))]
        found: list[Message] = []
        cursor = ""
        try:
            expected = scan(self.db, user, query, within, sender=sender, since=since, until=until)
            while True:
                page = self.im.search(
                    user,
                    query,
                    conversation=None if name is None else within[0],
                    sender=sender,
                    since=since,
                    until=until,
                    limit=limit,
                    after=cursor,
                    wait=20,
                )
                found += [Message(hit.conversation, hit.seq) for hit in page.hits]
                assert page.total == len(expected)
                assert page.exact
                cursor = page.cursor
                if not cursor:
                    break
                assert len(page.hits) == limit
        except (NotFoundError, NoPermissionError, UsageError):
            return
        assert set(found) == expected
        assert found == sorted(expected, key=self.order.__getitem__, reverse=True)

    @rule()
    def find_everything(self) -> None:
        """Everybody, everything that is theirs."""
        for user in USERS:
            self.search(user, "-nothing", 5, None, None, None, None)

    @rule(query=queries, limit=st.integers(1, 5))
    def search_raw(self, query: str, limit: int) -> None:
        expected = {
            (name.encode(), entry.seq)
            for name in RAW
            for entry in self.db.timeline(name).range()
            if fits(parse(query, FIELDS), [("text", entry.text("text"))])
        }
        there = [name for name in RAW if self.db.timeline(name).extent().created]
        found: list[tuple[bytes, int]] = []
        cursor = ""
        while True:
            page = self.db.search(query, timelines=there, limit=limit, after=cursor, wait=20)
            assert page.total == len(expected)
            found += [(hit.timeline, hit.seq) for hit in page.hits]
            cursor = page.cursor
            if not cursor:
                break
        assert len(found) == len(expected)
        assert set(found) == expected

    @rule(query=st.sampled_from(WORDS))
    def find(self, query: str) -> None:
        described = {
            name: metadata
            for prefix in (b"log:", b"@conv:")
            for name in self.db.timelines(prefix)
            if (metadata := self.db.timeline(name).metadata())
        }
        for each in (query, *FINDS):
            expression = parse(each, ANY_FIELD)
            assert dict(self.db.find(each, wait=20)) == {
                name: metadata
                for name, metadata in described.items()
                if describes(expression, metadata)
            }

    # --- what changes no answer -----------------------------------------------------------------

    @rule()
    def index_now(self) -> None:
        self.db.search("anything", wait=20)

    @rule()
    def seal(self) -> None:
        self.db.compact()

    @rule(lost=st.booleans())
    def restart(self, lost: bool) -> None:
        self.db.close()
        if lost:
            shutil.rmtree(self.directory / str(self.generation) / "index")
        self.open()

    @rule()
    def kill(self) -> None:
        self.generation += 1
        copy = self.directory / str(self.generation)
        copy_index(self.db, self.directory)
        copy_as_killed(self.db, copy)
        if (self.directory / "index").is_dir():
            (self.directory / "index").rename(copy / "index")
        abandon(self.db)
        self.open()

    @rule()
    def heal(self) -> None:
        self.db.engine.pipeline.poison(OSError("I/O error"))
        while self.db.engine.poisoned:
            self.db.engine.work()

    @rule()
    def rebuild(self) -> None:
        self.db.index.searchable.rebuild()


def test_a_search_finds_what_a_scan_finds(model_examples: int) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=model_examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
