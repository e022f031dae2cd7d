"""In-boxes that get everything delivered, and stores that forget what is in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from tests.engine.stores import SMALL
from timeline.embedded.database import Database
from timeline.formats.numbers import NO_LSN, TimelineId
from timeline.formats.rows import INBOX
from timeline.options import DAY
from timeline.storage.rocks import INBOXES

MESSAGE = 1
AUDIENCE: Final = TimelineId(7)
SECONDS = 60.0
OPTIONS = replace(
    SMALL,
    fsync="inline",
    retention_check_ms=1,
    inbox_age_ms=16 * DAY,
    unsealed_bytes=10**6,  # tests say themselves when to seal
    tails=1_000,
)
FEW = replace(OPTIONS, inbox_references=20)


def join(db: Database, *names: bytes) -> list[int]:
    """In-boxes that get everything delivered."""
    with db.engine.lock:
        draft = db.engine.begin()
        inboxes = [draft.create(name, INBOX) for name in names]
        draft.join(AUDIENCE, [inbox.id for inbox in inboxes])
        draft.commit()
    db.flush()
    return [inbox.id for inbox in inboxes]


def send(db: Database, count: int = 1) -> list[int]:
    """Deliver so many entries, each a commit of one group; the LSNs."""
    found = []
    with db.engine.lock:
        for _ in range(count):
            draft = db.engine.begin()
            messages = draft.find(b"@conv:c") or draft.create(b"@conv:c")
            draft.deliver(AUDIENCE, messages, draft.append(messages, [b"v", b"1"]), MESSAGE)
            found.append(draft.commit().lsn)
    db.flush()
    return found


def notify(db: Database, inboxes: Sequence[int]) -> None:
    """Put one more reference into each of these."""
    with db.engine.lock:
        draft = db.engine.begin()
        messages = draft.find(b"@conv:c") or draft.create(b"@conv:c")
        draft.notify(inboxes, messages, 1, MESSAGE)
        draft.commit()
    db.flush()


def lsns(db: Database, inbox: int) -> list[int]:
    with db.engine.lock:
        return [reference.lsn for reference, _ in db.engine.inboxes.read(inbox, NO_LSN, -1, 10**6)]


def rows(db: Database) -> list[bytes]:
    return list(db.engine.store.storage.keys(INBOXES, b"", b"\xff" * 17))


def work_until(db: Database, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        db.engine.work()
        db.flush()


def expire(db: Database, floor: int) -> None:
    """Let the store work until everything up to LSN `floor` is off the disk."""
    expiry = db.engine.store.expiry
    work_until(db, lambda: db.engine.inboxes.floor >= floor and not expiry.sweeping)
    assert db.engine.inboxes.floor == floor


def keep_few(db: Database, count: int, seals: int) -> list[int]:
    """Send `count` in all, sealed so many times, with work in between; their LSNs."""
    sent: list[int] = []
    for _ in range(seals):
        sent += send(db, count // seals)
        db.engine.seal()
        while db.engine.store.expiry.due:
            db.engine.work()
    return sent


def check_few(db: Database, user: int, sent: list[int]) -> int:
    """The newest are there, at least so many as are kept; returns how many."""
    found = lsns(db, user)
    with db.engine.lock:
        floor = db.engine.inboxes.floor_of(user)
    assert found == [lsn for lsn in sent if floor < lsn <= db.engine.applied]
    assert len(found) >= min(20, len(sent))
    return len(found)
