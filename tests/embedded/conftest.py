"""A store with two conversations, all of whose devices have seen everything."""

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
    db = timeline.open(tmp_path / "store", fsync=request.param, search=False)
    im = db.messaging
    im.create("team", "ann", members=["bob"])
    im.create("other", "cat", members=["dan"])
    for user in ("ann", "bob", "cat", "dan"):
        im.ack(user, "phone", im.conversations(user).position)
    yield db
    with suppress(TimelineError):
        db.close()
