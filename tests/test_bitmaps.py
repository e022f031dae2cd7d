"""Sets of message numbers: what is left of a range without them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyroaring import BitMap

import timeline
from timeline import bitmaps
from timeline.formats.conversations import MENTIONED


class OneChunk(bitmaps.Bitmaps):
    """A set whose numbers are all in the first chunk."""

    def __init__(self, bits: BitMap) -> None:
        self._bits = bits

    def chunk(self, number: int) -> BitMap:
        return BitMap() if number else self._bits


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("hidden", [[], [0], [5], [3, 4, 9], list(range(3, 12)), [2, 12], [7, 11]])
def test_runs_are_what_is_left(hidden: list[int], *, reverse: bool) -> None:
    found = [
        number
        for start, stop in bitmaps.runs(3, 11, OneChunk(BitMap(hidden)), reverse=reverse)
        for number in (range(stop, start - 1, -1) if reverse else range(start, stop + 1))
    ]
    left = [number for number in range(3, 12) if number not in hidden]
    assert found == (left[::-1] if reverse else left)


def test_a_set_is_empty_when_the_last_number_of_its_last_chunk_goes(tmp_path: Path) -> None:
    numbers, owner = [7, 8, 70_000, 200_000], (1, 2)
    with timeline.open(tmp_path / "store", search=False) as db, db.engine.lock:
        draft = db.engine.begin()
        bitmaps.add(draft, MENTIONED, owner, numbers, 1)
        bitmaps.add(draft, MENTIONED, (1, 3), numbers, 1)  # the neighbour's do not count
        emptied = [bitmaps.discard(draft, MENTIONED, owner, seq) for seq in (9, *numbers, 7)]
        assert emptied == [False, False, False, False, True, False]
