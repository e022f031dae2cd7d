"""What users do with feeds, at a store and its oracle alike: the rules of the state machine.

Rule: each step does the same to both, and expects the answer of the oracle. `test_model` looks at
what comes of it.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

import timeline
from tests.engine.stores import SMALL, Clock, abandon, scratch_directory, small_steps
from tests.feeds.oracle import Oracle
from timeline.commit.draft import Draft
from timeline.errors import NoPermissionError, NotFoundError
from timeline.feeds import following, publishing
from timeline.feeds.frame import Frame
from timeline.feeds.publishing import Published as PublishedPost

USERS = ["ann", "bob", "cat", "dan"]

users = st.sampled_from(USERS)
some = st.lists(users, min_size=1, max_size=3, unique=True)


class Acting(RuleBasedStateMachine):
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
            home_references=3,
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
