"""Analysis: the tokens of a text, by which it can be found.

Rule: stored texts and queries are cut into tokens in the same way. First both are brought to one
Unicode form (NFC) and folded (`folding`). In scripts without spaces, and for emoji, each character
is a token; a query of several such characters is searched as a phrase, so every substring is found.
In other scripts each word is a token, without case and accents.

    Café am See    cafe · am · see
    明天见          明 · 天 · 见
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
LONGEST: Final = 4_096  # bytes of a token, as long as a query; longer tokens are not indexed

NAME: Final = "words"  # of the analyser in the index
VERSION: Final = 2  # part of the fingerprint: a new one has every index built again


class Token(NamedTuple):
    """A token as it is indexed, and its place in the composed text, in characters."""

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
    """Give an index the analyser. It must be given at every opening."""
    index.register_tokenizer(NAME, _analyzer)


def decode(value: bytes) -> str:
    """The composed text of a value. What is not UTF-8 is replaced."""
    return compose(value.decode("utf-8", "replace"))


def words(text: str) -> list[str]:
    """The tokens of a text, in order."""
    return _analyzer.analyze(fold(compose(text)))


def tokens(text: str) -> Iterator[Token]:
    """The tokens of a composed text, with their places."""
    folded = fold(text)
    if folded is text:
        for token in _analyzer.pre_tokenize(text).tokens:
            yield Token(token.text, token.char_offset_from, token.char_offset_to)
        return
    folded, places = fold_placed(text)
    for token in _analyzer.pre_tokenize(folded).tokens:
        start, last = places[token.char_offset_from], places[token.char_offset_to - 1]
        # A character may fold to several words. Then each of them covers the whole character.
        yield Token(token.text, start, max(places[token.char_offset_to], last + 1))


def is_single(token: str) -> bool:
    """Whether a token is one character of a script without spaces, or an emoji."""
    return len(token) == 1 and bool(_single.analyze(token))
