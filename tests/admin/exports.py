"""Exports of closed stores, for tests of what is made of them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import timeline
from tests.engine.stores import SMALL
from timeline.admin.export import export_records
from timeline.formats.export import ExportRecord


def exported(path: Path) -> list[ExportRecord]:
    with (
        timeline.open(path, SMALL, read_only=True) as db,
        closing(export_records(db.engine)) as records,
    ):
        return list(records)
