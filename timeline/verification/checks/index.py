"""The search index against the store.

Checked: the index has a document for every entry that it should have, and no other. It is compared
as of its checkpoint; entries that changed since are left out.

Example: message 7 of `team`, or post 7 of `ann`, is in the store, and no document stands for it.

An index that is missing, of another store, or older than the beginning of the log is no damage: the
next opening builds another.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from timeline.errors import CorruptError
from timeline.formats import keys
from timeline.formats.records import DROP, PATCH, TRIM
from timeline.lsm.timeline import Timeline
from timeline.search.index.checking import IndexReader, newest_index
from timeline.search.index.documents import Documents
from timeline.search.index.index import IndexFaultError, generations
from timeline.search.index.schema import rank_of
from timeline.verification.snapshot.findings import INDEX, Finding, Report
from timeline.verification.snapshot.snapshot import Snapshot

_SAMPLED_TIMELINES = 200  # about, of all that are indexed

_MEANS = "searches would miss it or show what is gone: run `timeline reindex`"


def check_index(snapshot: Snapshot, report: Report, whole: bool) -> Iterator[Finding]:
    directory = snapshot.options.index_of(snapshot.path)
    closed = _closed_to_us(directory)
    if closed is not None:
        text = f"{closed} may not be read by this user: run as the owner of the store"
        yield Finding(INDEX, text)
        return
    try:
        with newest_index(directory, snapshot.epoch) as reader:
            if reader is not None:
                reader.verify()
                yield from _check(snapshot, reader, report, whole)
    except IndexFaultError as error:
        yield Finding(INDEX, f"{error}: the next opening of the store builds it again")


def _closed_to_us(directory: Path) -> Path | None:
    """The first file or folder of the index that this user may not read; None when there is
    none.
    """
    try:
        if not directory.is_dir():
            return None
        for folder in (directory, *generations(directory).values()):
            if not os.access(folder, os.R_OK | os.X_OK):
                return folder
            for file in folder.glob("*.*"):
                if file.exists() and not os.access(file, os.R_OK):
                    return file
    except PermissionError:
        return directory
    return None


def _check(
    snapshot: Snapshot, reader: IndexReader, report: Report, whole: bool
) -> Iterator[Finding]:
    lsn = reader.lsn
    begins = snapshot.log.first()
    if lsn > snapshot.applied or begins - 1 > lsn:
        return  # built again at the next opening
    changed, touched = _since(snapshot, lsn)
    documents = Documents(reader.fields, reader.prefixes)
    names = [pair for prefix in reader.prefixes for pair in snapshot.scan(keys.NAME + prefix)]
    step = 1 if whole else max(1, len(names) // _SAMPLED_TIMELINES)
    for key, value in names[::step]:
        timeline_id = int.from_bytes(value, "big")
        timeline = snapshot.timeline(timeline_id)
        if timeline is None or timeline_id in touched:
            continue
        try:
            expected = _ranks(snapshot, timeline, documents, lsn, changed)
            there = reader.ranks(timeline_id)
        except CorruptError:
            continue  # the check of entries tells of it
        except IndexFaultError as error:
            yield Finding(INDEX, f"{error}: run `timeline reindex`")
            return
        left_out = {rank_of(at, seq) for (each, seq), at in changed.items() if each == timeline_id}
        report.documents += len(there)
        yield from _compare(key[1:], expected, there, left_out)


def _compare(
    name: bytes, expected: dict[int, int], there: list[int], left_out: set[int]
) -> Iterator[Finding]:
    known = set(there)
    missing = [seq for rank, seq in expected.items() if rank not in known]
    extra = [rank for rank in known if rank not in expected and rank not in left_out]
    twice = len(there) - len(known)
    for seq in missing[:3]:
        more = f" (one of {len(missing)})" if len(missing) > 1 else ""
        yield Finding(INDEX, f"entry {seq}{more} is not in the index: {_MEANS}", b"", name, seq)
    if extra or twice:
        yield Finding(
            INDEX,
            f"the index has {len(extra) + twice} documents that stand for no entry: {_MEANS}",
            b"",
            name,
        )


def _ranks(
    snapshot: Snapshot,
    timeline: Timeline,
    documents: Documents,
    lsn: int,
    changed: dict[tuple[int, int], int],
) -> dict[int, int]:
    """The documents that the index should have of a timeline: rank → sequence number."""
    found: dict[int, int] = {}
    kind = documents.kind(timeline.name)
    if kind is None:
        return found
    for row in snapshot.timelines.ranges.each(timeline, 0, keys.MAX, reverse=False):
        if (timeline.id, row[0]) in changed:
            changed[timeline.id, row[0]] = row[1]
        elif row[1] <= lsn and documents.entry(timeline.id, kind, row) is not None:
            found[rank_of(row[1], row[0])] = row[0]
    return found


def _since(snapshot: Snapshot, lsn: int) -> tuple[dict[tuple[int, int], int], set[int]]:
    """What changed after the checkpoint of the index: entries, and timelines trimmed or dropped."""
    changed: dict[tuple[int, int], int] = {}
    touched: set[int] = set()
    for record in snapshot.log.records(lsn):
        for operation in record.operations:
            if operation.kind == PATCH:
                changed[operation.id, operation.argument] = 0
            elif operation.kind in (TRIM, DROP):
                touched.add(operation.id)
    return changed, touched
