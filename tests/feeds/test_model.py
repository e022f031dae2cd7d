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

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from tests.engine.stores import abandon, copy_as_killed
from tests.feeds.acting import USERS, Acting, users
from tests.feeds.oracle import Noted, Published
from timeline.embedded.feedpages import HomePage, Note, Post, PostPage
from timeline.errors import NoPermissionError

LIMITS = [0, 1, 2, 500]


class Machine(Acting):
    @invariant()
    def notes_are_the_oracles(self) -> None:
        """All, or the newest of them, once the in-box has lost the oldest."""
        for user in USERS:
            found: list[Note] = []
            cursor = ""
            while True:
                page = self.feeds.notes(user, after=cursor, limit=1 + self.number % 4)
                found += page.notes
                cursor = page.cursor
                if not cursor:
                    break
                assert len(page.notes) == 1 + self.number % 4
            expected = self.oracle.notes(user)
            if self.floor(user):
                del expected[len(found) :]
            noted = [
                Noted(each.kind, each.post, each.total, each.users, each.seen) for each in found
            ]
            assert noted == expected
            unseen = sum(not each.seen for each in found)
            assert self.feeds.unseen(user) == (self.oracle.unseen(user, self.window), unseen)

    def floor(self, user: str) -> int:
        view = self.db.engine.view
        inbox = view.find(f"@note:{user}".encode())
        return 0 if inbox is None else view.inboxes.floor_of(inbox.id)

    @invariant()
    def homes_are_the_oracles(self) -> None:
        for user in USERS:
            self.viewer = user
            self.look(user, 1 + self.number % 7)

    def look(self, user: str, limit: int) -> None:
        found = self.read(lambda after: self.feeds.home(user, after=after, limit=limit), limit)
        assert found == self.oracle.home(user, self.window)

    def read(self, page_after: Callable[[str], HomePage | PostPage], limit: int) -> list[Published]:
        """All pages, each of which must be full and hold what its posts name."""
        found: list[Published] = []
        cursor = ""
        while True:
            page = page_after(cursor)
            posts = [self.shown(post) for post in page.posts]
            found += posts
            cursor = page.cursor
            refs = {name: post and self.shown(post) for name, post in page.refs.items()}
            assert refs == self.oracle.refs(self.viewer, posts)
            if not cursor:
                return found
            assert len(page.posts) == limit

    def shown(self, post: Post) -> Published:
        """A post as the oracle has it."""
        said: dict[str, Any] = dict.fromkeys(("reply", "repost"), "")
        said |= {"text": "", "audience": "everybody", "mentions": ()}
        for field, value in post.fields:
            name = field.decode().removeprefix("@").replace("for", "audience")
            if name == "mentions":
                said[name] += (value.decode(),)
            elif name in said:
                said[name] = value.decode()
        found = Published(post.author, post.seq, **said)
        assert (post.kind, post.counts) == (found.kind, self.oracle.counts(found.name))
        assert set(post.own) == self.oracle.own(self.viewer, found.name)
        return found

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
        before, whole = self.oracle.home(user, self.window), self.oracle.whole_home(user)
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
        shown = set(found)
        assert found == [place for post in whole if (place := (post.author, post.seq)) in shown]
        # Of a repost, what stands below it now decides whether it is left out.
        left = {post.name for post in self.oracle.posts if self.oracle.sees(user, post)}
        for post in before:
            assert post.plain or post.name not in left or (post.author, post.seq) in shown

    @rule(
        viewer=users,
        author=users,
        limit=st.integers(1, 4),
        without=st.sampled_from(["", "replies", "reposts"]),
    )
    def look_at_an_author(self, viewer: str, author: str, limit: int, without: str) -> None:
        self.viewer = viewer
        oracle = self.oracle
        info = self.feeds.info(author, author)
        fans = {user for user, whom in oracle.follows if whom == author}
        followed = {whom for user, whom in oracle.follows if user == author}
        assert info[:3] == (len(oracle.by(author)), len(fans), len(followed))
        asked = [user for user, whom in reversed(oracle.requests) if whom == author]
        requests = self.feeds.requests(author)
        assert ([each.user for each in requests.users], requests.total) == (asked, len(asked))
        blocked = {other for user, other in oracle.blocks if user == author}
        listed = self.feeds.blocked(author)
        assert ({each.user for each in listed.users}, listed.total) == (blocked, len(blocked))
        relation = self.feeds.relation(viewer, [author])[0] if viewer != author else None
        assert relation is None or relation == (
            viewer in fans,
            viewer in followed,
            (viewer, author) in oracle.requests,
            (viewer, author) in oracle.mutes,
            (viewer, author) in oracle.blocks,
        )
        if not oracle.enters(viewer, author):
            for look in (self.feeds.profile, self.feeds.followers, self.feeds.following):
                with pytest.raises(NoPermissionError):
                    look(viewer, author)
            return
        found = self.read(
            lambda after: self.feeds.profile(
                viewer, author, without=without, after=after, limit=limit
            ),
            limit,
        )
        hidden = {"replies": "reply", "reposts": "repost"}.get(without, "")
        assert found == self.oracle.profile(viewer, author, hidden)
        followers = self.feeds.followers(viewer, author)
        whom = self.feeds.following(viewer, author)
        fans_seen = {user for user in fans if not oracle.barred(viewer, user)}
        seen = {user for user in followed if not oracle.barred(viewer, user)}
        assert ({each.user for each in followers.users}, followers.total) == (fans_seen, len(fans))
        assert ({each.user for each in whom.users}, whom.total) == (seen, len(followed))

    @rule(viewer=users, at=st.integers(0, 40), limit=st.integers(1, 4))
    def look_at_replies(self, viewer: str, at: int, limit: int) -> None:
        if not self.oracle.posts:
            return
        post = self.oracle.posts[at % len(self.oracle.posts)]
        self.viewer = viewer

        def page_after(after: str) -> PostPage:
            return self.feeds.replies(viewer, post.author, post.seq, after=after, limit=limit)

        if self.oracle.sees(viewer, post):
            assert self.read(page_after, limit) == self.oracle.replies(viewer, post.name)
            assert [post and post.name for post in self.feeds.get(viewer, [post.name])] == [
                post.name
            ]
        else:
            with pytest.raises(NoPermissionError):
                page_after("")
            assert self.feeds.get(viewer, [post.name]) == [None]

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
