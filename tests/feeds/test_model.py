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
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

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
from tests.feeds.oracle import Noted, Oracle, Published
from timeline.commit.draft import Draft
from timeline.embedded.feedpages import HomePage, Note, Post, PostPage
from timeline.errors import NoPermissionError, NotFoundError
from timeline.feeds import following, publishing
from timeline.feeds.frame import Frame
from timeline.feeds.publishing import Published as PublishedPost

USERS = ["ann", "bob", "cat", "dan"]
LIMITS = [0, 1, 2, 500]

users = st.sampled_from(USERS)
some = st.lists(users, min_size=1, max_size=3, unique=True)


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
        self.window = 3
        self.viewer = USERS[0]  # who reads now
        self.options = replace(
            SMALL,
            repost_window=self.window,
            fsync="inline",
            feed_diffusion_limit=2,
            feed_backfill=3,
            inbox_references=3,
            inbox_age_ms=1_000,
            note_references=3,
            note_window_ms=0,
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

    @rule(
        author=users,
        at=st.integers(0, 40),
        names=st.sampled_from(["reply", "quote", "repost", "repost", "both"]),
        audience=st.sampled_from(["everybody", "everybody", "followers", "named"]),
        other=users,
    )
    def publish_naming(self, author: str, at: int, names: str, audience: str, other: str) -> None:
        """A post that names one of any user, which its author may see or not."""
        if not self.oracle.posts:
            return
        name = self.oracle.posts[at % len(self.oracle.posts)].name
        plain = names == "repost"
        if plain and audience == "named":
            audience = "followers"
        reply = name if names in ("reply", "both") else None
        repost = name if names in ("quote", "repost", "both") else None
        mentions = () if plain else (other,)
        text = "" if plain else self.text()

        def publish() -> PublishedPost:
            return self.feeds.publish(
                author,
                {"text": text} if text else {},
                audience=audience,
                reply=reply,
                repost=repost,
                mentions=mentions,
            )

        target = self.oracle.target(author, name)
        if target is None or (mentions and self.oracle.barred(author, other)):
            with pytest.raises(NoPermissionError):
                publish()
            return
        before = self.oracle.reposted(author, target.name) if plain else None
        done = publish()
        if before is not None:
            assert (done.seq, done.status) == (before.seq, "duplicate")
            return
        post = self.oracle.publish(
            author,
            text,
            audience=audience,
            reply=target.name if reply else "",
            repost=target.name if repost else "",
            mentions=mentions,
        )
        assert (done.seq, done.status) == (post.seq, "stored")

    @rule(author=users, other=users, audience=st.sampled_from(["followers", "named"]))
    def publish_for_some(self, author: str, other: str, audience: str) -> None:
        text = self.text()
        if self.oracle.barred(author, other):
            with pytest.raises(NoPermissionError):
                self.feeds.publish(author, {"text": text}, mentions=[other])
            return
        self.feeds.publish(author, {"text": text}, audience=audience, mentions=[other])
        self.oracle.publish(author, text, audience=audience, mentions=(other,))

    @rule(authors=st.lists(users, min_size=2, max_size=4), user=users, other=users)
    def do_several_in_one_commit(self, authors: list[str], user: str, other: str) -> None:
        """Publish, with a follow or an unfollow in the midst of it. The later posts reply to the
        first.
        """
        texts = [self.text() for _ in authors]

        def work(draft: Draft) -> None:
            first = ""
            for at, (author, text) in enumerate(zip(authors, texts, strict=True)):
                sees = self.oracle.sees(author, self.oracle.find(first))
                reply = first if sees else ""
                done = publishing.publish(
                    draft,
                    author.encode(),
                    [b"text", text.encode()],
                    keys=self.db.messaging.messages.keys,
                    options=self.options,
                    frame=Frame(reply=reply.encode()),
                )
                self.oracle.publish(author, text, reply=reply)
                first = first or f"{author}/{done.seq}"
                if at == 0 and may_change:
                    change(draft, user.encode(), [other.encode()], self.options)
                    if change is following.follow:
                        self.oracle.follow(user, other, self.options.feed_backfill)
                        self.oracle.tell(other, "follow", "", user)
                    else:
                        self.oracle.unfollow(user, other)

        may_change = user != other and not self.oracle.barred(user, other)
        may_change = may_change and other not in self.oracle.protected
        change = following.unfollow if (user, other) in self.oracle.follows else following.follow
        with self.oracle.told.one_commit():
            self.db.engine.commit(work)

    @rule(at=st.integers(0, 40))
    def edit(self, at: int) -> None:
        if self.oracle.posts:
            at %= len(self.oracle.posts)
            if self.oracle.posts[at].plain:
                return
            post = self.oracle.posts[at]._replace(text=self.text())
            self.feeds.edit(post.author, post.seq, post.author, {"text": post.text})
            self.oracle.posts[at] = post

    @rule(at=st.integers(0, 40))
    def delete(self, at: int) -> None:
        if self.oracle.posts:
            post = self.oracle.posts.pop(at % len(self.oracle.posts))
            self.feeds.delete(post.author, post.seq)

    @rule(
        user=users,
        at=st.integers(0, 40),
        reaction=st.sampled_from(["like", "laugh"]),
        remove=st.booleans(),
    )
    def react(self, user: str, at: int, reaction: str, remove: bool) -> None:
        if not self.oracle.posts:
            return
        post = self.oracle.posts[at % len(self.oracle.posts)]
        target = self.oracle.target(user, post.name)
        original = self.oracle.find(post.original)
        had = original is not None and (original.name, user, reaction) in self.oracle.reactions
        if remove and target is None and had:  # they may see it no more
            target = original
        if target is None:
            with pytest.raises(NoPermissionError):
                self.feeds.react(post.author, post.seq, user, reaction, remove=remove)
            return
        has = self.feeds.react(post.author, post.seq, user, reaction, remove=remove)
        each = (target.name, user, reaction)
        if not remove and each not in self.oracle.reactions:
            self.oracle.tell(target.author, reaction, target.name, user)
        (self.oracle.reactions.discard if remove else self.oracle.reactions.add)(each)
        assert has == self.oracle.counts(target.name).get(reaction, 0)

    @rule(user=users, authors=some)
    def follow(self, user: str, authors: list[str]) -> None:
        oracle = self.oracle
        wanted = [author for author in authors if author != user]
        fresh = [author for author in wanted if (user, author) not in oracle.follows]
        if any(oracle.barred(user, author) for author in fresh):
            with pytest.raises(NoPermissionError):
                self.feeds.follow(user, wanted)
            return
        asked = [author for author in fresh if author in oracle.protected]
        assert self.feeds.follow(user, wanted) == (len(fresh) - len(asked), len(asked))
        for author in fresh:
            if author not in asked:
                oracle.follow(user, author, self.options.feed_backfill)
                oracle.tell(author, "follow", "", user)
            elif (user, author) not in oracle.requests:
                oracle.requests.append((user, author))
                oracle.tell(author, "request", "", user)

    @rule(user=users, authors=some)
    def unfollow(self, user: str, authors: list[str]) -> None:
        gone = self.feeds.unfollow(user, authors)
        assert gone == sum([self.oracle.unfollow(user, author) for author in authors])

    @rule(author=users, user=users, accept=st.booleans())
    def answer(self, author: str, user: str, accept: bool) -> None:
        if (user, author) in self.oracle.requests:
            self.feeds.answer(author, user, accept=accept)
            self.oracle.withdraw(user, author)
            if accept:
                self.oracle.follow(user, author, self.options.feed_backfill)
        elif not accept or (user, author) not in self.oracle.follows:
            with pytest.raises(NotFoundError):
                self.feeds.answer(author, user, accept=accept)

    @rule(author=users, followers=some)
    def remove(self, author: str, followers: list[str]) -> None:
        there = [user for user in followers if (user, author) in self.oracle.follows]
        assert self.feeds.remove(author, followers) == len(there)
        for user in there:
            self.oracle.unfollow(user, author)

    @rule(author=users, protected=st.booleans())
    def protect(self, author: str, protected: bool) -> None:
        self.feeds.set(author, author, {"@protected": str(int(protected))})
        (self.oracle.protected.add if protected else self.oracle.protected.discard)(author)

    @rule(user=users, others=some)
    def block(self, user: str, others: list[str]) -> None:
        others = [other for other in others if other != user]
        fresh = [other for other in others if (user, other) not in self.oracle.blocks]
        assert self.feeds.block(user, others) == len(fresh)
        for other in others:
            self.oracle.block(user, other)

    @rule(user=users, others=some)
    def unblock(self, user: str, others: list[str]) -> None:
        there = {(user, other) for other in others} & self.oracle.blocks
        assert self.feeds.unblock(user, others) == len(there)
        self.oracle.blocks -= there

    @rule(user=users, other=users, muted=st.booleans())
    def mute(self, user: str, other: str, muted: bool) -> None:
        if user != other and self.oracle.barred(user, other):
            with pytest.raises(NoPermissionError):
                self.feeds.set(user, other, {"@mute": str(int(muted))})
        elif user != other:
            self.feeds.set(user, other, {"@mute": str(int(muted))})
            pair = (user, other)
            (self.oracle.mutes.add if muted else self.oracle.mutes.discard)(pair)

    @rule(user=users, other=users, kind=st.sampled_from(["reply", "repost"]), shown=st.booleans())
    def leave_out(self, user: str, other: str, kind: str, shown: bool) -> None:
        if (user, other) in self.oracle.follows:
            name = "@replies" if kind == "reply" else "@reposts"
            self.feeds.set(user, other, {name: str(int(shown))})
            left_out = self.oracle.left_out
            (left_out.discard if shown else left_out.add)((user, other, kind))

    @rule(user=users, author=users)
    def come_back(self, user: str, author: str) -> None:
        if user != author and not self.oracle.barred(user, author):
            self.follow(user, [author])
            self.publish(author)
            self.unfollow(user, [author])
            self.follow(user, [author])

    @rule(user=users, notes=st.booleans())
    def see(self, user: str, notes: bool) -> None:
        page = self.feeds.notes(user) if notes else self.feeds.home(user)
        self.feeds.seen(user, page.position, notes=notes)
        self.oracle.see(user, notes=notes)

    # --- looking ------------------------------------------------------------------------------

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
