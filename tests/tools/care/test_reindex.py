"""The promise: `timeline reindex` rebuilds the index of a stopped store or a live daemon."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import timeline
from tests.server.daemon import Daemon
from timeline_tools.main import main


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    with timeline.open(path) as db:
        db.messaging.create("team", "ann")
        for number in range(5):
            db.messaging.send("team", "ann", {"text": f"word {number}"})
    return path


@pytest.fixture
def daemon(store: Path) -> Iterator[Daemon]:
    running = Daemon(store)
    yield running
    running.stop()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["reindex", *arguments])


@pytest.mark.parametrize("lost", [False, True])
def test_of_a_stopped_store(store: Path, lost: bool) -> None:
    if lost:
        shutil.rmtree(store / "index", ignore_errors=True)
    result = run(str(store))
    assert result.exit_code == 0, result.output
    assert "the index was rebuilt: 5 documents" in result.output
    with timeline.open(store) as db:
        assert db.messaging.search("ann", "word").total == 5, "it serves at once"
        assert db.index.searchable.builds == 0, "it is there already"


def test_of_a_live_daemon(daemon: Daemon) -> None:
    result = run("--connect", f"127.0.0.1:{daemon.port}")
    assert result.exit_code == 0, result.output
    assert "the index was rebuilt: 5 documents" in result.output
    result = run("--connect", f":{daemon.port}", "--no-wait")
    assert "INFO timeline shows" in result.output


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        ([], 2, "name a DIRECTORY"),
        (["--connect", "127.0.0.1:1"], 1, "no daemon answers at 127.0.0.1:1"),
        (["--connect", "127.0.0.1:x"], 2, "is no HOST:PORT"),
        (["nowhere"], 2, "does not exist"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], status: int, problem: str) -> None:
    result = run(*arguments)
    assert result.exit_code == status
    assert problem in result.output
    assert "Traceback" not in result.output


def test_a_directory_that_is_no_store_or_is_in_use(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for path, problem in ((tmp_path / "other", "store"), (tmp_path / "data", "in use")):
        result = run(str(path))
        assert result.exit_code == 1
        assert problem in result.output
        assert len(result.output.splitlines()) == 1
