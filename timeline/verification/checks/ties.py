"""Ties: mutes, blocks and requests to follow, the lists of blocks and of requests, and the fields
of authors.

Checked: a tie is of a home and a feed that are there, of two users. Each request and each block is
also in its list, and the other way round. A block is known on both sides, and nobody has a request
with somebody whom it keeps from them. Fields are of a feed that is there. (`homes` checks that no
follow is where a block is, and counts blocks; `feeds` counts requests.)

Example: ann blocks bob, and what bob has with ann does not say so: he would still see her posts.

A repair believes a tie over lists, with one exception: whatever says that somebody blocks somebody
is believed, so that no block is lost. Then the rest follows from it: the other side, the list, the
home and the feed that it takes. A tie that is lost is made again from the lists, without its mute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from timeline.errors import CorruptError, shown
from timeline.feeds.ties import BARRED
from timeline.formats import keys
from timeline.formats.conversations import decode_settings
from timeline.formats.feeds import (
    BLOCK,
    BLOCKED,
    BLOCKS,
    FIELDS,
    MUTED,
    NO_TIE,
    REQUEST,
    REQUESTED,
    TIE,
    FeedRow,
    TieRow,
    decode_tie,
    encode_feed,
    encode_tie,
    feed_key,
    listed_key,
    split_listed_key,
    tie_key,
)
from timeline.formats.names import FEED_EVENTS, FEEDS, HOMES
from timeline.formats.rows import INBOX, RAW, TimelineRow, encode_progress, encode_row
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.storage.rocks import META, STATE
from timeline.verification.checks.homes import may_be_feed, may_be_home, time_at
from timeline.verification.checks.settled import OF_USERS, Settled
from timeline.verification.snapshot.findings import Finding, Put, put, remove
from timeline.verification.snapshot.snapshot import Snapshot

_FLAGS: Final = MUTED | BLOCKS | BLOCKED | REQUESTED
_DATED: Final = BLOCKS | REQUESTED  # these have a commit and a time
_DOES: Final = {BLOCK: "blocks the author", REQUEST: "asks to follow the author"}
_FLAG: Final = {BLOCK: BLOCKS, REQUEST: REQUESTED}


class _Pair(NamedTuple):
    """A reader and an author."""

    home: int
    feed: int


class Ties:
    """One walk over all ties, and one over each of the two lists."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._settled = Settled(snapshot, OF_USERS)
        self._missing: dict[bytes, str] = {}  # homes and feeds that a block takes: why

    def check(self) -> Iterator[Finding]:
        for key, value in self._snapshot.scan(TIE):
            yield from self._check_tie(key, value)
        for family in _FLAG:
            for key, value in self._snapshot.scan(family):
                yield from self._check_listed(family, key, value)
        yield from self._make_missing()

    # --- ties ---------------------------------------------------------------------------------

    def _check_tie(self, key: bytes, value: bytes) -> Iterator[Finding]:
        if len(key) != 18:
            yield Finding(STATE, "this key is of no tie", key, fix=remove(STATE, key))
            return
        pair = _Pair(*keys.split_pair(key[2:]))
        try:
            row = decode_tie(value)
        except CorruptError as error:
            name = self._snapshot.name(pair.feed)
            yield Finding(STATE, str(error), key, name, lost=True, fix=remove(STATE, key))
            return
        stray = self._stray(pair, key)
        if stray is not None:
            yield stray
        elif self._is_whole(pair):
            yield from self._check_row(pair, row)

    def _check_row(self, pair: _Pair, row: TieRow) -> Iterator[Finding]:
        better, wrong = self._mended(pair, row)
        if better.flags & BARRED:
            yield from self._check_other_side(pair, better)
        key, name = tie_key(*pair), self._snapshot.name(pair.feed)
        if not better.flags:
            wrong.append("they neither mute nor block the author, nor ask to follow them")
        if wrong:
            fix = put(STATE, key, encode_tie(better)) if better.flags else remove(STATE, key)
            yield Finding(STATE, f"{self._reader(pair)}: {'; '.join(wrong)}", key, name, fix=fix)
            return
        for family, flag in _FLAG.items():
            expected = _listed(family, pair, row.lsn)
            if row.flags & flag and self._snapshot.get(expected) is None:
                yield Finding(
                    STATE,
                    f"{self._reader(pair)} {_DOES[family]}, and is not in the list of those",
                    expected,
                    name,
                    fix=put(STATE, expected, b""),
                )

    def _mended(self, pair: _Pair, row: TieRow) -> tuple[TieRow, list[str]]:
        """A tie as it should be, and what is wrong with it."""
        wrong = []
        flags, lsn, since = row
        if flags & ~_FLAGS:
            wrong.append("what they have with the author is nothing that there is")
            flags &= _FLAGS
        if flags & REQUESTED and flags & BARRED:
            wrong.append("they ask to follow the author, although one of the two blocks the other")
            flags &= ~REQUESTED
        if flags & REQUESTED and self._snapshot.follow(*pair) is not None:
            wrong.append("they ask to follow the author, and follow them already")
            flags &= ~REQUESTED
        if not flags & _DATED:
            if (lsn or since) and not row.flags & _DATED:
                wrong.append(f"they neither block the author nor ask, and are said to since {lsn}")
            lsn = since = 0
        elif not 0 < lsn <= self._snapshot.applied:
            wrong.append(
                f"they block the author, or ask to follow them, since commit {lsn}, and the last "
                f"one is {self._snapshot.applied}"
            )
            _, lsn, since = self._begun(pair, BLOCK if flags & BLOCKS else REQUEST)
        return TieRow(flags, lsn, since), wrong

    def _begun(self, pair: _Pair, family: bytes, lsn: int = 0) -> TieRow:
        """A tie that began with commit `lsn`, if that was; else as a list says, or just now."""
        applied = self._snapshot.applied
        if not 0 < lsn <= applied:
            owner, other = pair if family == BLOCK else reversed(pair)
            rows = (key for key, _ in self._snapshot.scan(family + keys.number(owner)))
            found = (split_listed_key(key)[1:] for key in rows if len(key) == 26)
            lsn = next((at for at, who in found if who == other and 0 < at <= applied), applied)
        posts = self._snapshot.timeline(pair.feed)
        since = self._snapshot.time if posts is None else time_at(self._snapshot, posts, lsn)
        return TieRow(_FLAG[family], lsn, since)

    # --- the other side of a block ------------------------------------------------------------

    def _check_other_side(self, pair: _Pair, row: TieRow) -> Iterator[Finding]:
        """Whoever blocks and whoever is blocked have it both in what they have with the other."""
        user = self._snapshot.name(pair.home).removeprefix(HOMES)
        author = self._snapshot.name(pair.feed).removeprefix(FEEDS)
        names = HOMES + author, FEEDS + user
        home, feed = (self._known(name) for name in names)
        for name, timeline_id in zip(names, (home, feed), strict=True):
            if timeline_id is None:
                self._missing.setdefault(
                    name,
                    f"a block is between {shown(user)} and {shown(author)}, and this is not there: "
                    "one of the two would not notice",
                )
        if home is None or feed is None:
            return
        other = _Pair(home, feed)
        there = self._snapshot.tie(*other) or NO_TIE
        needed = (BLOCKED if row.flags & BLOCKS else 0) | (BLOCKS if row.flags & BLOCKED else 0)
        if there.flags & needed == needed:
            return
        better = there if there.flags & BLOCKS else NO_TIE
        if needed & ~there.flags & BLOCKS:
            better = self._begun(other, BLOCK)
        better = better._replace(flags=(there.flags | needed) & ~REQUESTED)
        yield Finding(
            STATE,
            f"{self._reader(other)}: a block is between them and the author, and what they have "
            "with the author does not say so",
            tie_key(*other),
            self._snapshot.name(feed),
            fix=put(STATE, tie_key(*other), encode_tie(better)),
        )

    def _known(self, name: bytes) -> int | None:
        """The id of a home or a feed; None when it is not there."""
        found = int.from_bytes(self._snapshot.get(keys.NAME + name) or b"", "big")
        return found if self._snapshot.name(found) == name else None

    def _make_missing(self) -> Iterator[Finding]:
        """Homes and feeds for the other side of blocks, once nothing else can bring them back."""
        made: dict[bytes, list[Put]] = {}
        next_id = self._snapshot.next_id
        for name in self._missing:
            created = self._snapshot.time
            made[name] = _timeline(next_id, TimelineRow(INBOX, created, 0, 0, 0, 0, name))
            if name.startswith(FEEDS):
                events = FEED_EVENTS + name.removeprefix(FEEDS)
                row = FeedRow(0, 0, 0, 0, created, next_id + 1, ())
                made[name] = [
                    *_timeline(next_id, TimelineRow(RAW, created, 1, 0, 0, 0, name)),
                    *_timeline(next_id + 1, TimelineRow(RAW, created, 1, 0, 0, 0, events)),
                    Put(STATE, feed_key(next_id), encode_feed(row)),
                ]
                next_id += 1
            next_id += 1
        progress = encode_progress(self._snapshot.progress._replace(next_id=next_id))
        for name, text in self._missing.items():
            fix = (*made[name], Put(META, PROGRESS_KEY, progress)) if self._settled() else ()
            yield Finding(STATE, text, keys.NAME + name, name, fix=fix)

    # --- lists --------------------------------------------------------------------------------

    def _check_listed(self, family: bytes, key: bytes, value: bytes) -> Iterator[Finding]:
        try:
            owner, lsn, other = split_listed_key(key)
        except CorruptError as error:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))
            return
        pair = _Pair(owner, other) if family == BLOCK else _Pair(other, owner)
        stray = self._stray(pair, key)
        if stray is not None:
            yield stray
        elif value:
            yield Finding(
                STATE,
                f"the row in which {self._reader(pair)} {_DOES[family]} is damaged: it holds "
                "nothing else than a key",
                key,
                self._snapshot.name(pair.feed),
                fix=put(STATE, key, b""),
            )
        elif self._is_whole(pair):
            yield from self._check_place(family, key, pair, lsn)

    def _check_place(self, family: bytes, key: bytes, pair: _Pair, lsn: int) -> Iterator[Finding]:
        """Whether a row in a list is as the tie says."""
        row = self._snapshot.tie(*pair)
        if row is None and self._snapshot.get(tie_key(*pair)) is not None:
            return  # it is damaged, and told of
        reader, name = self._reader(pair), self._snapshot.name(pair.feed)
        flag, there = _FLAG[family], NO_TIE if row is None else row
        if there.flags & flag:
            if there.lsn != lsn and 0 < there.lsn <= self._snapshot.applied:
                text = f"{reader} {_DOES[family]} by commit {there.lsn}, and the list says {lsn}"
                yield Finding(STATE, text, key, name, fix=remove(STATE, key))
            return
        follows = self._snapshot.follow(*pair) is not None
        text = f"{reader} {_DOES[family]} by the list, and what they have with the author "
        text += "is missing" if row is None else "does not say so"
        fix = remove(STATE, key)
        may_ask = row is None and not follows and 0 < lsn <= self._snapshot.applied
        if family == BLOCK or may_ask:
            better = self._begun(pair, family, lsn)
            better = better._replace(flags=better.flags | there.flags & ~REQUESTED)
            fix = put(STATE, tie_key(*pair), encode_tie(better))
        lost = row is None and not follows  # a mute may have been with it
        yield Finding(STATE, text, key, name, lost=lost, fix=fix)

    # --- who it is of -------------------------------------------------------------------------

    def _stray(self, pair: _Pair, key: bytes) -> Finding | None:
        """What is wrong where a row is not of two users who are there."""
        snapshot = self._snapshot
        if not may_be_home(snapshot, pair.home) or not may_be_feed(snapshot, pair.feed):
            text = (
                f"home {pair.home} has a mute, a block or a request with feed {pair.feed}, and one "
                "of the two is not there"
            )
            return Finding(STATE, text, key, fix=remove(STATE, key) if self._settled() else ())
        user = snapshot.name(pair.home).removeprefix(HOMES)
        name = snapshot.name(pair.feed)
        if name == FEEDS + user:
            text = f"{self._reader(pair)} has a mute, a block or a request with themselves"
            return Finding(STATE, text, key, name, fix=remove(STATE, key))
        return None

    def _is_whole(self, pair: _Pair) -> bool:
        """Whether both can be read; else other checks give them back."""
        snapshot = self._snapshot
        return snapshot.row(pair.home) is not None and snapshot.name(pair.feed).startswith(FEEDS)

    def _reader(self, pair: _Pair) -> str:
        return shown(self._snapshot.name(pair.home))


def check_fields(snapshot: Snapshot) -> Iterator[Finding]:
    """What authors say of themselves."""
    for key, value in snapshot.scan(FIELDS):
        feed = int.from_bytes(key[2:10], "big")
        try:
            if len(key) != 10 or not may_be_feed(snapshot, feed):
                raise CorruptError("these fields are of no feed that is there")
            if not decode_settings(value):
                raise CorruptError("the author says nothing of themselves, and has a row for it")
        except (CorruptError, ValueError) as error:
            text = f"the fields of the author cannot be read: {error}"
            name = snapshot.name(feed)
            yield Finding(STATE, text, key, name, lost=True, fix=remove(STATE, key))


def _listed(family: bytes, pair: _Pair, lsn: int) -> bytes:
    """The key that a block or a request has in its list."""
    if family == BLOCK:
        return listed_key(family, pair.home, lsn, pair.feed)
    return listed_key(family, pair.feed, lsn, pair.home)


def _timeline(timeline_id: int, row: TimelineRow) -> list[Put]:
    return [
        Put(STATE, keys.ROW + keys.number(timeline_id), encode_row(row)),
        Put(STATE, keys.NAME + row.name, keys.number(timeline_id)),
    ]
