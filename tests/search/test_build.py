"""A build takes a little at a time, and holds nothing of the store between its steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from tests.search.indexes import OPTIONS, texts
from timeline.search.build import Build
from timeline.search.index.documents import Documents
from timeline.search.index.index import LEAST_MEMORY, Index


def test_a_build_holds_nothing_of_the_store_between_its_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.search.build._STEP_ENTRIES", 2)
    path = tmp_path / "store"
    with timeline.open(path, OPTIONS, search=False) as db:
        for number in range(5):
            db.timeline(f"t{number}").set_metadata({"city": "Oslo"})
    db = timeline.open(path, OPTIONS, search=False)
    index = Index.make(tmp_path / "index", ("text",), LEAST_MEMORY)
    build = Build(db.engine, index, Documents(("text",), ()), ())
    assert build.step()
    db.close()
    timeline.open(path, OPTIONS, search=False).close()
    assert index.added == 2


def test_a_build_reads_a_bounded_number_of_bytes_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    monkeypatch.setattr("timeline.search.build._STEP_BYTES", 2_000)
    read = []
    with timeline.open(path, OPTIONS, search=False) as db:
        db.messaging.create("team", "ann", members=["bob"])
        for _ in range(20):
            db.messaging.send("team", "ann", {"text": "word " + "x" * 1_000})
    rows = Build._rows

    def measured(build: Build, timeline_id: int) -> Iterator[object]:
        for part in rows(build, timeline_id):
            read.append(sum(len(row[3]) for row in part))
            yield part

    monkeypatch.setattr(Build, "_rows", measured)
    with timeline.open(path, OPTIONS) as db:
        assert len(texts(db)) == 20
    assert max(read) < 8_000
