"""Readable rows: what `repair` copies, and what it leaves out.

Rule: a row is readable when the codec of its kind can decode it. The row is looked at alone:
whether it agrees with other rows is for the checks.

    a row of a timeline that is cut short       left out
    a row of a timeline that does not exist     copied; a check finds it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from timeline.bitmaps import highest
from timeline.engine.store.directory import STORE_KEY
from timeline.errors import CorruptError
from timeline.formats import conversations, feeds, keys, notes, posts
from timeline.formats.entries import decode_items
from timeline.formats.references import decode_floor, packed_references
from timeline.formats.rows import (
    ProgressRow,
    decode_clock,
    decode_erasure,
    decode_expiry,
    decode_metadata,
    decode_openings,
    decode_progress,
    decode_retention,
    decode_row,
    decode_spans,
    decode_store,
)
from timeline.formats.segments import Segment
from timeline.lsm.clock import CLOCK_KEY
from timeline.lsm.openings import OPENINGS_KEY
from timeline.lsm.upkeep.erasure import ERASURE_KEY
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline.lsm.upkeep.sealing import PROGRESS_KEY
from timeline.storage.rocks import INBOXES, META, PATCHES, SEGMENTS, STATE, Storage
from timeline.verification.snapshot.commits import Run, run_from
from timeline.verification.snapshot.walk import walk

_OWN: Final[dict[bytes, Callable[[bytes], object]]] = {
    conversations.CONVERSATION: conversations.decode_conversation,
    conversations.ROSTER: conversations.decode_roster,
    conversations.MEMBER: conversations.decode_member,
    conversations.DEVICE: conversations.decode_device,
    conversations.KEY: conversations.decode_key,
    conversations.GENERATION: conversations.decode_generation,
    conversations.GRAVE: conversations.decode_grave,
    conversations.SETTINGS: conversations.decode_settings,
    conversations.UNCOUNTED: highest,
    conversations.CALLED: highest,
    conversations.HIDDEN: highest,
    conversations.MENTIONED: highest,
    feeds.FEED: feeds.decode_feed,
    feeds.HOME: feeds.decode_home,
    feeds.FOLLOW: feeds.decode_follow,
    feeds.TIE: feeds.decode_tie,
    feeds.FIELDS: conversations.decode_settings,
    posts.REPOST: posts.decode_repost,
    posts.COUNTS: posts.decode_counts,
    posts.REACTION: highest,
    notes.GROUP: notes.decode_group,
    notes.SEEN: notes.decode_seen,
}
_STATE: Final[dict[bytes, Callable[[bytes], object]]] = {
    keys.ROW: decode_row,
    keys.META: decode_metadata,
    keys.RETENTION: decode_retention,
    keys.NAME: keys.split_number,
    keys.COUNT: keys.split_number,
    keys.DELETED: keys.split_pair,
    keys.AUDIENCE: decode_spans,
}
_META: Final[dict[bytes, Callable[[bytes], object]]] = {
    STORE_KEY: decode_store,
    PROGRESS_KEY: decode_progress,
    CLOCK_KEY: decode_clock,
    ERASURE_KEY: decode_erasure,
    OPENINGS_KEY: decode_openings,
    EXPIRY_KEY: decode_expiry,
}


def _of_meta(key: bytes) -> Callable[[bytes], object]:
    if key.startswith(keys.CHECKPOINT):
        return keys.split_number
    if key not in _META:
        raise CorruptError(f"{key!r} is nothing that the store knows")
    return _META[key]


def readable(family: str, key: bytes, value: bytes) -> bool:
    """Whether the codec of its kind can decode a row."""
    try:
        if family == SEGMENTS:
            Segment(key, value)
        elif family == INBOXES:
            if keys.split_pair(key)[1]:
                packed_references(key, value)
            else:
                decode_floor(key, value)
        elif family == PATCHES:
            keys.split_pair(key)
            if value:
                decode_items(value)
        elif family == STATE:
            decode = _STATE.get(key[:1]) or _OWN.get(key[:2])
            if decode is not None:
                decode(value)
        elif family == META:
            _of_meta(key)(value)
    except (CorruptError, ValueError):
        return False
    return True


def reckoned(
    storage: Storage, progress: ProgressRow | None, marked: int, runs: list[Run]
) -> ProgressRow:
    """The progress of sealing: as stored, or, where that is lost or impossible, from the rows.

    `runs` are the unbroken runs of the log. Commits up to `marked` were acknowledged.

    Rule: the log is applied again only if it reaches as far as the sealed rows do. A shorter log
    would replace newer state by older, and the sealed rows do not need it. Of several runs, the one
    that the rows reach into is applied, or else the newest.

        sealed rows up to 40, log 30 to 45             apply the log from 30 on
        sealed rows up to 40, log 20 to 35             apply nothing, the store ends at 40
        sealed rows up to 40, log 30 to 45, 50 to 60   apply the log from 30 to 45
    """
    reached = time = newest = 0
    for key, value in walk(storage, SEGMENTS):
        segment = Segment(key, value)
        reached, time = max(reached, segment.lsns[-1]), max(time, segment.times[-1])
        newest = max(newest, keys.split_pair(key)[0])
    for key, _ in walk(storage, INBOXES):
        inbox, position = keys.split_pair(key)
        reached, newest = max(reached, position), max(newest, inbox)
    for key, _ in walk(storage, STATE, keys.ROW, keys.successor(keys.ROW)):
        newest = max(newest, int.from_bytes(key[1:9], "big"))
    for _, value in walk(storage, STATE, keys.NAME, keys.successor(keys.NAME)):
        newest = max(newest, int.from_bytes(value, "big"))
    end = max((run.last for run in runs), default=0)
    if progress is not None and reached <= max(progress.sealed, progress.upto):
        known = not end or progress.sealed <= max(end, reached, marked)
        if known:
            return progress._replace(next_id=max(progress.next_id, newest + 1))
    run = run_from(runs, reached) or (runs[-1] if runs else None)
    if run is not None and run.last >= reached:  # a replay passes over what is on disk already
        return ProgressRow(run.first - 1, run.last, newest + 1, time)
    return ProgressRow(reached, 0, newest + 1, time)
