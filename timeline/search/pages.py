"""Pages of hits: looked up in the store, marked and counted.

Rule: a hit is shown as the store has it now, and only if `look` says that the caller may see it. A
page is full even where hits are left out, unless too many hits would have to be looked at. The
total is exact up to `COUNTED`. The token of the next page carries the total, so that it is the same
on all pages.

The engine's lock is held while some hits are looked up, not while the index is searched. Nothing
that was looked up in the store is kept after the lock is released.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from timeline.engine.engine import Engine
from timeline.errors import UsageError
from timeline.formats.entries import decode_items
from timeline.search.search import Hit, Search
from timeline.search.text.analysis import decode
from timeline.search.text.language import Expression
from timeline.search.text.snippets import snippet

COUNTED: Final = 1_000  # hits up to which the total is exact
_MOST_HITS: Final = 20_000  # looked at for one page
_FIRST_HITS: Final = 256  # at most, asked of the index at first, where nothing is counted
_LOOKED_UP: Final = 16  # hits, under one hold of the lock: each may cost a segment to be read
_PAGE_BYTES: Final = 4 << 20  # after which a page ends
_TOKEN: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,4})([.+])")


class Found(NamedTuple):
    """An entry that was found, in stored form. `snippet` is HTML, with the matches marked."""

    name: bytes  # of the timeline or conversation
    payload: bytes
    snippet: str


class Results(NamedTuple):
    """`total` is the number of all hits; where it is not `exact`, there are at least so many."""

    total: int
    exact: bool
    hits: list[Found]
    cursor: bytes


# The entry, and the name of its timeline or conversation; None when it is not to be shown.
Shown = tuple[bytes, bytes] | None

# What hits show, in their order. It is called under the lock. It must keep no timeline from one
# call to the next, since the engine may drop timelines from memory between calls.
Look = Callable[[Sequence[Hit]], list[Shown]]


class Total(NamedTuple):
    number: int
    exact: bool


def parse_token(token: bytes | None) -> tuple[Hit | None, Total | None]:
    """The hit after which a page begins, and the total. Raises `UsageError`."""
    if not token:
        return None, None
    match = _TOKEN.fullmatch(token)
    if match is None or any(int(part) >= 1 << 64 for part in match.groups()[:3]):
        raise UsageError("the token is the cursor of the page before")
    rank, timeline, seq, number = map(int, match.groups()[:4])
    return Hit(rank, timeline, seq), Total(number, match[5] == b".")


def _token(hit: Hit, total: Total) -> bytes:
    return b"%d-%d-%d-%d%b" % (*hit, total.number, b"." if total.exact else b"+")


class Pages:
    """Makes pages of the hits of `found`, a search for `expression` in `fields`."""

    def __init__(
        self,
        engine: Engine,
        found: Search,
        look: Look,
        expression: Expression,
        fields: Sequence[str],
    ) -> None:
        self._engine = engine
        self._found = found
        self._look = look
        self._expression = expression
        self._names = {field.encode(): field for field in fields}
        self._looked_at = 0
        self._passed: Hit | None = None  # everything up to this hit was looked at
        self._ended = False  # there was nothing more to look at

    def fill(self, after: Hit | None, limit: int, total: Total | None, *, exactly: bool) -> Results:
        """The page after the hit `after`. Without a `total` the hits are counted.

        With `exactly` every hit counts that the index has. Else only those count that are shown.
        """
        if limit < 1:
            raise UsageError("COUNT is at least 1")
        hits: list[Found] = []
        last: Hit | None = None  # set once the page is full
        seen = size = 0
        counts = total is None and not exactly  # what is shown
        first = COUNTED + 1 if counts else min(_FIRST_HITS, limit + 1)
        for hit, payload, name in self._shown(after, first):
            seen += 1
            if last is None:
                hits.append(self._describe(name, payload))
                size += len(payload)
                last = hit if len(hits) == limit or size >= _PAGE_BYTES else None
            elif not counts or seen > COUNTED:
                break
        if total is None and exactly:
            number = self._found.count()
            total = Total(min(number, COUNTED), number <= COUNTED)
        elif total is None:
            total = Total(min(seen, COUNTED), self._ended and seen <= COUNTED)
        passed = last or self._passed
        more = seen > len(hits) or not self._ended
        return Results(*total, hits, _token(passed, total) if more and passed else b"")

    def _shown(self, after: Hit | None, most: int) -> Iterator[tuple[Hit, bytes, bytes]]:
        """Hits that are shown, the newest first, within the bound of hits looked at; `most` of them
        are asked of the index at first.
        """
        while (left := _MOST_HITS - self._looked_at) > 0:
            most = min(most, left)
            batch = self._found.hits(after, most)
            self._looked_at += len(batch)
            for start in range(0, len(batch), _LOOKED_UP):
                with self._engine.lock:
                    self._engine.check_usable()
                    part = batch[start : start + _LOOKED_UP]
                    looked = self._look(part)
                for hit, shown in zip(part, looked, strict=True):
                    if shown is not None:
                        yield hit, *shown
            if len(batch) < most:
                self._ended = True
                return
            after = self._passed = batch[-1]
            most = max(_FIRST_HITS, self._looked_at)  # more hits cost less than another search

    def _describe(self, name: bytes, payload: bytes) -> Found:
        items = decode_items(payload)
        texts = [
            (self._names[field], decode(value))
            for field, value in zip(items[::2], items[1::2], strict=True)
            if field in self._names
        ]
        return Found(name, payload, snippet(texts, self._expression))
