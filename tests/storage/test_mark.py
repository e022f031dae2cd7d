"""The promise: the durable mark survives a torn write, and a damaged one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from timeline.errors import StorageError
from timeline.storage.mark import DurableMark, MarkContent, read_mark


def marked(path: Path, *lsns: int) -> None:
    mark = DurableMark(path)
    for lsn in lsns:
        mark.write(lsn)
    mark.close()


def damage(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_the_highest_lsn_counts_whichever_slot_has_it(tmp_path: Path) -> None:
    path = tmp_path / "MARK"
    for lsns in ((1,), (2, 3), (4,)):
        marked(path, *lsns)
        assert read_mark(path) == MarkContent(lsns[-1], ())
        mark = DurableMark(path)
        assert mark.read() == lsns[-1]
        mark.close()


@pytest.mark.parametrize("byte", [0, 7, 8, 11])
def test_a_torn_write_costs_one_step(tmp_path: Path, byte: int) -> None:
    path = tmp_path / "MARK"
    marked(path, 7, 8)
    damage(path, byte)  # of the first slot, which was written second
    assert read_mark(path) == MarkContent(7, (0,))


def test_a_new_file_marks_nothing_and_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "MARK"
    assert read_mark(path) is None
    marked(path)
    assert read_mark(path) == MarkContent(0, ())
    path.write_bytes(bytes(4))
    assert read_mark(path) == MarkContent(0, ())


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    for action in (DurableMark, read_mark):
        with pytest.raises(StorageError, match=str(tmp_path)):
            action(tmp_path)
