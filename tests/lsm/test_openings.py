"""The promise: a commit is told from one of the same number in a future that the store has lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from timeline.lsm.openings import Openings
from timeline.options import Options
from timeline.storage.rocks import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Storage]:
    opened = Storage(tmp_path, Options())
    yield opened
    opened.close()


def begin(storage: Storage, applied: int, *, kept: bool = True) -> Openings:
    """Another opening behind LSN `applied`, which commits something if it is to be `kept`."""
    openings = Openings(storage)
    openings.begin(applied)
    if kept:
        assert [each.argument for each in openings.noted(applied + 1)] == [
            openings.tag_of(applied + 1)
        ]
        openings.written()
        assert openings.noted(applied + 1) == []
        batch = storage.batch()
        openings.keep(batch)
        storage.write(batch)
        openings.kept()
    return openings


def test_every_opening_has_a_tag_of_its_own(storage: Storage) -> None:
    for applied in (0, 10, 20):
        begin(storage, applied)
    openings = Openings(storage)
    tags = [openings.tag_of(lsn) for lsn in (1, 10, 11, 20, 21, 99)]
    assert len(set(tags)) == 3
    assert tags[::2] == tags[1::2]
    assert 0 not in tags


def test_what_an_earlier_opening_made_is_not_what_another_makes_again(storage: Storage) -> None:
    begin(storage, 0)
    lost = begin(storage, 10).tag_of(15)
    again = begin(storage, 12)
    assert again.made(12, lost)
    assert not again.made(13, lost), "rolled back to 12, then committed anew"
    assert again.made(13, again.tag_of(13))


def test_an_opening_that_commits_nothing_leaves_nothing(storage: Storage) -> None:
    first = begin(storage, 0).tag_of(5)
    begin(storage, 10, kept=False)
    assert Openings(storage).tag_of(15) == first


def test_what_a_record_notes_of_an_opening_is_taken_again(storage: Storage) -> None:
    """As after a kill, when nothing of it was sealed; and once more, when it was."""
    begin(storage, 0)
    lost = begin(storage, 10, kept=False)
    (noted,) = lost.noted(11)
    for _ in range(2):
        again = Openings(storage)
        again.take(noted)
        assert [again.tag_of(lsn) for lsn in (1, 10, 11)] == [
            lost.tag_of(lsn) for lsn in (1, 10, 11)
        ]
        batch = storage.batch()
        again.keep(batch)
        storage.write(batch)


def test_what_no_opening_is_known_for_may_be_any(storage: Storage) -> None:
    openings = begin(storage, 7)
    assert openings.tag_of(7) == 0
    assert openings.made(7, 12345)
