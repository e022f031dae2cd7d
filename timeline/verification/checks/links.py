"""Replies, quotes and reposts: the rows that lead from a post to those that name it, and how many
there are.

Checked: each post that names another has a row there, and each such row has its post. Every post
that is named was published. Nobody reposts a post twice. The counts of a post are those of its
rows.

Example: cat/2 replies to ann/3, and no row of ann/3 leads to it.

A repair believes posts over rows, and rows over counts. Of two reposts it keeps the one that the
row names. A number beyond the head of its feed was given out, so the head moves up to it. A name
that leads nowhere is taken out of its post: somebody may be called so later. That waits for the
repair of names and feeds, which may lead to it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from timeline.errors import CorruptError, shown
from timeline.fanout import ordinal_of
from timeline.formats import keys
from timeline.formats.entries import decode_items, encode_entry
from timeline.formats.feeds import FEED
from timeline.formats.names import FEEDS
from timeline.formats.posts import (
    COUNTS,
    QUOTE,
    REPLY,
    REPOST,
    Link,
    split_post_name,
)
from timeline.formats.rows import encode_row
from timeline.formats.segments import StoredEntry
from timeline.storage.rocks import PATCHES, SEGMENTS, STATE
from timeline.verification.checks.counts import CountsOfPosts
from timeline.verification.checks.posts import (
    LINKS,
    entry_of,
    link_of,
    named,
    post_called,
    row_of,
    where,
)
from timeline.verification.checks.settled import OF_FEEDS, Settled
from timeline.verification.snapshot.findings import Finding, Put, put, remove
from timeline.verification.snapshot.snapshot import Snapshot, grow

_PAGE_ENTRIES: Final = 256  # of a feed, read at a time
_MOST_KNOWN: Final = 100_000  # feeds of which id and head are remembered
_MOST_A_COMMIT: Final = 16  # posts that one commit publishes, where a number is beyond the head
_KEY_BYTES: Final = {REPLY: 50, QUOTE: 50, REPOST: 26, COUNTS: 18}
_DOES: Final = {REPLY: "replies to", QUOTE: "quotes", REPOST: "reposts"}
_AMONG: Final = {REPLY: "replies", QUOTE: "quotes", REPOST: "reposts"}


class Links:
    """One walk over all posts, and one over all rows. Only where these do not come out equally many
    is the post of each row looked for.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._settled = Settled(snapshot, OF_FEEDS)
        self._known: dict[bytes, tuple[int, int] | None] = {}  # author → id and head of their feed
        self._beyond: dict[int, Finding] = {}  # of each feed the highest number beyond its head
        self._right = 0  # rows that are as a post says

    def check(self) -> Iterator[Finding]:
        for key, _ in self._snapshot.scan(FEED):
            feed = int.from_bytes(key[2:10], "big")
            if self._snapshot.name(feed).startswith(FEEDS):
                yield from self._check_feed(feed)
        yield from self._beyond.values()
        counts = CountsOfPosts(self._snapshot, self._settled, self._reached)
        yield from counts.check()
        if counts.rows != self._right:
            yield from self._strays()

    # --- posts --------------------------------------------------------------------------------

    def _check_feed(self, feed: int) -> Iterator[Finding]:
        surplus: dict[int, Finding] = {}  # reposts that go
        with suppress(CorruptError, ValueError):  # the check of entries tells of it
            for seq, lsn, _, payload in self._posts(feed):
                for family, name in named(payload):
                    link = Link(0, 0, lsn, ordinal_of(payload), feed, seq)
                    target = self._target(family, name, link)
                    if target is not None:
                        link = link._replace(feed=target[0], seq=target[1])
                        yield from self._check_post(family, name, link, surplus)
                    elif self._settled():
                        text = f"{self._says(family, name, link)}, which is not there"
                        finding = self._of_post(link, text, lost=True)
                        if family == REPOST:  # nothing would be left of it
                            surplus[seq] = finding
                        else:
                            yield finding._replace(fix=_without(feed, seq, payload, name))
        if surplus:
            yield self._surplus(feed, surplus)

    def _posts(self, feed: int) -> Iterator[StoredEntry]:
        """The posts of a feed that may name others."""
        first = 0
        while True:
            posts = self._snapshot.timeline(feed)  # anew: others may be loaded between two pages
            if posts is None:
                return
            ranges = self._snapshot.timelines.ranges
            page = ranges.stored(posts, first, keys.MAX, _PAGE_ENTRIES, reverse=False)
            for entry in page:
                if b"@re" in entry[3]:
                    yield entry
            if len(page) < _PAGE_ENTRIES:
                return
            first = page[-1][0] + 1

    def _target(self, family: bytes, name: bytes, link: Link) -> tuple[int, int] | None:
        """Feed and number that a name leads to; None where that was never there. `link` is of the
        post that holds the name.
        """
        split = split_post_name(name)
        target = None if split is None else self._feed(split[0])
        if split is None or target is None:
            return None
        author, number = split
        feed, head = target
        if number <= head:
            return feed, number
        if number > min(self._snapshot.applied * _MOST_A_COMMIT, keys.LAST):
            return None
        before = self._beyond.get(feed)
        if before is None or before.number < number:
            says = self._says(family, name, link)
            self._beyond[feed] = Finding(
                SEGMENTS,
                f"{says}, and the posts of {shown(author)} end at {head}",
                b"",
                FEEDS + author,
                number,
                lost=True,
                fix=grow(self._snapshot, feed, number),
            )
        return feed, number

    def _feed(self, author: bytes) -> tuple[int, int] | None:
        if author not in self._known:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            feed = int.from_bytes(self._snapshot.get(keys.NAME + FEEDS + author) or b"", "big")
            head = self._snapshot.head(feed)
            self._known[author] = None if head is None else (feed, head)
        return self._known[author]

    def _reached(self, feed: int) -> int:
        """Up to which number a feed has given out posts, also if its row is yet to say so."""
        beyond = self._beyond.get(feed)
        return beyond.number if beyond is not None else self._snapshot.head(feed) or 0

    def _check_post(
        self, family: bytes, name: bytes, link: Link, surplus: dict[int, Finding]
    ) -> Iterator[Finding]:
        key, value = row_of(family, link)
        there = self._snapshot.get(key)
        if there == value:
            self._right += 1
        elif there is None:
            text = f"{self._says(family, name, link)}, and is not among its {_AMONG[family]}"
            yield Finding(STATE, text, key, *where(self._snapshot, key), fix=put(STATE, key, value))
        elif family == REPOST and not self._wrong(key, there):
            text = f"{self._says(family, name, link)}, and so does another post of theirs"
            surplus[link.by_seq] = self._of_post(link, text)
        # else the row is another's: that is told when the post of each row is looked for

    def _says(self, family: bytes, name: bytes, link: Link) -> str:
        return f"{post_called(self._snapshot, link.by, link.by_seq)} {_DOES[family]} {shown(name)}"

    def _of_post(self, link: Link, text: str, *, lost: bool = False) -> Finding:
        return Finding(SEGMENTS, text, b"", self._snapshot.name(link.by), link.by_seq, lost=lost)

    def _surplus(self, feed: int, surplus: dict[int, Finding]) -> Finding:
        """Delete reposts of a feed, all at once: one row says how many are deleted."""
        first = next(iter(surplus.values()))
        text = first.text + (f" (one of {len(surplus)} such reposts)" if len(surplus) > 1 else "")
        fix = [Put(PATCHES, keys.pair(feed, seq), b"") for seq in surplus]
        row, head = self._snapshot.row(feed), self._snapshot.head(feed)
        if row is not None and head is not None:
            better = row._replace(
                floor=max(row.floor, head),
                holes=row.holes + len(surplus),
                deleted=max(row.deleted, *surplus),
            )
            fix.append(Put(STATE, keys.ROW + keys.number(feed), encode_row(better)))
        lost = any(each.lost for each in surplus.values())
        return first._replace(text=text, lost=lost, fix=tuple(fix))

    # --- rows ---------------------------------------------------------------------------------

    def _strays(self) -> Iterator[Finding]:
        """Rows that no post stands for."""
        for family in LINKS:
            for key, value in self._snapshot.scan(family):
                wrong = self._wrong(key, value)
                if wrong:
                    name, seq = where(self._snapshot, key)
                    yield Finding(STATE, wrong, key, name, seq, fix=remove(STATE, key))

    def _wrong(self, key: bytes, value: bytes) -> str:
        """What is wrong with a row; empty where its post stands for it, or cannot be read now."""
        family = key[:2]
        try:
            link = link_of(key, value)
        except CorruptError as error:
            return str(error)
        wrong = self._problem(family, link)
        if not wrong:
            return ""
        post, target = (
            post_called(self._snapshot, link.by, link.by_seq),
            post_called(self._snapshot, link.feed, link.seq),
        )
        return f"{post} is among the {_AMONG[family]} of {target}{wrong}"

    def _problem(self, family: bytes, link: Link) -> str:
        snapshot = self._snapshot
        posts = snapshot.timeline(link.by)
        if posts is None or not posts.name.startswith(FEEDS):
            lost = snapshot.feed(link.by) is not None or snapshot.name(link.by).startswith(FEEDS)
            return "" if lost else ", and there is no such feed"
        try:
            entry = entry_of(snapshot, link)
            if entry is None:
                return ", and is not there"
            _, lsn, _, payload = entry
            names, ordinal = named(payload), ordinal_of(payload)
        except (CorruptError, ValueError):
            return ""  # the check of entries tells of it
        if not any(each == family and self._leads(name, link) for each, name in names):
            return ", and does not name it so"
        if family != REPOST and (lsn, ordinal) != (link.lsn, link.ordinal):
            as_noted = f" as thing {link.ordinal} of commit {link.lsn}"
            return f"{as_noted}, and is thing {ordinal} of commit {lsn}"
        return ""

    def _leads(self, name: bytes, link: Link) -> bool:
        """Whether a name is that of the post to which a link leads."""
        split = split_post_name(name)
        if split is None or split[1] != link.seq:
            return False
        called = FEEDS + split[0]
        named = self._snapshot.get(keys.NAME + called)
        return named == keys.number(link.feed) or self._snapshot.name(link.feed) == called


def _without(feed: int, seq: int, payload: bytes, name: bytes) -> tuple[Put, ...]:
    """A post that no longer names what is not there."""
    items = decode_items(payload)
    kept: list[bytes] = []
    for field, value in zip(items[::2], items[1::2], strict=True):
        if field not in (b"@reply", b"@repost") or value != name:
            kept += (field, value)
    return put(PATCHES, keys.pair(feed, seq), encode_entry(seq, kept))
