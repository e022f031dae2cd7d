"""Notes: what others did to a user and to their posts, newest first.

Responsibility: read the in-box of notes a page at a time, and resolve each reference against what
is so now.

Rule: a reference counts only if its group says that it is the newest, so each group is shown once,
at its newest place. How many did something, and who, is read from what they did: whoever took a
reaction back is not counted, and a note of which nothing is left is not shown. Names are those of
the newest who still do it, and whom the reader neither blocks nor mutes. Where none of the newest
twenty is left, some of the others are named.

A page looks at a bounded number of references. When many lead to nothing it comes back short, with
a cursor to go on from; only an empty cursor is the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

from timeline.bitmaps import holds, members
from timeline.devices.cursors import cursors_of
from timeline.engine.view import Applied, View
from timeline.errors import UsageError
from timeline.feeds.access import author_of, check_known, find_feed, follow_of, owner_of, tie_of
from timeline.feeds.links import Place as PostPlace, counts_of, repost_of
from timeline.feeds.posts import PAGE_BYTES, References
from timeline.feeds.sight import Sight
from timeline.formats.conversations import between
from timeline.formats.feeds import FOLLOWER, REQUEST, REQUESTED as ASKS, split_listed_key
from timeline.formats.keys import number, pair
from timeline.formats.names import FEEDS, HOMES, NOTES
from timeline.formats.notes import (
    FOLLOWED,
    KINDS,
    MENTIONED,
    NOTHING_SEEN,
    OF_AUTHOR,
    QUOTED,
    REACTED,
    REPLIED,
    REPOSTED,
    REQUESTED,
    Doer,
    GroupRow,
    SeenRow,
    decode_group,
    decode_seen,
    doers_of,
    group_key,
    seen_key,
)
from timeline.formats.numbers import NO_TIMELINE
from timeline.formats.posts import (
    PLURALS,
    QUOTE,
    REACTION_BITS,
    REPLY,
    REPOST,
    Counts,
    decode_repost,
    post_name,
    reaction_key,
    reactions_of,
    split_link_key,
    split_reaction_key,
    split_repost_key,
)
from timeline.identity import check_id
from timeline.pullback import Place, Thing, decode_place, position_below, references_back

_LOOKS_PER_NOTE: Final = 4  # references looked at for each note asked for, and
_LEAST_LOOKS: Final = 512  # for any page
_OTHERS: Final = 32  # who did something are looked at where none of the newest is left
_NAMES: Final = 3  # users that a note names
_MASK: Final = (1 << REACTION_BITS) - 1


class Note(NamedTuple):
    """What others did to `post`, or to the reader if it is empty: `total` replies, reactions,
    follows and so on, as the post or the author counts them. `users` are the newest who did it;
    `posts` those with which they replied or quoted, in the same order. `first` and `time` (ms) are
    when it was first and when it was last told.
    """

    kind: bytes
    post: bytes
    total: int
    users: list[bytes]
    posts: list[bytes]
    first: int
    time: int
    seen: bool


class NotePage(NamedTuple):
    """Notes and the posts that they name. The cursor is empty at the end. Whoever says that they
    have seen `position` has seen these notes and all that are older.
    """

    notes: list[Note]
    refs: References
    cursor: bytes
    position: bytes


def read_notes(
    view: Applied, user: bytes, after: bytes, count: int, kinds: Collection[bytes] = ()
) -> NotePage:
    """A page of notes, of some kinds if they are given. Raises `NotFoundError`, `UsageError`."""
    _check_kinds(kinds)
    last = decode_place(after) if after else Place(view.log.applied + 1, 0)
    position = cursors_of(view).encode(position_below(last))
    found: list[Note] = []
    sight = Sight(view, user)
    notes = Notes(view, sight)
    size = 0
    cursor = b""
    for thing, note in notes.below(last):
        looked = notes.looked > _LEAST_LOOKS + _LOOKS_PER_NOTE * count
        if len(found) == count or looked or size >= PAGE_BYTES:
            cursor = b"%d-%d" % last
            break
        last = thing.place
        if note is not None and (not kinds or note.kind in kinds):
            found.append(note)
            posts = map(sight.find, set(_named([note])))
            size += sum([len(post.payload) for post in posts if post is not None])
    return NotePage(found, sight.look_up(_named(found)), cursor, position)


def _check_kinds(kinds: Collection[bytes]) -> None:
    """No reaction has one of these names, so no note is of such a kind."""
    for kind in kinds:
        right = PLURALS.get(check_id(kind, "kind of notes"))
        if right is not None:
            raise UsageError(f"notes are of kind {right}, not {kind.decode()}")


def _named(notes: Iterable[Note]) -> Iterator[bytes]:
    for note in notes:
        yield from (note.post, *note.posts) if note.post else ()


class Notes:
    """The notes of one user as they are now."""

    def __init__(self, view: Applied, sight: Sight, names: int = _NAMES) -> None:
        """`sight` is that of the user; so many users are named. Raises `NotFoundError`."""
        self._view = view
        self._names = names
        self._sight = sight
        self._inbox = view.find(NOTES + check_known(view, sight.viewer))
        own = view.find(FEEDS + sight.viewer)
        self._own = NO_TIMELINE if own is None else own.id
        self.seen = seen_by(view, sight.viewer)
        self.looked = 0  # at references, and at those who did something

    def below(self, before: Place) -> Iterator[tuple[Thing, Note | None]]:
        """What the in-box holds below a place, newest first; None where it is no note now."""
        if self._inbox is not None:
            for thing in references_back(self._view, self._inbox.id, before):
                self.looked += 1
                yield thing, self.note(thing)

    def note(self, thing: Thing) -> Note | None:
        """What a reference means now; None when it is no note, or no longer."""
        if thing.kind == MENTIONED:
            return self._mention(thing)
        value = self._view.get(group_key(thing.timeline_id, thing.seq, thing.kind))
        row = None if value is None else decode_group(value)
        if row is None or row.lsn != thing.lsn or thing.timeline_id != self._own:
            return None
        post = b""
        if thing.kind not in OF_AUTHOR:
            post = post_name(self._sight.viewer, thing.seq)
            if self._sight.find(post) is None:
                return None
        total = self._total(thing, row)
        users, posts = self._newest(thing, row) if total else ([], [])
        if not users:
            return None
        kind = KINDS[thing.kind].encode() if thing.kind in KINDS else row.reaction
        seen = thing.lsn <= self.seen.notes
        return Note(kind, post, total, users, posts, row.first, row.time, seen)

    def _mention(self, thing: Thing) -> Note | None:
        posts = self._view.load(thing.timeline_id)
        row = None if posts is None else self._view.entry(posts, thing.seq)
        if posts is None or row is None:
            return None
        author = author_of(posts.name)
        name = post_name(author, thing.seq)
        if not self._sight.hears(author) or self._sight.find(name) is None:
            return None
        kind = KINDS[MENTIONED].encode()
        return Note(kind, name, 1, [author], [name], row[2], row[2], thing.lsn <= self.seen.notes)

    # --- how many, and who --------------------------------------------------------------------

    def _total(self, thing: Thing, row: GroupRow) -> int:
        """How many did it, whoever they are."""
        if thing.kind in OF_AUTHOR:
            feed = find_feed(self._view, self._sight.viewer)
            if feed is None:
                return 0
            return feed.row.followers if thing.kind == FOLLOWED else feed.row.requests
        return _counted(counts_of(self._view, PostPlace(thing.timeline_id, thing.seq)), thing, row)

    def _newest(self, thing: Thing, row: GroupRow) -> tuple[list[bytes], list[bytes]]:
        """The newest who did it, and the posts with which they did; some others if nobody of them
        is left.
        """
        users, posts = self._named(doers_of(row.newest), thing)
        if users:
            return users, posts
        return self._named(islice(self._others(thing), _OTHERS), thing)

    def _named(self, doers: Iterable[Doer], thing: Thing) -> tuple[list[bytes], list[bytes]]:
        """The first of these who may be named, and their posts."""
        users: list[bytes] = []
        posts: list[bytes] = []
        for doer in doers:
            self.looked += 1
            user = self._user(doer, thing)
            if user is None or user in users or user == self._sight.viewer:
                continue
            if not self._sight.hears(user):
                continue
            if thing.kind in (REPLIED, QUOTED):
                name = post_name(user, doer.seq)
                if self._sight.find(name) is None:
                    continue
                posts.append(name)
            users.append(user)
            if len(users) == self._names:
                break
        return users, posts

    def _others(self, thing: Thing) -> Iterator[Doer]:
        """All who do it, as the rows of posts and feeds have them."""
        view, feed, kind = self._view, thing.timeline_id, thing.kind
        place = pair(feed, thing.seq)
        if kind in (REPLIED, QUOTED):
            for key, _ in view.scan(*between((REPLY if kind == REPLIED else QUOTE) + place)):
                link = split_link_key(key)
                yield Doer(link.by, link.by_seq)
        elif kind == REPOSTED:
            for key, value in view.scan(*between(REPOST + place)):
                yield Doer(split_repost_key(key)[2], decode_repost(value))
        elif kind in OF_AUTHOR:
            family = FOLLOWER if kind == FOLLOWED else REQUEST
            for key, _ in view.scan(*between(family + number(feed))):
                yield Doer(split_listed_key(key)[2], 0)
        else:
            start = reactions_of(feed, thing.seq, kind - REACTED)
            for key, value in view.scan(*between(start)):
                base = split_reaction_key(key)[3] << REACTION_BITS
                for bit in members(value):
                    yield Doer(base + bit, 0)

    def _user(self, doer: Doer, thing: Thing) -> bytes | None:
        """Who did something, if they still do."""
        view, feed = self._view, thing.timeline_id
        timeline = view.load(doer.id)
        if timeline is None:
            return None
        if thing.kind in (REPLIED, QUOTED):
            return author_of(timeline.name)
        if thing.kind == REPOSTED:
            does = repost_of(view, PostPlace(feed, thing.seq), doer.id) == doer.seq
            return author_of(timeline.name) if does else None
        if thing.kind == FOLLOWED:
            does = follow_of(view, doer.id, feed) is not None
        elif thing.kind == REQUESTED:
            does = bool(tie_of(view, doer.id, feed).flags & ASKS)
        else:
            kind, chunk = thing.kind - REACTED, doer.id >> REACTION_BITS
            row = view.get(reaction_key(feed, thing.seq, kind, chunk))
            does = holds(row, doer.id & _MASK)
        return owner_of(timeline.name) if does else None


def _counted(counts: Counts, thing: Thing, row: GroupRow) -> int:
    if thing.kind == REPLIED:
        return counts.replies
    if thing.kind == QUOTED:
        return counts.quotes
    if thing.kind == REPOSTED:
        return counts.reposts
    for each in counts.reactions:
        if each.kind == thing.kind - REACTED and each.name == row.reaction:
            return each.users
    return 0


def seen_by(view: View, user: bytes) -> SeenRow:
    """Up to where a user has seen posts and notes."""
    home = view.find(HOMES + user)
    value = None if home is None else view.get(seen_key(home.id))
    return NOTHING_SEEN if value is None else decode_seen(value)
