"""Stores to be moved: a large one, a small one, what is exported of them, and a daemon."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.daemon import Daemon
from tests.tools.installed import done
from tests.tools.move.stores import ENTRIES, fill


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of more entries than go into a page, a batch or a pipe; not to be written to."""
    return fill(tmp_path_factory.mktemp("large") / "data", 1_200)


@pytest.fixture(scope="session")
def exported(large: Path) -> Path:
    """What `export` makes of it, straight."""
    path = large.with_name("exported")
    done("export", large, path)
    return path


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("small") / "data", ENTRIES)


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    path = tmp_path / "data"
    shutil.copytree(filled, path)
    return path


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(tmp_path / "live")
    yield running
    assert running.stop() == 0, running.log.read_text()
