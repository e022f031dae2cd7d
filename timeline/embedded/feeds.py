"""The Python API of feeds: `db.feeds`.

Rule: as for `db.messaging`: the verbs of the wire with types, arguments in its order. A call that
writes returns when its commit is durable. Ids come back as `str`, values as `bytes`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from timeline.devices.presence import Presence
from timeline.embedded.calls import arguments
from timeline.embedded.calls.lease import Lease
from timeline.embedded.calls.reading import Reading
from timeline.embedded.feedpages import (
    FeedSyncPage,
    HomePage,
    NotePage,
    Post,
    PostPage,
    ReactorPage,
    SearchPage,
    UserPage,
    shown_home,
    shown_notes,
    shown_page,
    shown_post,
    shown_results,
    shown_sync,
    shown_users,
)
from timeline.feeds import (
    blocking,
    following,
    home,
    lists,
    notes,
    posts,
    profile,
    publishing,
    reactions,
    replies,
    requests,
    searching,
    settings,
    syncing,
)
from timeline.feeds.following import Followed
from timeline.feeds.frame import Frame, audience_of
from timeline.feeds.inspection import FeedUserFacts, inspect_user
from timeline.feeds.lists import Relation
from timeline.feeds.profile import AuthorInfo
from timeline.feeds.publishing import Published
from timeline.feeds.service import Feeds
from timeline.feeds.unseen import Unseen, count_unseen, see
from timeline.feeds.watching import waited_by
from timeline.formats.given import FieldsLike, Value, encode_fields, encode_name
from timeline.idempotency import Keys
from timeline.search.storeindex import StoreIndex

_DEFAULT_LIMIT: Final = 100  # posts or users of a page, where no `limit` is given


class FeedCalls:
    """What the users of one store publish, whom they follow, what they read."""

    def __init__(self, lease: Lease, keys: Keys, presence: Presence, index: StoreIndex) -> None:
        self._lease = lease
        self._engine = lease.engine
        self._options = lease.engine.options
        self.feeds = Feeds(lease.engine, keys, presence, index)

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
        silent: bool = False,
    ) -> Published:
        """Publish a post; with `key`, publishing it again stores nothing and says `duplicate`.

        The audience is `everybody`, `followers`, or `named`: those whom it mentions. `reply` and
        `repost` name posts, `author/number`. With `repost` and no fields it is a repost, of which
        an author has one at most of each post; with fields it is a quote. Of a `silent` post
        nobody gets a note.

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
            bool(silent),
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
        return [None if post is None else shown_post(post) for post in found]

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
        return shown_page(page)

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
        return shown_page(page)

    def react(
        self, author: Value, seq: int, user: Value, reaction: Value, *, remove: bool = False
    ) -> int:
        """Give a post a reaction of a user, or take it back; how many have it now. Raises
        `NoPermissionError` when the user may not see the post, `TooLargeError`.
        """
        whose, who, what = encode_name(author), encode_name(user), encode_name(reaction)
        which = arguments.sequence(seq)
        if remove:
            return self._engine.commit(
                lambda draft: reactions.unreact(draft, whose, which, who, what)
            )
        return self._engine.commit(
            lambda draft: reactions.react(draft, whose, which, who, what, self._options)
        )

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

    def home(self, user: Value, *, after: Value = "", limit: int = _DEFAULT_LIMIT) -> HomePage:
        """A page of what those published whom a user follows, and the user themselves. Raises
        `NotFoundError`.
        """
        who, token, count = encode_name(user), encode_name(after), arguments.page(limit)
        with self._reading():
            page = home.read_home(self.feeds, who, token, count)
        return shown_home(page)

    def search(
        self,
        viewer: Value,
        query: str,
        *,
        author: Value | None = None,
        tag: Value | None = None,
        home: bool = False,
        since: int | None = None,
        until: int | None = None,
        limit: int = 20,
        after: Value = "",
        wait: float = 0.0,
    ) -> SearchPage:
        """Posts that `viewer` may see, the newest first: of one author, with `home` of their home,
        or of anybody; `since` and `until` are times in ms. With a `tag` the query may be empty.

        With `wait` (seconds), first let the index reach what was committed before this call.
        Raises `IndexLagError` when that takes longer, `UsageError`, `NotFoundError`,
        `NoPermissionError`.
        """
        request = searching.Request(
            encode_name(viewer),
            arguments.text(query, "query"),
            None if author is None else encode_name(author),
            None if tag is None else encode_name(tag),
            bool(home),
            arguments.at(since, "since"),
            arguments.at(until, "until"),
            arguments.page(limit),
            encode_name(after),
        )
        self.feeds.index.catch_up(arguments.seconds(wait, "wait"))
        return shown_results(searching.search(self.feeds, request))

    # --- notes --------------------------------------------------------------------------------

    def notes(
        self,
        user: Value,
        *,
        kinds: Iterable[Value] = (),
        after: Value = "",
        limit: int = _DEFAULT_LIMIT,
    ) -> NotePage:
        """A page of what others did to a user and to their posts, of some `kinds` if they are
        given. Raises `NotFoundError`.
        """
        who, token, count = encode_name(user), encode_name(after), arguments.page(limit)
        wanted = arguments.names(kinds, "kinds")
        with self._reading():
            page = notes.read_notes(self._engine.view, who, token, count, wanted)
        return shown_notes(page)

    def unseen(self, user: Value) -> Unseen:
        """How many posts of their home and how many notes a user has not seen, each counted up to
        `unseen_limit`. Raises `NotFoundError`.
        """
        who = encode_name(user)
        with self._reading():
            return count_unseen(self.feeds, who)

    def seen(self, user: Value, position: Value, *, notes: bool = False) -> None:
        """A user has seen their home up to the `position` of a page, or their notes. It never goes
        back. Raises `NotFoundError`.
        """
        who, where = encode_name(user), encode_name(position)
        self._engine.commit(lambda draft: see(draft, self.feeds, who, where, notes=bool(notes)))

    # --- devices ------------------------------------------------------------------------------

    def sync(
        self,
        user: Value,
        device: Value,
        *,
        after: Value | None = None,
        limit: int = _DEFAULT_LIMIT,
        block: float = 0.0,
    ) -> FeedSyncPage:
        """What happened in a user's home and to them after a cursor, or after what the device
        acknowledged.

        With `block` (seconds) it waits for something to happen. `resync` means: read the home anew,
        and sync after the `position` of its first page. Raises `NotFoundError`, `UsageError`, and
        `ClosedError` when the store is closed meanwhile.
        """
        who, name = encode_name(user), encode_name(device)
        cursor = None if after is None else encode_name(after)
        count, seconds = arguments.page(limit), arguments.seconds(block, "block")
        feeds = self.feeds
        page: syncing.SyncPage | None = None
        with self._reading():
            waited = waited_by(feeds.view, who)

        def read() -> syncing.SyncPage | None:
            nonlocal cursor, page
            with self._reading():
                page = syncing.sync(feeds, who, name, cursor, count)
            cursor = page.cursor
            return page if page.found or seconds <= 0 else None

        began, ended = feeds.presence.arrive, feeds.presence.depart
        feeds.waiters.block(
            waited, read, seconds, began=partial(began, who, name), ended=partial(ended, who, name)
        )
        assert page is not None, "it is read before it waits"
        return shown_sync(page)

    def ack(self, user: Value, device: Value, cursor: Value) -> None:
        """Say that a device has dealt with everything up to `cursor`; never moves back. Raises
        `NotFoundError`, `UsageError`.
        """
        who, name, reached = encode_name(user), encode_name(device), encode_name(cursor)
        feeds = self.feeds
        self._engine.commit(
            lambda draft: syncing.acknowledge_feeds(draft, feeds, who, name, reached)
        )

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
        return shown_users(page)

    def following(
        self, viewer: Value, user: Value, *, after: Value = "", limit: int = _DEFAULT_LIMIT
    ) -> UserPage:
        """A page of those whom a user follows. Raises `NotFoundError`, `NoPermissionError`."""
        who, whose, token = encode_name(viewer), encode_name(user), encode_name(after)
        count = arguments.page(limit)
        with self._reading():
            page = lists.following(self._engine.view, who, whose, token, count)
        return shown_users(page)

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
        return shown_users(page)

    def answer(self, author: Value, user: Value, *, accept: bool) -> None:
        """Answer a request to follow. Raises `NotFoundError` when there is none."""
        whose, who = encode_name(author), encode_name(user)
        self._engine.commit(
            lambda draft: requests.answer(draft, whose, who, self._options, accept=bool(accept))
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
        return shown_users(page)

    def set(self, user: Value, author: Value, fields: FieldsLike) -> None:
        """Change settings. About oneself: `@protected`, `@pin`, and fields of one's own. About
        another author: `@mute`, `@reposts`, `@replies`, `@notify`. An empty value removes. Raises
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
