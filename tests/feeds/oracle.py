"""What feeds must answer: plain lists of posts and sets of follows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.feeds.telling import Doer, Group, Told


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


class Noted(NamedTuple):
    """A note: the newest three who did something."""

    kind: str
    post: str
    total: int
    users: list[str]
    seen: bool


@dataclass
class Oracle:
    posts: list[Published] = field(default_factory=list)  # in the order of commits
    heads: dict[str, int] = field(default_factory=dict)
    follows: dict[tuple[str, str], int] = field(default_factory=dict)  # → the first post shown
    requests: list[tuple[str, str]] = field(default_factory=list)  # user, author
    blocks: set[tuple[str, str]] = field(default_factory=set)
    mutes: set[tuple[str, str]] = field(default_factory=set)
    left_out: set[tuple[str, str, str]] = field(default_factory=set)  # user, author, kind
    protected: set[str] = field(default_factory=set)
    reactions: set[tuple[str, str, str]] = field(default_factory=set)  # post, user, reaction
    told: Told = field(default_factory=Told)
    order: dict[str, int] = field(default_factory=dict)  # post → how many were published up to it
    seen: dict[str, int] = field(default_factory=dict)  # user → how many were then

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
        self.order[post.name] = len(self.order) + 1
        told = {author}
        for kind, name in (("reply", reply), ("repost" if post.plain else "quote", repost)):
            owner = name.rpartition("/")[0]
            if name and owner not in told and self.tell(owner, kind, name, author, post):
                told.add(owner)
        for user in mentions:
            if user not in told:
                self.told.tell(user, "mention", post.name, author, post.name)
        return post

    def follow(self, user: str, author: str, backfill: int) -> None:
        first = max(1, self.heads.get(author, 0) - backfill + 1)
        self.follows.setdefault((user, author), first)
        self.withdraw(user, author)

    def unfollow(self, user: str, author: str) -> bool:
        """Whether they followed, or had asked to."""
        self.left_out = {each for each in self.left_out if each[:2] != (user, author)}
        return self.follows.pop((user, author), None) is not None or self.withdraw(user, author)

    def withdraw(self, user: str, author: str) -> bool:
        if (user, author) not in self.requests:
            return False
        self.requests.remove((user, author))
        return True

    def block(self, user: str, other: str) -> None:
        self.blocks.add((user, other))
        self.unfollow(user, other)
        self.unfollow(other, user)

    # --- answers ------------------------------------------------------------------------------

    def barred(self, one: str, other: str) -> bool:
        return bool({(one, other), (other, one)} & self.blocks)

    def enters(self, viewer: str, author: str) -> bool:
        """Whether a viewer may look at the profile and the lists of an author."""
        if self.barred(viewer, author):
            return False
        return author not in self.protected or self.knows(viewer, author)

    def knows(self, viewer: str, author: str) -> bool:
        return viewer == author or (viewer, author) in self.follows

    def find(self, name: str) -> Published | None:
        return next((post for post in self.posts if post.name == name), None)

    def sees(self, viewer: str, post: Published | None) -> bool:
        if post is None:
            return False
        meant = {
            "everybody": post.author not in self.protected or self.knows(viewer, post.author),
            "followers": self.knows(viewer, post.author),
            "named": viewer in post.mentions or viewer == post.author,
        }[post.audience]
        if not meant or self.barred(viewer, post.author):
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
            if self.sees(user, post) and self.wants(user, post)
        ]

    def wants(self, user: str, post: Published) -> bool:
        if post.author == user:
            return True
        if (user, post.author) in self.mutes or (user, post.author, post.kind) in self.left_out:
            return False
        if (user, post.author, "reply") in self.left_out and post.reply:
            return False
        original = self.find(post.original)
        return original is None or (user, original.author) not in self.mutes

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
        for post, _, reaction in self.reactions:
            if post == name:
                found[reaction] = found.get(reaction, 0) + 1
        return {what: number for what, number in found.items() if number}

    def own(self, user: str, name: str) -> set[str]:
        return {each[2] for each in self.reactions if each[:2] == (name, user)}

    # --- notes --------------------------------------------------------------------------------

    def tell(
        self, owner: str, kind: str, name: str, doer: str, post: Published | None = None
    ) -> bool:
        hidden = self.barred(owner, doer) or (owner, doer) in self.mutes
        heard = not hidden and (post is None or self.sees(owner, post))
        with_post = "" if post is None else post.name
        return self.told.tell(owner, kind, name, doer, with_post, heard=heard)

    def notes(self, user: str) -> list[Noted]:
        found = []
        for group in self.told.of(user):
            doers = [each for each in group.doers if self._still(group, each)]
            if not doers:
                doers = [each for each in self._others(group) if self._still(group, each)]
            users = list(dict.fromkeys(each.user for each in doers))
            total = self._done(group)
            there = not group.post or self.sees(user, self.find(group.post))
            if users and total and there:
                seen = group.place <= self.told.seen.get(user, 0)
                found.append(Noted(group.kind, group.post, total, users[:3], seen))
        return found

    def _others(self, group: Group) -> Iterator[Doer]:
        """Those who replied or quoted before, the first of them first."""
        for post in self.posts:
            name = {"reply": post.reply, "quote": post.repost}.get(group.kind)
            if name and name == group.post and not post.plain and post.author != group.owner:
                yield Doer(post.author, post.name)

    def _still(self, group: Group, doer: Doer) -> bool:
        """Whether somebody does it still, and the owner wants to be told of them."""
        owner, user = group.owner, doer.user
        if self.barred(owner, user) or (owner, user) in self.mutes:
            return False
        if group.kind == "follow":
            return (user, owner) in self.follows
        if group.kind == "request":
            return (user, owner) in self.requests
        if doer.post:
            post = self.find(doer.post)
            return post is not None and (group.kind == "repost" or self.sees(owner, post))
        return (group.post, user, group.kind) in self.reactions

    def _done(self, group: Group) -> int:
        """How many do it now."""
        if group.kind == "mention":
            return 1
        if group.kind == "follow":
            return sum(author == group.owner for _, author in self.follows)
        if group.kind == "request":
            return sum(author == group.owner for _, author in self.requests)
        plural = {"reply": "replies", "repost": "reposts", "quote": "quotes"}
        return self.counts(group.post).get(plural.get(group.kind, group.kind), 0)

    def unseen(self, user: str, window: int) -> int:
        """How many posts of a home were not seen."""
        seen = self.seen.get(user, 0)
        shown = self.home(user, window)
        return sum(post.author != user and self.order[post.name] > seen for post in shown)

    def see(self, user: str, *, notes: bool) -> None:
        """All that there is now."""
        if notes:
            self.told.seen[user] = self.told.places
        else:
            self.seen[user] = len(self.order)

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
