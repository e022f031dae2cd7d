"""A backup, checked as the store that `restore` would make of it.

Rule: nothing in the backup changes, and nothing is restored. First its files are compared with the
manifest. If all are as they were, they are read as a store, through links.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from timeline.admin.backup import FILES, read_manifest
from timeline.admin.progress import Progress, ignore
from timeline.engine.store.directory import LOG, MARK, ROCKS
from timeline.errors import reason
from timeline.formats.manifest import MANIFEST, Manifest
from timeline.log.file import first_of
from timeline.storage.files import checksum
from timeline.storage.mark import DurableMark
from timeline.storage.scratch import Scratch
from timeline.verification.snapshot.findings import FILES as FILES_FAMILY, Finding


def is_backup(path: Path) -> bool:
    return (path / MANIFEST).is_file()


class Backup:
    def __init__(self, path: Path) -> None:
        """Raises `NotFoundError`, `CorruptError`, `FormatVersionError`, `StorageError` when its
        manifest cannot be read.
        """
        self.path = path
        self.manifest: Manifest = read_manifest(path)

    def check_files(self, progress: Progress = ignore) -> Iterator[Finding]:
        """The files that differ from the manifest. `progress` counts files."""
        for done, file in enumerate(self.manifest.files):
            place = self.path / FILES / file.name
            progress(done, len(self.manifest.files))
            try:
                if not place.is_file():
                    yield _lost(f"{place} is missing")
                elif (place.stat().st_size, checksum(place)) != (file.size, file.crc):
                    yield _lost(f"{place} is not what it was when the backup was made")
            except OSError as error:
                yield _lost(f"{place} cannot be read: {reason(error)}")

    @contextmanager
    def as_store(self) -> Iterator[Path]:
        """A directory of links that is a store. Raises `StorageError`."""
        own = Scratch()
        try:
            for file in self.manifest.files:
                folder = ROCKS if first_of(Path(file.name)) is None else LOG
                own.show(self.path / FILES, file.name, folder)
            mark = DurableMark(own.path / MARK)
            mark.write(self.manifest.lsn)
            mark.close()
            yield own.path
        finally:
            own.remove()

    def check_end(self, lsn: int) -> Iterator[Finding]:
        """Whether the store, which ends at `lsn`, ends where the manifest says."""
        if lsn != self.manifest.lsn:
            yield _lost(
                f"it ends at LSN {lsn:,}, not at {self.manifest.lsn:,} as its manifest says"
            )

    def unveiled(self, store: Path, finding: Finding) -> Finding:
        """A finding in `as_store`, with the files of the backup in place of the links."""
        text = finding.text
        for folder in (ROCKS, LOG):
            text = text.replace(str(store / folder), str(self.path / FILES))
        return finding._replace(text=text.replace(str(store), str(self.path)))


def _lost(text: str) -> Finding:
    return Finding(FILES_FAMILY, f"{text}: `timeline restore` refuses it, use another", lost=True)
