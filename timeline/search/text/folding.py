"""Folding: turns the different ways to write a word into one, before a text is cut into tokens.

Responsibility: fold what tantivy's filters do not fold. Those fold case, and accented Latin letters
that have a code point of their own. This module folds:

    marks         the other accents of Latin, those of Greek and Cyrillic, the points of Hebrew, the
                  vowels and the hamza of Arabic
    forms         variants of Hebrew, Arabic and Greek letters, half-width katakana, final σ
    the unseen    soft hyphens, joiners, variation selectors

Rule: a mark stays where it makes another letter: й, ї and ў, the voiced marks of Japanese, the
vowels of Korean, Thai and Indian scripts. Each character is folded alone, with the voiced marks
after it, so that the place of every folded character in the text is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final
from unicodedata import category, combining, digit, normalize

_MARKS: Final = (  # of them those that are marks
    (0x0300, 0x036F), (0x0483, 0x0487), (0x0591, 0x05C7), (0x0610, 0x061A), (0x064B, 0x065F),
    (0x0670, 0x0670), (0x06D6, 0x06ED), (0x08CA, 0x08FF), (0x1AB0, 0x1ACE), (0x1DC0, 0x1DFF),
)  # fmt: skip
_FORMS: Final = (  # of them the letters that are made of others
    (0x00B5, 0x00B5), (0x0370, 0x03FF), (0x0587, 0x0587), (0x0622, 0x0626), (0x06C0, 0x06D3),
    (0x1F00, 0x1FFF), (0xFB13, 0xFB4F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC), (0xFF66, 0xFF9D),
)  # fmt: skip
_OTHERS: Final = "İǦǧǮǯẛЀѐЁёЍѝ"  # of such letters those that lie among letters that stay
# Letters that keyboards for Arabic and for Persian have instead of one another, or that are written
# for one another at the end of a word; as Lucene's normalizers of both have them.
_ALIKE: Final = {"ی": "ي", "ى": "ي", "ک": "ك", "ة": "ه"}
_DIGITS: Final = ((0x0660, 0x0669), (0x06F0, 0x06F9))  # of Arabic and of Persian
_VOICED: Final = "\uff9e\uff9f"  # voiced marks in half the width: part of what is before them
_TATWEEL: Final = "\u0640"  # makes Arabic wider
_UNSEEN: Final = (
    (0x00AD, 0x00AD), (0x180B, 0x180D), (0x200D, 0x200D), (0x20E3, 0x20E3),
    (0xFE00, 0xFE0F), (0xE0100, 0xE01EF),
)  # fmt: skip


def _each(ranges: tuple[tuple[int, int], ...]) -> Iterator[str]:
    for first, last in ranges:
        yield from map(chr, range(first, last + 1))


def _plain(letter: str) -> str:
    """A letter without what is on and below it."""
    parts = normalize("NFKD", letter).replace("ς", "σ")
    if letter in _VOICED:
        return parts
    return "".join([part for part in parts if not combining(part) and part != _TATWEEL])


def _table() -> dict[int, str]:
    table = {ord(each): "" for each in (*_each(_UNSEEN), _TATWEEL)}
    table |= {ord(each): "" for each in _each(_MARKS) if category(each) == "Mn"}
    for letter in (*_each(_FORMS), *_OTHERS, *_VOICED):
        plain = _plain(letter)
        # Some stand for whole phrases, or for a mark on its own: they stay.
        if plain != letter and " " not in plain and category(letter).startswith("L"):
            table[ord(letter)] = plain
    alike = str.maketrans(_ALIKE)
    table |= alike
    table |= {ord(each): str(digit(each)) for each in _each(_DIGITS)}
    return {each: plain.translate(alike) for each, plain in table.items()}


def _any_of(letters: Iterable[int]) -> str:
    """A class of these, as ranges: beyond 16 bits `re` tries one after another."""
    ranges: list[list[int]] = []
    for letter in sorted(letters):
        if ranges and ranges[-1][1] == letter - 1:
            ranges[-1][1] = letter
        else:
            ranges.append([letter, letter])
    return "[" + "".join([f"{chr(first)}-{chr(last)}" for first, last in ranges]) + "]"


_TABLE: Final = _table()
_FOLDED: Final = re.compile(_any_of(_TABLE))
_DROPPED: Final = _any_of([each for each, plain in _TABLE.items() if not plain])
_MARKED: Final = rf"(?:{_DROPPED}*[\u3099\u309a{_VOICED}])"
_UNIT: Final = re.compile(rf"{_any_of(_TABLE)}{_MARKED}*|.{_MARKED}+", re.DOTALL)


def compose(text: str) -> str:
    """The text with every accent a part of its letter, however it was typed (NFC)."""
    return text if text.isascii() else normalize("NFC", text)


def fold(text: str) -> str:
    """A composed text, folded."""
    if text.isascii() or _FOLDED.search(text) is None:
        return text
    return normalize("NFC", text.translate(_TABLE))


def fold_placed(text: str) -> tuple[str, list[int]]:
    """A composed text, folded, and where in it each character of that stands, and the end."""
    parts: list[str] = []
    places: list[int] = []
    at = 0
    for match in _UNIT.finditer(text):
        start, part = match.start(), fold(match[0])
        parts += (text[at:start], part)
        places += range(at, start)
        places += [start] * len(part)
        at = match.end()
    parts.append(text[at:])
    return "".join(parts), [*places, *range(at, len(text) + 1)]
