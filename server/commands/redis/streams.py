"""Raw timelines as Redis streams: what writes them (XADD, XDEL, XTRIM, XSETID).

Rule: they behave as in Redis 7 and use its error messages, except where docs/commands.md says
otherwise; ids are `<seq>-0`. Plain `XADD key * …` outside a transaction never comes here: the
connection appends it directly.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.errors import SequenceError
from timeline.formats.entries import resp_id
from timeline.lsm.ranges import Extent
from timeline.lsm.timeline import Timeline

from ...errors import CommandError
from ...registry.command import Arguments
from ...service.session import Session
from ...wire import replies
from .. import arguments
from ..arguments import syntax_error, writable
from ..declaring import write

_LEAST_SLACK: Final = 64  # entries too many before `~` trims, at least


class Trim:
    """`MAXLEN|MINID [=|~] threshold [LIMIT count]`.

    `=` is exact. `~` waits until there are enough entries beyond the threshold to be worth an
    operation and a row: 64 entries, or a sixteenth of the timeline, at most a segment's worth. Then
    it trims to the threshold, never below, and with LIMIT at most so many entries. Redis removes
    whole nodes of 100 instead. Where nothing is to be left, both are exact.
    """

    __slots__ = ("about", "by_length", "limit", "threshold")

    def __init__(self, *, by_length: bool, threshold: int, about: bool, limit: int) -> None:
        self.by_length = by_length
        self.threshold = threshold
        self.about = about
        self.limit = limit  # 0: none

    def apply(self, draft: Draft, timeline: Timeline, segment_entries: int) -> int:
        """Trims in `draft`; returns how many entries went."""
        threshold = self.threshold
        if self.about:
            extent = draft.extent(timeline)
            if self.by_length:
                excess, all_of_it = extent.length - threshold, threshold == 0
            else:  # numbers, of which there are at least as many as entries
                excess, all_of_it = threshold - extent.first, threshold > extent.head
            if excess <= 0 or not (all_of_it or excess >= _slack(extent.length, segment_entries)):
                return 0
            if self.limit:
                return self._trim_some(draft, timeline, extent)
        if self.by_length:
            return draft.trim_to_length(timeline, threshold)
        return draft.trim(timeline, threshold)

    def _trim_some(self, draft: Draft, timeline: Timeline, extent: Extent) -> int:
        if self.by_length:
            kept = max(self.threshold, extent.length - self.limit)
            return draft.trim_to_length(timeline, kept)
        if extent.length == extent.head - extent.first + 1:  # no holes: numbers count entries
            return draft.trim(timeline, min(self.threshold, extent.first + self.limit))
        below = draft.stored(timeline, extent.first, self.threshold - 1)
        stays = next(islice(below, self.limit, None), None)
        return draft.trim(timeline, self.threshold if stays is None else stays[0])


def _slack(length: int, segment_entries: int) -> int:
    """By how many entries a timeline of `length` may be too long before `~` trims it."""
    return min(max(_LEAST_SLACK, length // 16), segment_entries)


class Given(NamedTuple):
    """What stands between the key and the fields of XADD, or after the key of XTRIM."""

    make: bool  # the stream if it is new
    trim: Trim | None
    at: int  # the place after, which is that of the id in XADD,
    seq: int | None  # and its number; None for `*`


def given(args: Arguments, *, adds: bool) -> Given:
    """Reads the options of XADD or XTRIM, which come in any order as Redis takes them."""
    make, about, limited, limit = True, False, False, 0
    by_length: bool | None = None
    threshold = 0
    seq: int | None = None
    at = 2
    while at < len(args) and not (adds and args[at] == b"*"):
        word = args[at].upper()
        last = at + 1 == len(args)
        if word in (b"MAXLEN", b"MINID") and not last:
            if by_length is not None:
                raise CommandError(
                    "syntax error, MAXLEN and MINID options at the same time are not compatible"
                )
            if at + 2 < len(args) and args[at + 1] in (b"=", b"~"):
                about = args[at + 1] == b"~"
                at += 1
            by_length = word == b"MAXLEN"
            threshold = _threshold(args[at + 1], by_length=by_length)
            at += 1
        elif word == b"LIMIT" and not last:
            limit, limited = arguments.integer(args[at + 1]), True
            if limit < 0:
                raise CommandError("The LIMIT argument must be >= 0.")
            at += 1
        elif adds and word == b"NOMKSTREAM":
            make = False
        elif adds:
            seq = arguments.new_id(args[at])
            break
        else:
            raise syntax_error()
        at += 1
    if by_length is None and limit:
        raise CommandError(
            "syntax error, LIMIT cannot be used without specifying a trimming strategy"
        )
    if by_length is None and not adds:
        raise CommandError("syntax error, XTRIM must be called with a trimming strategy")
    if limited and not about:
        raise CommandError("syntax error, LIMIT cannot be used without the special ~ option")
    if by_length is None:
        return Given(make, None, at, seq)
    trim = Trim(by_length=by_length, threshold=threshold, about=about, limit=limit)
    return Given(make, trim, at, seq)


def _threshold(value: bytes, *, by_length: bool) -> int:
    if not by_length:
        number, rest = arguments.split_id(value)
        return number + 1 if rest else number
    length = arguments.integer(value)
    if length < 0:
        raise CommandError("The MAXLEN argument must be >= 0.")
    return length


@write(
    "XADD",
    "key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id (field value)...",
    "Appends an entry to a timeline, which is made if it is new. Then trims it, see XTRIM.",
    group="stream",
    flags="write denyoom fast",
)
def xadd(session: Session, args: Arguments, draft: Draft) -> bytes:
    make, trim, at, seq = given(args, adds=True)
    items = args[at + 1 :]
    if not items or len(items) & 1:
        raise wrong_number_of("xadd")
    if seq == 0 and not args[at].endswith(b"*"):
        raise SequenceError("The ID specified in XADD must be greater than 0-0")
    name = writable(args[1])
    timeline = draft.find(name)
    if timeline is None:
        if not make:
            return replies.nil(session.resp)
        timeline = draft.create(name)
    number = draft.append(timeline, items, seq)
    if trim is not None:
        trim.apply(draft, timeline, _segment_entries(session))
    return resp_id(number)


def wrong_number_of(name: str) -> CommandError:
    return CommandError(f"wrong number of arguments for '{name}' command")


@write(
    "XTRIM",
    "key MAXLEN|MINID [=|~] threshold [LIMIT count]",
    "Removes the oldest entries of a timeline and answers how many. `~` waits until there "
    "are 64 too many, or a sixteenth, at most a segment's worth. Then it keeps exactly as "
    "many as asked.",
    group="stream",
    lenient=True,
    flags="write",
    access="RW delete",
    complexity="O(1), O(N) for N entries above holes",
)
def xtrim(session: Session, args: Arguments, draft: Draft) -> bytes:
    trim = given(args, adds=False).trim
    timeline = draft.find(writable(args[1]))
    if timeline is None or trim is None:
        return replies.integer(0)
    return replies.integer(trim.apply(draft, timeline, _segment_entries(session)))


def _segment_entries(session: Session) -> int:
    return session.service.engine.options.segment_entries


@write(
    "XDEL",
    "key id...",
    "Deletes single entries of a timeline and answers how many there were.",
    group="stream",
    flags="write fast",
    access="RW delete",
    complexity="O(1) for each entry",
)
def xdel(session: Session, args: Arguments, draft: Draft) -> bytes:
    timeline = draft.find(writable(args[1]))
    if timeline is None:
        return replies.integer(0)
    seqs = [seq for seq in map(arguments.entry_id, args[2:]) if seq is not None]
    return replies.integer(draft.delete(timeline, seqs))


@write(
    "XSETID",
    "key last-id [ENTRIESADDED entries] [MAXDELETEDID max-deleted-id]",
    "Moves the head of a timeline forward. No number up to it is given out again.",
    group="stream",
    lenient=True,
    flags="write denyoom fast",
)
def xsetid(session: Session, args: Arguments, draft: Draft) -> bytes:
    seq = arguments.exact_id(args[2])
    added: int | None = None
    deleted = 0
    for at in range(3, len(args), 2):
        word = args[at].upper()
        if at + 1 >= len(args) or word not in (b"ENTRIESADDED", b"MAXDELETEDID"):
            raise syntax_error()
        if word == b"ENTRIESADDED":
            added = arguments.integer(args[at + 1])
            if added < 0:
                raise CommandError("entries_added must be positive")
        else:
            deleted = arguments.exact_id(args[at + 1])
            if seq < deleted:
                raise CommandError(
                    "The ID specified in XSETID is smaller than the provided max_deleted_entry_id"
                )
    timeline = draft.find(writable(args[1]))
    if timeline is None:
        raise CommandError("no such key")
    draft.set_head(timeline, seq, added=added, deleted=deleted)
    return replies.OK
