"""Raw timelines as Redis streams: what writes them (XADD, XDEL, XTRIM, XSETID).

Rule: semantics and sentences are those of Redis 7 where the contract says nothing else; ids are
`<seq>-0`. Plain `XADD key * …` outside a transaction never comes here: the connection appends it
directly.
"""

from __future__ import annotations

from itertools import islice

from timeline.engine import Draft
from timeline.errors import SequenceError
from timeline.formats.entries import resp_id
from timeline.tails import Timeline
from timeline.timelines import Extent

from .. import replies
from ..errors import CommandError
from ..registry import Arguments, write
from ..session import Session
from . import arguments
from .arguments import syntax_error, writable

_LEAST_SLACK = 64  # entries


class Trim:
    """`MAXLEN|MINID [=|~] threshold [LIMIT count]`.

    `=` is exact. `~` waits until enough has gathered above the threshold to be worth an operation
    and a row: 64 entries, or a sixteenth of the timeline, at most a segment's worth. Then it trims
    to the threshold, never below, and with LIMIT at most so many entries. Redis removes whole nodes
    of 100 instead; to nothing, both are exact.
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
        below = draft.rows(timeline, extent.first, self.threshold - 1)
        stays = next(islice(below, self.limit, None), None)
        return draft.trim(timeline, self.threshold if stays is None else stays[0])


def _slack(length: int, segment_entries: int) -> int:
    """By how many entries a timeline of `length` may be too long before `~` trims it."""
    return min(max(_LEAST_SLACK, length // 16), segment_entries)


def parse_trim(args: Arguments, at: int) -> tuple[Trim, int]:
    """Reads a trim that begins at `args[at]`; returns it and the place behind it."""
    by_length = args[at].upper() == b"MAXLEN"
    at += 1
    about = False
    limit = 0
    if at < len(args) and args[at] in (b"=", b"~"):
        about = args[at] == b"~"
        at += 1
    if at >= len(args):
        raise syntax_error()
    if by_length:
        threshold = arguments.integer(args[at])
        if threshold < 0:
            raise CommandError("The MAXLEN argument must be >= 0.")
    else:
        number, rest = arguments.split_id(args[at])
        threshold = number + 1 if rest else number
    at += 1
    if at < len(args) and args[at].upper() == b"LIMIT":
        if at + 1 >= len(args):
            raise syntax_error()
        limit = arguments.integer(args[at + 1])
        if limit < 0:
            raise CommandError("The LIMIT argument must be >= 0.")
        if not about:
            raise CommandError("syntax error, LIMIT cannot be used without the special ~ option")
        at += 2
    return Trim(by_length=by_length, threshold=threshold, about=about, limit=limit), at


@write(
    "XADD",
    "key [NOMKSTREAM] [MAXLEN|MINID [=|~] threshold [LIMIT count]] *|id (field value)...",
    "Appends an entry to a timeline, which is made if it is new; then trims it, see XTRIM.",
    group="stream",
    flags="write denyoom fast",
)
def xadd(session: Session, args: Arguments, draft: Draft) -> bytes:
    at = 2
    make = True
    trim: Trim | None = None
    while at < len(args):
        word = args[at].upper()
        if word == b"NOMKSTREAM":
            make = False
            at += 1
        elif word in (b"MAXLEN", b"MINID"):
            if trim is not None:
                raise CommandError(
                    "syntax error, MAXLEN and MINID options at the same time are not compatible"
                )
            trim, at = parse_trim(args, at)
        else:
            break
    if at >= len(args):
        raise wrong_number_of("xadd")
    seq = None if args[at] == b"*" else arguments.exact_id(args[at])
    items = args[at + 1 :]
    if not items or len(items) & 1:
        raise wrong_number_of("xadd")
    name = writable(args[1])
    timeline = draft.find(name)
    if timeline is None:
        if not make:
            return replies.nil(session.resp)
        timeline = draft.create(name)
    if seq == 0:
        raise SequenceError("The ID specified in XADD must be greater than 0-0")
    number = draft.append(timeline, items, seq)
    if trim is not None:
        trim.apply(draft, timeline, _segment_entries(session))
    return resp_id(number)


def wrong_number_of(name: str) -> CommandError:
    return CommandError(f"wrong number of arguments for '{name}' command")


@write(
    "XTRIM",
    "key MAXLEN|MINID [=|~] threshold [LIMIT count]",
    "Removes the oldest entries of a timeline; how many they were. `~` waits for 64 too many, or a "
    "sixteenth, at most a segment's worth, then keeps exactly as many as asked.",
    group="stream",
    flags="write",
    access="RW delete",
    complexity="O(1), O(N) for N entries above holes",
)
def xtrim(session: Session, args: Arguments, draft: Draft) -> bytes:
    if args[2].upper() not in (b"MAXLEN", b"MINID"):
        raise syntax_error()
    trim, at = parse_trim(args, 2)
    if at != len(args):
        raise syntax_error()
    timeline = draft.find(writable(args[1]))
    if timeline is None:
        return replies.integer(0)
    return replies.integer(trim.apply(draft, timeline, _segment_entries(session)))


def _segment_entries(session: Session) -> int:
    return session.service.engine.options.segment_entries


@write(
    "XDEL",
    "key id...",
    "Deletes single entries of a timeline; how many there were.",
    group="stream",
    flags="write fast",
    access="RW delete",
    complexity="O(1) for each entry",
)
def xdel(session: Session, args: Arguments, draft: Draft) -> bytes:
    seqs = [seq for seq in map(arguments.entry_id, args[2:]) if seq is not None]
    timeline = draft.find(writable(args[1]))
    return replies.integer(0 if timeline is None else draft.delete(timeline, seqs))


@write(
    "XSETID",
    "key last-id [ENTRIESADDED entries] [MAXDELETEDID max-deleted-id]",
    "Moves the head of a timeline forward: no number up to it is given out again.",
    group="stream",
    flags="write denyoom fast",
)
def xsetid(session: Session, args: Arguments, draft: Draft) -> bytes:
    seq = arguments.exact_id(args[2])
    at = 3
    while at < len(args):
        word = args[at].upper()
        if at + 1 >= len(args) or word not in (b"ENTRIESADDED", b"MAXDELETEDID"):
            raise syntax_error()
        if word == b"ENTRIESADDED":  # counted here by the numbers themselves
            if arguments.integer(args[at + 1]) < 0:
                raise CommandError("entries_added must be positive")
        else:
            arguments.split_id(args[at + 1])
        at += 2
    timeline = draft.find(writable(args[1]))
    if timeline is None:
        raise CommandError("no such key")
    draft.set_head(timeline, seq)
    return replies.OK
