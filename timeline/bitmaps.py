"""Sets of numbers, as bitmaps: messages that are hidden, not counted, mentioned; who reacted.

Responsibility: keep a set of message numbers as chunks of 65,536, one row each. Count the numbers
of a range that are in none of some sets, and step through them. Change one chunk by itself, for
whoever cuts a set in another way.

Rule: a row is small (at most 8 KiB) however many numbers the set has. Rows whose numbers have all
been trimmed are removed when a later row is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pyroaring import BitMap

from timeline.commit.draft import Draft
from timeline.engine.view import View
from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.conversations import CHUNK_BITS, between, chunk_key

_SIZE: Final = 1 << CHUNK_BITS
_MASK: Final = _SIZE - 1
_NOTHING: Final = BitMap()


class Bitmaps:
    """One set. Its keys begin with `family` and `owner`."""

    __slots__ = ("_family", "_owner", "_view")

    def __init__(self, view: View, family: bytes, *owner: int) -> None:
        self._view = view
        self._family = family
        self._owner = owner

    def chunk(self, number: int) -> BitMap:
        """The numbers in a chunk, counted from its first."""
        value = self._view.get(chunk_key(self._family, *self._owner, number))
        return _NOTHING if value is None else _decode(value)

    def __contains__(self, seq: int) -> bool:
        return (seq & _MASK) in self.chunk(seq >> CHUNK_BITS)


def _decode(value: bytes) -> BitMap:
    try:
        return BitMap.deserialize(value)
    except (ValueError, IndexError):  # an empty value gives the latter
        raise CorruptError("a set of message numbers is damaged: run `timeline verify`") from None


def members(value: bytes) -> list[int]:
    """The numbers in a stored chunk, counted from its first. Raises `CorruptError`."""
    return list(_decode(value))


def encoded(numbers: Iterable[int]) -> bytes:
    """The stored form of a chunk with these numbers, counted from its first."""
    bits = BitMap(numbers)
    bits.run_optimize()
    return bits.serialize()


def with_number(value: bytes | None, number: int) -> bytes | None:
    """A stored chunk with one number more; None when it has that."""
    bits = BitMap() if value is None else _decode(value)
    if number in bits:
        return None
    bits.add(number)
    bits.run_optimize()
    return bits.serialize()


def without_number(value: bytes, number: int) -> bytes:
    """A stored chunk with one number less; empty when that was the last."""
    bits = _decode(value)
    bits.discard(number)
    bits.run_optimize()
    return bits.serialize() if bits else b""


def holds(value: bytes | None, number: int) -> bool:
    """Whether a stored chunk has a number, counted from its first."""
    return value is not None and number in _decode(value)


def highest(value: bytes) -> int:
    """The highest number in a stored chunk, counted from its first. Raises `CorruptError`."""
    bits = _decode(value)
    return int(bits.max()) if bits else 0


def add(draft: Draft, family: bytes, owner: Sequence[int], seqs: Sequence[int], first: int) -> int:
    """Add numbers to a set of a conversation whose first number is `first`; how many are new."""
    added = 0
    by_chunk: dict[int, list[int]] = {}
    for seq in seqs:
        by_chunk.setdefault(seq >> CHUNK_BITS, []).append(seq & _MASK)
    for number, members in by_chunk.items():
        key = chunk_key(family, *owner, number)
        value = draft.get(key)
        bits = BitMap() if value is None else _decode(value)
        before = len(bits)
        bits.update(members)
        if len(bits) == before:
            continue
        added += len(bits) - before
        bits.run_optimize()
        draft.put(key, bits.serialize())
        if value is None:
            _drop_below(draft, family, owner, first >> CHUNK_BITS)
    return added


def discard(draft: Draft, family: bytes, owner: Sequence[int], seq: int) -> bool:
    """Take a number out of a set; whether that leaves the set empty."""
    key = chunk_key(family, *owner, seq >> CHUNK_BITS)
    value = draft.get(key)
    bits = BitMap() if value is None else _decode(value)
    if seq & _MASK not in bits:
        return False
    bits.discard(seq & _MASK)
    if bits:
        bits.run_optimize()
        draft.put(key, bits.serialize())
        return False
    draft.remove(key)
    prefix = family + b"".join([keys.number(part) for part in owner])
    return not any(True for _ in draft.scan(*between(prefix)))


def _drop_below(draft: Draft, family: bytes, owner: Sequence[int], chunk: int) -> None:
    if chunk:
        start, stop = chunk_key(family, *owner, 0), chunk_key(family, *owner, chunk)
        for key, _ in list(draft.scan(start, stop)):
            draft.remove(key)


def drop(draft: Draft, family: bytes, *owner: int) -> None:
    """Forget a whole set."""
    prefix = family + b"".join([keys.number(part) for part in owner])
    for key, _ in list(draft.scan(*between(prefix))):
        draft.remove(key)


def count(
    ranges: Sequence[tuple[int, int]],
    within: Sequence[Bitmaps] | None,
    without: Sequence[Bitmaps],
) -> int:
    """How many numbers of `ranges` are in a set of `within` (None: all are) and in no set of
    `without`. Ranges are inclusive and ascending.
    """
    total = 0
    for first, last in ranges:
        if within is None and not without:
            total += last - first + 1
            continue
        for chunk in range(first >> CHUNK_BITS, (last >> CHUNK_BITS) + 1):
            low = max(first - (chunk << CHUNK_BITS), 0)
            high = min(last - (chunk << CHUNK_BITS), _MASK)
            out = _union(without, chunk)
            if within is None:
                total += high - low + 1 - out.range_cardinality(low, high + 1)
            else:
                chosen = _union(within, chunk) - out
                total += chosen.range_cardinality(low, high + 1)
    return total


def _union(sets: Sequence[Bitmaps], chunk: int) -> BitMap:
    found = _NOTHING
    for each in sets:
        bits = each.chunk(chunk)
        if bits:
            found = bits if not found else found | bits
    return found


def runs(
    first: int, last: int, without: Bitmaps | None, *, reverse: bool
) -> Iterator[tuple[int, int]]:
    """The ranges that are left of `first` to `last` without a set, in the order read. The work
    grows with what is found, not with what is left out.
    """
    if without is None:
        if first <= last:
            yield first, last
        return
    chunks = range(first >> CHUNK_BITS, (last >> CHUNK_BITS) + 1)
    for chunk in reversed(chunks) if reverse else chunks:
        base = chunk << CHUNK_BITS
        low, high = max(first - base, 0), min(last - base, _MASK)
        out = without.chunk(chunk)
        if not out:
            yield base + low, base + high
            continue
        for start, stop in _stretches(out, low, high, reverse=reverse):
            yield base + start, base + stop


def _stretches(out: BitMap, low: int, high: int, *, reverse: bool) -> Iterator[tuple[int, int]]:
    """The unbroken stretches of `low` to `high` without `out`, in the order read. Each is found
    when it is asked for, so a caller that wants the first pays for that only.
    """
    left = BitMap(range(low, high + 1)) - out
    at = len(left) if reverse else 0  # how many numbers lie below those still to come
    while at > 0 if reverse else at < len(left):
        inside = left[at - 1] if reverse else left[at]
        below = out.rank(inside)
        start = max(low, out[below - 1] + 1) if below else low
        stop = min(high, out[below] - 1) if below < len(out) else high
        yield start, stop
        at += start - stop - 1 if reverse else stop + 1 - start
