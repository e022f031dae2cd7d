"""`verify`: every check, one after another, on a snapshot.

Rule: it reads only. A sound store has no findings, whatever happened to it before; what was found
is told as it is found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from timeline.storage import FAMILIES, LOG
from timeline.verification.conversations import check_audiences, check_conversations
from timeline.verification.entries import Entries
from timeline.verification.findings import FILES, Finding
from timeline.verification.index import check_index
from timeline.verification.members import (
    check_members,
    check_pulled,
    check_roster,
)
from timeline.verification.names import check_names
from timeline.verification.positions import (
    check_devices,
    check_keys,
    check_known,
    check_numbers,
    check_tombstones,
)
from timeline.verification.records import check_log, check_meta
from timeline.verification.references import References
from timeline.verification.snapshot import Snapshot
from timeline.verification.walk import LAST, walk

Thorough = Literal["sample", "whole", "none"]
Progress = Callable[[str, int, int], None]  # what is checked, how many checks are done, of how many


@dataclass(slots=True)
class Report:
    """What was found, and how much was looked at."""

    findings: list[Finding] = field(default_factory=list)
    applied: int = 0
    entries: int = 0
    references: int = 0
    documents: int = 0

    @property
    def sound(self) -> bool:
        return not self.findings


def verify(
    path: str | os.PathLike[str],
    *,
    index: Thorough = "sample",
    progress: Progress | None = None,
) -> Report:
    """Check the store at `path`, which may be open elsewhere, without changing a byte of it.

    Of the search index some timelines are looked at, or with `index="whole"` all. Raises
    `NotFoundError`, `FormatVersionError`, `StorageError` when there is nothing to check.
    """
    report = Report()
    with Snapshot(Path(path)) as snapshot:
        report.findings += snapshot.findings
        for finding in check(snapshot, report, index, progress):
            report.findings.append(finding)
    return report


def check(
    snapshot: Snapshot,
    report: Report,
    index: Thorough = "none",
    progress: Progress | None = None,
) -> Iterator[Finding]:
    """Every check on a snapshot, its own findings left out."""
    report.applied = snapshot.applied
    entries, references = Entries(snapshot), References(snapshot)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("files", lambda: _check_files(snapshot)),
        ("what the store says of itself", lambda: check_meta(snapshot)),
        ("log", lambda: check_log(snapshot)),
        ("names", lambda: check_names(snapshot)),
        ("entries", entries.check),
        ("in-boxes", references.check),
        ("conversations", lambda: check_conversations(snapshot)),
        ("audiences", lambda: check_audiences(snapshot)),
        ("rosters", lambda: check_roster(snapshot)),
        ("members", lambda: check_members(snapshot)),
        ("diffusion", lambda: check_pulled(snapshot)),
        ("devices", lambda: check_devices(snapshot)),
        ("idempotency keys", lambda: check_keys(snapshot)),
        ("tombstones", lambda: check_tombstones(snapshot)),
        ("sets of numbers", lambda: check_numbers(snapshot)),
        ("state", lambda: check_known(snapshot)),
    ]
    if index != "none":
        checks.append(("search index", lambda: check_index(snapshot, report, index == "whole")))
    for done, (name, run) in enumerate(checks):
        if progress is not None:
            progress(name, done, len(checks))
        yield from run()
    if progress is not None:
        progress("", len(checks), len(checks))
    report.entries, report.references = entries.entries, references.references


def _check_files(snapshot: Snapshot) -> Iterator[Finding]:
    """Every block that RocksDB keeps, against its checksum."""
    found: list[Finding] = []

    def blind(start: bytes, stop: bytes | None, text: str) -> None:
        text = text.replace(str(snapshot.shadow.path), str(snapshot.path / "rocks")).strip()
        upto = "the end" if stop is None else stop.rstrip(b"\0").hex()
        found.append(
            Finding(
                FILES,
                f"family {family} cannot be read from {start.hex() or 'its beginning'} to {upto}: "
                f"{text}",
                lost=family != LOG,
            )
        )

    for family in FAMILIES:
        for _ in walk(snapshot.storage, family, b"", LAST, blind):
            pass
    yield from found
