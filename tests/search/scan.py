"""What a search must find, by looking at everything.

Rule: the tokens and the expression are the store's own (they have tests of their own); everything
else is done the plain way: read what CONV.HISTORY shows, look at each message, sort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from timeline.embedded.database import Database
from timeline.errors import NoPermissionError
from timeline.search.text.analysis import words
from timeline.search.text.language import All, Any, Expression, Not, Words, parse

FIELDS = ("text", "title")


class Message(NamedTuple):
    conversation: str
    seq: int


def fits(expression: Expression, texts: Sequence[tuple[str, str]]) -> bool:
    """Whether a message with these texts (field, text) is what an expression asks for."""
    if isinstance(expression, Not):
        return not fits(expression.part, texts)
    if isinstance(expression, All):
        return all(fits(part, texts) for part in expression.parts)
    if isinstance(expression, Any):
        return any(fits(part, texts) for part in expression.parts)
    return any(
        contains(words(text), expression)
        for field, text in texts
        if expression.field in (None, field)
    )


def contains(text: list[str], wanted: Words) -> bool:
    size = len(wanted.tokens)
    *before, last = wanted.tokens
    for at in range(len(text) - size + 1):
        if text[at : at + size - 1] == before:
            end = text[at + size - 1]
            if end.startswith(last) if wanted.prefix else end == last:
                return True
    return False


def describes(expression: Expression, metadata: Mapping[bytes, bytes]) -> bool:
    """Whether a timeline with this metadata is what an expression asks for."""
    if isinstance(expression, Not):
        return not describes(expression.part, metadata)
    if isinstance(expression, All):
        return all(describes(part, metadata) for part in expression.parts)
    if isinstance(expression, Any):
        return any(describes(part, metadata) for part in expression.parts)
    if expression.field is None:
        return any(contains(words(value.decode()), expression) for value in metadata.values())
    whole = words(metadata.get(expression.field.encode(), b"").decode())
    if not expression.prefix:
        return whole == list(expression.tokens)
    return contains(whole[: len(expression.tokens)], expression)


def scan(
    db: Database,
    user: str,
    query: str,
    conversations: Sequence[str],
    *,
    sender: str | None = None,
    since: int | None = None,
    until: int | None = None,
) -> set[Message]:
    """What `user` is to find in `conversations`, as far as they are his."""
    im, expression = db.messaging, parse(query, FIELDS)
    found = set()
    for name in conversations:
        try:
            shown = list(im.history(name, user, since=since, until=until, limit=10_000))
        except NoPermissionError:
            continue
        for entry in shown:
            fields = entry.fields
            if fields.get("@recalled") is not None or (
                sender and fields["@from"] != sender.encode()
            ):
                continue
            texts = [
                (field.decode(), value.decode("utf-8", "replace"))
                for field, value in fields
                if field.decode() in FIELDS
            ]
            if texts and fits(expression, texts):
                found.add(Message(name, entry.seq))
    return found
