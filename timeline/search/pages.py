"""Pages of hits as whoever asks is shown them: looked up in the store, marked, counted.

Rule: a hit is shown as the store has it now, if the caller's `look` says that it is his to see.
Pages are full whatever is left out, within a bounded number of hits looked at. The total is exact
up to `COUNTED`, and goes along in the token, so that it does not change from page to page. The
engine's lock is held for looking hits up, some at a time, and not while the index is searched; what
was looked up in the store is kept no longer than the lock.
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
_LOOKED_AT: Final = 20_000  # hits, for one page
_AT_A_TIME: Final = 256  # of them asked for at first, and
_TOGETHER: Final = 16  # looked up in one go: each may cost a segment to be read
_BYTES: Final = 4 << 20  # after which a page ends
_TOKEN: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,20})-([0-9]{1,4})([.+])")


class Found(NamedTuple):
    """An entry that was found, in stored form; the matches are marked in `snippet`, as HTML."""

    name: bytes  # of what it was found in
    payload: bytes
    snippet: str


class Results(NamedTuple):
    """`total` hits in all when `exact`, else at least so many."""

    total: int
    exact: bool
    hits: list[Found]
    cursor: bytes


# The entry and the name of what it is in; None when it is not there to be shown.
Shown = tuple[bytes, bytes] | None

# What hits show, in their order. It is called under the lock, and keeps no timeline for another
# call: between two calls they may be forgotten.
Look = Callable[[Sequence[Hit]], list[Shown]]


class Total(NamedTuple):
    number: int
    exact: bool


def parse_token(token: bytes | None) -> tuple[Hit | None, Total | None]:
    """Behind which hit a page begins, and the total, if known. Raises `UsageError`."""
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
    """Fills pages from `found`, which searches for `expression` in `fields`."""

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
        self._behind: Hit | None = None  # everything up to this hit was looked at
        self._ended = False  # there was nothing more to look at

    def fill(self, after: Hit | None, limit: int, total: Total | None, *, exactly: bool) -> Results:
        """The page behind `after`. Without a `total` hits are counted: as they are found when that
        is `exactly` what is shown, else as they are looked at.
        """
        if limit < 1:
            raise UsageError("COUNT is at least 1")
        hits: list[Found] = []
        last: Hit | None = None  # of a page that is full
        seen = size = 0
        for hit, payload, name in self._shown(after, limit):
            seen += 1
            if last is None:
                hits.append(self._describe(name, payload))
                size += len(payload)
                last = hit if len(hits) == limit or size >= _BYTES else None
            elif total is not None or exactly or seen > COUNTED:
                break
        if total is None and exactly:
            number = self._found.count()
            total = Total(min(number, COUNTED), number <= COUNTED)
        elif total is None:
            total = Total(min(seen, COUNTED), self._ended and seen <= COUNTED)
        behind = last or self._behind
        more = seen > len(hits) or not self._ended
        return Results(*total, hits, _token(behind, total) if more and behind else b"")

    def _shown(self, after: Hit | None, limit: int) -> Iterator[tuple[Hit, bytes, bytes]]:
        """Hits that are shown, the newest first, as far as is looked."""
        most = min(_AT_A_TIME, limit + 1)
        while self._looked_at < _LOOKED_AT:
            batch = self._found.hits(after, most)
            self._looked_at += len(batch)
            for start in range(0, len(batch), _TOGETHER):
                with self._engine.lock:
                    self._engine.check_usable()
                    part = batch[start : start + _TOGETHER]
                    looked = self._look(part)
                for hit, shown in zip(part, looked, strict=True):
                    if shown is not None:
                        yield hit, *shown
            if len(batch) < most:
                self._ended = True
                return
            after = self._behind = batch[-1]
            most = max(_AT_A_TIME, self._looked_at)  # asking again costs more than some more hits

    def _describe(self, name: bytes, payload: bytes) -> Found:
        items = decode_items(payload)
        texts = [
            (self._names[field], decode(value))
            for field, value in zip(items[::2], items[1::2], strict=True)
            if field in self._names
        ]
        return Found(name, payload, snippet(texts, self._expression))
