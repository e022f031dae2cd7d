"""The promise: a manifest says what the backup is, or is refused as damaged."""

from __future__ import annotations

import json

import pytest
from crc32c import crc32c

from timeline.errors import CorruptError, FormatVersionError
from timeline.formats.manifest import BackupFile, Manifest, decode_manifest, encode_manifest

MANIFEST = Manifest(
    format=1,
    epoch=2**64 - 1,
    lsn=7,
    time=1_700_000_000_000,
    files=(BackupFile("CURRENT", 16, 0), BackupFile("000012.sst", 2**40, 2**32 - 1)),
)
ENCODED = encode_manifest(MANIFEST)


def signed(**changes: object) -> bytes:
    """The manifest with other content, and a checksum that fits it."""
    document = json.loads(ENCODED) | changes
    del document["crc"]
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return json.dumps({**document, "crc": crc32c(text.encode())}).encode()


def test_it_comes_back_as_it_was() -> None:
    assert decode_manifest(ENCODED) == MANIFEST
    assert decode_manifest(signed()) == MANIFEST, "however it is laid out"
    assert MANIFEST.size == 2**40 + 16
    assert ENCODED.startswith(b'{\n "backup": 1,\n "format": 1,\n'), "people may read it"
    assert ENCODED.endswith(b"}\n")


def test_every_byte_counts() -> None:
    for place in range(len(ENCODED) - 1):
        damaged = bytearray(ENCODED)
        damaged[place] ^= 1
        with pytest.raises(CorruptError, match="take another backup"):
            decode_manifest(bytes(damaged))


def test_one_that_is_cut_off_is_damaged() -> None:
    for cut in range(len(ENCODED) - 1):
        with pytest.raises(CorruptError):
            decode_manifest(ENCODED[:cut])


@pytest.mark.parametrize("name", ["../rocks", "/etc/passwd", "a/b", "", ".", ".."])
def test_a_file_lies_in_the_backup_itself(name: str) -> None:
    with pytest.raises(CorruptError):
        decode_manifest(signed(files=[{"name": name, "size": 1, "crc": 1}]))


@pytest.mark.parametrize(
    "files", [None, [1], [{"name": "a"}], [{"name": 1, "size": 1, "crc": 1}], {"name": "a"}]
)
def test_what_does_not_list_files_is_damaged(files: object) -> None:
    with pytest.raises(CorruptError):
        decode_manifest(signed(files=files))


def test_one_of_a_later_version_is_named_as_such() -> None:
    with pytest.raises(FormatVersionError, match="of kind 2, this version reads up to 1"):
        decode_manifest(signed(backup=2))
