"""Devices: how far each has come.

Rule: a device belongs to an in-box: that of a user for conversations, their home for feeds. So it
has a position of its own in each. The position never moves back. A device that acknowledged nothing
for `device_idle_ms` is forgotten. An in-box has at most `devices`. One more takes the place of the
device that was seen longest ago and is not online; that one resyncs when it comes again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.commit.draft import Draft
from timeline.devices.cursors import Cursors, cursors_of
from timeline.devices.presence import Presence
from timeline.engine.view import Applied, View
from timeline.errors import NotFoundError, TooLargeError, UsageError
from timeline.fanout import Position
from timeline.fields import check_own_fields
from timeline.formats import keys
from timeline.formats.conversations import (
    DEVICE,
    DeviceRow,
    between,
    decode_device,
    decode_settings,
    device_key,
    encode_device,
    encode_settings,
)
from timeline.formats.names import HOMES, USERS
from timeline.formats.numbers import NO_TIMELINE, Lsn
from timeline.identity import check_device, check_user
from timeline.options import Options

_FIELDS_BYTES: Final = 16 * 1024
_NEW: Final = DeviceRow(0, 0, 0, 0, b"")


class Device(NamedTuple):
    """A device as its user sees it. `acked` is how far it has come in conversations, `feeds` in
    feeds; empty until it acknowledged something there.
    """

    name: bytes
    acked: bytes
    feeds: bytes
    seen: int
    fields: dict[bytes, bytes]


def find_device(
    view: View, inbox: int, device: bytes, now: int, options: Options
) -> DeviceRow | None:
    value = view.get(device_key(inbox, check_device(device)))
    row = None if value is None else decode_device(value)
    return None if row is None or _is_idle(view, row, now, options) else row


def begin_of(
    view: Applied, inbox: int, device: bytes, after: bytes | None, options: Options
) -> Position | None:
    """Where a device goes on: after a cursor, or after what it acknowledged. None when it cannot.
    Raises `UsageError`.
    """
    row = find_device(view, inbox, device, view.now(), options)
    applied = view.log.applied
    if after is not None:
        return cursors_of(view).decode(after, applied)
    if row is None or not row.known or row.lsn > applied:
        return None
    return Position(Lsn(row.lsn), row.ordinal)


def _is_idle(view: View, row: DeviceRow, now: int, options: Options) -> bool:
    return now - view.clock.past(row.seen, now) > options.device_idle_ms


def acknowledge(
    draft: Draft,
    inbox: int,
    user: bytes,
    device: bytes,
    position: Position | None,
    options: Options,
    presence: Presence,
) -> None:
    """Note that a device has dealt with everything up to `position`."""
    row = find_device(draft, inbox, device, draft.time, options)
    if position is None:
        raise UsageError(
            "this cursor is of another epoch, or of the future: a sync says how to go on"
        )
    if row is None:
        _make_room(draft, user, inbox, options, presence)
        row = _NEW
    reached = Position(Lsn(row.lsn), row.ordinal)
    if not row.known or position > reached:
        reached = position
    draft.put(
        device_key(inbox, device),
        encode_device(DeviceRow(1, *reached, draft.time, row.fields)),
    )


def _make_room(draft: Draft, user: bytes, inbox: int, options: Options, presence: Presence) -> None:
    """Make room for one more device: forget idle ones, else those that were seen longest ago.
    Raises `TooLargeError` when all are online.
    """
    prefix = DEVICE + keys.number(inbox)
    found = [(decode_device(value), key) for key, value in draft.scan(*between(prefix))]
    surplus = len(found) - options.devices + 1
    if surplus <= 0:
        return
    gone = [key for row, key in found if _is_idle(draft, row, draft.time, options)]
    if len(gone) < surplus:
        away = [
            (row.seen, key)
            for row, key in found
            if not presence.is_online(user, key[len(prefix) :])
        ]
        gone = [key for _, key in sorted(away)[:surplus]]  # the idle ones first
    if len(gone) < surplus:
        raise TooLargeError(
            f"a user has at most {options.devices} devices, and all of them are online: "
            "USER.FORGET one (option devices)"
        )
    for key in gone:
        draft.remove(key)


def set_device(
    draft: Draft,
    inbox: int,
    user: bytes,
    device: bytes,
    items: Sequence[bytes],
    options: Options,
    presence: Presence,
) -> None:
    """Merge fields into what is known of a device; an empty value removes."""
    if not items or len(items) & 1:
        raise UsageError("a device has pairs of field and value")
    check_own_fields(items)
    row = find_device(draft, inbox, device, draft.time, options)
    if row is None:
        _make_room(draft, user, inbox, options, presence)
        row = _NEW
    merged = decode_settings(row.fields) | dict(zip(items[::2], items[1::2], strict=True))
    kept = [item for pair in merged.items() if pair[1] for item in pair]
    if sum(map(len, kept)) > _FIELDS_BYTES:
        raise TooLargeError(f"the fields of a device take at most {_FIELDS_BYTES} bytes")
    draft.put(
        device_key(inbox, device),
        encode_device(row._replace(seen=draft.time, fields=encode_settings(kept) if kept else b"")),
    )


def forget_device(draft: Draft, user: bytes, device: bytes, options: Options) -> None:
    """Forget a device, in conversations and in feeds. Raises `NotFoundError` when there is none of
    this name.
    """
    known = False
    for inbox in _inboxes_of(draft, user):
        if find_device(draft, inbox, device, draft.time, options) is not None:
            draft.remove(device_key(inbox, device))
            known = True
    if not known:
        raise NotFoundError("this user has no such device")


def devices_of(
    view: View, user: bytes, now: int, options: Options, cursors: Cursors
) -> list[Device]:
    """The devices of a user, in conversations and in feeds, in the order of their names. Raises
    `NotFoundError` for nobody.
    """
    found: dict[bytes, Device] = {}
    for inbox in _inboxes_of(view, user):
        prefix = DEVICE + keys.number(inbox)
        is_home = inbox == _home_of(view, user)
        for key, value in view.scan(*between(prefix)):
            row = decode_device(value)
            if _is_idle(view, row, now, options):
                continue
            acked = cursors.encode(Position(Lsn(row.lsn), row.ordinal)) if row.known else b""
            name = key[len(prefix) :]
            before = found.get(name) or Device(name, b"", b"", 0, {})
            found[name] = Device(
                name,
                before.acked if is_home else acked,
                acked if is_home else before.feeds,
                max(row.seen, before.seen),
                before.fields | decode_settings(row.fields),
            )
    return [found[name] for name in sorted(found)]


def _home_of(view: View, user: bytes) -> int:
    home = view.find(HOMES + user)
    return NO_TIMELINE if home is None else home.id


def _inboxes_of(view: View, user: bytes) -> list[int]:
    """Those to which devices of a user may belong. Raises `NotFoundError` when there is none."""
    found = [view.find(prefix + check_user(user)) for prefix in (USERS, HOMES)]
    inboxes: list[int] = [inbox.id for inbox in found if inbox is not None]
    if not inboxes:
        raise NotFoundError("there is no such user: joining a conversation or following makes one")
    return inboxes
