"""Sync: what happened for a reader of feeds after a position, a page at a time.

Responsibility: merge the reader's home and notes with the feeds that they pull and their own.
Resolve what each thing means now, and leave out what is not theirs to see.

Rule: updates come in the order of commits, none missing and none twice, whether each came by write
or by read diffusion. A post is told of if the home shows it, and its number alone decides whether
by its reference or by its entry (see `home`). What the reader did themselves is told to their other
devices by references in the home. Each update says what is so now, so the latest wins.

A follow brings no older posts: a device reads those of the home. Reposts are all told of: which of
them a home leaves out depends on what stands below it.

A page holds a bounded number of bytes, with the posts that its updates name. A position from which
reading cannot go on is answered with `resync`, never with a gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.devices.cursors import cursors_of
from timeline.devices.devices import acknowledge, begin_of
from timeline.devices.pages import PAGE_BYTES, Resolved, collapse, looks_for, read_page
from timeline.devices.updates import Update, Updates
from timeline.engine.view import Applied
from timeline.errors import CorruptError
from timeline.fanout import Arrivals, Position, Pull
from timeline.feeds.access import (
    author_of,
    check_known,
    find_feed,
    find_or_create_home,
    follow_of,
    newest_commit,
    owner_of,
)
from timeline.feeds.home import Reader
from timeline.feeds.lists import relations
from timeline.feeds.notes import Notes, seen_by
from timeline.feeds.posts import Post, References
from timeline.feeds.service import Feeds
from timeline.feeds.settings import fields_of
from timeline.feeds.sight import Sight
from timeline.formats import actions
from timeline.formats.entries import decode_items, encode_entry
from timeline.formats.feeds import DELETE, EDIT, KINDS, NO_REPLIES, NO_REPOSTS, NOTIFY, POST
from timeline.formats.keys import MAX
from timeline.formats.names import FEED_EVENTS, FEEDS, HOMES, NOTES
from timeline.formats.numbers import NO_TIMELINE, Lsn
from timeline.formats.posts import NAMED, post_name
from timeline.lsm.timeline import Timeline
from timeline.pullback import Part, Thing

_NUMBERS: Final = {name.encode(): number for number, name in KINDS.items()}
_COLLAPSING: Final = (EDIT, DELETE, *actions.KINDS)  # several of one thing in a page show the same


class SyncPage(NamedTuple):
    """`entries` in order, the posts that they name, the `cursor` after them, and whether there is
    `more` now. With `resync` the device reads the home anew and goes on from its position.
    """

    entries: Updates
    refs: References
    cursor: bytes
    more: bool
    resync: bool

    @property
    def found(self) -> bool:
        """Whether it brings anything. If it does, one who waits need wait no longer."""
        return len(self.entries) > 0 or self.more or self.resync


def sync(feeds: Feeds, user: bytes, device: bytes, after: bytes | None, count: int) -> SyncPage:
    """The next page for a device, at most `count` updates after a cursor, or after what it
    acknowledged. Raises `NotFoundError`, `UsageError`.
    """
    view = feeds.view
    cursors, end = cursors_of(view), Position(Lsn(view.log.applied), 0)
    home, notes = view.find(HOMES + check_known(view, user)), view.find(NOTES + user)
    own = [inbox.id for inbox in (home, notes) if inbox is not None]
    home_id = NO_TIMELINE if home is None else home.id
    position = begin_of(view, home_id, device, after, feeds.options)
    floor = max([view.inboxes.floor_of(inbox) for inbox in own], default=Lsn(0))
    if position is None or position.lsn < floor:
        return SyncPage(Updates(), {}, cursors.encode(end), more=False, resync=True)
    kept = feeds.homes.of(home_id)
    parts = chain(_own_parts(view, user, position.lsn), kept.parts_above(view, position.lsn))
    # One more than the page looks at, so that it ends before they do.
    outlets = kept.ahead.outlets(view, parts, position.lsn, looks_for(count) + 1)
    resolver = _Resolver(view, Reader(view, kept, Sight(view, user, kept.follows)))
    pull = Pull(view, view.inboxes, own, position, outlets, count)
    found = read_page(pull, resolver, count, PAGE_BYTES, end)
    collapse(found.updates, _COLLAPSING)
    refs = resolver.references(found.updates)
    return SyncPage(found.updates, refs, cursors.encode(found.position), found.more, resync=False)


def _own_parts(view: Applied, user: bytes, lsn: int) -> Iterator[Part]:
    """What the reader published or changed above a commit."""
    feed = find_feed(view, user)
    for timeline in () if feed is None else (feed.posts, feed.events):
        newest = newest_commit(view, timeline)
        if newest > lsn:
            yield Part(timeline.id, 1, MAX, newest)


def acknowledge_feeds(
    draft: Draft, feeds: Feeds, user: bytes, device: bytes, cursor: bytes
) -> None:
    """A device has dealt with everything up to a cursor; it never moves back. Raises
    `NotFoundError`, `UsageError`, `TooLargeError`.
    """
    home = find_or_create_home(draft, check_known(draft, user))
    position = cursors_of(feeds.view).decode(cursor, feeds.view.log.applied)
    acknowledge(draft, home.id, user, device, position, feeds.options, feeds.presence)


class _Resolver:
    """Turns arrivals into updates. What one page needs of an author is read once."""

    def __init__(self, view: Applied, reader: Reader) -> None:
        self._view = view
        self._reader = reader
        self._sight = reader.sight
        self._notes = Notes(view, reader.sight)
        # What updates name, by kind, author and number.
        self._named: dict[tuple[int, bytes, int], Sequence[bytes]] = {}
        self._size = 0  # bytes of the updates so far

    def resolve(self, arrivals: Arrivals) -> Resolved:
        """The page ends with the update that brings it to its bytes, with all that was read for it:
        the posts that updates name, and those of reposts that are not shown.
        """
        found = Updates()
        lsns, timelines, seqs, kinds, reached, passed = arrivals
        for at, kind in enumerate(kinds):
            timeline = self._view.load(timelines[at])
            position = Position(reached[at], passed[at])
            thing = Thing(lsns[at], 0, timelines[at], seqs[at], kind, b"")
            update = None if timeline is None else self._update(timeline, thing, position)
            if update is not None:
                found.add(update)
                self._size += len(update.payload)
            if self._size + self._sight.read >= PAGE_BYTES:
                return Resolved(found, at + 1, full=True)
        return Resolved(found, len(kinds))

    def _update(self, timeline: Timeline, thing: Thing, position: Position) -> Update | None:
        kind = thing.kind
        if kind == 0 and timeline.name.startswith(FEED_EVENTS):
            return self._event(timeline, thing, position)
        if kind in (0, POST):
            return self._post(timeline, thing, position)
        if kind in KINDS:
            return self._changed(timeline, kind, thing.seq, position)
        if kind in actions.KINDS:
            return self._own(timeline, thing, position)
        return self._note(thing, position)

    # --- posts --------------------------------------------------------------------------------

    def _post(self, timeline: Timeline, thing: Thing, position: Position) -> Update | None:
        if thing.kind == 0:
            row = self._view.entry(timeline, thing.seq)
            if row is None:
                return None
            thing.payload = row[3]
        post = self._reader.post(thing)
        wanted = post is not None and self._sight.sees(post) and self._sight.wants(post)
        return self._shown(POST, post if wanted else None, position)

    def _shown(self, kind: int, post: Post | None, position: Position) -> Update | None:
        if post is None:
            return None
        self._name((kind, post.author, post.seq), self._sight.named(post))
        return Update(kind, post.author, post.seq, post.payload, position)

    def _event(self, events: Timeline, thing: Thing, position: Position) -> Update | None:
        """What was pulled of the events of a feed."""
        row = self._view.entry(events, thing.seq)
        posts = self._view.find(FEEDS + events.name[len(FEED_EVENTS) :])
        if row is None or posts is None:
            return None
        kind, seq, named = split_event(row[3])
        viewer = self._sight.viewer
        if named is not None and viewer not in named and viewer != owner_of(events.name):
            return None
        return self._changed(posts, kind, seq, position)

    def _changed(self, posts: Timeline, kind: int, seq: int, position: Position) -> Update | None:
        """That a post was edited or deleted, if the home reaches to it. A device may hold it also
        where the home leaves it out now, since its author is muted, say.
        """
        author = author_of(posts.name)
        if not self._reader.reaches(posts.id, seq) or self._sight.is_kept_from(author):
            return None
        if kind == EDIT:
            row = self._view.entry(posts, seq)
            post = None if row is None else Post(author, posts.id, seq, row[3])
            return self._shown(EDIT, post if post and self._sight.sees(post) else None, position)
        return Update(DELETE, author, seq, encode_entry(seq, []), position)

    # --- what the reader did ------------------------------------------------------------------

    def _own(self, timeline: Timeline, thing: Thing, position: Position) -> Update | None:
        if thing.kind == actions.SEEN:
            return self._seen(position)
        if thing.kind == actions.REACT:
            return self._reacted(timeline, thing.seq, position)
        return self._author(thing.kind, author_of(timeline.name), position)

    def _author(self, kind: int, author: bytes, position: Position) -> Update:
        """What the reader has with an author now, or what they say of themselves."""
        fields: list[bytes] = []
        feed = find_feed(self._view, author)
        if author == self._sight.viewer:
            if feed is not None:
                fields = [b"@protected", b"%d" % feed.protected, b"@pin", b"%d" % feed.row.pinned]
                for pair in fields_of(self._view, feed).items():
                    fields += pair
        else:
            relation = relations(self._view, self._sight.viewer, [author])[0]
            for name, value in relation._asdict().items():
                fields += (name.encode(), b"%d" % value)
            follow = None if feed is None else follow_of(self._view, self._reader.home, feed.id)
            if follow is not None:
                fields += (b"@reposts", b"%d" % (not follow.flags & NO_REPOSTS))
                fields += (b"@replies", b"%d" % (not follow.flags & NO_REPLIES))
                fields += (b"@notify", b"%d" % bool(follow.flags & NOTIFY))
        return Update(kind, author, 0, encode_entry(0, fields), position)

    def _seen(self, position: Position) -> Update:
        """Up to where the reader has seen their home and their notes."""
        seen, cursors = seen_by(self._view, self._sight.viewer), cursors_of(self._view)
        fields = [
            b"posts", cursors.encode(Position(Lsn(seen.posts), 0)),
            b"notes", cursors.encode(Position(Lsn(seen.notes), 0)),
        ]  # fmt: skip
        payload = encode_entry(0, fields)
        return Update(actions.SEEN, self._sight.viewer, 0, payload, position)

    def _reacted(self, posts: Timeline, seq: int, position: Position) -> Update | None:
        """The reader's own reactions to a post."""
        author = author_of(posts.name)
        post = self._sight.find(post_name(author, seq))
        if post is None:
            return None
        self._sight.count([post])
        fields: list[bytes] = []
        for name in post.own:
            fields += (b"@reaction", name)
        return Update(actions.REACT, author, seq, encode_entry(seq, fields), position)

    # --- what others did ----------------------------------------------------------------------

    def _note(self, thing: Thing, position: Position) -> Update | None:
        note = self._notes.note(thing)
        if note is None:
            return None
        author, seq = self._sight.viewer, 0
        if note.post:
            whose, _, number = note.post.rpartition(b"/")
            author, seq = whose, int(number)
        fields = [b"@kind", note.kind, b"@count", b"%d" % note.total]
        for user in note.users:
            fields += (b"@user", user)
        for name in note.posts:
            fields += (b"@post", name)
        fields += (b"@first", b"%d" % note.first, b"@time", b"%d" % note.time)
        if note.post:
            self._name((actions.NOTE, author, seq), (note.post, *note.posts))
        return Update(actions.NOTE, author, seq, encode_entry(seq, fields), position)

    # --- what they name -----------------------------------------------------------------------

    def _name(self, place: tuple[int, bytes, int], names: Sequence[bytes]) -> None:
        """Read what an update names, so that it is known how much that is."""
        self._named[place] = names
        for name in names:
            self._sight.find(name)

    def references(self, updates: Updates) -> References:
        """The posts that updates name, each once."""
        places = zip(updates.kinds, updates.sources, updates.seqs, strict=True)
        return self._sight.look_up([name for at in places for name in self._named.get(at, ())])


def split_event(payload: bytes) -> tuple[int, int, list[bytes] | None]:
    """(kind, post concerned, those who alone may hear of it) of a stored event of a feed; None for
    all.
    """
    items = decode_items(payload)
    kind = _NUMBERS.get(items[1]) if len(items) > 3 and items[0] == b"@kind" else None
    if kind is None or items[2] != b"@id" or not items[3].isdigit():
        raise CorruptError("an event of a feed is damaged: run `timeline verify`")
    pairs = list(zip(items[::2], items[1::2], strict=True))
    named = [value for field, value in pairs if field == b"@mentions"]
    return kind, int(items[3]), named if (b"@for", NAMED) in pairs else None
