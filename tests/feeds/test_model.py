"""Feeds against a plain oracle: any operations, in any order, same answers.

A Hypothesis state machine of a few users who publish, edit, delete, follow and unfollow, several in
one commit at times. Limits change when the store is opened again, so that feeds switch between both
ways of diffusion all the time; homes keep so few references that most lies below their floor. A
restart, a kill and sealing are rules like any other. After each step every home equals the
oracle's, read by pages of any size, and so does each profile and list that is looked at; also while
others publish and delete between two pages.

A failure prints the steps and a `@reproduce_failure` line; `--model-examples N` looks longer.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
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
from timeline.commit.draft import Draft
from timeline.feeds import following, publishing

USERS = ["ann", "bob", "cat", "dan"]
LIMITS = [0, 1, 2, 500]

users = st.sampled_from(USERS)
some = st.lists(users, min_size=1, max_size=3, unique=True)


class Published(NamedTuple):
    author: str
    seq: int
    text: str


@dataclass
class Oracle:
    """Plain lists of posts and sets of follows."""

    posts: list[Published] = field(default_factory=list)  # in the order of commits
    heads: dict[str, int] = field(default_factory=dict)
    follows: dict[tuple[str, str], int] = field(default_factory=dict)  # → the first post shown

    def publish(self, author: str, text: str) -> None:
        self.heads[author] = self.heads.get(author, 0) + 1
        self.posts.append(Published(author, self.heads[author], text))

    def follow(self, user: str, author: str, backfill: int) -> None:
        first = max(1, self.heads.get(author, 0) - backfill + 1)
        self.follows.setdefault((user, author), first)

    def home(self, user: str) -> list[Published]:
        return [
            post
            for post in reversed(self.posts)
            if post.author == user
            or post.seq >= self.follows.get((user, post.author), post.seq + 1)
        ]

    def profile(self, author: str) -> list[Published]:
        return [post for post in reversed(self.posts) if post.author == author]


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = self.stack.enter_context(Clock().installed())
        self.stack.enter_context(small_steps())
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(following, "_STRETCHES", 3)
        self.directory = scratch_directory()
        self.stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.options = replace(
            SMALL,
            fsync="inline",
            feed_diffusion_limit=2,
            feed_backfill=3,
            inbox_references=3,
            inbox_age_ms=1_000,
            retention_check_ms=1,
        )
        self.generation = 0
        self.number = 0
        self.oracle = Oracle()
        self.open()
        for user in USERS:
            self.publish(user)

    def open(self) -> None:
        self.db = timeline.open(self.directory / str(self.generation), self.options)
        self.feeds = self.db.feeds

    def teardown(self) -> None:
        abandon(self.db)
        self.stack.close()

    def text(self) -> str:
        self.number += 1
        return str(self.number)

    # --- writing ------------------------------------------------------------------------------

    @rule(author=users)
    def publish(self, author: str) -> None:
        text = self.text()
        self.feeds.publish(author, {"text": text})
        self.oracle.publish(author, text)

    @rule(authors=st.lists(users, min_size=2, max_size=4), user=users, other=users)
    def do_several_in_one_commit(self, authors: list[str], user: str, other: str) -> None:
        """Publish, with a follow or an unfollow in the midst of it."""
        texts = [self.text() for _ in authors]

        def work(draft: Draft) -> None:
            for at, (author, text) in enumerate(zip(authors, texts, strict=True)):
                publishing.publish(
                    draft,
                    author.encode(),
                    [b"text", text.encode()],
                    keys=self.db.messaging.messages.keys,
                    options=self.options,
                )
                self.oracle.publish(author, text)
                if at == 0 and user != other:
                    change(draft, user.encode(), [other.encode()], self.options)
                    if change is following.follow:
                        self.oracle.follow(user, other, self.options.feed_backfill)
                    else:
                        self.oracle.follows.pop((user, other), None)

        change = following.unfollow if (user, other) in self.oracle.follows else following.follow
        self.db.engine.commit(work)

    @rule(at=st.integers(0, 40))
    def edit(self, at: int) -> None:
        if self.oracle.posts:
            at %= len(self.oracle.posts)
            post = self.oracle.posts[at]._replace(text=self.text())
            self.feeds.edit(post.author, post.seq, post.author, {"text": post.text})
            self.oracle.posts[at] = post

    @rule(at=st.integers(0, 40))
    def delete(self, at: int) -> None:
        if self.oracle.posts:
            post = self.oracle.posts.pop(at % len(self.oracle.posts))
            self.feeds.delete(post.author, post.seq)

    @rule(user=users, authors=some)
    def follow(self, user: str, authors: list[str]) -> None:
        wanted = [author for author in authors if author != user]
        fresh = [author for author in wanted if (user, author) not in self.oracle.follows]
        assert self.feeds.follow(user, wanted) == (len(fresh), 0)
        for author in fresh:
            self.oracle.follow(user, author, self.options.feed_backfill)

    @rule(user=users, authors=some)
    def unfollow(self, user: str, authors: list[str]) -> None:
        there = [author for author in authors if (user, author) in self.oracle.follows]
        assert self.feeds.unfollow(user, authors) == len(there)
        for author in there:
            del self.oracle.follows[user, author]

    @rule(user=users, author=users)
    def come_back(self, user: str, author: str) -> None:
        if user != author:
            self.follow(user, [author])
            self.publish(author)
            self.unfollow(user, [author])
            self.follow(user, [author])

    # --- looking ------------------------------------------------------------------------------

    @invariant()
    def homes_are_the_oracles(self) -> None:
        for user in USERS:
            self.look(user, 1 + self.number % 7)

    def look(self, user: str, limit: int) -> None:
        found: list[Published] = []
        cursor = ""
        while True:
            page = self.feeds.home(user, after=cursor, limit=limit)
            found += [Published(post.author, post.seq, post.text("text")) for post in page.posts]
            cursor = page.cursor
            if not cursor:
                break
            assert len(page.posts) == limit
        assert found == self.oracle.home(user)

    @rule(
        user=users,
        other=users,
        limit=st.integers(1, 4),
        at=st.integers(0, 40),
        forgets=st.booleans(),
    )
    def look_while_others_publish_and_delete(
        self, user: str, other: str, limit: int, at: int, forgets: bool
    ) -> None:
        before = self.oracle.home(user)
        page = self.feeds.home(user, limit=limit)
        found = [(post.author, post.seq) for post in page.posts]
        while page.cursor:
            self.publish(other)
            self.delete(at)
            if forgets:  # what was delivered before is pulled now
                self.let_homes_forget(500)
            page = self.feeds.home(user, after=page.cursor, limit=limit)
            found += [(post.author, post.seq) for post in page.posts]
        assert len(set(found)) == len(found)
        left = {(post.author, post.seq) for post in self.oracle.posts}
        shown = set(found)
        places = [(post.author, post.seq) for post in before]
        assert found == [place for place in places if place in shown]
        assert all(place in shown for place in places if place in left)

    @rule(author=users, limit=st.integers(1, 4))
    def look_at_an_author(self, author: str, limit: int) -> None:
        found: list[Published] = []
        cursor = ""
        while True:
            page = self.feeds.profile("ann", author, after=cursor, limit=limit)
            found += [Published(post.author, post.seq, post.text("text")) for post in page.posts]
            cursor = page.cursor
            if not cursor:
                break
        assert found == self.oracle.profile(author)
        fans = {user for user, whom in self.oracle.follows if whom == author}
        followed = {whom for user, whom in self.oracle.follows if user == author}
        followers = self.feeds.followers("ann", author)
        whom = self.feeds.following("ann", author)
        assert ({each.user for each in followers.users}, followers.total) == (fans, len(fans))
        assert ({each.user for each in whom.users}, whom.total) == (followed, len(followed))
        info = self.feeds.info("ann", author)
        assert info[:3] == (len(found), len(fans), len(followed))

    # --- what changes no answer -----------------------------------------------------------------

    @rule()
    def seal(self) -> None:
        self.db.compact()

    @rule(age=st.integers(0, 1_000))
    def let_homes_forget(self, age: int) -> None:
        """What commits as old as that delivered, and all but the newest references."""
        self.clock.now += age
        self.db.compact()
        self.db.engine.store.expiry._next_round = 0.0
        while self.db.engine.work():
            pass

    @rule(limit=st.sampled_from(LIMITS), backfill=st.integers(0, 5))
    def restart_with_other_limits(self, limit: int, backfill: int) -> None:
        self.db.close()
        self.options = replace(self.options, feed_diffusion_limit=limit, feed_backfill=backfill)
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
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
