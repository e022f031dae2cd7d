"""Deleted names: the last number that a deleted timeline gave out.

Checked: each deleted name has the commit that deleted it, stands once in the order of deletions,
and belongs to no timeline. There are as many as the store says.

Example: the name `a` is deleted, and there is a timeline called `a`.
"""

from __future__ import annotations

from collections.abc import Iterator

from timeline.errors import CorruptError, shown
from timeline.formats import keys
from timeline.storage.rocks import STATE
from timeline.verification.snapshot.findings import Finding, Put, remove
from timeline.verification.snapshot.snapshot import Snapshot


def check_deleted(snapshot: Snapshot) -> Iterator[Finding]:
    names = 0
    for key, value in snapshot.scan(keys.DELETED):
        name = key[1:]
        if not name:
            continue
        try:
            head, lsn = keys.split_pair(value)
        except CorruptError as error:
            yield Finding(STATE, str(error), key, name, fix=remove(STATE, key))
            continue
        order = keys.DELETIONS + keys.number(lsn) + name
        if not head or lsn > snapshot.applied or snapshot.get(keys.NAME + name) is not None:
            yield Finding(
                STATE,
                f"it says that commit {lsn} deleted {shown(name)} at number {head}, which it did "
                "not",
                key,
                name,
                fix=remove(STATE, key),
            )
            continue
        names += 1
        if snapshot.get(order) is None:
            yield Finding(
                STATE,
                f"{shown(name)} is missing in the order of deleted names",
                key,
                name,
                fix=(Put(STATE, order, b""),),
            )
    yield from _check_order(snapshot)
    count = snapshot.get(keys.DELETED)
    if count is None and not names:
        return
    try:
        counted, since = keys.split_pair(count or b"")
    except CorruptError:
        counted, since = -1, 0
    if counted != names:
        yield Finding(
            STATE,
            f"the store counts another number of deleted names than there are ({names})",
            keys.DELETED,
            fix=(Put(STATE, keys.DELETED, keys.pair(names, since)),),
        )


def _check_order(snapshot: Snapshot) -> Iterator[Finding]:
    """Each row of the order belongs to a deleted name."""
    for key, _ in snapshot.scan(keys.DELETIONS):
        name = key[9:]
        known = snapshot.get(keys.DELETED + name)
        if not name or known is None or known[8:] != key[1:9]:
            yield Finding(
                STATE, "no name was deleted by this commit", key, name, fix=remove(STATE, key)
            )
