"""Snippets: the part of a text that shows why it was found, with the matches marked.

Rule: what is marked is what the expression asks for: words, or unbroken runs of characters in
scripts without spaces, never a character of such a run alone. Everything but the marks is escaped,
so that a snippet can be put into HTML as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from timeline.search.analysis import Token, compose, tokens
from timeline.search.language import Expression, Not, Words

BEGIN: Final = "<b>"
END: Final = "</b>"
LENGTH: Final = 160  # characters shown, about
_BEFORE: Final = 40  # of them before the first match
_LOOKED_AT: Final = 64 * 1024  # characters of a text

Range = tuple[int, int]


def snippet(texts: Sequence[tuple[str, str]], expression: Expression) -> str:
    """From the first of `texts` (pairs of field and text) in which something is found; else the
    beginning of the first there is.
    """
    wanted = list(_asked_for(expression))
    first = ""
    for field, value in texts:
        text = compose(value)[:_LOOKED_AT]
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


def fits(text: Sequence[Token], at: int, wanted: Words) -> bool:
    """Whether the tokens from `at` on are what is wanted."""
    size = len(wanted.tokens)
    if at + size > len(text):
        return False
    for token, word in zip(text[at : at + size - 1], wanted.tokens, strict=False):
        if token.text != word:
            return False
    last, word = text[at + size - 1].text, wanted.tokens[-1]
    return last.startswith(word) if wanted.prefix else last == word


def _find(text: str, wanted: Sequence[Words]) -> list[Range]:
    found: list[Range] = []
    if not wanted:
        return found
    all_tokens = list(tokens(text))
    for each in wanted:
        size = len(each.tokens)
        found += [
            (all_tokens[at].start, all_tokens[at + size - 1].stop)
            for at in range(len(all_tokens) - size + 1)
            if fits(all_tokens, at, each)
        ]
    return found


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
    start, stop = _window(text, found[0] if found else (0, 0))
    parts = ["…" if start else ""]
    at = start
    for low, high in found:
        if low >= stop:
            break
        parts += (escape(text[at:low]), BEGIN, escape(text[low : min(high, stop)]), END)
        at = min(high, stop)
    parts += (escape(text[at:stop]), "…" if stop < len(text) else "")
    return "".join(parts)


def _window(text: str, first: Range) -> Range:
    """Where to begin and end: at spaces, where some are near."""
    start = max(0, first[0] - _BEFORE)
    if start:
        space = text.find(" ", start, first[0])
        start = space + 1 if space >= 0 else start
    stop = max(start + LENGTH, first[1])
    if stop < len(text):
        space = text.rfind(" ", max(first[1], stop - _BEFORE), stop)
        stop = space if space >= 0 else stop
    return start, min(stop, len(text))
