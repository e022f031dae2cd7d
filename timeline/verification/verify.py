"""`verify`: all checks of a store, one after another.

Rule: it only reads. A sound store has no findings, whatever crashes it went through. Most checks
compare two parts of the store that must agree (`checks`), on one snapshot of it (`snapshot`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from timeline.errors import CorruptError, StorageError
from timeline.options import Options, anchored
from timeline.verification.backups import Backup, is_backup
from timeline.verification.checks.audiences import check_audiences
from timeline.verification.checks.conversations import check_conversations
from timeline.verification.checks.deleted import check_deleted
from timeline.verification.checks.deliveries import check_deliveries, check_posts
from timeline.verification.checks.entries import Entries
from timeline.verification.checks.feeds import check_feeds
from timeline.verification.checks.files import check_files
from timeline.verification.checks.homes import check_followers, check_follows, check_homes
from timeline.verification.checks.index import check_index
from timeline.verification.checks.links import Links
from timeline.verification.checks.members import check_members, check_pulled, check_roster
from timeline.verification.checks.messages import check_messages
from timeline.verification.checks.names import check_names
from timeline.verification.checks.notes import Notes
from timeline.verification.checks.positions import (
    check_devices,
    check_keys,
    check_known,
    check_numbers,
    check_tombstones,
)
from timeline.verification.checks.records import check_log, check_meta, check_reached
from timeline.verification.checks.references import References
from timeline.verification.checks.ties import Ties, check_fields
from timeline.verification.snapshot.findings import FILES, Finding, Report
from timeline.verification.snapshot.snapshot import Snapshot

Thorough = Literal["sample", "whole", "none"]

# It hears now and then: the check that is under way, how many rows were looked at so far, how many
# checks are done, and how many there are.
CheckProgress = Callable[[str, int, int, int], None]


def verify(
    path: str | os.PathLike[str],
    *,
    options: Options | None = None,
    index: Thorough = "sample",
    progress: CheckProgress | None = None,
) -> Report:
    """Check the store at `path`, without changing a byte of it. Another process may have it open. A
    backup is checked as the store that it would become.

    The search index lies where `options` say. Some of its timelines are checked; with
    `index="whole"` all of them, with `index="none"` none. Raises `NotFoundError`,
    `FormatVersionError`, `StorageError` when there is nothing to check.
    """
    report = Report()
    where = anchored(path)
    options = None if options is None else options.anchored()
    if is_backup(where):
        report.backup = True
        _verify_backup(where, report, progress)
    else:
        _verify_store(where, report, options, index, progress)
    return report


def _verify_store(
    path: Path,
    report: Report,
    options: Options | None,
    index: Thorough,
    progress: CheckProgress | None,
) -> None:
    try:
        snapshot = Snapshot(path, options)
    except CorruptError as error:
        report.findings.append(_unreadable(error))
        return
    with snapshot:
        report.findings += snapshot.findings
        try:
            report.findings += check(snapshot, report, index, progress)
        except StorageError as error:  # a file that may not be read, say
            raise StorageError(snapshot.shadow.unveiled(str(error))) from error


def _verify_backup(path: Path, report: Report, progress: CheckProgress | None) -> None:
    def tell(done: int, total: int) -> None:
        if progress is not None:
            progress("files of the backup", 0, done, total)

    try:
        backup = Backup(path)
    except CorruptError as error:
        report.findings.append(_unreadable(error))
        return
    report.findings += backup.check_files(tell)
    if not report.findings:
        with backup.as_store() as store:
            _verify_store(store, report, None, "none", progress)
            report.findings[:] = [backup.unveiled(store, each) for each in report.findings]
    if not report.findings:
        report.findings += backup.check_end(report.applied)


def _unreadable(error: CorruptError) -> Finding:
    return Finding(FILES, f"nothing can be read: {error}", lost=True)


def check(
    snapshot: Snapshot,
    report: Report,
    index: Thorough = "none",
    progress: CheckProgress | None = None,
) -> Iterator[Finding]:
    """The findings of every check. Those of the snapshot itself are not among them."""
    report.applied = snapshot.applied
    entries, references = Entries(snapshot), References(snapshot)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("files", lambda: check_files(snapshot)),
        ("what the store says of itself", lambda: check_meta(snapshot)),
        ("log", lambda: check_log(snapshot)),
        ("names", lambda: check_names(snapshot)),
        ("deleted names", lambda: check_deleted(snapshot)),
        ("entries", entries.check),
        ("in-boxes", references.check),
        ("sealing", lambda: check_reached(snapshot, max(entries.reached, references.reached))),
        ("conversations", lambda: check_conversations(snapshot)),
        ("audiences", lambda: check_audiences(snapshot)),
        ("rosters", lambda: check_roster(snapshot)),
        ("members", lambda: check_members(snapshot)),
        ("deliveries", lambda: check_deliveries(snapshot)),
        ("diffusion", lambda: check_pulled(snapshot)),
        ("feeds", lambda: check_feeds(snapshot)),
        ("homes", lambda: check_homes(snapshot)),
        ("follows", lambda: check_follows(snapshot)),
        ("followers", lambda: check_followers(snapshot)),
        ("mutes, blocks and requests", Ties(snapshot).check),
        ("fields of authors", lambda: check_fields(snapshot)),
        ("replies and reposts", Links(snapshot).check),
        ("notes", Notes(snapshot).check),
        ("deliveries of posts", lambda: check_posts(snapshot)),
        ("devices", lambda: check_devices(snapshot)),
        ("idempotency keys", lambda: check_keys(snapshot)),
        ("tombstones", lambda: check_tombstones(snapshot)),
        ("messages", lambda: check_messages(snapshot)),
        ("sets of numbers", lambda: check_numbers(snapshot)),
        ("state", lambda: check_known(snapshot)),
    ]
    if index != "none":
        checks.append(("search index", lambda: check_index(snapshot, report, index == "whole")))
    for done, (name, run) in enumerate(checks):
        if progress is not None:
            snapshot.on_rows = partial(_tell, progress, name, done, len(checks))
            snapshot.on_rows(snapshot.rows)
        try:
            for finding in run():
                yield finding._replace(text=snapshot.shadow.unveiled(finding.text))
        except CorruptError as error:
            text = snapshot.shadow.unveiled(str(error))
            yield Finding(FILES, f"the {name} cannot be checked any further: {text}")
    snapshot.on_rows = None
    report.entries, report.references = entries.entries, references.references


def _tell(progress: CheckProgress, name: str, done: int, total: int, rows: int) -> None:
    progress(name, rows, done, total)
