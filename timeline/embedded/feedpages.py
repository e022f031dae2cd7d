"""What `db.feeds` gives: posts, users and notes, in pages.

Rule: ids are `str`, values are `bytes`.
"""

from __future__ import annotations

from typing import NamedTuple

from timeline.entry import Fields
from timeline.feeds import home, lists, notes, posts, profile, syncing
from timeline.formats.entries import decode_items, seq_of
from timeline.search import pages


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


class HomePage(NamedTuple):
    """A page of a home. `position` goes to `seen`, once the user has seen its posts."""

    posts: list[Post]
    refs: dict[str, Post | None]
    cursor: str
    position: str


class Note(NamedTuple):
    """What others did to a post, or to the user themselves where `post` is empty. `kind` is
    `reply`, `mention`, `repost`, `quote`, `follow`, `request`, or the name of a reaction. `total`
    is how many there are, as the post or the author counts them. `users` are the newest three who
    did it, `posts` those with which they replied, quoted or mentioned. `first` and `time` (ms since
    the epoch) are when the user was first and last told.
    """

    kind: str
    post: str
    total: int
    users: list[str]
    posts: list[str]
    first: int
    time: int
    seen: bool


class NotePage(NamedTuple):
    """Notes, the newest first. `refs` are the posts that they name; None for one that is not the
    user's to see. The cursor, empty at the end, begins the next page. `position` goes to `seen`.
    """

    notes: list[Note]
    refs: dict[str, Post | None]
    cursor: str
    position: str


class FeedSyncEntry(NamedTuple):
    """What a device is told: the kind, the author, and the post, 0 where it is about the author."""

    kind: str
    author: str
    seq: int
    fields: Fields

    @property
    def id(self) -> str:
        return f"{self.seq}-0"

    def text(self, name: str, default: str | None = None) -> str:
        """The value of field `name` as text; where there is none `default`, if one is given. Raises
        `KeyError`, or `UnicodeDecodeError`.
        """
        return self.fields.text(name, default)


class FeedSyncPage(NamedTuple):
    """What a device is told, oldest first. `refs` are the posts that entries name; None for one
    that is not the user's to see.
    """

    entries: list[FeedSyncEntry]
    refs: dict[str, Post | None]
    cursor: str
    more: bool
    resync: bool


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


class Hit(NamedTuple):
    """A post that was found; `snippet` is HTML, with the matches between `<b>` and `</b>`."""

    author: str
    seq: int
    fields: Fields
    snippet: str

    @property
    def name(self) -> str:
        """The post as `get` takes it."""
        return f"{self.author}/{self.seq}"

    def text(self, name: str, default: str | None = None) -> str:
        """The value of field `name` as text; where there is none `default`, if one is given. Raises
        `KeyError`, or `UnicodeDecodeError`.
        """
        return self.fields.text(name, default)


class SearchPage(NamedTuple):
    """`total` hits in all when `exact`, else at least so many; `cursor` is empty at the end."""

    total: int
    exact: bool
    hits: list[Hit]
    cursor: str


def shown_post(post: posts.Post) -> Post:
    counts = {name.decode(): n for name, n in posts.counts_shown(post.counts).items()}
    own = [name.decode() for name in post.own]
    return Post(post.header.kind, post.author.decode(), post.seq, post.fields, counts, own)


def shown_page(page: profile.PostPage) -> PostPage:
    posts = [shown_post(post) for post in page.posts]
    return PostPage(posts, _shown_references(page.refs), page.cursor.decode())


def shown_home(page: home.HomePage) -> HomePage:
    posts = [shown_post(post) for post in page.posts]
    refs = _shown_references(page.refs)
    return HomePage(posts, refs, page.cursor.decode(), page.position.decode())


def _shown_references(refs: posts.References) -> dict[str, Post | None]:
    return {
        name.decode(): None if post is None else shown_post(post) for name, post in refs.items()
    }


def shown_notes(page: notes.NotePage) -> NotePage:
    found = [
        Note(
            each.kind.decode(),
            each.post.decode(),
            each.total,
            [user.decode() for user in each.users],
            [name.decode() for name in each.posts],
            each.first,
            each.time,
            each.seen,
        )
        for each in page.notes
    ]
    refs = _shown_references(page.refs)
    return NotePage(found, refs, page.cursor.decode(), page.position.decode())


def shown_sync(page: syncing.SyncPage) -> FeedSyncPage:
    entries = [
        FeedSyncEntry(each.kind, each.source.decode(), each.seq, each.fields)
        for each in page.entries
    ]
    refs = _shown_references(page.refs)
    return FeedSyncPage(entries, refs, page.cursor.decode(), page.more, page.resync)


def shown_results(results: pages.Results) -> SearchPage:
    found = [
        Hit(author.decode(), seq_of(payload), Fields(decode_items(payload)), marked)
        for author, payload, marked in results.hits
    ]
    return SearchPage(results.total, results.exact, found, results.cursor.decode())


def shown_users(page: lists.UserPage) -> UserPage:
    users = [Listed(each.user.decode(), each.since) for each in page.users]
    return UserPage(users, page.total, page.cursor.decode())
