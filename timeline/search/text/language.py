"""The language in which people search.

    coffee tomorrow           both words, in any order
    "see you tomorrow"        these words one after another
    tomor*                    words that begin so (at least two letters)
    coffee OR tea             either
    coffee NOT decaf          the one without the other
    title:minutes             in this field only
    (tea OR coffee) milk      grouped
    title:(tea OR coffee)     in this field, all of it

Rule: whatever users type is understood, as near to what they meant as possible. Operators are words
in capitals that stand between others. A quote or bracket that is not closed ends with the query. An
unknown field is a word. Punctuation is left out, and a dash is punctuation too: a user who pastes
`rm -rf x` or `--force` means the words. A query is refused only when nothing is left to search for,
or when it is too much.

Too much is a query that costs more than a bounded number of looks into the index. A run of
characters that are written without spaces is one word, however long the sentence. But the same
character or word may come only a bounded number of times, since each time costs a look at all
places where documents have it.

It knows nothing of the index: `parse` gives an expression, whose words are tokens already.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from timeline.errors import TooLargeError, UsageError
from timeline.search.text.analysis import is_single, words
from timeline.search.text.folding import compose

MOST_BYTES: Final = 4_096  # of a query
MOST_WORDS: Final = 64  # in a query
MOST_TIMES: Final = 128  # that a query has the same token
MOST_DEPTH: Final = 16  # of brackets within brackets
MOST_BEGINNINGS: Final = 16  # in a query: each costs all words that begin so
LONGEST_BEGINNING: Final = 512  # bytes, with the words before it; tantivy takes some 980
_SHORTEST_BEGINNING: Final = 2  # letters

_LEXEME: Final = re.compile(
    r"""\s+
    | (?:(?P<of>[^\s():"]+):)?(?P<open>\()  # `of` counts when it names a field
    | (?P<close>\))
    | (?:(?P<field>[^\s():"]+):)?  # `field` too
      (?: "(?P<phrase>[^"]*)(?:"|\Z) | (?P<word>[^\s()"]+) )(?P<star>\*)?
    | .""",
    re.VERBOSE,
)

# Quotes as keyboards type them, and brackets and colons of keyboards for Chinese.
_TYPED: Final = str.maketrans("“”„«»＂（）：", '""""""():')


class Words(NamedTuple):
    """These tokens one after another, in `field` or (None) in any field. With `prefix` the last
    token is the beginning of a word.
    """

    tokens: tuple[str, ...]
    prefix: bool
    field: str | None


class Not(NamedTuple):
    part: Expression


class All(NamedTuple):
    parts: tuple[Expression, ...]


class Any(NamedTuple):
    parts: tuple[Expression, ...]


Expression = Words | Not | All | Any

EVERYTHING: Final = All(
    ()
)  # whatever is indexed: for searches that say in other ways what they want


class _Everything(Collection[str]):
    """Takes whatever stands before a colon for a field."""

    def __contains__(self, field: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


ANY_FIELD: Final = _Everything()


def parse(query: str, fields: Collection[str]) -> Expression:
    """What a query means, where `fields` may stand before a colon. Raises `UsageError`,
    `TooLargeError`.
    """
    encoded = query.encode("utf-8", "replace")
    if len(encoded) > MOST_BYTES:
        raise TooLargeError(f"a query is at most {MOST_BYTES} bytes")
    found = _Parser(compose(encoded.decode()).translate(_TYPED), fields).parse()
    if found is None:
        raise UsageError("there is no word in this query to search for")
    return found


class _Lexeme(NamedTuple):
    kind: str  # "(", ")", "AND", "OR", "NOT" or "text"
    text: str = ""
    field: str | None = None
    star: bool = False


class _Parser:
    """A parser by recursive descent. A rule gives None where it finds nothing to search for."""

    def __init__(self, query: str, fields: Collection[str]) -> None:
        self._lexemes = [
            lexeme for match in _LEXEME.finditer(query) for lexeme in _lexemes(match, fields)
        ]
        self._at = 0
        self._field: str | None = None  # of the bracket that is open
        self._depth = 0
        self._words = 0
        self._times: Counter[str] = Counter()
        self._beginnings: set[Words] = set()

    def parse(self) -> Expression | None:
        parts = []
        while self._at < len(self._lexemes):  # more than once if a bracket is closed too often
            parts.append(self._either())
            self._skip(")")
        return _join(All, parts)

    def _next(self) -> str:
        return self._lexemes[self._at].kind if self._at < len(self._lexemes) else ""

    def _skip(self, kind: str) -> bool:
        if self._next() != kind:
            return False
        self._at += 1
        return True

    def _either(self) -> Expression | None:
        parts = [self._together()]
        while self._skip("OR"):
            parts.append(self._together())
        return _join(Any, parts)

    def _together(self) -> Expression | None:
        parts: list[Expression | None] = []
        while self._next() not in ("", "OR", ")"):
            if not self._skip("AND"):
                parts.append(self._one())
        return _join(All, parts)

    def _one(self) -> Expression | None:
        negated = False
        while self._skip("NOT"):
            negated = not negated
        if self._next() in ("", "AND", "OR", ")"):
            return None
        lexeme = self._lexemes[self._at]
        self._at += 1
        found = self._group(lexeme.field) if lexeme.kind == "(" else self._text(lexeme)
        return Not(found) if negated and found is not None else found

    def _group(self, field: str | None) -> Expression | None:
        around, self._field = self._field, field or self._field
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise TooLargeError(f"brackets in a query are at most {MOST_DEPTH} deep")
        found = self._either()
        self._skip(")")
        self._depth -= 1
        self._field = around
        return found

    def _text(self, lexeme: _Lexeme) -> Expression | None:
        tokens = tuple(words(lexeme.text))
        if not tokens:
            return None
        self._bound(tokens)
        prefix = lexeme.star and not is_single(tokens[-1])
        found = Words(tokens, prefix, lexeme.field or self._field)
        if prefix:
            self._bound_beginning(found)
        return found

    def _bound(self, tokens: Sequence[str]) -> None:
        """Raises `TooLargeError` when the query has too many words, or one word too often."""
        self._words += _count(tokens)
        if self._words > MOST_WORDS:
            raise TooLargeError(f"a query is at most {MOST_WORDS} words")
        self._times.update(tokens)
        if max(self._times.values()) > MOST_TIMES:
            raise TooLargeError(f"a query has the same word at most {MOST_TIMES} times")

    def _bound_beginning(self, words: Words) -> None:
        """Raises `UsageError` or `TooLargeError` for a beginning that would cost too much, or that
        is longer than tantivy takes.
        """
        if len(words.tokens[-1]) < _SHORTEST_BEGINNING:
            raise UsageError(
                f"the beginning of a word is at least {_SHORTEST_BEGINNING} letters, before *"
            )
        if len(" ".join(filter(None, (words.field, *words.tokens))).encode()) > LONGEST_BEGINNING:
            raise TooLargeError(f"what stands before * is at most {LONGEST_BEGINNING} bytes")
        self._beginnings.add(words)
        if len(self._beginnings) > MOST_BEGINNINGS:
            raise TooLargeError(f"a query has at most {MOST_BEGINNINGS} beginnings of words")


def _count(tokens: Sequence[str]) -> int:
    """How many words these are. A run of characters without spaces counts as one."""
    singles = [is_single(token) for token in tokens]
    pairs = zip(singles, [False, *singles], strict=False)
    return sum(not (single and before) for single, before in pairs)


def _lexemes(match: re.Match[str], fields: Collection[str]) -> Iterator[_Lexeme]:
    if match["open"]:
        of = match["of"]
        if of is None or of in fields:
            yield _Lexeme("(", field=of)
        else:
            yield from (_Lexeme("text", of), _Lexeme("("))
    elif match["close"]:
        yield _Lexeme(")")
    elif match["phrase"] is not None or match["word"] is not None:
        yield _text(match, fields)


def _text(match: re.Match[str], fields: Collection[str]) -> _Lexeme:
    phrase, word, field = match["phrase"], match["word"], match["field"]
    if word in ("AND", "OR", "NOT") and field is None:
        return _Lexeme(word)
    text = phrase if word is None else word
    star = bool(match["star"])
    if word is not None and word.endswith("*"):
        text, star = word.rstrip("*"), True
    if field is not None and field not in fields:
        text, field = f"{field} {text}", None
    return _Lexeme("text", text, field, star)


def _join(kind: type[All | Any], parts: list[Expression | None]) -> Expression | None:
    """The parts as one expression, without repeated words."""
    found: list[Expression] = []
    known: set[Words] = set()
    for part in parts:
        if part is None or (isinstance(part, Words) and part in known):
            continue
        if isinstance(part, Words):
            known.add(part)
        found.append(part)
    if len(found) < 2:
        return found[0] if found else None
    return kind(tuple(found))
