"""The promise: an export says all there is of a store, the same however that lies."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.admin.exports import exported
from tests.engine.stores import SMALL, Clock, small_steps
from tests.engine.twin import Twin, scenario
from timeline.admin.export import export_records
from timeline.errors import BusyError
from timeline.formats.export import ExportRecord, RowRecord
from timeline.lsm.upkeep.expiry import EXPIRY_KEY


def committed(records: Iterable[ExportRecord]) -> list[ExportRecord]:
    """Those that do not say when in-boxes were looked at."""
    return [
        each for each in records if not (isinstance(each, RowRecord) and each.key == EXPIRY_KEY)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_it_says_the_same_however_the_store_lies(seed: int, tmp_path: Path) -> None:
    with Clock().installed() as clock, small_steps():
        twin = Twin(tmp_path / "data", replace(SMALL, fsync="inline"), clock)
        for step in scenario(60, seed):
            twin.do(step)
        beside = committed(exported(twin.path))
        with closing(export_records(twin.db.engine)) as records:
            assert committed(records) == beside
        twin.db.engine.seal()
        assert committed(exported(twin.path)) == beside
        twin.db.compact()
        assert committed(exported(twin.path)) == beside
        twin.db.close()
        assert committed(exported(twin.path)) == beside


def test_what_was_written_to_meanwhile_is_not_exported(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", SMALL) as db:
        db.timeline("a").append({"n": "1"})
        records = export_records(db.engine)
        next(records)
        db.timeline("a").append({"n": "2"})
        with pytest.raises(BusyError, match="written to"):
            list(records)
