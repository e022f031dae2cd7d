"""Analysis: what of a text can be found.

Rule: one analyser for what is stored and for what is asked, so that a substring of what is written
without spaces is found exactly: each character of such a script (and each emoji) is a token, and a
word of them is looked for as a phrase. In other scripts a word is a token, folded in case and
accents. What is stored and asked is first composed and folded, in one way (`folding`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from tantivy import Filter, Index, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

from timeline.search.text.folding import compose, fold, fold_placed

# Scripts that are written without spaces between words.
_UNSPACED: Final = (
    r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Hangul}"
    r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
)
_SINGLE: Final = rf"{_UNSPACED}\p{{Emoji_Presentation}}\p{{Extended_Pictographic}}"
_WORD: Final = r"\p{L}\p{M}\p{N}_"
PATTERN: Final = rf"[{_SINGLE}]|[{_WORD}&&[^{_SINGLE}]]+"
LONGEST: Final = 4_096  # bytes of a token, as long as a query; longer ones are not indexed

NAME: Final = "words"  # under which the index knows it
VERSION: Final = 2  # another one makes every index be built anew


class Token(NamedTuple):
    """A token as it is indexed, and where in the composed text it stands (characters)."""

    text: str
    start: int
    stop: int


def _build(pattern: str) -> TextAnalyzer:
    builder = TextAnalyzerBuilder(Tokenizer.regex(pattern))
    builder = builder.filter(Filter.remove_long(LONGEST + 1))
    return builder.filter(Filter.lowercase()).filter(Filter.ascii_fold()).build()


_analyzer: Final = _build(PATTERN)
_single: Final = _build(rf"[{_SINGLE}]")


def register(index: Index) -> None:
    """Tell an index of the analyser; an index forgets it when closed."""
    index.register_tokenizer(NAME, _analyzer)


def decode(value: bytes) -> str:
    """The text of a value; what is not UTF-8 is replaced."""
    return compose(value.decode("utf-8", "replace"))


def words(text: str) -> list[str]:
    """The tokens of a text, in order."""
    return _analyzer.analyze(fold(compose(text)))


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a composed text and where they stand."""
    folded = fold(text)
    if folded is text:
        for token in _analyzer.pre_tokenize(text).tokens:
            yield Token(token.text, token.char_offset_from, token.char_offset_to)
        return
    folded, places = fold_placed(text)
    for token in _analyzer.pre_tokenize(folded).tokens:
        start, last = places[token.char_offset_from], places[token.char_offset_to - 1]
        # A character may stand for several words: each is all of it.
        yield Token(token.text, start, max(places[token.char_offset_to], last + 1))


def is_single(token: str) -> bool:
    """Whether a token is a character that stands for itself, and no word."""
    return len(token) == 1 and bool(_single.analyze(token))
