"""The promise: a store that was exported and imported, or backed up and restored, answers the same,
and goes on the same.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, Clock
from tests.messaging import moved
from timeline.admin.export import export_records
from timeline.admin.load import load
from timeline.formats.export import ExportRecord, decode_line, encode_line
from timeline.formats.export_binary import HEAD, decode_binary, encode_binary
from timeline.options import KIB

Move = Callable[[Path, Path], None]

OPTIONS = replace(
    SMALL, tails=100, unsealed_bytes=64 * KIB, list_cache_bytes=64 * KIB, diffusion_limit=4
)


def as_lines(records: Iterator[ExportRecord]) -> Iterator[ExportRecord]:
    return (decode_line(encode_line(record)) for record in records)


def as_binary(records: Iterator[ExportRecord]) -> Iterator[ExportRecord]:
    for record in records:
        encoded = encode_binary(record)
        kind, size = HEAD.unpack_from(encoded)
        assert len(encoded) == HEAD.size + size
        yield decode_binary(kind, encoded[HEAD.size :])


def by_export(through: Callable[[Iterator[ExportRecord]], Iterator[ExportRecord]]) -> Move:
    def move(path: Path, target: Path) -> None:
        with (
            timeline.open(path, OPTIONS, read_only=True) as db,
            closing(export_records(db.engine)) as records,
        ):
            target.mkdir()
            load(target, through(records))

    return move


def by_backup(path: Path, target: Path) -> None:
    with timeline.open(path, OPTIONS) as db:
        db.backup(target.with_suffix(".backup"))
    timeline.restore(target.with_suffix(".backup"), target)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "move",
    [by_export(as_lines), by_export(as_binary), by_backup],
    ids=["lines", "binary", "backup"],
)
def test_it_answers_the_same_and_goes_on_the_same(tmp_path: Path, seed: int, move: Move) -> None:
    path, target = tmp_path / "data", tmp_path / "moved"
    with Clock().installed() as clock:
        with timeline.open(path, OPTIONS) as db:
            moved.begin(db)
            chance = random.Random(seed)
            for _ in range(25):
                clock.now += 1_000
                moved.go_on(db, chance, 10)
            expected = moved.answers(db)
        move(path, target)
        with timeline.open(target, OPTIONS) as db:
            assert moved.answers(db) == expected
        clock.now -= 5_000  # times go on from the last one all the same
        for each in (path, target):
            with timeline.open(each, OPTIONS) as db:
                moved.go_on(db, random.Random(~seed), 100)
        with timeline.open(path, OPTIONS) as db, timeline.open(target, OPTIONS) as other:
            assert moved.answers(db) == moved.answers(other)
            assert db.engine.stage.next_id == other.engine.stage.next_id


def test_a_key_is_remembered(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        db.messaging.create("team", "ann")
        sent = db.messaging.send("team", "ann", {"text": "once"}, key="k")
    by_export(as_lines)(tmp_path / "data", tmp_path / "moved")
    with timeline.open(tmp_path / "moved", OPTIONS) as db:
        again = db.messaging.send("team", "ann", {"text": "once"}, key="k")
        assert (again.seq, again.time, again.status) == (sent.seq, sent.time, "duplicate")


@pytest.mark.parametrize("move", [by_export(as_lines), by_backup], ids=["export", "backup"])
def test_what_was_moved_is_found(tmp_path: Path, move: Move) -> None:
    with timeline.open(tmp_path / "data") as db:
        db.messaging.create("team", "ann")
        db.messaging.send("team", "ann", {"text": "已添加为好友"})
        assert db.messaging.search("ann", "添加", wait=20.0).total == 1
    move(tmp_path / "data", tmp_path / "moved")
    with timeline.open(tmp_path / "moved") as db:
        assert db.messaging.search("ann", "添加", wait=20.0).total == 1
