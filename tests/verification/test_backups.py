"""The promise: a backup is checked where it lies, and nothing in it is changed by that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import timeline
from timeline.admin.backup import FILES
from timeline.errors import FormatVersionError
from timeline.formats.manifest import MANIFEST, _checksum, decode_manifest, encode_manifest
from timeline.log.file import first_of
from timeline.storage.files import checksum
from timeline.storage.rocks import Storage
from timeline.verification import verify


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    path = tmp_path / "monday"
    with timeline.open(tmp_path / "data", search=False) as db:
        db.timeline("a").append_many([{"n": str(number)} for number in range(2_000)])
        db.messaging.create("team", "ann", members=["bob"])
        db.engine.seal()
        db.messaging.send("team", "ann", {"text": "in the log"})
        db.backup(path)
    return path


def content(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in path.rglob("*") if each.is_file()}


def test_a_sound_backup_is_looked_at_whole_and_left_as_it_is(backup: Path) -> None:
    before = content(backup)
    report = verify(backup)
    assert report.sound, report.findings
    assert (report.entries, report.references) == (
        2_000 + 1 + 1,
        4,
    )  # a message and an event; in two in-boxes
    assert report.applied == decode_manifest((backup / MANIFEST).read_bytes()).lsn
    assert content(backup) == before


def first(backup: Path, pattern: str) -> Path:
    return min((backup / FILES).glob(pattern))


def flip(path: Path) -> None:
    value = bytearray(path.read_bytes())
    value[len(value) // 2] ^= 1
    path.write_bytes(value)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bit of a table": (lambda backup: flip(first(backup, "*.sst")), "is not what it was"),
    "a bit of a list": (lambda backup: flip(first(backup, "MANIFEST-*")), "is not what it was"),
    "a file cut short": (lambda backup: shorten(first(backup, "*.sst")), "is not what it was"),
    "a file gone": (lambda backup: first(backup, "MANIFEST-*").unlink(), "is missing"),
    "the manifest": (lambda backup: flip(backup / MANIFEST), "the manifest of the backup"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found(backup: Path, damage: str) -> None:
    harm, text = DAMAGES[damage]
    harm(backup)
    (finding,) = verify(backup).findings
    assert finding.lost
    assert text in finding.text


def manifest_with(backup: Path, **changes: object) -> None:
    document = json.loads((backup / MANIFEST).read_bytes())
    del document["crc"]
    document |= changes
    (backup / MANIFEST).write_text(json.dumps({**document, "crc": _checksum(document)}))


def test_a_backup_that_ends_elsewhere_is_found(backup: Path) -> None:
    manifest = decode_manifest((backup / MANIFEST).read_bytes())
    (backup / MANIFEST).write_bytes(encode_manifest(manifest._replace(lsn=manifest.lsn - 1)))
    (finding,) = verify(backup).findings
    assert f"not at {manifest.lsn - 1} as" in finding.text


def test_what_was_wrong_in_the_store_is_found_and_named_in_the_backup(
    backup: Path, tmp_path: Path
) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        storage: Storage = db.engine.store.storage
        batch = storage.batch()
        batch.put("state", b"nlonely", b"\0\0\0\0\0\0\x99\x99")
        storage.write(batch)
        db.backup(tmp_path / "tuesday")
    findings = verify(tmp_path / "tuesday").findings
    assert b"lonely" in {each.timeline for each in findings}


def test_a_backup_of_a_newer_store_is_refused(backup: Path) -> None:
    manifest_with(backup, format=99)
    with pytest.raises(FormatVersionError, match="format 99"):
        verify(backup)


def log_of(backup: Path) -> Path:
    """The one file of the log that a backup has."""
    (file,) = (file for file in (backup / FILES).glob("*.log") if first_of(file) is not None)
    return file


def test_damage_to_the_log_in_a_backup_is_found(backup: Path) -> None:
    file = log_of(backup)
    content = bytearray(file.read_bytes())
    content[1_200] ^= 1
    file.write_bytes(content)
    (finding,) = verify(backup).findings
    assert f"{file} is not what it was" in finding.text


def test_damage_to_the_log_that_was_backed_up_is_named_in_the_backup(backup: Path) -> None:
    file = log_of(backup)
    content = bytearray(file.read_bytes())
    content[1_060] ^= 1
    file.write_bytes(content)
    manifest = decode_manifest((backup / MANIFEST).read_bytes())
    files = tuple(
        each._replace(crc=checksum(backup / FILES / each.name)) for each in manifest.files
    )
    (backup / MANIFEST).write_bytes(encode_manifest(manifest._replace(files=files)))
    told = [each for each in verify(backup).findings if each.family == "log"]
    assert f"{file} is damaged at byte 1024" in told[0].text
