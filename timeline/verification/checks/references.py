"""In-boxes: their segments and floors, and what their references lead to.

Checked: every segment can be read and belongs to an in-box. Its references are in the order of
commits, and after those of the segment before it. Each reference leads to something that is there,
or that was rightly removed.

Example: a reference leads to message 9 of a conversation that ends at 8.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from timeline.errors import CorruptError, shown
from timeline.formats import actions, feeds, keys, notes
from timeline.formats.conversations import CLEAR, DELETE, KINDS, READ, RECALL
from timeline.formats.names import CONVERSATIONS, EVENTS, FEEDS, HOMES
from timeline.formats.posts import MOST_KINDS
from timeline.formats.references import (
    REPLAY,
    Reference,
    decode_floor,
    decode_references,
    encode_reference,
    encode_references,
    packed_references,
)
from timeline.formats.rows import INBOX
from timeline.storage.rocks import INBOXES
from timeline.verification.snapshot.findings import Finding, Put, remove
from timeline.verification.snapshot.snapshot import Snapshot, grow

_MOST_TARGETS = 100_000  # timelines of which name and head are remembered

_OF_FEEDS: Final = {**feeds.KINDS, **actions.KINDS, **notes.KINDS}  # besides reactions


class References:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._known: dict[int, tuple[bytes, int] | None] = {}  # timeline → name, head
        self.references = 0
        self.reached = 0  # the highest LSN in a row

    def check(self) -> Iterator[Finding]:
        snapshot = self._snapshot
        owner = last = 0
        name, floor = b"", 0
        for key, value in snapshot.pairs(INBOXES):
            try:
                inbox_id, position = keys.split_pair(key)
                if inbox_id != owner:
                    owner, last = inbox_id, 0
                    row = snapshot.row(inbox_id)
                    gone = snapshot.memtable.active.garbage.get(inbox_id, 0) is None
                    if (row is None or row.kind != INBOX) and not gone:
                        raise CorruptError(f"{inbox_id} is no in-box")
                    name = b"" if row is None else row.name
                    floor = self._floor(inbox_id)
                if position == 0:
                    lsn = decode_floor(key, value)
                    if lsn > snapshot.applied:
                        raise CorruptError(f"its floor, LSN {lsn}, is above the last commit")
                    continue
                found = decode_references(packed_references(key, value))
                problem = _disorder(found, position, last, snapshot.applied)
                if problem:
                    raise CorruptError(problem)
            except CorruptError as error:
                owner = owner if owner and key[:8] == keys.number(owner) and name else 0
                number = int.from_bytes(key[8:16], "big")
                yield Finding(
                    INBOXES, str(error), key, name if owner else b"", number,
                    fix=remove(INBOXES, key),
                )  # fmt: skip
                continue
            last = position
            self.reached = max(self.reached, position)
            self.references += len(found)
            yield from self._targets(key, name, floor, found)
        yield from self._unsealed()

    def _floor(self, inbox_id: int) -> int:
        try:
            return self._snapshot.inboxes.floor_of(inbox_id)
        except CorruptError:
            return 0  # the walk over its rows tells of it

    def _unsealed(self) -> Iterator[Finding]:
        """References that are not sealed yet."""
        for inbox_id, inbox in self._snapshot.memtable.active.inboxes.items():
            found = decode_references(b"".join([*inbox.immutable, *inbox.tail]))
            self.references += len(found)
            row = self._snapshot.row(inbox_id)
            name = b"" if row is None else row.name
            yield from self._targets(b"", name, self._floor(inbox_id), found)

    def _targets(
        self, key: bytes, name: bytes, floor: int, found: list[Reference]
    ) -> Iterator[Finding]:
        bad = []
        for reference in found:
            problem = self._problem(reference) if reference.lsn > floor else ""
            if problem:
                bad.append((reference, problem))
        if not bad:
            return
        dropped = {reference for reference, _ in bad}
        kept = [each for each in found if each not in dropped]
        fix = self._without(key, kept) if key else ()
        for reference, problem in bad:
            head = self._target(reference.timeline_id)
            numbered = 0 < reference.kind <= RECALL or _is_of_feed(reference.kind)
            beyond = head is not None and numbered and reference.seq > head[1]
            yield Finding(
                INBOXES,
                problem,
                key,
                name,
                reference.lsn,
                lost=beyond,
                fix=(
                    *fix,
                    *(
                        grow(self._snapshot, reference.timeline_id, reference.seq)
                        if beyond and self._plausible(reference)
                        else ()
                    ),
                ),
            )

    def _plausible(self, reference: Reference) -> bool:
        """Whether a number beyond the head can have been given out by so many commits."""
        return reference.seq <= self._snapshot.applied * 16

    def _without(self, key: bytes, kept: list[Reference]) -> tuple[Put, ...]:
        if not kept:
            return remove(INBOXES, key)
        fixed = keys.pair(keys.split_pair(key)[0], kept[-1].lsn)
        value = encode_references(fixed, [encode_reference(*each) for each in kept])
        gone = () if fixed == key else remove(INBOXES, key)
        return (*gone, Put(INBOXES, fixed, value))

    def _problem(self, reference: Reference) -> str:
        """What is wrong with the target of a reference; empty when nothing is."""
        timeline_id = reference.timeline_id
        if not 0 < timeline_id < self._snapshot.next_id:
            return f"a reference leads to timeline {timeline_id}, which never was"
        return misleading(reference, self._target(timeline_id))

    def _target(self, timeline_id: int) -> tuple[bytes, int] | None:
        if timeline_id not in self._known:
            if len(self._known) >= _MOST_TARGETS:
                self._known.clear()
            timeline = self._snapshot.timeline(timeline_id)
            self._known[timeline_id] = (
                None
                if timeline is None
                else (timeline.name, self._snapshot.memtable.head(timeline))
            )
        return self._known[timeline_id]


def misleading(reference: Reference, target: tuple[bytes, int] | None) -> str:
    """What is wrong with a reference; empty when nothing is. `target` is the name and head of the
    timeline that it leads to, None when that is gone.
    """
    _, _, seq, kind, _ = reference
    if not 0 < kind < len(KINDS) and kind != REPLAY and not _is_of_feed(kind):
        return f"a reference is of kind {kind}, which there is not"
    if target is None or kind == DELETE:
        return ""  # rightly gone
    name, head = target
    if _is_of_feed(kind):
        return _misleading_in_feeds(name, seq, kind, head)
    event = RECALL < kind < READ and seq > 0
    if kind in (CLEAR, REPLAY):  # a clear by retention leads to events, one by a user not
        event = name.startswith(EVENTS)
    if not name.startswith(EVENTS if event else CONVERSATIONS):
        what = "holds no events" if event else "is no conversation"
        word = "replay" if kind == REPLAY else KINDS[kind]
        return f"a reference of kind {word} leads to {shown(name)}, which {what}"
    return _beyond(name, seq, head) if event or kind < READ or kind == REPLAY else ""


def _misleading_in_feeds(name: bytes, seq: int, kind: int, head: int) -> str:
    """Each names a post, or 0 for its author or for the home itself."""
    word = _OF_FEEDS.get(kind, "reaction")
    whose = "home" if kind == actions.SEEN else "feed"
    if not name.startswith(HOMES if kind == actions.SEEN else FEEDS):
        return f"a reference of kind {word} leads to {shown(name)}, which is no {whose}"
    if seq and kind in actions.KINDS and kind != actions.REACT:
        return f"a reference of kind {word} leads to number {seq}, and to none rightly"
    return _beyond(name, seq, head)


def _is_of_feed(kind: int) -> bool:
    reaction = notes.REACTED <= kind < notes.REACTED + MOST_KINDS
    return kind in _OF_FEEDS or reaction


def _beyond(name: bytes, seq: int, head: int) -> str:
    if seq <= head:
        return ""
    return f"a reference leads to number {seq} of {shown(name)}, which ends at {head}"


def _disorder(found: list[Reference], position: int, last: int, applied: int) -> str:
    if not found or found[-1].lsn != position:
        return "it does not end where its key says"
    if found[0].lsn <= last:
        return f"its references overlap those before, which end at LSN {last}"
    if position > applied:
        return f"its references are of commit {position}, and the last one is {applied}"
    order = [(each.lsn, each.ordinal) for each in found]
    if any(one > other for one, other in pairwise(order)):
        return "its references are out of order"
    return ""
