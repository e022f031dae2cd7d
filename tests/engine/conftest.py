"""A store in either way to fsync, for every test of the engine that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import timeline
from timeline.embedded.database import Database
from timeline.errors import TimelineError


@pytest.fixture(params=["thread", "inline"])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    db = timeline.open(tmp_path / "store", fsync=request.param)
    yield db
    with suppress(TimelineError):
        db.close()
