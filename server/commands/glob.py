"""Globs: the patterns of KEYS, SCAN MATCH, CONFIG GET and COMMAND LIST.

Rule: what Redis's `stringmatchlen` matches matches here, and nothing else: `*`, `?`, `[a-c]`,
`[^a]`, and a backslash that takes the next byte as it is, inside brackets too. A range may be
written backwards; a bracket that is never closed ends with the pattern. Bytes count as 0 to 255
(Redis's are signed on some machines, where a range from below 128 to above it means another).

A name is read once, whatever the pattern: every place in the pattern that the bytes so far may have
reached is one bit of a number, and each byte moves all of them at once (Shift-And, Baeza-Yates and
Gonnet 1992). It never backtracks, as a regular expression may.

Example: of `a*b`, the places are before `a`, after `a` (where `*` lets it stay) and after `b`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from ..errors import CommandError

LONGEST = 4096  # bytes of a pattern: a name has 512 at most, and each may be in brackets

_STAR, _ANY, _OPEN, _CLOSE, _NOT, _TO, _ESCAPE = b"*?[]^-\\"
_EVERY = frozenset(range(256))


class Glob:
    """A pattern, read once and matched against many names. Raises `CommandError` if too long."""

    __slots__ = ("_end", "_moves", "_open", "_stays", "prefix")

    def __init__(self, pattern: bytes, *, ignore_case: bool = False) -> None:
        if len(pattern) > LONGEST:
            raise CommandError(f"a pattern has {LONGEST} bytes at most")
        self._stays = 0  # bit n: a byte may leave place n where it is
        self._moves = [0] * 256  # bit n of the number for a byte: it leads from place n to n + 1
        place = 0
        prefix = bytearray()
        for members in _parts(pattern, ignore_case):
            if members is None:
                self._stays |= 1 << place
                continue
            for byte in members:
                self._moves[byte] |= 1 << place
            if len(members) == 1 and place == len(prefix) and not self._stays:
                prefix += bytes(members)
            place += 1
        self._end = 1 << place
        self.prefix = bytes(prefix)  # how every name that matches begins
        self._open = place == len(prefix) and self._stays == self._end  # the rest is one `*`

    def matches(self, name: bytes) -> bool:
        if not name.startswith(self.prefix):
            return False
        if self._open:
            return True
        moves, stays = self._moves, self._stays
        places = 1 << len(self.prefix)
        for byte in name[len(self.prefix) :]:
            places = (places & moves[byte]) << 1 | (places & stays)
            if not places:
                return False
        return bool(places & self._end)


@lru_cache(maxsize=64)
def compiled(pattern: bytes) -> Glob:
    return Glob(pattern)


def matches(pattern: bytes, name: bytes) -> bool:
    return compiled(pattern).matches(name)


def _parts(pattern: bytes, ignore_case: bool) -> Iterator[frozenset[int] | None]:
    """Part by part the bytes that it takes, or None for a `*`."""
    at = 0
    while at < len(pattern):
        byte = pattern[at]
        at += 1
        if byte == _STAR:
            yield None
        elif byte == _ANY:
            yield _EVERY
        elif byte == _OPEN:
            members, at = _brackets(pattern, at, ignore_case)
            yield members
        else:
            if byte == _ESCAPE and at < len(pattern):
                byte = pattern[at]
                at += 1
            yield _both_cases(byte) if ignore_case else frozenset((byte,))


def _brackets(pattern: bytes, at: int, ignore_case: bool) -> tuple[frozenset[int], int]:
    """The bytes that brackets take, whose inside begins at `at`, and the place after them."""
    end = len(pattern)
    negated = pattern[at : at + 1] == b"^"
    at += negated
    members: set[int] = set()
    while at < end and pattern[at] != _CLOSE:
        low = high = pattern[at]
        if low == _ESCAPE and at + 1 < end:
            members.add(pattern[at + 1])  # Redis: in its own case only
            at += 2
            continue
        if at + 2 < end and pattern[at + 1] == _TO:
            low, high = sorted((low, pattern[at + 2]))
            at += 2
        at += 1
        if ignore_case:  # Redis lowers both ends first, so that `[Z-a]` takes nothing
            low, high = _lower(low), _lower(high)
            members.update(byte for byte in _EVERY if low <= _lower(byte) <= high)
        else:
            members.update(range(low, high + 1))
    return _EVERY - members if negated else frozenset(members), min(at + 1, end)


def _lower(byte: int) -> int:
    return byte | 0x20 if 0x41 <= byte <= 0x5A else byte


def _both_cases(byte: int) -> frozenset[int]:
    letter = bytes((byte,))
    return frozenset(letter.lower() + letter.upper())
