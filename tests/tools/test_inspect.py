"""The promise: `timeline inspect` shows what a stopped store holds, and says why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import timeline
from timeline_tools.main import main


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    with timeline.open(path) as database:
        database.timeline("audit").append_many([{"n": str(n)} for n in range(5)])
        database.timeline("audit").trim(before=3)
        database.timeline("消息").append({"text": "已添加为好友"})
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_it_lists_each_timeline_with_first_head_and_entries(store: Path) -> None:
    result = run("inspect", str(store))
    assert result.exit_code == 0, result.output
    heading, *rows, total = [line.split() for line in result.output.splitlines()]
    assert heading == ["first", "head", "entries", "timeline"]
    assert rows == [["3", "5", "3", "audit"], ["1", "1", "1", "消息"]]
    assert total[:5] == ["4", "entries", "in", "2", "timelines;"]


def test_a_prefix_narrows_the_list(store: Path) -> None:
    result = run("inspect", str(store), "--prefix", "au")
    assert "audit" in result.output
    assert "消息" not in result.output


def test_a_directory_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    result = run("inspect", str(tmp_path))
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert not list(tmp_path.iterdir())


def test_a_store_that_is_open_is_named(store: Path) -> None:
    with timeline.open(store):
        result = run("inspect", str(store))
    assert result.exit_code == 1
    assert str(store) in result.output


def test_the_version_is_that_of_the_package() -> None:
    assert run("--version").output == "timeline, version 0.1.0\n"
