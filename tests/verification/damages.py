"""Damages of every kind, by name: what is done to a closed store, and where it must be found.

Each is one raw write with the right RocksDB checksums, unless its name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tantivy import Index

from tests.verification.damage import (
    change,
    flip_record,
    flipped,
    frame_of,
    log_files,
    pairs,
    put,
    put_record,
    spoil_header,
    state,
    swap_records,
    take_out,
)
from timeline.formats import keys
from timeline.formats.conversations import decode_member, encode_member
from timeline.formats.numbers import Seq, TimelineId
from timeline.formats.references import (
    decode_references,
    encode_reference,
    encode_references,
    packed_references,
)
from timeline.formats.rows import (
    ExpiryRow,
    decode_progress,
    decode_row,
    encode_expiry,
    encode_mark,
    encode_progress,
    encode_row,
)
from timeline.log.file import name_of
from timeline.search.index.schema import entry_document, entry_key
from timeline.search.text import analysis
from timeline.verification import repair, verify


def id_of(path: Path, name: str) -> int:
    found = dict(pairs(path, "state", b"n" + name.encode()))
    return int.from_bytes(found[b"n" + name.encode()], "big")


class Damage(NamedTuple):
    """What is done to a store, and in which family that must be found."""

    family: str
    do: Callable[[Path], object]


def cut(value: bytes) -> bytes:
    return value[:-1]


def gone(_: bytes) -> None:
    return None


def nothing(family: str, prefix: bytes = b"") -> Callable[[Path], object]:
    """Every key with a prefix goes."""

    def do(path: Path) -> None:
        for key, _ in pairs(path, family, prefix):
            put(path, family, key, None)

    return do


def one(
    family: str, prefix: bytes, alter: Callable[[bytes], bytes | None], place: int = 0
) -> Callable[[Path], object]:
    return lambda path: change(path, family, prefix, alter, place)


def swapped(
    family: str, prefix: bytes = b"", first: int = 0, second: int = 1
) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        found = pairs(path, family, prefix)
        (one_key, one_value), (other_key, other_value) = found[first], found[second]
        put(path, family, one_key, other_value)
        put(path, family, other_key, one_value)

    return do


def added(family: str, key: bytes, value: bytes) -> Callable[[Path], object]:
    return lambda path: put(path, family, key, value)


def row_of(name: str, **changes: object) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        key = keys.ROW + keys.number(id_of(path, name))
        row = decode_row(dict(pairs(path, "state", key))[key])
        put(path, "state", key, encode_row(row._replace(**changes)))  # type: ignore[arg-type]

    return do


def row_like(name: str, other: str) -> Callable[[Path], object]:
    """The row of a timeline is that of another."""

    def do(path: Path) -> None:
        rows = [keys.ROW + keys.number(id_of(path, each)) for each in (name, other)]
        put(path, "state", rows[0], dict(pairs(path, "state", rows[1]))[rows[1]])

    return do


def without_row(name: str) -> Callable[[Path], object]:
    return lambda path: put(path, "state", keys.ROW + keys.number(id_of(path, name)), None)


def without_segment(name: str, place: int) -> Callable[[Path], object]:
    return lambda path: change(path, "segments", keys.number(id_of(path, name)), gone, place)


def without_patch(path: Path) -> None:
    put(path, "patches", keys.pair(id_of(path, "audit"), 40), None)


def lost_wholly(path: Path) -> None:
    """Neither name nor row of a timeline is left."""
    without_row("other")(path)
    put(path, "state", b"nother", None)


def reference_to(timeline_id: int, seq: int, kind: int = 1) -> Callable[[Path], object]:
    """The last reference of somebody leads elsewhere, with the right checksum."""

    def do(path: Path) -> None:
        key, value = next(
            pair for pair in pairs(path, "inboxes") if int.from_bytes(pair[0][8:], "big")
        )
        *found, last = decode_references(packed_references(key, value))
        target = timeline_id or id_of(path, "@conv:team")
        bad = last._replace(timeline_id=TimelineId(target), seq=Seq(seq), kind=kind)
        packed = [encode_reference(*each) for each in (*found, bad)]
        put(path, "inboxes", key, encode_references(key, packed))

    return do


def member(**changes: object) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        key, value = member_pair(path)
        put(path, "state", key, encode_member(decode_member(value)._replace(**changes)))  # type: ignore[arg-type]

    return do


def member_pair(path: Path) -> tuple[bytes, bytes]:
    """What bob has of the team."""
    key = b"um" + keys.pair(id_of(path, "@user:bob"), id_of(path, "@conv:team"))
    return key, dict(pairs(path, "state", key))[key]


def progress(**changes: int) -> Callable[[Path], object]:
    def alter(value: bytes) -> bytes:
        return encode_progress(decode_progress(value)._replace(**changes))

    return lambda path: change(path, "default", b"progress", alter)


def bit_of_files(suffix: str) -> Callable[[Path], object]:
    """A bit of the largest file itself, where RocksDB's checksum tells."""

    def do(path: Path) -> None:
        file = max((path / "rocks").glob(suffix), key=lambda each: each.stat().st_size)
        content = file.read_bytes()
        file.write_bytes(flipped(content[: len(content) // 2]) + content[len(content) // 2 :])

    return do


def truncated_file(path: Path) -> None:
    file = max((path / "rocks").glob("*.sst"), key=lambda each: each.stat().st_size)
    file.write_bytes(file.read_bytes()[:-200])


def lost_file(path: Path) -> None:
    max((path / "rocks").glob("*.sst"), key=lambda each: each.stat().st_size).unlink()


def unlink(path: Path, name: str) -> None:
    for file in (path / "rocks").glob(name):
        file.unlink()


def every_file_cut(path: Path) -> None:
    for file in (path / "rocks").glob("*.sst"):
        file.write_bytes(file.read_bytes()[:50])


def log_cut(path: Path) -> None:
    """The file is as long as it was, and nothing follows record 40 any more."""
    file, _, _, _, end = frame_of(path, 40)
    file.write_bytes(file.read_bytes()[:end].ljust(file.stat().st_size, b"\0"))


def log_renamed(path: Path) -> None:
    (file,) = log_files(path)
    file.rename(file.with_name(name_of(3)))


def mark_ahead(path: Path) -> None:
    (path / "MARK").write_bytes(encode_mark(10_000).ljust(512, b"\0") + encode_mark(1))


def mark_torn(path: Path) -> None:
    content = (path / "MARK").read_bytes()
    (path / "MARK").write_bytes(flipped(content[:12]) + content[12:])


def without_document(path: Path) -> None:
    index = Index.open(str(max((path / "index").glob("generation-*"))))
    writer = index.writer()
    writer.delete_documents_by_term("key", entry_key(id_of(path, "@conv:team"), 9))
    writer.commit()


def document_too_many(path: Path) -> None:
    index = Index.open(str(max((path / "index").glob("generation-*"))))
    analysis.register(index)
    writer = index.writer()
    writer.add_json(entry_document(id_of(path, "@conv:team"), 999, 9, 9, "ann", [("f0", "x")]))
    writer.commit()


DAMAGES = {
    "the store's own row": Damage("default", one("default", b"store", cut)),
    "the store's own row gone": Damage("default", one("default", b"store", gone)),
    "the store's format": Damage(
        "default", one("default", b"store", lambda row: row[:11] + b"\1" + row[12:])
    ),
    "the store's epoch": Damage("default", one("default", b"store", lambda row: row[:-1] + b"\1")),
    "progress cut": Damage("default", one("default", b"progress", cut)),
    "progress gone": Damage("default", one("default", b"progress", gone)),
    "progress ahead": Damage("default", progress(sealed=10_000)),
    "progress behind": Damage("", progress(sealed=3)),
    "ids given out forgotten": Damage("state", progress(next_id=4)),
    "expiry cut": Damage("default", one("default", b"expiry", cut)),
    "expiry above everything": Damage(
        "default", added("default", b"expiry", encode_expiry(ExpiryRow(10_000, 0, ())))
    ),
    "checkpoint ahead": Damage("default", added("default", b"checkpoint/x", keys.number(10_000))),
    "checkpoint cut": Damage("default", added("default", b"checkpoint/x", b"abc")),
    "something of format 1": Damage(
        "default", added("default", b"chapter/" + keys.number(5), keys.pair(1, 1))
    ),
    "something unknown": Damage("default", added("default", b"foreign", b"x")),
    "log record flipped": Damage("log", lambda path: flip_record(path, 40)),
    "log record gone": Damage("log", lambda path: take_out(path, 40)),
    "log records swapped": Damage("log", lambda path: swap_records(path, 40)),
    "log record of nothing": Damage("log", lambda path: put_record(path, 40, b"x")),
    "log cut in the middle": Damage("default", log_cut),
    "log file empty": Damage("log", lambda path: log_files(path)[0].write_bytes(b"")),
    "log file renamed": Damage("log", log_renamed),
    "log header": Damage("log", lambda path: spoil_header(log_files(path)[0], 0, 1)),
    "a copy of the log header": Damage("log", lambda path: spoil_header(log_files(path)[0], 0)),
    "the other copy of it": Damage("log", lambda path: spoil_header(log_files(path)[0], 1)),
    "segment flipped": Damage("segments", one("segments", b"", flipped, 3)),
    "segments swapped": Damage("segments", swapped("segments")),
    "segment gone": Damage("segments", without_segment("audit", 2)),
    "newest segment gone": Damage("segments", without_segment("audit", -1)),
    "newest messages gone": Damage("", without_segment("@conv:team", -1)),
    "segment of nobody": Damage("segments", lost_wholly),
    "segment key": Damage("segments", added("segments", b"abc", b"x")),
    "in-box flipped": Damage("inboxes", one("inboxes", b"", flipped, 2)),
    "in-box gone": Damage("inboxes", one("inboxes", b"", gone, 1)),
    "in-boxes gone wholly": Damage("inboxes", nothing("inboxes")),
    "in-boxes swapped": Damage("inboxes", swapped("inboxes")),
    "in-box floor": Damage("inboxes", added("inboxes", keys.pair(7, 0), b"abcdefgh1234")),
    "in-box of nobody": Damage("inboxes", without_row("@user:bob")),
    "reference to what never was": Damage("inboxes", reference_to(9_999, 1)),
    "reference to no message": Damage("inboxes", reference_to(0, 5_000)),
    "reference of no kind": Damage("inboxes", reference_to(0, 1, kind=77)),
    "reference of a message as an event": Damage("inboxes", reference_to(0, 1, kind=4)),
    "patch cut": Damage("patches", one("patches", b"", cut, -1)),
    "patches swapped": Damage("patches", swapped("patches", b"", 1, 2)),
    "patch gone": Damage("segments", without_patch),
    "patch of no entry": Damage("patches", added("patches", keys.pair(1, 9_999), b"")),
    "patch of no timeline": Damage("patches", added("patches", keys.pair(9_999, 1), b"")),
    "name without a timeline": Damage("state", added("state", b"nlonely", keys.number(9_999))),
    "name cut": Damage("state", one("state", b"naudit", cut)),
    "names swapped": Damage("state", swapped("state", b"n", -1, -2)),
    "name gone": Damage("state", one("state", b"naudit", gone)),
    "name of messages gone": Damage("state", one("state", b"n@conv:team", gone)),
    "row cut": Damage("state", one("state", b"t", lambda value: value[:20])),
    "rows swapped": Damage("state", swapped("state", b"t")),
    "row of a user is a conversation's": Damage("state", row_like("@user:bob", "@conv:team")),
    "row of a conversation is a user's": Damage("state", row_like("@conv:team", "@user:bob")),
    "row gone": Damage("state", without_row("audit")),
    "row of messages gone": Damage("state", without_row("@conv:team")),
    "row of events gone": Damage("state", without_row("@event:team")),
    "head too high": Damage("segments", row_of("audit", floor=5_000)),
    "head above every number": Damage("state", row_of("audit", floor=2**63)),
    "first too high": Damage("state", row_of("audit", first=5_000)),
    "first too low": Damage("segments", row_of("audit", first=1)),
    "holes too many": Damage("segments", row_of("audit", holes=70)),
    "kind of another": Damage("state", row_of("audit", kind=1)),
    "made in the future": Damage("state", row_of("audit", created=2**62)),
    "count of timelines": Damage("state", one("state", b"c", lambda _: keys.number(77))),
    "metadata cut": Damage("state", one("state", b"m", cut)),
    "metadata of nobody": Damage("state", added("state", b"m" + keys.number(9_999), b"x")),
    "retention cut": Damage("state", one("state", b"r", cut)),
    "audience cut": Damage("state", one("state", b"a", cut)),
    "audience gone": Damage("state", one("state", b"a", gone)),
    "audience of nobody": Damage(
        "state", added("state", b"a" + keys.pair(9_999, 3), b"\1".ljust(8, b"\0") + b"\xff" * 8)
    ),
    "conversation cut": Damage("state", one("state", b"uc", cut)),
    "conversation gone": Damage("state", one("state", b"uc", gone)),
    "conversations swapped": Damage("state", swapped("state", b"uc")),
    "members miscounted": Damage(
        "state", one("state", b"uc", lambda value: value[:3] + b"\x63" + value[4:])
    ),
    "roster cut": Damage("state", one("state", b"ur", cut)),
    "roster gone": Damage("state", one("state", b"ur", gone)),
    "roster gone wholly": Damage("state", nothing("state", b"ur")),
    "role of another": Damage("state", one("state", b"ur", lambda value: b"\1" + value[1:])),
    "member cut": Damage("state", one("state", b"um", cut)),
    "member gone": Damage("state", one("state", b"um", gone)),
    "members gone wholly": Damage("state", nothing("state", b"um")),
    "read beyond the head": Damage("state", member(read=5_000)),
    "member without a span": Damage("state", member(spans=())),
    "flags of a member": Damage("state", member(flags=0)),
    "pulled gone": Damage("state", one("state", b"up", gone)),
    "pulled of nobody": Damage("state", added("state", b"up" + keys.pair(3, 9_999), b"")),
    "pulled miscounted": Damage("state", one("state", b"uq", lambda _: keys.number(5))),
    "settings cut": Damage("state", one("state", b"us", cut)),
    "device cut": Damage("state", one("state", b"ud", lambda value: value[:10])),
    "device ahead": Damage(
        "state", one("state", b"ud", lambda value: value[:1] + b"\xff" * 4 + value[5:])
    ),
    "key cut": Damage("state", one("state", b"uk", cut)),
    "key of a generation to come": Damage(
        "state", added("state", b"uk" + keys.pair(9, 1) + keys.number(1) + b"k", bytes(32))
    ),
    "generation cut": Damage("state", one("state", b"ug", cut)),
    "tombstone cut": Damage("state", one("state", b"ut", lambda value: value[:8])),
    "uncounted gone": Damage("state", one("state", b"ux", gone)),
    "uncounted cut": Damage("state", one("state", b"ux", cut)),
    "hidden cut": Damage("state", one("state", b"uh", cut)),
    "mentions cut": Damage("state", one("state", b"ui", cut)),
    "calls cut": Damage("state", one("state", b"ua", cut)),
    "deleted name of nobody": Damage("state", added("state", b"dnone", keys.pair(3, 9_999))),
    "deleted name cut": Damage("state", one("state", b"dgone", cut)),
    "deleted name gone": Damage("state", one("state", b"dgone", gone)),
    "deleted name that is there": Damage("state", added("state", b"daudit", keys.pair(3, 4))),
    "order of deleted names gone": Damage("state", one("state", b"e", gone)),
    "number of deleted names": Damage("state", added("state", b"d", keys.pair(7, 0))),
    "state unknown": Damage("state", added("state", b"zzz", b"x")),
    "own state unknown": Damage("state", added("state", b"uzzz", b"x")),
    "a bit of a file": Damage("files", bit_of_files("*.sst")),
    "a file cut": Damage("files", truncated_file),
    "a file lost": Damage("files", lost_file),
    "mark ahead of the log": Damage("MARK", mark_ahead),
    "mark torn": Damage("MARK", mark_torn),
    "mark gone": Damage("MARK", lambda path: (path / "MARK").unlink()),
    "manifest gone": Damage("files", lambda path: unlink(path, "MANIFEST-*")),
    "current gone": Damage("files", lambda path: unlink(path, "CURRENT")),
    "every file cut": Damage("files", every_file_cut),
    "a document gone": Damage("index", without_document),
    "a document too many": Damage("index", document_too_many),
}


def check_mended(store: Path, words: str, target: Path) -> None:
    """`verify` tells of damage in these words, and the repair at `target` is sound."""
    before = state(store)
    told = [each.text for each in verify(store).findings]
    assert any(words in each for each in told), told
    assert not [each for each in told if "b'@" in each], "as Python has it"
    done = repair(store, target)
    assert state(store) == before, "neither changes a byte of the damaged store"
    assert done.left == []
    assert verify(target).findings == []
