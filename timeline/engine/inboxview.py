"""In-boxes as raw streams: the references themselves, not the entries that they refer to.

Responsibility: answer about an in-box what a `Source` answers about a timeline: its extent, and
ranges in both directions as entries in stored form.

Rule: the id of a reference is `<lsn>-<n>`: it is the n-th reference, counted from 0, that commit
`lsn` put into this in-box. Ranges are asked for by one number, LSN · 2³² + n. A reference has the
fields `kind`, `timeline` (a name, empty when the timeline is gone) and `seq`.

    12-1    kind message, timeline @conv:team, seq 7        its number is 12 · 2³² + 1

A view shows applied commits only, also inside a transaction, and nothing at or below the floor of
the in-box. The caller holds the engine's lock.
"""

from __future__ import annotations

from typing import Final

from timeline.engine.view import Applied
from timeline.entry import Entry
from timeline.formats import notes
from timeline.formats.entries import decode_id, encode_shown
from timeline.formats.keys import MAX
from timeline.formats.kinds import UPDATES
from timeline.formats.numbers import Lsn
from timeline.formats.references import REPLAY, Reference
from timeline.formats.rows import INBOX, Retention
from timeline.lsm.ranges import Extent, Page
from timeline.lsm.timeline import Timeline

BITS: Final = 32
_LAST: Final = (1 << BITS) - 1  # the highest number within a commit
TOP: Final = MAX << BITS | _LAST

_WORDS: Final = {
    **dict(enumerate(UPDATES)),
    **notes.KINDS,
    **dict.fromkeys(range(notes.REACTED, REPLAY), "reaction"),
    REPLAY: "replay",
}
_KINDS: Final = {kind: word.encode() for kind, word in _WORDS.items() if word}


def is_inbox(timeline: Timeline) -> bool:
    row = timeline.staged or timeline.row
    return row is not None and row.kind == INBOX


def number_of(lsn: int, ordinal: int = 0) -> int:
    """The number of a reference. An ordinal above all that there can be gives the first number of
    the next commit.
    """
    return (lsn << BITS) + min(ordinal, _LAST + 1)


def last_number(lsn: int) -> int:
    """The highest number that a reference of commit `lsn` may have."""
    return lsn << BITS | _LAST


def id_of(number: int) -> bytes:
    return b"%d-%d" % (number >> BITS, number & _LAST)


def show_reference(payload: bytes) -> Entry:
    """A reference that an `InboxView` read, as an embedder sees it."""
    return Entry(int(decode_id(payload).partition(b"-")[0]), 0, payload)


class InboxView:
    """The in-boxes of a view, as a `Source` of which the numbers are those of references."""

    def __init__(self, view: Applied) -> None:
        self._view = view

    def find(self, name: bytes) -> Timeline | None:
        return self._view.find(name)

    @property
    def head(self) -> int:
        """The highest number that a reference may have by now."""
        return last_number(self._view.log.applied)

    def extent(self, timeline: Timeline) -> Extent:
        """First and last number, 0 for none. For the length every segment is looked at."""
        row = timeline.staged or timeline.row
        created = 0 if row is None else row.created
        inboxes = self._view.inboxes
        first = self.read(timeline, limit=1).last or 0
        head = self.newest(timeline)
        length = inboxes.count(timeline.id)
        return Extent(
            first, head, length, created, number_of(inboxes.floor_of(timeline.id)), length
        )

    def newest(self, timeline: Timeline) -> int:
        """The number of the newest reference, 0 for none."""
        return self.read(timeline, limit=1, reverse=True).last or 0

    def metadata(self, timeline: Timeline) -> dict[bytes, bytes]:
        return self._view.metadata(timeline)

    def retention(self, timeline: Timeline) -> Retention:
        return self._view.retention(timeline)

    def span(self, timeline: Timeline) -> Extent:
        """The extent with LSNs in place of numbers, for callers whose ids are plain numbers."""
        extent = self.extent(timeline)
        first, head, deleted = (
            number >> BITS for number in (extent.first, extent.head, extent.deleted)
        )
        return extent._replace(first=first, head=head, deleted=deleted)

    def read(
        self,
        timeline: Timeline,
        first: int = 0,
        last: int = TOP,
        limit: int | None = None,
        *,
        reverse: bool = False,
    ) -> Page:
        """References numbered `first` to `last`, inclusive, at most `limit`."""
        limit = MAX if limit is None else limit
        if limit <= 0:
            return Page(0, [], None)
        inboxes = self._view.inboxes
        if reverse:
            found = [
                (Reference._make(fields), ordinal)
                for fields, ordinal in inboxes.read_back(
                    timeline.id, Lsn(last >> BITS), last & _LAST, limit
                )
            ]
        elif first & _LAST:
            found = inboxes.read(timeline.id, Lsn(first >> BITS), (first & _LAST) - 1, limit)
        else:
            found = inboxes.read(timeline.id, Lsn((first >> BITS) - 1), MAX, limit)
        numbered = [
            (number, reference)
            for reference, ordinal in found
            if first <= (number := number_of(reference.lsn, ordinal)) <= last
        ]
        names: dict[int, bytes] = {}
        chunks = [self._show(number, reference, names) for number, reference in numbered]
        return Page(len(chunks), chunks, numbered[-1][0] if numbered else None)

    def _show(self, number: int, reference: Reference, names: dict[int, bytes]) -> bytes:
        timeline_id, kind = reference.timeline_id, reference.kind
        if timeline_id not in names:
            timeline = self._view.load(timeline_id)
            names[timeline_id] = b"" if timeline is None else timeline.name
        word = _KINDS.get(kind) or b"%d" % kind
        items = (b"kind", word, b"timeline", names[timeline_id], b"seq", b"%d" % reference.seq)
        return encode_shown(id_of(number), items)
