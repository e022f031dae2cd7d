"""One set of verbs for feeds, through both doors: embedded and over the wire.

Rule: as in tests/messaging/doors: a door only translates. Ids are text, a refusal is a `Refused`
that begins with the code of contract.md.
"""

# ruff: noqa: ANN401  what redis-py and the embedded API give

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from tests.engine.adapters import refusals
from tests.messaging.doors.door import pairs_of
from tests.messaging.doors.embedded import EmbeddedDoor
from tests.messaging.doors.wire import WireDoor

_WAIT_SECONDS = 20  # for the index, at most


class Post(NamedTuple):
    name: str
    kind: str
    fields: tuple[tuple[bytes, bytes], ...]
    counts: dict[str, int]
    own: list[str]

    @property
    def text(self) -> str:
        return dict(self.fields)[b"text"].decode()

    def values(self, field: str) -> list[str]:
        return [value.decode() for name, value in self.fields if name.decode() == field]


class Page(NamedTuple):
    posts: list[Post]
    refs: dict[str, Post | None]
    cursor: str
    position: str = ""  # homes have one

    @property
    def names(self) -> list[str]:
        return [post.name for post in self.posts]


class Note(NamedTuple):
    kind: str
    post: str
    total: int
    users: list[str]
    posts: list[str]
    seen: bool


class Notes(NamedTuple):
    notes: list[Note]
    refs: dict[str, Post | None]
    cursor: str
    position: str


class Told(NamedTuple):
    """What a device is told: `kind author/number`, or `kind author`, and the fields."""

    what: str
    fields: tuple[tuple[bytes, bytes], ...]

    @property
    def values(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.fields}


class Sync(NamedTuple):
    entries: list[Told]
    refs: dict[str, Post | None]
    cursor: str
    more: bool
    resync: bool

    @property
    def told(self) -> list[str]:
        return [each.what for each in self.entries]


class Found(NamedTuple):
    """A post that was found."""

    name: str
    fields: tuple[tuple[bytes, bytes], ...]
    snippet: str


class Results(NamedTuple):
    total: int
    exact: bool
    hits: list[Found]
    cursor: str

    @property
    def names(self) -> list[str]:
        return [hit.name for hit in self.hits]


class Users(NamedTuple):
    users: list[str]
    total: int
    cursor: str


