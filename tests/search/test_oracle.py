"""Whatever happened, a search finds exactly what a look at everything would find.

A Hypothesis state machine: several users send, edit, recall, hide, clear, come and go; the store
and its index are closed, killed, copied, lost and built anew. Every search waits for the index, and
is compared with a scan over CONV.HISTORY.
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
from tests.search.scan import Message, scan
from timeline.errors import NoPermissionError, NotFoundError, TimelineError, UsageError

USERS = ("ann", "bob", "cid")
NAMES = ("team", "club", "pair")

WORDS = (
    "see",
    "you",
    "sea",
    "crème",
    "creme",
    "添加",
    "添",
    "好友",
    "已",
    "한국",
    "สวัสดี",
    "🎉",
    "e-mail",
    "x1",
)
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).flatmap(
    lambda words: st.sampled_from(["", " ", ", "]).map(lambda between: between.join(words))
)
terms = st.one_of(
    st.sampled_from(WORDS),
    st.sampled_from(
        ("se*", "cre*", "title:see", "text:you", '"see you"', '"you se"*', "-sea", "NOT 添")
    ),
)
queries = st.lists(terms, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([" ", " OR ", " AND ", " NOT "]).map(
        lambda between: between.join(parts)
    )
)
users = st.sampled_from(USERS)
names = st.sampled_from(NAMES)
numbers = st.integers(1, 30)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = self.stack.enter_context(Clock().installed())
        self.directory = scratch_directory()
        self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.options = replace(
            SMALL, fsync="inline", diffusion_limit=2, search=True, search_commit_ms=10_000
        )
        self.generation = 0
        self.order: list[Message] = []
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
    )
    def begin(self, history: list[str], many: int) -> None:
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr("timeline.search.search._MANY", many)
        for name, kind in zip(NAMES, history, strict=True):
            self.im.create(name, "ann", members=["bob"], history=kind)

    # --- what people do -----------------------------------------------------------------------

    @rule(name=names, user=users, text=texts, title=st.none() | texts)
    def send(self, name: str, user: str, text: str, title: str | None) -> None:
        self.clock.now += 1
        fields = {"text": text} if title is None else {"text": text, "title": title}
        with suppress(TimelineError):
            self.order.append(Message(name, self.im.send(name, user, fields).seq))

    @rule(name=names, seq=numbers, text=texts)
    def edit(self, name: str, seq: int, text: str) -> None:
        with suppress(TimelineError):
            self.im.edit(name, seq, actor="-", fields={"text": text})

    @rule(name=names, seq=numbers)
    def recall(self, name: str, seq: int) -> None:
        with suppress(TimelineError):
            self.im.recall(name, seq, actor="-")

    @rule(name=names, user=users, seq=numbers)
    def hide(self, name: str, user: str, seq: int) -> None:
        with suppress(TimelineError):
            self.im.hide(user, name, seq)

    @rule(name=names, user=users, seq=numbers)
    def clear(self, name: str, user: str, seq: int) -> None:
        with suppress(TimelineError):
            self.im.clear(user, name, seq)

    @rule(name=names, user=users)
    def join(self, name: str, user: str) -> None:
        self.im.join(name, users=[user])

    @rule(name=names, user=users)
    def leave(self, name: str, user: str) -> None:
        self.im.leave(name, users=[user])

    @rule(name=names, seq=numbers)
    def trim(self, name: str, seq: int) -> None:
        engine = self.db.engine
        with engine.lock:
            draft = engine.begin()
            messages = draft.find(b"@conv:" + name.encode())
            assert messages is not None
            draft.trim(messages, seq)
            group = draft.commit().group
        engine.wait(group)

    @rule()
    def delete(self) -> None:
        self.im.delete("pair")
        self.order = [each for each in self.order if each.conversation != "pair"]
        self.im.create("pair", "ann", members=["cid"])

    # --- what is found ------------------------------------------------------------------------

    @rule(
        user=users,
        query=queries,
        limit=st.integers(1, 5),
        sender=st.none() | users,
        name=st.none() | names,
    )
    def search(
        self, user: str, query: str, limit: int, sender: str | None, name: str | None
    ) -> None:
        within = NAMES if name is None else (name,)
        found: list[Message] = []
        cursor = ""
        try:
            expected = scan(self.db, user, query, within, sender=sender)
            while True:
                page = self.im.search(
                    user,
                    query,
                    conversation=name,
                    sender=sender,
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
        assert found == [each for each in reversed(self.order) if each in expected]

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
    def rebuild(self) -> None:
        self.im.messages.searchable.rebuild()


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
