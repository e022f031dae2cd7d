"""Whatever happened, a search of posts finds exactly what a look at profiles and homes would find.

A Hypothesis state machine with the steps of `acting`: users publish words and tags, edit, delete,
follow, block, mute, protect themselves and so on; the store and its index are closed, copied as
killed, lost, built anew. Every search waits for the index. For all pairs of viewer and author it
finds what FEED.PROFILE shows that fits the query, and with HOME what FEED.HOME shows, in the order
of commits, on full pages, and counts no more than that. After each step one user looks for
everything.
"""

# ruff: noqa: ANN401  options of a search

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from tests.engine.stores import abandon, copy_as_killed, copy_index
from tests.feeds.acting import USERS, Acting, users
from tests.search.asked import queries, texts
from tests.search.scan import FIELDS, fits
from timeline.embedded.feedpages import Post
from timeline.errors import NoPermissionError, UsageError
from timeline.feeds import searching
from timeline.search.text.language import EVERYTHING, Expression, parse

TAGS = ["sun", "Sun", "添", "a b", "see"]

tags = st.lists(st.sampled_from(TAGS), max_size=3)


class Machine(Acting):
    looks = 0

    def open(self) -> None:
        self.options = replace(self.options, search=True, search_commit_ms=10_000)
        super().open()

    @initialize(
        stretched=st.sampled_from([0, 1, 32]),
        many=st.sampled_from([1, 256]),
        few=st.sampled_from([4, 4_096]),
        first=st.sampled_from([2, 256]),
    )
    def begin(self, stretched: int, many: int, few: int, first: int) -> None:
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(searching, "_STRETCHED", stretched)
        patch.setattr("timeline.search.search._NAMED_TIMELINES", many)
        patch.setattr("timeline.search.search._FILTERED_HITS", few)
        patch.setattr("timeline.search.pages._FIRST_HITS", first)

    # --- what people do beside `acting` -------------------------------------------------------

    @rule(author=users, text=st.none() | texts, title=st.none() | texts, given=tags)
    def publish_words(
        self, author: str, text: str | None, title: str | None, given: list[str]
    ) -> None:
        fields = {"text": text, "title": title, "number": self.text()}
        said = {name: value for name, value in fields.items() if value is not None}
        self.feeds.publish(author, said, tags=given)
        self.oracle.publish(author, self.text())

    @rule(at=st.integers(0, 40), text=texts)
    def edit_words(self, at: int, text: str) -> None:
        if self.oracle.posts:
            post = self.oracle.posts[at % len(self.oracle.posts)]
            if not post.plain:
                self.feeds.edit(post.author, post.seq, fields={"text": text})
                self.search(text, None, 2)

    @rule(length=st.integers(0, 3), author=users)
    def trim(self, author: str, length: int) -> None:
        """As whoever runs the store may, beside what feeds do."""
        engine = self.db.engine
        name = b"@feed:" + author.encode()
        with engine.lock:
            draft = engine.begin()
            posts = draft.find(name)
            assert posts is not None
            first = max(1, draft.extent(posts).head - length + 1)
            draft.trim(posts, first)
            group = draft.commit().group
        engine.wait(group)
        self.oracle.posts = [
            post for post in self.oracle.posts if post.author != author or post.seq >= first
        ]

    # --- what is found ------------------------------------------------------------------------

    @rule(query=queries, tag=st.none() | st.sampled_from(TAGS), limit=st.integers(1, 4))
    def search(self, query: str, tag: str | None, limit: int) -> None:
        try:
            expression = parse(query, FIELDS)
        except UsageError:
            return
        self.compare(USERS, expression, limit, query=query, tag=tag)

    @rule(tag=st.sampled_from(TAGS), limit=st.integers(1, 4))
    def search_for_a_tag(self, tag: str, limit: int) -> None:
        self.compare(USERS, EVERYTHING, limit, query="", tag=tag)

    @invariant()
    def everything_is_found(self) -> None:
        """By the users in turns."""
        self.looks += 1
        viewer = USERS[self.looks % len(USERS)]
        query = "NOT nothing"
        self.compare([viewer], parse(query, FIELDS), 5 + self.looks % 30, query=query, tag=None)

    def compare(
        self, viewers: Iterable[str], expression: Expression, limit: int, **asked: Any
    ) -> None:
        tag = asked["tag"]
        for viewer in viewers:
            everything: list[Post] = []
            home = wanted(self.feeds.home(viewer, limit=1_000).posts, expression, tag)
            for author in USERS:
                try:
                    posts = self.feeds.profile(viewer, author, limit=1_000).posts
                except NoPermissionError:
                    with pytest.raises(NoPermissionError):
                        self.feeds.search(viewer, author=author, **asked)
                    continue
                shown = wanted(posts, expression, tag)
                everything += shown
                self.expect(shown, viewer, limit, author=author, **asked)
                theirs = [post for post in home if post.author == author]
                self.expect(theirs, viewer, limit, author=author, home=True, **asked)
            self.expect(everything, viewer, limit, **asked)
            self.expect(home, viewer, limit, home=True, **asked)

    def expect(self, posts: list[Post], viewer: str, limit: int, **asked: Any) -> None:
        expected = sorted(posts, key=self.place, reverse=True)
        found: list[tuple[str, list[tuple[bytes, bytes]]]] = []
        cursor = ""
        while True:
            page = self.feeds.search(viewer, limit=limit, after=cursor, wait=20, **asked)
            assert (page.total, page.exact) == (len(expected), True)
            found += [(hit.name, list(hit.fields)) for hit in page.hits]
            cursor = page.cursor
            if not cursor:
                break
            assert len(page.hits) == limit
        assert found == [(post.name, list(post.fields)) for post in expected]

    def place(self, post: Post) -> tuple[int, int, int]:
        """In the order of commits; within one as the index has them."""
        view = self.db.engine.view
        posts = view.find(b"@feed:" + post.author.encode())
        assert posts is not None
        row = view.entry(posts, post.seq)
        assert row is not None
        return row[1], post.seq, posts.id

    # --- what changes no answer ---------------------------------------------------------------

    @rule()
    def seal(self) -> None:
        self.db.compact()

    @rule(limit=st.sampled_from([0, 2, 500]), backfill=st.integers(0, 5), lost=st.booleans())
    def restart(self, limit: int, backfill: int, lost: bool) -> None:
        self.db.close()
        self.options = replace(self.options, feed_diffusion_limit=limit, feed_backfill=backfill)
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
        self.db.index.searchable.rebuild()


def wanted(posts: Iterable[Post], expression: Expression, tag: str | None) -> list[Post]:
    """The posts that a search is to find, of those that are shown."""
    return [post for post in posts if post.kind != "repost" and is_wanted(post, expression, tag)]


def is_wanted(post: Post, expression: Expression, tag: str | None) -> bool:
    said = [(name.decode(), value.decode()) for name, value in post.fields]
    given = [value for name, value in said if name == "@tags"]
    words = [(name, value) for name, value in said if name in FIELDS]
    if tag is not None and tag not in given:
        return False
    return bool(words or given) and fits(expression, words)


def test_a_search_finds_what_profiles_and_homes_show(model_examples: int) -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=model_examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_a_store_of_the_machine_is_searched() -> None:
    """Against a machine that searches nothing: posts are found at all."""
    machine = Machine()
    try:
        machine.publish_words("ann", "see you", None, ["sun"])
        machine.publish_words("bob", None, None, ["sun"])
        page = machine.feeds.search("cat", "", tag="sun", wait=20)
        assert [hit.name for hit in page.hits] == ["bob/2", "ann/2"]
        machine.compare(USERS, EVERYTHING, 1, query="", tag="sun")
    finally:
        machine.teardown()
