"""A large store for the verbs that take care of one: whole, a copy for each test, and live."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from tests.server.daemon import Daemon


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some ten thousand entries in a hundred timelines, and conversations."""
    path = tmp_path_factory.mktemp("large") / "data"
    with timeline.open(path) as db:
        for number in range(60):
            db.timeline(f"sensor:{number}").append_many([{"v": str(n)} for n in range(1_000)])
        for _ in range(3):  # small segments, which compaction merges
            for number in range(50):
                db.timeline(f"small:{number}").append_many([{"v": "x" * 50}] * 5)
            db.engine.seal()
        im = db.messaging
        for number in range(20):
            im.create(f"c{number}", "ann", members=[f"u{n}" for n in range(20)])
            for n in range(10):
                im.send(f"c{number}", "ann", {"text": f"word {n}"}, key=str(n))
        im.search("ann", "word", wait=30.0)
    return path


@pytest.fixture
def store(large: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(large, tmp_path / "data"))


@pytest.fixture
def daemon(store: Path) -> Iterator[Daemon]:
    running = Daemon(store)
    yield running
    running.stop()
