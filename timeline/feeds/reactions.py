"""Reactions: likes and their kin, each user's at most once of a kind to a post.

Responsibility: give a post a reaction and take it back, list who has it.

Rule: who has a reaction is a bitmap of the ids of homes, in chunks, so a million likes are some
hundred rows. The count changes in the commit that changes the bitmap, and only if it does. The
kinds of reactions that a post has are numbered; a kind that nobody has any more gives its number
back.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from timeline.bitmaps import holds, members, with_number, without_number
from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import TooLargeError, UsageError
from timeline.fanout import notify
from timeline.feeds.access import find_feed, find_or_create_home, find_post, owner_of
from timeline.feeds.groups import Act, tell
from timeline.feeds.links import Place, counts_of, find_target, save_counts
from timeline.feeds.posts import Post
from timeline.feeds.sight import Sight
from timeline.formats.actions import REACT
from timeline.formats.keys import MAX
from timeline.formats.names import HOMES
from timeline.formats.notes import KINDS, REACTED, Doer
from timeline.formats.posts import (
    MOST_KINDS,
    PLURALS,
    REACTION_BITS,
    Counts,
    Reaction,
    header_of,
    post_name,
    reaction_key,
    split_post_name,
)
from timeline.identity import check_id
from timeline.options import Options

_MOST_OWN: Final = 5  # of them that one user has
_LEAST_LOOKS: Final = 512  # at users who may not be shown, for any page
_TOKEN_DIGITS: Final = 20
_TOLD: Final = frozenset(word.encode() for word in KINDS.values())
_MASK: Final = (1 << REACTION_BITS) - 1


class ReactorPage(NamedTuple):
    """Some of the `total` users who have a reaction; the cursor is empty at the end."""

    users: list[bytes]
    total: int
    cursor: bytes


def react(draft: Draft, author: bytes, seq: int, user: bytes, name: bytes, options: Options) -> int:
    """Give a post a reaction of `user`, who may have it already; how many have it now. Raises
    `UsageError`, `TooLargeError`, or `NoPermissionError` when they may not see the post.
    """
    post = _find_post(Sight(draft, user), author, seq, name)
    place = Place(post.feed, post.seq)
    home = find_or_create_home(draft, user).id
    counts = counts_of(draft, place)
    reaction = _find(counts, name)
    row: bytes | None = None
    if reaction is None:
        reaction = _new_kind(counts, name)
        counts = counts._replace(reactions=(*counts.reactions, reaction))
    else:
        row = draft.get(_key(place, reaction, home))
    row = with_number(row, home & _MASK)
    if row is None:  # they have it
        return reaction.users
    _check_own(draft, place, counts, home)
    draft.put(_key(place, reaction, home), row)
    save_counts(draft, place, _counted(counts, reaction, 1))
    posts = draft.load(post.feed)
    if posts is not None:
        notify(draft, [home], posts, post.seq, REACT)
        if post.author != user:
            kind = REACTED + reaction.kind
            tell(draft, posts, post.seq, kind, Act(user, Doer(home, 0)), options, name)
    return reaction.users + 1


def _check_own(draft: Draft, place: Place, counts: Counts, home: int) -> None:
    """Raise unless a user may have one reaction more."""
    if len(counts.reactions) <= _MOST_OWN:  # the new one is among these
        return
    rows = [draft.get(_key(place, each, home)) for each in counts.reactions]
    if sum([holds(row, home & _MASK) for row in rows]) >= _MOST_OWN:
        raise TooLargeError(f"a user has at most {_MOST_OWN} reactions to a post: remove one first")


def _new_kind(counts: Counts, name: bytes) -> Reaction:
    if len(counts.reactions) >= MOST_KINDS:
        raise TooLargeError(f"a post has at most {MOST_KINDS} kinds of reactions")
    taken = {each.kind for each in counts.reactions}
    free = [kind for kind in range(MOST_KINDS) if kind not in taken]
    return Reaction(free[0], 0, name)


def unreact(draft: Draft, author: bytes, seq: int, user: bytes, name: bytes) -> int:
    """Take a reaction of `user` back, if they have it; how many have it now. Who has it may do so
    although they may not see the post any more. Raises as `react`.
    """
    sight = Sight(draft, user)
    _check_name(name)
    place, home = _place_of(draft, author, seq), draft.find(HOMES + user)
    if place is not None and home is not None:
        counts = counts_of(draft, place)
        reaction = _find(counts, name)
        key = b"" if reaction is None else _key(place, reaction, home.id)
        row = draft.get(key) if key else None
        if reaction is not None and row is not None and holds(row, home.id & _MASK):
            left = without_number(row, home.id & _MASK)
            if left:
                draft.put(key, left)
            else:
                draft.remove(key)
            save_counts(draft, place, _counted(counts, reaction, -1))
            posts = draft.load(place.feed)
            if posts is not None:
                notify(draft, [home.id], posts, place.seq, REACT)
            return reaction.users - 1
    reaction = _find(counts_of(draft, _place(sight, author, seq, name)), name)
    return 0 if reaction is None else reaction.users


def _place_of(view: View, author: bytes, seq: int) -> Place | None:
    """Where the post is, whoever may see it; for a repost that of what it reposts."""
    name = post_name(author, seq)
    for _ in range(2):
        found = split_post_name(name)
        feed = None if found is None else find_feed(view, found[0])
        payload = None if found is None or feed is None else find_post(view, feed, found[1])
        if found is None or feed is None or payload is None:
            return None
        header = header_of(payload)
        if not header.plain:
            return Place(feed.id, found[1])
        name = header.repost
    return None


def reactors(
    view: View, viewer: bytes, author: bytes, seq: int, name: bytes, after: bytes, count: int
) -> ReactorPage:
    """A page of those who have a reaction to a post, in the order in which they became users.
    Raises as `react`.
    """
    if after and (len(after) > _TOKEN_DIGITS or not after.isdigit() or int(after) > MAX):
        raise UsageError("a token of those who reacted is the cursor of the page before")
    sight = Sight(view, viewer)
    place = _place(sight, author, seq, name)
    reaction = _find(counts_of(view, place), name)
    if reaction is None:
        return ReactorPage([], 0, b"")
    least = int(after) + 1 if after else 0
    start = reaction_key(*place, reaction.kind, least >> REACTION_BITS)
    found: list[bytes] = []
    looks = _LEAST_LOOKS + count
    last = least
    for key, value in view.scan(start, reaction_key(*place, reaction.kind + 1, 0)):
        base = int.from_bytes(key[-8:], "big") << REACTION_BITS
        for bit in members(value):
            home = base + bit
            if home < least:
                continue
            if len(found) == count or looks <= 0:
                return ReactorPage(found, reaction.users, b"%d" % last)
            looks -= 1
            last = home
            timeline = view.load(home)
            user = None if timeline is None else owner_of(timeline.name)
            if user is not None and not sight.is_kept_from(user):
                found.append(user)
    return ReactorPage(found, reaction.users, b"")


def _find_post(sight: Sight, author: bytes, seq: int, name: bytes) -> Post:
    """The post that a reaction is to, for whoever may see it."""
    _check_name(name)
    return find_target(sight, post_name(author, seq))


def _place(sight: Sight, author: bytes, seq: int, name: bytes) -> Place:
    post = _find_post(sight, author, seq, name)
    return Place(post.feed, post.seq)


def _check_name(name: bytes) -> None:
    check_id(name, "reaction")
    if name in PLURALS:
        raise UsageError(f"no reaction is called {name.decode()}: that is counted by itself")
    if name in _TOLD:
        raise UsageError(f"no reaction is called {name.decode()}: there are notes of that kind")


def _find(counts: Counts, name: bytes) -> Reaction | None:
    for each in counts.reactions:
        if each.name == name:
            return each
    return None


def _key(place: Place, reaction: Reaction, home: int) -> bytes:
    return reaction_key(place.feed, place.seq, reaction.kind, home >> REACTION_BITS)


def _counted(counts: Counts, reaction: Reaction, change: int) -> Counts:
    """With so many more of a reaction; one that nobody has is none."""
    changed: list[Reaction] = []
    for each in counts.reactions:
        users = each.users + (change if each.kind == reaction.kind else 0)
        if users:
            changed.append(Reaction(each.kind, users, each.name))
    return Counts(counts.replies, counts.reposts, counts.quotes, tuple(changed))
