"""A store of real shape, stopped and in use, for verbs to look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import timeline
from tests.server.daemon import Daemon
from tests.tools.looks import fill


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be written to: all that look have this one."""
    path = tmp_path_factory.mktemp("looking") / "stopped"
    with timeline.open(path) as db:
        fill(db)
    with timeline.open(path) as db:
        db.compact()  # what was recalled is erased: a daemon on a copy finds nothing left to do
        db.messaging.set("bob", "busy", {"@mute": "1"})  # so that the log holds something
    return path


@pytest.fixture(scope="module")
def daemon(stopped: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    live = tmp_path_factory.mktemp("looking") / "live"
    shutil.copytree(stopped, live)
    running = Daemon(live)
    yield running
    running.stop()


@pytest.fixture(params=["stopped", "in use", "daemon"])
def where(request: pytest.FixtureRequest, stopped: Path, daemon: Daemon) -> list[str]:
    """A directory or a daemon as it is named on the command line."""
    return {
        "stopped": [str(stopped)],
        "in use": [str(daemon.data)],
        "daemon": ["--connect", f"127.0.0.1:{daemon.port}"],
    }[request.param]
