"""Notes: what others did to posts and to authors, and what users have seen.

Checked: a group is of a post that was published, or of an author, and of a kind that there is. Its
author has an in-box of notes. Its last reference was made by a commit that there was. Those who did
something last are users who are there. What a user has seen is of a home that is there, and not
after the last commit. (`references` checks that what the in-boxes hold leads to feeds.)

Example: a group says that bob's home liked a post, and there is no such home.

A repair takes out whoever is not there, and a group of which nothing is left. A group that is lost
begins anew when the next one does something. What posts and feeds say of themselves is not touched,
so no reply, reaction or follow is lost with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.formats.names import FEEDS, NOTES
from timeline.formats.notes import (
    GROUP,
    GROUPED,
    MOST_DOERS,
    OF_AUTHOR,
    QUOTED,
    REACTED,
    REPLIED,
    REPOSTED,
    SEEN,
    Doer,
    GroupRow,
    SeenRow,
    decode_group,
    decode_seen,
    doers_of,
    encode_group,
    encode_seen,
    pack_doers,
    split_group_key,
)
from timeline.formats.posts import MOST_KINDS
from timeline.storage.rocks import STATE
from timeline.verification.checks.homes import may_be_feed, may_be_home
from timeline.verification.checks.settled import OF_USERS, Settled
from timeline.verification.snapshot.findings import Finding, put, remove
from timeline.verification.snapshot.snapshot import Snapshot

_BY_POST: Final = (REPLIED, QUOTED, REPOSTED)


class Notes:
    """One walk over all groups, and one over what users have seen."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._settled = Settled(snapshot, OF_USERS)

    def check(self) -> Iterator[Finding]:
        for key, value in self._snapshot.scan(GROUP):
            yield from self._check_group(key, value)
        for key, value in self._snapshot.scan(SEEN):
            yield from self._check_seen(key, value)

    # --- groups -------------------------------------------------------------------------------

    def _check_group(self, key: bytes, value: bytes) -> Iterator[Finding]:
        try:
            feed, seq, kind = split_group_key(key)
            if kind not in GROUPED and not REACTED <= kind < REACTED + MOST_KINDS:
                raise CorruptError(f"a note is of kind {kind}, which there is not")
            if not may_be_feed(self._snapshot, feed) and self._settled():
                raise CorruptError(f"a note is of feed {feed}, which is not there")
        except CorruptError as error:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))
            return
        name = self._snapshot.name(feed)
        try:
            row = decode_group(value)
            self._check_row(feed, seq, kind, row)
        except CorruptError as error:
            yield Finding(STATE, str(error), key, name, seq, lost=True, fix=remove(STATE, key))
            return
        if name.startswith(FEEDS):
            yield from self._check_doers(key, row, kind, name, seq)

    def _check_row(self, feed: int, seq: int, kind: int, row: GroupRow) -> None:
        snapshot = self._snapshot
        head = snapshot.head(feed)
        if (seq == 0) != (kind in OF_AUTHOR):
            raise CorruptError("a note is of a post, and should be of its author, or the reverse")
        if head is not None and seq > head and self._settled():
            name = shown(snapshot.name(feed))
            raise CorruptError(f"a note is of post {seq} of {name}, which ends at {head}")
        if bool(row.reaction) != (kind >= REACTED):
            raise CorruptError("only a note of a reaction has the name of one, and each has")
        if row.lsn > snapshot.applied:
            raise CorruptError(
                f"a note was told by commit {row.lsn}, and the last one is {snapshot.applied}"
            )

    def _check_doers(
        self, key: bytes, row: GroupRow, kind: int, name: bytes, seq: int
    ) -> Iterator[Finding]:
        author = name.removeprefix(FEEDS)
        told = row.lsn > 0  # what the author does not hear of is kept, and told to nobody
        if told and self._snapshot.get(keys.NAME + NOTES + author) is None and self._settled():
            text = f"there is a note for {shown(author)}, who has no in-box of notes"
            yield Finding(STATE, text, key, name, seq, lost=True, fix=remove(STATE, key))
            return
        found = doers_of(row.newest)
        kept = [each for each in dict.fromkeys(found) if self._is_there(each, kind)]
        del kept[MOST_DOERS:]
        if kept == found or not self._settled():
            return
        fix = remove(STATE, key)
        if kept:
            fix = put(STATE, key, encode_group(row._replace(newest=pack_doers(kept))))
        text = f"{len(found) - len(kept)} of those who did something last are nobody, or too many"
        yield Finding(STATE, text, key, name, seq, fix=fix)

    def _is_there(self, doer: Doer, kind: int) -> bool:
        if kind in _BY_POST:
            return may_be_feed(self._snapshot, doer.id) and 0 < doer.seq <= keys.LAST
        return may_be_home(self._snapshot, doer.id) and doer.seq == 0

    # --- what was seen ------------------------------------------------------------------------

    def _check_seen(self, key: bytes, value: bytes) -> Iterator[Finding]:
        home, applied = int.from_bytes(key[2:10], "big"), self._snapshot.applied
        if len(key) != 10 or (not may_be_home(self._snapshot, home) and self._settled()):
            text = "what a user has seen is of no home that is there"
            yield Finding(STATE, text, key, fix=remove(STATE, key))
            return
        name = self._snapshot.name(home)
        try:
            row = decode_seen(value)
        except CorruptError as error:
            yield Finding(STATE, str(error), key, name, lost=True, fix=remove(STATE, key))
            return
        if max(row) > applied:
            text = f"a user has seen what commit {max(row)} made, and the last one is {applied}"
            better = SeenRow(*[min(each, applied) for each in row])
            yield Finding(STATE, text, key, name, fix=put(STATE, key, encode_seen(better)))
