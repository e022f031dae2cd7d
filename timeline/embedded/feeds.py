"""The Python API of feeds: `db.feeds`.

Rule: as for `db.messaging`: the verbs of the wire with types, arguments in its order. A call that
writes returns when its commit is durable. Ids come back as `str`, values as `bytes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from timeline.embedded.calls import arguments
from timeline.embedded.calls.lease import Lease
from timeline.embedded.calls.reading import Reading
from timeline.entry import Fields
from timeline.feeds import (
    blocking,
    following,
    home,
    lists,
    posts,
    profile,
    publishing,
    reactions,
    replies,
    requests,
    settings,
)
from timeline.feeds.following import Followed
from timeline.feeds.frame import Frame, audience_of
from timeline.feeds.inspection import FeedUserFacts, inspect_user
from timeline.feeds.lists import Relation
from timeline.feeds.profile import AuthorInfo
from timeline.feeds.publishing import Published
from timeline.feeds.service import Feeds
from timeline.formats.given import FieldsLike, Value, encode_fields, encode_name
from timeline.idempotency import Keys

_DEFAULT_LIMIT: Final = 100  # posts or users of a page, where no `limit` is given


class Post(NamedTuple):
    """Post `seq` of `author`. `kind` is `post`, `reply` or `repost`. `counts` says how many
    `replies`, `reposts`, `quotes` and reactions of each name it has, of what it has any. `own` are
    the reactions of the viewer.
    """

    kind: str
    author: str
    seq: int
    fields: Fields
    counts: dict[str, int]
    own: list[str]

    @property
    def id(self) -> str:
        return f"{self.seq}-0"

    @property
    def name(self) -> str:
        """The post as `get` takes it."""
        return f"{self.author}/{self.seq}"

    def text(self, name: str, default: str | None = None) -> str:
        """The value of field `name` as text; where there is none `default`, if one is given. Raises
        `KeyError`, or `UnicodeDecodeError`.
        """
        return self.fields.text(name, default)


class PostPage(NamedTuple):
    """Posts; those of a home and a profile come newest first, replies oldest first. `refs` are the
    posts that these name, by name; None for one that is not there, or not the viewer's to see. The
    cursor, empty at the end, begins the next page.
    """

    posts: list[Post]
    refs: dict[str, Post | None]
    cursor: str


class Listed(NamedTuple):
    """A user, and since when (ms since the epoch)."""

    user: str
    since: int


class UserPage(NamedTuple):
    """The newest first, of `total`; the cursor, empty at the end, begins the next page."""

    users: list[Listed]
    total: int
    cursor: str


class ReactorPage(NamedTuple):
    """Some of the `total` users who have a reaction; the cursor, empty at the end, begins the next
    page.
    """

    users: list[str]
    total: int
    cursor: str


class FeedCalls:
    """What the users of one store publish, whom they follow, what they read."""

    def __init__(self, lease: Lease, keys: Keys) -> None:
        self._lease = lease
        self._engine = lease.engine
        self._options = lease.engine.options
        self.feeds = Feeds(lease.engine, keys)

    # --- posts --------------------------------------------------------------------------------

    def publish(
        self,
        author: Value,
        fields: FieldsLike = (),
        *,
        key: Value | None = None,
        audience: str = "everybody",
        reply: Value | None = None,
        repost: Value | None = None,
        mentions: Iterable[Value] = (),
        tags: Iterable[Value] = (),
    ) -> Published:
        """Publish a post; with `key`, publishing it again stores nothing and says `duplicate`.

        The audience is `everybody`, `followers`, or `named`: those whom it mentions. `reply` and
        `repost` name posts, `author/number`. With `repost` and no fields it is a repost, of which
        an author has one at most of each post; with fields it is a quote.

        Raises `ConflictError` when the key stored other content, `NotFoundError` when somebody
        mentioned is nobody, `NoPermissionError` when the author may not see a post that it names.
        """
        who, content = encode_name(author), encode_fields(fields)
        once = None if key is None else encode_name(key)
        frame = Frame(
            audience_of(encode_name(audience)),
            _post(reply),
            _post(repost),
            arguments.names(mentions, "users"),
            arguments.names(tags, "tags"),
        )
        return self._engine.commit(
            lambda draft: publishing.publish(
                draft,
                who,
                content,
                keys=self.feeds.keys,
                options=self._options,
                key=once,
                frame=frame if any(frame) else None,
            )
        )

    def edit(self, author: Value, seq: int, actor: Value = "-", fields: FieldsLike = ()) -> None:
        """Replace the fields of a post, as its author or as the application. Raises
        `NotFoundError`, `NoPermissionError`.
        """
        whose, who, content = encode_name(author), encode_name(actor), encode_fields(fields)
        which = arguments.sequence(seq)
        self._engine.commit(
            lambda draft: publishing.edit(draft, whose, which, who, content, self._options)
        )

    def delete(self, author: Value, seq: int, actor: Value = "-") -> None:
        """Delete a post; again it does nothing. Raises `NotFoundError`, `NoPermissionError`."""
        whose, who, which = encode_name(author), encode_name(actor), arguments.sequence(seq)
        self._engine.commit(lambda draft: publishing.delete(draft, whose, which, who))

    def get(self, viewer: Value, names: Iterable[Value]) -> list[Post | None]:
        """Posts by their names, `author/number`; None for one that is not there."""
        who, wanted = encode_name(viewer), arguments.names(names, "posts")
        with self._reading():
            found = profile.get(self._engine.view, who, wanted)
        return [None if post is None else _shown(post) for post in found]

    def profile(
        self,
        viewer: Value,
        author: Value,
        *,
        without: str = "",
        after: Value = "",
        limit: int = _DEFAULT_LIMIT,
    ) -> PostPage:
        """A page of what an author published, newest first, without their `replies` or `reposts`
        if `without` says so. Raises `NotFoundError`.
        """
        who, whose, token = encode_name(viewer), encode_name(author), encode_name(after)
        count, hidden = arguments.page(limit), encode_name(without) or None
        with self._reading():
            page = profile.profile(self._engine.view, who, whose, token, count, hidden)
        return _page(page)

    def replies(
        self,
        viewer: Value,
        author: Value,
        seq: int,
        *,
        after: Value = "",
        limit: int = _DEFAULT_LIMIT,
    ) -> PostPage:
        """A page of replies to a post, oldest first. Raises `NoPermissionError` when the viewer may
        not see that post.
        """
        who, whose, token = encode_name(viewer), encode_name(author), encode_name(after)
        which, count = arguments.sequence(seq), arguments.page(limit)
        with self._reading():
            page = replies.replies(self._engine.view, who, whose, which, token, count)
        return _page(page)

    def react(
        self, author: Value, seq: int, user: Value, reaction: Value, *, remove: bool = False
    ) -> int:
        """Give a post a reaction of a user, or take it back; how many have it now. Raises
        `NoPermissionError` when the user may not see the post, `TooLargeError`.
        """
        whose, who, what = encode_name(author), encode_name(user), encode_name(reaction)
        which = arguments.sequence(seq)
        act = reactions.unreact if remove else reactions.react
        return self._engine.commit(lambda draft: act(draft, whose, which, who, what))

    def reactors(
        self,
        viewer: Value,
        author: Value,
        seq: int,
        reaction: Value,
        *,
        after: Value = "",
        limit: int = _DEFAULT_LIMIT,
    ) -> ReactorPage:
        """A page of those who have a reaction to a post, in the order in which they became users.
        Raises `NoPermissionError`.
        """
        who, whose, what = encode_name(viewer), encode_name(author), encode_name(reaction)
        which, token = arguments.sequence(seq), encode_name(after)
        count = arguments.page(limit)
        with self._reading():
            view = self._engine.view
            page = reactions.reactors(view, who, whose, which, what, token, count)
        return ReactorPage([user.decode() for user in page.users], page.total, page.cursor.decode())

    def home(self, user: Value, *, after: Value = "", limit: int = _DEFAULT_LIMIT) -> PostPage:
        """A page of what those published whom a user follows, and the user themselves. Raises
        `NotFoundError`.
        """
        who, token, count = encode_name(user), encode_name(after), arguments.page(limit)
        with self._reading():
            page = home.read_home(self.feeds, who, token, count)
        return _page(page)

    # --- following ----------------------------------------------------------------------------

    def follow(self, user: Value, authors: Iterable[Value]) -> Followed:
        """Follow authors, at most 100; of those who are protected it asks. Raises `NotFoundError`,
        `NoPermissionError` where one blocks the other, `TooLargeError`.
        """
        who, wanted = encode_name(user), _users(authors)
        return self._engine.commit(
            lambda draft: following.follow(draft, who, wanted, self._options)
        )

    def unfollow(self, user: Value, authors: Iterable[Value]) -> int:
        """Follow authors no longer, at most 100, and take requests back; of how many that was
        so.
        """
        who, wanted = encode_name(user), _users(authors)
        return self._engine.commit(
            lambda draft: following.unfollow(draft, who, wanted, self._options)
        )

    def followers(
        self, viewer: Value, user: Value, *, after: Value = "", limit: int = _DEFAULT_LIMIT
    ) -> UserPage:
        """A page of those who follow a user. Raises `NotFoundError`, `NoPermissionError`."""
        who, whose, token = encode_name(viewer), encode_name(user), encode_name(after)
        count = arguments.page(limit)
        with self._reading():
            page = lists.followers(self._engine.view, who, whose, token, count)
        return _list(page)

    def following(
        self, viewer: Value, user: Value, *, after: Value = "", limit: int = _DEFAULT_LIMIT
    ) -> UserPage:
        """A page of those whom a user follows. Raises `NotFoundError`, `NoPermissionError`."""
        who, whose, token = encode_name(viewer), encode_name(user), encode_name(after)
        count = arguments.page(limit)
        with self._reading():
            page = lists.following(self._engine.view, who, whose, token, count)
        return _list(page)

    def relation(self, user: Value, others: Iterable[Value]) -> list[Relation]:
        """What a user has with each of the others."""
        who, wanted = encode_name(user), _users(others)
        with self._reading():
            return lists.relations(self._engine.view, who, wanted)

    def requests(
        self, author: Value, *, after: Value = "", limit: int = _DEFAULT_LIMIT
    ) -> UserPage:
        """A page of those who asked to follow a protected author. Raises `NotFoundError`."""
        who, token, count = encode_name(author), encode_name(after), arguments.page(limit)
        with self._reading():
            page = lists.requests(self._engine.view, who, token, count)
        return _list(page)

    def answer(self, author: Value, user: Value, *, accept: bool) -> None:
        """Answer a request to follow. Raises `NotFoundError` when there is none."""
        whose, who = encode_name(author), encode_name(user)
        self._engine.commit(
            lambda draft: requests.answer(draft, whose, who, self._options, accept=accept)
        )

    def remove(self, author: Value, followers: Iterable[Value]) -> int:
        """Have users follow an author no longer, at most 100; how many did."""
        whose, wanted = encode_name(author), _users(followers)
        return self._engine.commit(
            lambda draft: requests.remove(draft, whose, wanted, self._options)
        )

    # --- blocks and settings ------------------------------------------------------------------

    def block(self, user: Value, others: Iterable[Value]) -> int:
        """Block users, at most 100: neither sees the other any more, and neither follows the other.
        How many were not blocked before. Raises `NotFoundError`.
        """
        who, wanted = encode_name(user), _users(others)
        return self._engine.commit(lambda draft: blocking.block(draft, who, wanted, self._options))

    def unblock(self, user: Value, others: Iterable[Value]) -> int:
        """Block users no longer, at most 100; how many were blocked."""
        who, wanted = encode_name(user), _users(others)
        return self._engine.commit(lambda draft: blocking.unblock(draft, who, wanted))

    def blocked(self, user: Value, *, after: Value = "", limit: int = _DEFAULT_LIMIT) -> UserPage:
        """A page of those whom a user blocks. Raises `NotFoundError`."""
        who, token, count = encode_name(user), encode_name(after), arguments.page(limit)
        with self._reading():
            page = lists.blocked(self._engine.view, who, token, count)
        return _list(page)

    def set(self, user: Value, author: Value, fields: FieldsLike) -> None:
        """Change settings. About oneself: `@protected`, `@pin`, and fields of one's own. About
        another author: `@mute`, `@reposts`, `@replies`. An empty value removes. Raises
        `NotFoundError`, `TooLargeError`.
        """
        who, whose, items = encode_name(user), encode_name(author), encode_fields(fields)
        self._engine.commit(lambda draft: settings.set_fields(draft, who, whose, items))

    def info(self, viewer: Value, author: Value) -> AuthorInfo:
        """How many posts and followers an author has, whether they are protected, what the viewer
        has with them, and what they say of themselves. Raises `NotFoundError`, `NoPermissionError`.
        """
        who, whose = encode_name(viewer), encode_name(author)
        with self._reading():
            return profile.info(self._engine.view, who, whose)

    def inspect(self, user: Value, *, post: Value | None = None) -> FeedUserFacts:
        """What a user is as an author and a reader, and why a post is in their home or not. Raises
        `NotFoundError`.
        """
        who, which = encode_name(user), None if post is None else encode_name(post)
        with self._reading():
            return inspect_user(self.feeds, who, which)

    def _reading(self) -> Reading:
        return Reading(self._engine)


def _users(values: Iterable[Value]) -> list[bytes]:
    return arguments.names(values, "users")


def _post(name: Value | None) -> bytes:
    """The name of a post, or nothing."""
    if name is None:
        return b""
    encoded = encode_name(name)
    posts.split_post(encoded)
    return encoded


def _shown(post: posts.Post) -> Post:
    counts = {name.decode(): n for name, n in posts.counts_shown(post.counts).items()}
    own = [name.decode() for name in post.own]
    return Post(post.header.kind, post.author.decode(), post.seq, post.fields, counts, own)


def _page(page: profile.PostPage) -> PostPage:
    refs = {
        name.decode(): None if post is None else _shown(post) for name, post in page.refs.items()
    }
    return PostPage([_shown(post) for post in page.posts], refs, page.cursor.decode())


def _list(page: lists.UserPage) -> UserPage:
    users = [Listed(each.user.decode(), each.since) for each in page.users]
    return UserPage(users, page.total, page.cursor.decode())
