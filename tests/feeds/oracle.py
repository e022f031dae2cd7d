"""What feeds must answer: plain lists of posts and sets of follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple


class Published(NamedTuple):
    """A post, as it is now. `reply` and `repost` name posts; a plain repost has no text."""

    author: str
    seq: int
    text: str = ""
    audience: str = "everybody"
    reply: str = ""
    repost: str = ""
    mentions: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.author}/{self.seq}"

    @property
    def plain(self) -> bool:
        return bool(self.repost) and not self.text

    @property
    def kind(self) -> str:
        if self.plain:
            return "repost"
        return "reply" if self.reply else "post"

    @property
    def original(self) -> str:
        return self.repost if self.plain else self.name


@dataclass
class Oracle:
    posts: list[Published] = field(default_factory=list)  # in the order of commits
    heads: dict[str, int] = field(default_factory=dict)
    follows: dict[tuple[str, str], int] = field(default_factory=dict)  # → the first post shown

    def publish(
        self,
        author: str,
        text: str = "",
        *,
        audience: str = "everybody",
        reply: str = "",
        repost: str = "",
        mentions: tuple[str, ...] = (),
    ) -> Published:
        seq = self.heads[author] = self.heads.get(author, 0) + 1
        post = Published(author, seq, text, audience, reply, repost, mentions)
        self.posts.append(post)
        return post

    def follow(self, user: str, author: str, backfill: int) -> None:
        first = max(1, self.heads.get(author, 0) - backfill + 1)
        self.follows.setdefault((user, author), first)

    # --- answers ------------------------------------------------------------------------------

    def find(self, name: str) -> Published | None:
        return next((post for post in self.posts if post.name == name), None)

    def sees(self, viewer: str, post: Published | None) -> bool:
        if post is None:
            return False
        meant = {
            "everybody": True,
            "followers": (viewer, post.author) in self.follows,
            "named": viewer in post.mentions,
        }[post.audience]
        if not meant and viewer != post.author:
            return False
        return not post.plain or self.sees(viewer, self.find(post.repost))

    def target(self, viewer: str, name: str) -> Published | None:
        """What a reply to a post or a repost of it names."""
        post = self.find(name)
        if post is None or not self.sees(viewer, post):
            return None
        return self.find(post.original)

    def reposted(self, author: str, name: str) -> Published | None:
        return next((p for p in self.by(author) if p.plain and p.repost == name), None)

    def whole_home(self, user: str) -> list[Published]:
        """With each repost."""
        return [
            post
            for post in reversed(self.posts)
            if post.author == user
            or post.seq >= self.follows.get((user, post.author), post.seq + 1)
            if self.sees(user, post)
        ]

    def home(self, user: str, window: int) -> list[Published]:
        whole = self.whole_home(user)
        return [
            post
            for at, post in enumerate(whole)
            if not post.plain
            or all(older.original != post.original for older in whole[at + 1 : at + 1 + window])
        ]

    def profile(self, viewer: str, author: str, hidden: str = "") -> list[Published]:
        return [p for p in self.by(author) if self.sees(viewer, p) and p.kind != hidden]

    def by(self, author: str) -> list[Published]:
        """The newest first."""
        return [post for post in reversed(self.posts) if post.author == author]

    def replies(self, viewer: str, name: str) -> list[Published]:
        return [post for post in self.posts if post.reply == name and self.sees(viewer, post)]

    def counts(self, name: str) -> dict[str, int]:
        found = {
            "replies": sum(post.reply == name for post in self.posts),
            "reposts": sum(post.repost == name and post.plain for post in self.posts),
            "quotes": sum(post.repost == name and not post.plain for post in self.posts),
        }
        return {what: number for what, number in found.items() if number}

    def refs(self, viewer: str, posts: list[Published]) -> dict[str, Published | None]:
        return {
            name: post if self.sees(viewer, post := self.find(name)) else None
            for each in posts
            for name in self._named(each)
        }

    def _named(self, post: Published) -> Iterator[str]:
        yield from (name for name in (post.reply, post.repost) if name)
        original = self.find(post.repost) if post.plain else None
        if original is not None:
            yield from self._named(original)
