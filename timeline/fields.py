"""Fields of a message or a post: those of whoever sent it, and those of the store.

Rule: names that begin with `@` belong to the store and come first. Values are UTF-8 unless somebody
asked for bytes, since one undecodable value breaks every client that decodes replies.
"""

from __future__ import annotations

from collections.abc import Sequence

from timeline.errors import UsageError


def check_own_fields(items: Sequence[bytes], *, text: bool = True) -> None:
    """Raise when a name begins with `@`, or what must be text is not UTF-8."""
    for field in items[::2]:
        if field[:1] == b"@":
            raise UsageError("names of fields that begin with `@` belong to the store")
    try:
        for item in items if text else items[::2]:
            item.decode()
    except UnicodeDecodeError:
        raise UsageError("fields must be UTF-8, and values too unless made BINARY") from None


def check_text(value: bytes, what: str) -> None:
    """Raise unless a value is UTF-8, as everybody is shown it."""
    try:
        value.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{what} must be UTF-8") from None


def value_of(items: Sequence[bytes], field: bytes) -> bytes | None:
    """The value of a field of the store that an entry has once at most."""
    for at in range(0, len(items), 2):
        if items[at] == field:
            return items[at + 1]
    return None


def merge_fields(before: dict[bytes, bytes], items: Sequence[bytes]) -> list[bytes]:
    """Fields with some of them changed; an empty value removes."""
    merged = before | dict(zip(items[::2], items[1::2], strict=True))
    return [item for pair in merged.items() if pair[1] for item in pair]


def event_fields(kind: str, seq: int, actor: bytes, time: int) -> list[bytes]:
    """The fields of an event: what happened, to which message or post, by whom, when."""
    return [
        b"@kind", kind.encode(), b"@id", b"%d" % seq, b"@from", actor, b"@time", b"%d" % time,
    ]  # fmt: skip
