"""Devices, idempotency keys, tombstones, sets of message numbers; and that the state holds no other
rows.

Checked: each of these belongs to a user, conversation or member that is there, and none is ahead of
the last commit or of the head of its conversation.

Example: a device acknowledged commit 90, and the last commit is 80.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timeline.bitmaps import highest
from timeline.errors import CorruptError, shown
from timeline.formats import feeds, keys, notes, posts
from timeline.formats.conversations import (
    CALLED,
    CHUNK_BITS,
    DEVICE,
    FAMILIES,
    FLOOR,
    GENERATION,
    GRAVE,
    HIDDEN,
    KEY,
    MENTIONED,
    UNCOUNTED,
    GenerationRow,
    conversation_key,
    decode_device,
    decode_generation,
    decode_grave,
    decode_key,
    decode_settings,
    encode_device,
    encode_generation,
    member_key,
    split_grave_key,
)
from timeline.formats.rows import INBOX
from timeline.storage.rocks import STATE
from timeline.verification.snapshot.findings import Finding, Put, remove
from timeline.verification.snapshot.snapshot import Snapshot

_KNOWN: Final = {*keys.FAMILIES}
_OWN: Final = {*FAMILIES, *feeds.FAMILIES, *posts.FAMILIES, *notes.FAMILIES}


def check_devices(snapshot: Snapshot) -> Iterator[Finding]:
    for key, value in snapshot.scan(DEVICE):
        inbox = int.from_bytes(key[2:10], "big")
        name = snapshot.name(inbox)
        try:
            row = decode_device(value)
            decode_settings(row.fields)
            owner = snapshot.row(inbox)
            if owner is None or owner.kind != INBOX or len(key) < 11:
                raise CorruptError(f"it is a device of user {inbox}, who is not there")
            if row.known > 1:
                raise CorruptError("the row of a device is damaged")
        except (CorruptError, ValueError) as error:
            yield Finding(STATE, str(error), key, name, lost=True, fix=remove(STATE, key))
            continue
        if row.lsn > snapshot.applied:
            yield Finding(
                STATE,
                f"device {shown(key[10:])} acknowledged commit {row.lsn}, above the last one, "
                f"{snapshot.applied}: it would miss what comes next",
                key,
                name,
                row.lsn,
                fix=(Put(STATE, key, encode_device(row._replace(known=0, lsn=0, ordinal=0))),),
            )


def check_keys(snapshot: Snapshot) -> Iterator[Finding]:
    """Idempotency keys, and the generation that each is in."""
    value = snapshot.get(GENERATION)
    filling = 1
    if value is not None:
        try:
            filling = decode_generation(value).number
        except CorruptError as error:
            filling = _newest(snapshot)
            made = encode_generation(GenerationRow(filling, 0, 0))
            yield Finding(STATE, str(error), GENERATION, fix=(Put(STATE, GENERATION, made),))
    for key, stored in snapshot.scan(KEY):
        try:
            row_ = decode_key(stored)
            if len(key) < 27:
                raise CorruptError("this key is no idempotency key")
            generation = keys.split_number(key[2:10])
            conversation = keys.split_number(key[10:18])
            if generation > filling:
                raise CorruptError(
                    f"it is of generation {generation} of idempotency keys, and {filling} is filled"
                )
            head = snapshot.head(conversation)
            if head is not None and row_.seq > head:
                raise CorruptError(
                    f"it names number {row_.seq} of {shown(snapshot.name(conversation))}, "
                    f"which ends at {head}"
                )
        except CorruptError as error:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))


def _newest(snapshot: Snapshot) -> int:
    numbers = [int.from_bytes(key[2:10], "big") for key, _ in snapshot.scan(KEY)]
    return max(numbers, default=1)


def check_tombstones(snapshot: Snapshot) -> Iterator[Finding]:
    for key, value in snapshot.scan(GRAVE):
        try:
            lsn, _ = split_grave_key(key)
            decode_grave(value)
            if lsn > snapshot.applied:
                raise CorruptError(f"it tells of commit {lsn}, which is above the last one")
        except CorruptError as error:
            yield Finding(STATE, str(error), key, fix=remove(STATE, key))
    floor = snapshot.get(FLOOR) or keys.number(0)
    if len(floor) != 8 or int.from_bytes(floor, "big") > snapshot.applied:
        yield Finding(
            STATE, "the floor of cursors is above the last commit", FLOOR, fix=remove(STATE, FLOOR)
        )


def check_numbers(snapshot: Snapshot) -> Iterator[Finding]:
    """Sets of message numbers."""
    for family, ids in ((UNCOUNTED, 1), (CALLED, 1), (HIDDEN, 2), (MENTIONED, 2)):
        for key, value in snapshot.scan(family):
            try:
                if len(key) != 10 + 8 * ids:
                    raise CorruptError("this key is of no set of numbers")
                owners = [int.from_bytes(key[at : at + 8], "big") for at in range(2, len(key), 8)]
                conversation, chunk = owners[ids - 1], owners[ids]
                top = highest(value)
                owner = conversation_key(conversation) if ids == 1 else member_key(*owners[:2])
                if snapshot.get(owner) is None:
                    raise CorruptError("it is of a conversation or member that is not there")
                head = snapshot.head(conversation)
                if head is not None and (chunk << CHUNK_BITS) + top > head:
                    raise CorruptError(f"it holds numbers above the head, {head}")
            except CorruptError as error:
                yield Finding(STATE, str(error), key, lost=True, fix=remove(STATE, key))


def check_known(snapshot: Snapshot) -> Iterator[Finding]:
    """Every row of state begins as a row of a known kind does."""
    for key, _ in snapshot.scan(b""):
        if key[:1] not in _KNOWN or (key[:1] == keys.OWN and key[:2] not in _OWN):
            yield Finding(STATE, "no row begins like this", key, fix=remove(STATE, key))
