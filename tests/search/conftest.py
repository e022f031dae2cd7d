"""A conversation whose messages are searched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from tests.search.indexes import OPTIONS
from timeline.embedded.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(tmp_path / "store", OPTIONS) as db:
        db.messaging.create("team", "ann", members=["bob"])
        yield db
