"""Messages against the sets of message numbers that a conversation keeps.

Checked: every recalled or silent message is in the set of uncounted ones, every message that
mentions everybody is in the set of calls, and these sets hold no other messages that are there.

Example: message 7 is silent and is not in the set, so users would have it counted as unread.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from timeline.bitmaps import encoded, members
from timeline.errors import CorruptError
from timeline.fields import value_of
from timeline.formats import keys
from timeline.formats.conversations import CALLED, CHUNK_BITS, CONVERSATION, UNCOUNTED, chunk_key
from timeline.formats.entries import decode_items, encode_entry
from timeline.storage.rocks import PATCHES, STATE
from timeline.verification.snapshot.findings import Finding, Put
from timeline.verification.snapshot.snapshot import Snapshot

# A message without any of these bytes needs no closer look.
_SIGNS = (
    b"@recalled",
    b"@silent",
    b"@all",
)


def check_messages(snapshot: Snapshot) -> Iterator[Finding]:
    for key, _ in snapshot.scan(CONVERSATION):
        timeline = snapshot.timeline(int.from_bytes(key[2:10], "big"))
        if timeline is None:
            continue
        stored = {family: _stored(snapshot, family, timeline.id) for family in (UNCOUNTED, CALLED)}
        uncounted, called, recalled = set(), set(), set()
        plain: dict[int, bytes] = {}  # messages in the set that do not say why, made recalled ones
        try:
            for seq, _, _, payload in snapshot.timelines.ranges.each(
                timeline, 0, keys.MAX, reverse=False
            ):
                if any(sign in payload for sign in _SIGNS):
                    items = decode_items(payload)
                    if value_of(items, b"@recalled") is not None:
                        recalled.add(seq)
                    if seq in recalled or value_of(items, b"@silent") is not None:
                        uncounted.add(seq)
                    if (b"@mentions", b"@all") in zip(items[::2], items[1::2], strict=True):
                        called.add(seq)
                if seq in stored[UNCOUNTED] and seq not in uncounted:
                    plain[seq] = _recalled(seq, payload)
        except (CorruptError, ValueError):
            continue  # the check of entries tells of it
        name = timeline.name
        for seq, payload in plain.items():
            yield Finding(
                PATCHES,
                "this message was recalled, and has its content again",
                b"",
                name,
                seq,
                fix=(Put(PATCHES, keys.pair(timeline.id, seq), payload),),
            )
        for family, wanted, what in (
            (UNCOUNTED, uncounted, "recalled or silent, and is counted as unread"),
            (CALLED, called, "for everybody, and mentions nobody"),
        ):
            missing = sorted(wanted - stored[family])
            if missing:
                yield Finding(
                    STATE,
                    f"message {missing[0]}{_and_more(missing)} is {what}",
                    b"",
                    name,
                    missing[0],
                    fix=_with(timeline.id, family, stored[family] | wanted),
                )


def _and_more(numbers: list[int]) -> str:
    return f" (one of {len(numbers)})" if len(numbers) > 1 else ""


def _stored(snapshot: Snapshot, family: bytes, conversation: int) -> set[int]:
    found: set[int] = set()
    for key, value in snapshot.scan(family + keys.number(conversation)):
        try:
            base = keys.split_number(key[10:]) << CHUNK_BITS
            found.update(base + number for number in members(value))
        except CorruptError:
            continue  # the check of sets tells of it
    return found


def _with(conversation: int, family: bytes, numbers: set[int]) -> tuple[Put, ...]:
    chunks = groupby(sorted(numbers), key=lambda number: number >> CHUNK_BITS)
    return tuple(
        Put(
            STATE,
            chunk_key(family, conversation, chunk),
            encoded(number - (chunk << CHUNK_BITS) for number in each),
        )
        for chunk, each in chunks
    )


def _recalled(seq: int, payload: bytes) -> bytes:
    """A message as it is after a recall. Who recalled it is not known."""
    items = decode_items(payload)
    kept: list[bytes] = []
    for field in (b"@from", b"@time", b"@ordinal"):
        value = value_of(items, field)
        if value is not None:
            kept += (field, value)
    return encode_entry(seq, [*kept, b"@recalled", b"-"])
