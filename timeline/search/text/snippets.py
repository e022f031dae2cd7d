"""Snippets: the part of a text that shows why it was found, with the matches marked.

Rule: all that the expression asks for is marked. A match in a script without spaces is marked as a
whole, unless it is longer than a snippet. Everything but the marks is escaped, so a snippet can be
put into HTML as it is. The time is proportional to the text, whatever the text and the query say.

    query coffee        the <b>coffee</b> was good
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
_BEFORE: Final = 40  # characters, about, shown before the first match
_FIRST_SEARCHED: Final = 2 * 1024  # characters of a text: most matches are there
_MOST_SEARCHED: Final = 64 * 1024  # characters of a text
_MARK: Final = "\0"  # is in no token

Range = tuple[int, int]


def snippet(texts: Sequence[tuple[str, str]], expression: Expression) -> str:
    """A snippet of the first of `texts` (pairs of field and text) that has a match; without a match
    the beginning of the first text.
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
    """The ranges of matches, in order: the first one, and those that fit into a snippet with it."""
    for size in (_FIRST_SEARCHED, _MOST_SEARCHED):
        part = text[:size]
        # A match that ends where the text was cut may be half a word.
        found = [each for each in _find_in(part, wanted) if each[1] < size]
        if found or len(part) == len(text):
            return found
    return []


def _find_in(text: str, wanted: Sequence[Words]) -> Iterator[Range]:
    """As `_find`, in the whole of `text`.

    The tokens are joined with marks between them, and so are the words. Then finding words is
    finding a string in a string:

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
    """Where words stand in a line of tokens, in order: their first mark, and a place in their last
    token.
    """
    sought = _MARK + _MARK.join(wanted.tokens) + ("" if wanted.prefix else _MARK)
    size = len(sought) - (not wanted.prefix)
    at = line.find(sought)
    while at >= 0:
        yield at, at + size - 1
        at = line.find(sought, at + 1)


def _merge(found: list[Range]) -> list[Range]:
    """The ranges in order, with those that touch or overlap made one."""
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
    """Where the snippet begins and ends: at spaces where some are near, and not within a match."""
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
