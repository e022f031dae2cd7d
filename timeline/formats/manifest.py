"""The manifest of a backup: what the backup is and which files it consists of.

    {"backup": 1, "format": 1, "epoch": …, "lsn": …, "time": …,
     "files": [{"name": …, "size": …, "crc": …}, …], "crc": …}

JSON, so that a person at a shell can read it; `crc` of a file is the CRC-32C of its bytes, that of
the manifest is of the same JSON without it, keys sorted and without blanks.

Rule: a manifest that does not say all of that, and of itself truly, is refused as damaged.
"""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from crc32c import crc32c

from timeline.errors import CorruptError, FormatVersionError

VERSION: Final = 1
MANIFEST: Final = "manifest.json"  # its name in the directory of the backup


class BackupFile(NamedTuple):
    name: str
    size: int
    crc: int


class Manifest(NamedTuple):
    """`format` is that of the store, `lsn` the last commit in it, `time` (ms) when it was made."""

    format: int
    epoch: int
    lsn: int
    time: int
    files: tuple[BackupFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def encode_manifest(manifest: Manifest) -> bytes:
    document: dict[str, Any] = {"backup": VERSION, **manifest._asdict()}
    document["files"] = [file._asdict() for file in manifest.files]
    document["crc"] = _checksum(document)
    return json.dumps(document, indent=1).encode() + b"\n"


def decode_manifest(value: bytes) -> Manifest:
    """Raises `CorruptError`, and `FormatVersionError` for one that a later version wrote."""
    try:
        document = json.loads(value)
        version, crc = document["backup"], document.pop("crc")
        if crc != _checksum(document):
            raise ValueError
        if version > VERSION:
            raise FormatVersionError(
                f"the backup is of kind {version}, this version reads up to {VERSION}: restore it "
                "with the version of Timeline that made it"
            )
        files = tuple(BackupFile(**file) for file in document["files"])
        if any("/" in file.name or file.name in ("", ".", "..") for file in files):
            raise ValueError
        return Manifest(
            document["format"], document["epoch"], document["lsn"], document["time"], files
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        raise CorruptError(
            "the manifest of the backup is damaged: take another backup of the same store"
        ) from None


def _checksum(document: dict[str, Any]) -> int:
    return int(crc32c(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()))
