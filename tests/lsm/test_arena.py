"""The promise: bytes come back as they were put in, wherever their pieces of memory end."""

from __future__ import annotations

import numpy as np
import pytest

from timeline.lsm.arena import Arena

KIB = 1024
MIB = 1024 * KIB


@pytest.mark.parametrize(
    "sizes",
    [
        [1],
        [5, 1, 3],
        [10 * KIB] * 40,  # over several pieces
        [64 * KIB, 1, 64 * KIB],  # each piece is full to its end
        [1, 20 * MIB, 1],  # larger than any piece
    ],
)
def test_what_was_put_in_comes_back(sizes: list[int]) -> None:
    arena = Arena()
    contents = [bytes([1 + number % 250]) * size for number, size in enumerate(sizes)]
    starts = [arena.put(b"<" + each + b">", 1, 1 + len(each)) for each in contents]
    stops = [*starts[1:], arena.end]
    kept = list(range(len(sizes)))
    assert [stop - start for start, stop in zip(starts, stops, strict=True)] == sizes
    for place in kept:
        assert arena.cut(starts[place], stops[place]) == contents[place]
    kept.reverse()
    found = arena.cut_many(
        np.array([starts[place] for place in kept], np.uint64),
        np.array([stops[place] for place in kept], np.uint64),
    )
    assert found == [contents[place] for place in kept]
