"""The promise: entries in memory come back as they were, a few or many of them at a time."""

from __future__ import annotations

from array import array

import pytest

from timeline.formats.records import Appends
from timeline.lsm.columns import Columns, Piece


def filled(sizes: list[int], start: int = 7) -> tuple[Columns, list[bytes]]:
    """Columns of groups of so many entries, and the entries."""
    columns = Columns(start)
    entries: list[bytes] = []
    for number, size in enumerate(sizes):
        parts = [b"%d.%d" % (number, index) + b"x" * (index % 3) for index in range(size)]
        first = len(entries)
        seqs = array("Q", range(first + 1, first + size + 1))
        appends = Appends(array("Q", [1] * size), seqs, array("I", map(len, parts)), None)
        columns.extend(b"head" + b"".join(parts), 4, appends, list(seqs), 100 + number)
        entries += parts
    return columns, entries


@pytest.mark.parametrize("sizes", [[1], [3, 1, 2], [63, 64, 200]])
def test_entries_come_back_from_their_records(sizes: list[int]) -> None:
    columns, entries = filled(sizes)
    rows = array("Q", range(7, 7 + len(entries)))
    assert columns.payloads(rows) == entries
    assert [columns.time(row) for row in rows] == [
        100 + number for number, size in enumerate(sizes) for _ in range(size)
    ]


@pytest.mark.parametrize("sizes", [[2], [3, 100, 2]])
def test_gathering_many_gives_what_reading_each_does(sizes: list[int]) -> None:
    columns, entries = filled(sizes)
    rows = array("Q", range(7 + len(entries) - 1, 6, -2))
    seqs, lsns, times, payloads = columns.gather(rows.tobytes())
    assert payloads == columns.payloads(rows)
    assert list(times) == [columns.time(row) for row in rows]
    assert list(seqs) == list(lsns) == [row - 6 for row in rows]


def test_a_piece_reads_like_a_segment() -> None:
    columns, entries = filled([4])
    piece = Piece(columns, array("Q", [7, 9, 10]), {3: b"new"})
    assert len(piece) == 3
    assert [piece.seq(index) for index in range(3)] == list(piece.numbers(0, 3)) == [1, 3, 4]
    assert list(piece.numbers(1, 3)) == [3, 4]
    assert list(piece.numbers(1, 1)) == []
    assert piece.wire(0, 2) == entries[0] + b"new"
    assert list(piece.stored(1, 3)) == [(3, 3, 100, b"new"), (4, 4, 100, entries[3])]
