"""The promise: what is merged into a store is there once, and harms nothing that was there."""

from __future__ import annotations

from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL
from timeline.admin.merge import EngineDestination, merge
from timeline.errors import UsageError
from timeline.formats.export import EntryRecord, ExportRecord, Header, TimelineRecord
from timeline.formats.rows import Retention


def test_what_is_added_is_there_once(tmp_path: Path) -> None:
    records: list[ExportRecord] = [
        Header(exact=False, whole=False),
        TimelineRecord(
            b"a", first=3, head=9, metadata=(b"k", b"v"), retention=Retention(0, 100, 0)
        ),
        EntryRecord(3, 0, 0, [b"n", b"3"]),
        EntryRecord(5, 0, 0, [b"n", b"5"]),
        TimelineRecord(b"empty", first=4, head=3),
    ]
    with timeline.open(tmp_path / "data", SMALL) as db:
        assert merge(EngineDestination(db.engine), records) == (2, 2, 0)
        assert merge(EngineDestination(db.engine), records) == (2, 0, 2)
        a = db.timeline("a")
        assert [entry.seq for entry in a] == [3, 5]
        assert a.extent()[:3] == (3, 9, 2)
        assert a.metadata() == {b"k": b"v"}
        assert db.timeline("empty").extent()[:3] == (4, 3, 0)


def test_nothing_is_added_under_a_name_of_the_store(tmp_path: Path) -> None:
    records: list[ExportRecord] = [
        Header(exact=False, whole=False),
        TimelineRecord(b"@conv:team", head=1),
        EntryRecord(1, 0, 0, [b"n", b"not mine"]),
    ]
    with timeline.open(tmp_path / "data", SMALL) as db:
        with pytest.raises(UsageError, match="'@conv:team' cannot be imported"):
            merge(EngineDestination(db.engine), records)
        assert list(db.timelines("@")) == []