class Door(Protocol):
    def publish(self, author: str, text: str | None, **options: Any) -> tuple[str, str]:
        """(name of the post, status); without a text it has no fields."""

    def edit_post(self, author: str, seq: int, text: str, actor: str = "-") -> None: ...
    def delete_post(self, author: str, seq: int, actor: str = "-") -> None: ...
    def get(self, viewer: str, *names: str) -> list[Post | None]: ...
    def profile(
        self, viewer: str, author: str, after: str = "", limit: int = 100, without: str = ""
    ) -> Page: ...
    def replies(self, viewer: str, post: str, after: str = "", limit: int = 100) -> Page: ...
    def home(self, user: str, after: str = "", limit: int = 100) -> Page: ...
    def search(self, viewer: str, query: str, **options: Any) -> Results:
        """The index first reaches what was committed before. Options are those of `db.feeds`."""

    def follow(self, user: str, *authors: str) -> tuple[int, int]: ...
    def unfollow(self, user: str, *authors: str) -> int: ...
    def followers(
        self, user: str, after: str = "", limit: int = 100, viewer: str = "somebody"
    ) -> Users: ...
    def following(
        self, user: str, after: str = "", limit: int = 100, viewer: str = "somebody"
    ) -> Users: ...
    def requests(self, author: str, after: str = "", limit: int = 100) -> Users: ...
    def blocked(self, user: str, after: str = "", limit: int = 100) -> Users: ...
    def answer(self, author: str, user: str, word: str) -> None: ...
    def remove(self, author: str, *followers: str) -> int: ...
    def block(self, user: str, *others: str) -> int: ...
    def unblock(self, user: str, *others: str) -> int: ...
    def set_about(self, user: str, author: str, **fields: str) -> None:
        """Names of the store's settings without their `@`."""

    def set_own(self, user: str, **fields: str) -> None: ...
    def relation(self, user: str, *others: str) -> list[list[str]]: ...
    def author(self, viewer: str, author: str) -> dict[str, Any]: ...
    def react(self, post: str, user: str, reaction: str, *, remove: bool = False) -> int: ...
    def reactors(
        self, viewer: str, post: str, reaction: str, after: str = "", limit: int = 100
    ) -> Users: ...
    def notes(self, user: str, *kinds: str, after: str = "", limit: int = 100) -> Notes: ...
    def unseen(self, user: str) -> tuple[int, int]: ...
    def seen(self, user: str, position: str, *, notes: bool = False) -> None: ...
    def sync_feed(
        self, user: str, device: str, after: str | None = None, limit: int = 100, block: float = 0
    ) -> Sync: ...
    def ack_feed(self, user: str, device: str, cursor: str) -> None: ...
    def online(self, user: str) -> bool: ...
    def devices(self, user: str) -> dict[str, Any]: ...
    def forget_device(self, user: str, device: str) -> None: ...
    def restart(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class EmbeddedFeeds(EmbeddedDoor):
    def publish(self, author: str, text: str | None, **options: Any) -> tuple[str, str]:
        with refusals():
            fields = {} if text is None else {"text": text}
            done = self.db.feeds.publish(author, fields, **options)
        return f"{author}/{done.seq}", done.status

    def edit_post(self, author: str, seq: int, text: str, actor: str = "-") -> None:
        with refusals():
            self.db.feeds.edit(author, seq, actor, {"text": text})

    def delete_post(self, author: str, seq: int, actor: str = "-") -> None:
        with refusals():
            self.db.feeds.delete(author, seq, actor)

    def get(self, viewer: str, *names: str) -> list[Post | None]:
        with refusals():
            found = self.db.feeds.get(viewer, names)
        return [None if each is None else _embedded(each) for each in found]

    def profile(
        self, viewer: str, author: str, after: str = "", limit: int = 100, without: str = ""
    ) -> Page:
        with refusals():
            page = self.db.feeds.profile(viewer, author, without=without, after=after, limit=limit)
        return _of_pages(page)

    def replies(self, viewer: str, post: str, after: str = "", limit: int = 100) -> Page:
        author, _, seq = post.rpartition("/")
        with refusals():
            page = self.db.feeds.replies(viewer, author, int(seq), after=after, limit=limit)
        return _of_pages(page)

    def home(self, user: str, after: str = "", limit: int = 100) -> Page:
        with refusals():
            page = self.db.feeds.home(user, after=after, limit=limit)
        return _of_pages(page)

    def search(self, viewer: str, query: str, **options: Any) -> Results:
        with refusals():
            page = self.db.feeds.search(viewer, query, wait=_WAIT_SECONDS, **options)
        hits = [Found(hit.name, tuple(hit.fields), hit.snippet) for hit in page.hits]
        return Results(page.total, page.exact, hits, page.cursor)

    def follow(self, user: str, *authors: str) -> tuple[int, int]:
        with refusals():
            followed, requested = self.db.feeds.follow(user, authors)
        return followed, requested

    def unfollow(self, user: str, *authors: str) -> int:
        with refusals():
            return self.db.feeds.unfollow(user, authors)

    def followers(
        self, user: str, after: str = "", limit: int = 100, viewer: str = "somebody"
    ) -> Users:
        with refusals():
            return _listed(self.db.feeds.followers(viewer, user, after=after, limit=limit))

    def following(
        self, user: str, after: str = "", limit: int = 100, viewer: str = "somebody"
    ) -> Users:
        with refusals():
            return _listed(self.db.feeds.following(viewer, user, after=after, limit=limit))

    def requests(self, author: str, after: str = "", limit: int = 100) -> Users:
        with refusals():
            return _listed(self.db.feeds.requests(author, after=after, limit=limit))

    def blocked(self, user: str, after: str = "", limit: int = 100) -> Users:
        with refusals():
            return _listed(self.db.feeds.blocked(user, after=after, limit=limit))

    def answer(self, author: str, user: str, word: str) -> None:
        with refusals():
            self.db.feeds.answer(author, user, accept=word == "accept")

    def remove(self, author: str, *followers: str) -> int:
        with refusals():
            return self.db.feeds.remove(author, followers)

    def block(self, user: str, *others: str) -> int:
        with refusals():
            return self.db.feeds.block(user, others)

    def unblock(self, user: str, *others: str) -> int:
        with refusals():
            return self.db.feeds.unblock(user, others)

    def set_about(self, user: str, author: str, **fields: str) -> None:
        with refusals():
            self.db.feeds.set(user, author, {f"@{name}": text for name, text in fields.items()})

    def set_own(self, user: str, **fields: str) -> None:
        with refusals():
            self.db.feeds.set(user, user, fields)

    def relation(self, user: str, *others: str) -> list[list[str]]:
        with refusals():
            found = self.db.feeds.relation(user, others)
        return [[name for name, so in each._asdict().items() if so] for each in found]

    def react(self, post: str, user: str, reaction: str, *, remove: bool = False) -> int:
        author, _, seq = post.rpartition("/")
        with refusals():
            return self.db.feeds.react(author, int(seq), user, reaction, remove=remove)

    def reactors(
        self, viewer: str, post: str, reaction: str, after: str = "", limit: int = 100
    ) -> Users:
        author, _, seq = post.rpartition("/")
        with refusals():
            page = self.db.feeds.reactors(
                viewer, author, int(seq), reaction, after=after, limit=limit
            )
        return Users(*page)

    def notes(self, user: str, *kinds: str, after: str = "", limit: int = 100) -> Notes:
        with refusals():
            page = self.db.feeds.notes(user, kinds=kinds, after=after, limit=limit)
        found = [
            Note(each.kind, each.post, each.total, each.users, each.posts, each.seen)
            for each in page.notes
        ]
        assert all(each.first <= each.time for each in page.notes)
        return Notes(found, _embedded_refs(page.refs), page.cursor, page.position)

    def unseen(self, user: str) -> tuple[int, int]:
        with refusals():
            found = self.db.feeds.unseen(user)
        return found.posts, found.notes

    def seen(self, user: str, position: str, *, notes: bool = False) -> None:
        with refusals():
            self.db.feeds.seen(user, position, notes=notes)

    def sync_feed(
        self, user: str, device: str, after: str | None = None, limit: int = 100, block: float = 0
    ) -> Sync:
        with refusals():
            page = self.db.feeds.sync(user, device, after=after, limit=limit, block=block)
        told = [
            Told(_told(each.kind, each.author, each.seq), tuple(each.fields))
            for each in page.entries
        ]
        return Sync(told, _embedded_refs(page.refs), page.cursor, page.more, page.resync)

    def ack_feed(self, user: str, device: str, cursor: str) -> None:
        with refusals():
            self.db.feeds.ack(user, device, cursor)

    def author(self, viewer: str, author: str) -> dict[str, Any]:
        with refusals():
            found = self.db.feeds.info(viewer, author)._asdict()
        words = [name for name, so in found["relation"]._asdict().items() if so]
        return {**found, "protected": int(found["protected"]), "relation": words}


class WireFeeds(WireDoor):
    def publish(self, author: str, text: str | None, **options: Any) -> tuple[str, str]:
        words: list[Any] = []
        for option, value in options.items():
            words.append("FOR" if option == "audience" else option.upper())
            if option != "silent":
                words += [len(value), *value] if isinstance(value, list) else [value]
        words += [] if text is None else ["*", "text", text]
        seq, _, status = self.do("FEED.PUBLISH", author, *words)
        return f"{author}/{seq}", status.decode()

    def edit_post(self, author: str, seq: int, text: str, actor: str = "-") -> None:
        self.do("FEED.EDIT", author, seq, actor, "*", "text", text)

    def delete_post(self, author: str, seq: int, actor: str = "-") -> None:
        self.do("FEED.DELETE", author, seq, actor)

    def get(self, viewer: str, *names: str) -> list[Post | None]:
        found = self.do("FEED.GET", viewer, *names)
        return [None if each is None else _of_wire(each) for each in found]

    def profile(
        self, viewer: str, author: str, after: str = "", limit: int = 100, without: str = ""
    ) -> Page:
        words = ["WITHOUT", without] if without else []
        return _page(self.do("FEED.PROFILE", viewer, author, *words, *_paging(after, limit)))

    def replies(self, viewer: str, post: str, after: str = "", limit: int = 100) -> Page:
        author, _, seq = post.rpartition("/")
        return _page(self.do("FEED.REPLIES", viewer, author, seq, *_paging(after, limit)))

    def home(self, user: str, after: str = "", limit: int = 100) -> Page:
        return _page(self.do("FEED.HOME", user, *_paging(after, limit)))

    def search(self, viewer: str, query: str, **options: Any) -> Results:
        words: list[Any] = ["WAIT", _WAIT_SECONDS * 1000]
        for option, value in options.items():
            if option == "home":
                words += ["HOME"] * value
            else:
                words += ["COUNT" if option == "limit" else option.upper(), value]
        page = self.do("FEED.SEARCH", viewer, query, *words)
        hits = [
            Found(_name(author, post_id), pairs_of(items), snippet.decode())
            for author, post_id, items, snippet in page[b"hits"]
        ]
        return Results(page[b"total"], bool(page[b"exact"]), hits, page[b"cursor"].decode())

    def follow(self, user: str, *authors: str) -> tuple[int, int]:
        followed, requested = self.do("FEED.FOLLOW", user, *authors)
        return followed, requested

    def unfollow(self, user: str, *authors: str) -> int:
        return int(self.do("FEED.UNFOLLOW", user, *authors))

    def followers(
        self, user: str, after: str = "", limit: int = 100, viewer: str = "somebody"
    ) -> Users:
        return _users(self.do("FEED.FOLLOWERS", viewer, user, *_paging(after, limit)))

    def following(
        self, user: str, after: str = "", limit: int = 100, viewer: str = "somebody"
    ) -> Users:
        return _users(self.do("FEED.FOLLOWING", viewer, user, *_paging(after, limit)))

    def requests(self, author: str, after: str = "", limit: int = 100) -> Users:
        return _users(self.do("FEED.REQUESTS", author, *_paging(after, limit)))

    def blocked(self, user: str, after: str = "", limit: int = 100) -> Users:
        return _users(self.do("FEED.BLOCKED", user, *_paging(after, limit)))

    def answer(self, author: str, user: str, word: str) -> None:
        self.do("FEED.ANSWER", author, user, word)

    def remove(self, author: str, *followers: str) -> int:
        return int(self.do("FEED.REMOVE", author, *followers))

    def block(self, user: str, *others: str) -> int:
        return int(self.do("FEED.BLOCK", user, *others))

    def unblock(self, user: str, *others: str) -> int:
        return int(self.do("FEED.UNBLOCK", user, *others))

    def set_about(self, user: str, author: str, **fields: str) -> None:
        items = [item for name, text in fields.items() for item in (f"@{name}", text)]
        self.do("FEED.SET", user, author, "*", *items)

    def set_own(self, user: str, **fields: str) -> None:
        items = [item for pair in fields.items() for item in pair]
        self.do("FEED.SET", user, user, "*", *items)

    def relation(self, user: str, *others: str) -> list[list[str]]:
        found = self.do("FEED.RELATION", user, *others)
        return [[word.decode() for word in each] for each in found]

    def react(self, post: str, user: str, reaction: str, *, remove: bool = False) -> int:
        author, _, seq = post.rpartition("/")
        words = ["REMOVE"] if remove else []
        return int(self.do("FEED.REACT", author, seq, user, reaction, *words))

    def reactors(
        self, viewer: str, post: str, reaction: str, after: str = "", limit: int = 100
    ) -> Users:
        author, _, seq = post.rpartition("/")
        words = _paging(after, limit)
        found = self.do("FEED.REACTORS", viewer, author, seq, reaction, *words)
        users = [user.decode() for user in found[b"users"]]
        return Users(users, found[b"total"], found[b"cursor"].decode())

    def notes(self, user: str, *kinds: str, after: str = "", limit: int = 100) -> Notes:
        words = [word for kind in kinds for word in ("KIND", kind)]
        page = self.do("FEED.NOTES", user, *words, *_paging(after, limit))
        found = [_note(each) for each in page[b"notes"]]
        cursor, position = page[b"cursor"].decode(), page[b"position"].decode()
        return Notes(found, _wire_refs(page[b"refs"]), cursor, position)

    def unseen(self, user: str) -> tuple[int, int]:
        posts, notes = self.do("FEED.UNSEEN", user)
        return posts, notes

    def seen(self, user: str, position: str, *, notes: bool = False) -> None:
        self.do("FEED.SEEN", user, position, *(("NOTES",) if notes else ()))

    def sync_feed(
        self, user: str, device: str, after: str | None = None, limit: int = 100, block: float = 0
    ) -> Sync:
        words: list[Any] = [] if after is None else ["AFTER", after]
        words += ["BLOCK", int(1000 * block)] if block else []
        page = self.do("FEED.SYNC", user, device, *words, "COUNT", limit)
        told = []
        for kind, author, post_id, items in page[b"entries"]:
            seq = int(post_id.removesuffix(b"-0"))
            told.append(Told(_told(kind.decode(), author.decode(), seq), pairs_of(items)))
        more, resync = bool(page[b"more"]), bool(page[b"resync"])
        return Sync(told, _wire_refs(page[b"refs"]), page[b"cursor"].decode(), more, resync)

    def ack_feed(self, user: str, device: str, cursor: str) -> None:
        self.do("FEED.ACK", user, device, cursor)

    def author(self, viewer: str, author: str) -> dict[str, Any]:
        found = {
            name.decode(): value for name, value in self.do("FEED.INFO", viewer, author).items()
        }
        return {**found, "relation": [word.decode() for word in found["relation"]]}


def _told(kind: str, author: str, seq: int) -> str:
    return f"{kind} {author}/{seq}" if seq else f"{kind} {author}"


def _paging(after: str, limit: int) -> list[Any]:
    return [*(("AFTER", after) if after else ()), "COUNT", limit]


def _page(found: Any) -> Page:
    posts = [_of_wire(each) for each in found[b"posts"]]
    position = found.get(b"position", b"").decode()
    return Page(posts, _wire_refs(found[b"refs"]), found[b"cursor"].decode(), position)


def _wire_refs(found: Any) -> dict[str, Post | None]:
    return {name.decode(): None if each is None else _of_wire(each) for name, each in found.items()}


def _note(each: Any) -> Note:
    assert each[b"first"] <= each[b"time"]
    users, posts = ([name.decode() for name in each[what]] for what in (b"users", b"posts"))
    kind, post = each[b"kind"].decode(), each[b"post"].decode()
    return Note(kind, post, each[b"count"], users, posts, bool(each[b"seen"]))


def _listed(page: Any) -> Users:
    return Users([each.user for each in page.users], page.total, page.cursor)


def _users(found: Any) -> Users:
    users = [user.decode() for user, _ in found[b"users"]]
    return Users(users, found[b"total"], found[b"cursor"].decode())


def _of_wire(each: Any) -> Post:
    kind, author, post_id, items, counts, own = each
    name = _name(author, post_id)
    counted = {what.decode(): n for what, n in zip(counts[::2], counts[1::2], strict=True)}
    return Post(name, kind.decode(), pairs_of(items), counted, [each.decode() for each in own])


def _name(author: bytes, post_id: bytes) -> str:
    return f"{author.decode()}/{post_id.decode().removesuffix('-0')}"


def _of_pages(page: Any) -> Page:
    posts = [_embedded(each) for each in page.posts]
    return Page(posts, _embedded_refs(page.refs), page.cursor, getattr(page, "position", ""))


def _embedded_refs(found: Any) -> dict[str, Post | None]:
    return {name: None if each is None else _embedded(each) for name, each in found.items()}


def _embedded(each: Any) -> Post:
    return Post(each.name, each.kind, tuple(each.fields), each.counts, each.own)
