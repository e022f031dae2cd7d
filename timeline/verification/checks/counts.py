"""Counts of posts: how many replies, reposts and quotes a post has, and who has which reaction.

Checked: the counts of a post are those of its rows. Only users react, and only to posts that were
published. Each reaction has a name.

Example: 3 users like ann/3, and the counts of ann/3 say 2.

A repair believes rows over counts. Only the counts know what a reaction is called. Where that is
lost the reaction gets another name, and stays with those who have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import merge
from itertools import groupby
from typing import Final

from timeline.bitmaps import encoded, members
from timeline.errors import CorruptError, UsageError, shown
from timeline.formats import keys
from timeline.formats.names import FEEDS, HOMES
from timeline.formats.posts import (
    COUNTS,
    FAMILIES,
    MOST_KINDS,
    NO_COUNTS,
    QUOTE,
    REACTION,
    REACTION_BITS,
    REPLY,
    REPOST,
    Counts,
    Reaction,
    decode_counts,
    encode_counts,
    split_reaction_key,
)
from timeline.formats.rows import decode_row
from timeline.identity import check_id
from timeline.storage.rocks import STATE
from timeline.verification.checks.posts import LINKS, post_called, where
from timeline.verification.snapshot.findings import Finding, put, remove
from timeline.verification.snapshot.snapshot import Snapshot
from timeline.verification.snapshot.walk import Pair

_KEY_BYTES: Final = {REPLY: 50, QUOTE: 50, REPOST: 26, COUNTS: 18, REACTION: 27}
_BLOCK_BITS: Final = 16  # of ids, of which it is known together which are homes
_MOST_BLOCKS: Final = 256  # kept in memory, 64 KiB each
_CHUNK: Final = 1 << REACTION_BITS


class CountsOfPosts:
    """One walk over the rows of all posts together. `rows` counts those of replies, quotes and
    reposts. `settled` says whether feeds and homes have their names, and `reached` up to which
    number a feed has given out posts.
    """

    def __init__(
        self, snapshot: Snapshot, settled: Callable[[], bool], reached: Callable[[int], int]
    ) -> None:
        self._snapshot = snapshot
        self._settled = settled
        self._reached = reached
        self._blocks: dict[int, bytearray] = {}
        self.rows = 0

    def check(self) -> Iterator[Finding]:
        rows = merge(*map(self._snapshot.scan, FAMILIES), key=_place)
        for place, pairs in groupby(rows, key=_place):
            yield from self._check_post(place, pairs)

    def _check_post(self, place: bytes, pairs: Iterator[Pair]) -> Iterator[Finding]:
        found = dict.fromkeys(FAMILIES, 0)
        users: dict[int, int] = {}  # how many have each kind of reaction
        noted: bytes | None = None
        for key, value in pairs:
            family = key[:2]
            whole = len(key) == _KEY_BYTES[family]
            if family in LINKS:  # one that is not whole is told of when its post is looked for
                self.rows += 1
                found[family] += whole
            elif not whole:
                yield Finding(STATE, "this key is of no post", key, fix=remove(STATE, key))
            elif family == COUNTS:
                noted = value
            else:
                count, wrong = self._reacted(key, value)
                users[key[18]] = users.get(key[18], 0) + count
                yield from wrong
        if len(place) == 16:
            counts = Counts(found[REPLY], found[REPOST], found[QUOTE])
            yield from self._check_counts(COUNTS + place, counts, users, noted)

    # --- reactions ----------------------------------------------------------------------------

    def _reacted(self, key: bytes, value: bytes) -> tuple[int, list[Finding]]:
        """How many have a reaction by one row, once that is as it should be; what is wrong."""
        feed, seq, kind, chunk = split_reaction_key(key)
        what = f"of the reactions to {post_called(self._snapshot, feed, seq)}"
        try:
            bits = members(value)
            if not bits or bits[-1] >= _CHUNK or kind >= MOST_KINDS:
                raise CorruptError("it has no such numbers")
            if chunk > self._snapshot.next_id >> REACTION_BITS:
                raise CorruptError("it has no such users")
        except CorruptError:
            return 0, [self._bad(key, f"a row {what} is damaged", lost=True)]
        if not self._is_there(feed, seq):
            if not self._settled():
                return len(bits), []
            return 0, [self._bad(key, f"{len(bits)} {what} are left, and it was never there")]
        block = self._homes(chunk)
        base = (chunk << REACTION_BITS) & ((1 << _BLOCK_BITS) - 1)
        kept = [bit for bit in bits if block[base + bit]]
        if len(kept) == len(bits) or not self._settled():
            return len(bits), []
        finding = self._bad(key, f"{len(bits) - len(kept)} {what} are of nobody")
        if kept:
            finding = finding._replace(fix=put(STATE, key, encoded(kept)))
        return len(kept), [finding]

    def _bad(self, key: bytes, text: str, *, lost: bool = False) -> Finding:
        name, seq = where(self._snapshot, key)
        return Finding(STATE, text, key, name, seq, lost=lost, fix=remove(STATE, key))

    def _is_there(self, feed: int, seq: int) -> bool:
        """Whether a post was published, also if it was deleted since."""
        return self._snapshot.name(feed).startswith(FEEDS) and 0 < seq <= self._reached(feed)

    def _homes(self, chunk: int) -> bytearray:
        """For each id of the block that a chunk of users is in, whether it is a home."""
        number = chunk >> (_BLOCK_BITS - REACTION_BITS)
        block = self._blocks.get(number)
        if block is None:
            if len(self._blocks) >= _MOST_BLOCKS:
                self._blocks.clear()
            block = self._blocks[number] = bytearray(1 << _BLOCK_BITS)
            first = keys.ROW + keys.number(number << _BLOCK_BITS)
            for key, value in self._snapshot.scan(first[: -_BLOCK_BITS // 8]):
                block[int.from_bytes(key[-2:], "big")] = _is_home(value)
        return block

    # --- counts -------------------------------------------------------------------------------

    def _check_counts(
        self, key: bytes, counts: Counts, users: dict[int, int], noted: bytes | None
    ) -> Iterator[Finding]:
        before = problem = None
        try:
            before = None if noted is None else decode_counts(noted)
        except CorruptError as error:
            problem = str(error)
        reactions, lost = _reactions(() if before is None else before.reactions, users)
        counts = counts._replace(reactions=reactions)
        if noted == (None if counts == NO_COUNTS else encode_counts(counts)):
            return
        post = post_called(self._snapshot, *keys.split_pair(key[2:]))
        text = f"the replies, reposts and quotes of {post} are {_shown(counts)}"
        if problem is not None:
            text += f", and {problem}"
        else:
            text += (
                ", which is not noted" if before is None else f", and {_shown(before)} are noted"
            )
        fix = remove(STATE, key)
        if counts != NO_COUNTS:
            fix = put(STATE, key, encode_counts(counts))
        yield Finding(STATE, text, key, *where(self._snapshot, key), lost=lost, fix=fix)


def _reactions(
    before: tuple[Reaction, ...], users: dict[int, int]
) -> tuple[tuple[Reaction, ...], bool]:
    """The reactions that users have, called as before; whether any lost its name, or some users."""
    found: dict[bytes, Reaction] = {}
    left = {kind: count for kind, count in users.items() if count}
    fewer = any(users.get(each.kind, 0) < each.users for each in before)
    for each in before:
        if each.kind in left and each.name not in found and _is_name(each.name):
            found[each.name] = each._replace(users=left.pop(each.kind))
    for kind, count in sorted(left.items()):
        name = b"lost-%d" % kind
        while name in found:
            name += b"-"
        found[name] = Reaction(kind, count, name)
    return tuple(found.values()), fewer or bool(left)


def _is_name(name: bytes) -> bool:
    try:
        return name.decode() not in Counts._fields and bool(check_id(name, "reaction"))
    except (UnicodeDecodeError, UsageError):
        return False


def _is_home(value: bytes) -> bool:
    try:
        return decode_row(value).name.startswith(HOMES)
    except CorruptError:
        return False  # the check of names tells of it


def _place(pair: Pair) -> bytes:
    """The post of a row: feed and number, where its key is whole."""
    return pair[0][2:18]


def _shown(counts: Counts) -> str:
    text = f"{counts.replies}, {counts.reposts} and {counts.quotes}"
    if not counts.reactions:
        return text
    reactions = ", ".join(f"{each.users} {shown(each.name)}" for each in counts.reactions)
    return f"{text} (reactions: {reactions})"
