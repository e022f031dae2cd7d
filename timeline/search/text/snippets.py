"""Snippets: the part of a text that shows why it was found, with the matches marked.

Rule: what is marked is what the expression asks for: words, or unbroken runs of characters in
scripts without spaces, never a part of such a run alone, unless the run is longer than a snippet.
Everything but the marks is escaped, so that a snippet can be put into HTML as it is. Looking for
matches takes time in proportion to the text, whatever it says and whatever is asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from heapq import merge
from html import escape
from itertools import accumulate
from typing import Final

from timeline.search.text.analysis import tokens
from timeline.search.text.folding import compose
from timeline.search.text.language import Expression, Not, Words

BEGIN: Final = "<b>"
END: Final = "</b>"
LENGTH: Final = 160  # characters shown, about
_BEFORE: Final = 40  # of them before the first match
_LOOKED_AT: Final = 64 * 1024  # characters of a text
_MARK: Final = "\0"  # is in no token
_FIRST: Final = 2 * 1024  # of them at first: most matches are there

Range = tuple[int, int]


def snippet(texts: Sequence[tuple[str, str]], expression: Expression) -> str:
    """From the first of `texts` (pairs of field and text) in which something is found; else the
    beginning of the first there is.
    """
    wanted = list(_asked_for(expression))
    first = ""
    for field, value in texts:
        text = compose(value)
        first = first or text
        mine = [each for each in wanted if each.field in (None, field)]
        found = _merge(_find(text, mine))
        if found:
            return _mark(text, found)
    return _mark(first, [])


def _asked_for(expression: Expression) -> Iterator[Words]:
    if isinstance(expression, Words):
        yield expression
    elif not isinstance(expression, Not):
        for part in expression.parts:
            yield from _asked_for(part)


def _find(text: str, wanted: Sequence[Words]) -> list[Range]:
    """Where they stand, in order, from the first on as far as can be shown."""
    for size in (_FIRST, _LOOKED_AT):
        part = text[:size]
        # What ends where the text was cut may be the half of a word.
        found = [each for each in _find_in(part, wanted) if each[1] < size]
        if found or len(part) == len(text):
            return found
    return []


def _find_in(text: str, wanted: Sequence[Words]) -> Iterator[Range]:
    """Where they stand, from the first on as far as can be shown.

    The tokens are put behind one another with a mark around each, and words likewise, so that
    finding words is finding a string in a string:

        see you    ␀see␀you␀
        se*        ␀se
    """
    all_tokens = list(tokens(text)) if wanted else []
    line = _MARK + "".join([token.text + _MARK for token in all_tokens])
    places = list(accumulate([len(token.text) + 1 for token in all_tokens], initial=0))
    finds = [_occurrences(line, each) for each in dict.fromkeys(wanted)]
    stop = len(text)
    for first, last in merge(*finds):
        token = all_tokens[bisect_right(places, first) - 1]
        if token.start >= stop:
            return
        yield token.start, all_tokens[bisect_right(places, last) - 1].stop
        stop = min(stop, token.start + 2 * LENGTH)


def _occurrences(line: str, wanted: Words) -> Iterator[Range]:
    """Where in a line of tokens they stand, in order: at which mark, and a place in the last."""
    sought = _MARK + _MARK.join(wanted.tokens) + ("" if wanted.prefix else _MARK)
    size = len(sought) - (not wanted.prefix)
    at = line.find(sought)
    while at >= 0:
        yield at, at + size - 1
        at = line.find(sought, at + 1)


def _merge(found: list[Range]) -> list[Range]:
    """Ascending, with what touches or overlaps made one."""
    merged: list[Range] = []
    for start, stop in sorted(found):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _mark(text: str, found: Sequence[Range]) -> str:
    start, stop = _window(text, found)
    parts = ["…" if start else ""]
    at = start
    for low, high in found:
        if low >= stop:
            break
        parts += (escape(text[at:low]), BEGIN, escape(text[low : min(high, stop)]), END)
        at = min(high, stop)
    parts += (escape(text[at:stop]), "…" if stop < len(text) else "")
    return "".join(parts)


def _window(text: str, found: Sequence[Range]) -> Range:
    """Where to begin and end: at spaces, where some are near, and not within a match."""
    first = found[0] if found else (0, 0)
    start = max(0, first[0] - _BEFORE)
    if start:
        space = text.find(" ", start, first[0])
        start = space + 1 if space >= 0 else start
    most = start + 2 * LENGTH
    stop = max(start + LENGTH, min(first[1], most))
    if stop < len(text):
        space = text.rfind(" ", max(first[1], stop - _BEFORE), stop)
        stop = space if space >= 0 else stop
    for low, high in found[1:]:
        if low < stop < high:
            stop = high if high <= most else low
    return start, min(stop, len(text))
