"""What tests of the engine ask for: a store in either way to fsync, and a directory in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import scratch_directory
from timeline.embedded.database import Database
from timeline.errors import TimelineError


@pytest.fixture(params=["thread", "inline"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    db = timeline.open(tmp_path / "store", fsync=request.param)
    yield db
    with suppress(TimelineError):
        db.close()


@pytest.fixture
def directory() -> Iterator[Path]:
    path = scratch_directory()
    yield path
    shutil.rmtree(path, ignore_errors=True)
