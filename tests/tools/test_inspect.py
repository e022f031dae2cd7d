"""The promise: `timeline inspect` shows what a stopped store holds, and says why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import timeline
from timeline.messaging.conversations import Deletion
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


@pytest.fixture
def talk(store: Path) -> Path:
    """The store, with two conversations in it and who is in them."""
    with timeline.open(store) as database:
        im = database.messaging
        im.create("team", "ann", members=["bob"])
        im.create("empty")
        im.send("team", "ann", {"text": "hi"})
        im.send("team", "bob", {"text": "ho"})
        im.recall("team", 1)
        im.ack("bob", "phone", im.conversations("bob").position)
    return store


def test_conversations_and_users_are_shown_by_kind(talk: Path) -> None:
    result = run("inspect", str(talk))
    assert result.exit_code == 0, result.output
    *lines, total = result.output.splitlines()
    assert [line.split() for line in lines] == [
        ["first", "head", "entries", "timeline"],
        ["3", "5", "3", "audit"],
        ["1", "1", "1", "消息"],
        ["first", "head", "messages", "events", "members", "conversation"],
        ["1", "0", "0", "0", "0", "empty"],
        ["1", "2", "2", "2", "2", "team"],
        ["devices", "user"],
        ["0", "ann"],
        ["1", "bob"],
    ]
    assert total == "4 entries in 2 timelines, 2 messages in 2 conversations, 2 users; 9 commits"


@pytest.mark.parametrize(
    ("prefix", "last"),
    [
        ("au", "3 entries in 1 timeline; 9 commits"),
        ("@", "2 messages in 2 conversations, 2 users; 9 commits"),
        ("@conv:te", "2 messages in 1 conversation; 9 commits"),
        ("@user:", "2 users; 9 commits"),
        ("@nothing", "nothing; 9 commits"),
    ],
)
def test_a_prefix_chooses_the_kind(talk: Path, prefix: str, last: str) -> None:
    assert run("inspect", str(talk), "--prefix", prefix).output.splitlines()[-1] == last


def test_what_is_half_deleted_is_said_to_be(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data") as database:
        database.messaging.create("town", members=[f"citizen{number}" for number in range(300)])
        deletion = Deletion(b"town", b"-")
        assert database.messaging._write(deletion.step), "there is more to do"
    rows = [line.split() for line in run("inspect", str(tmp_path / "data")).output.splitlines()]
    assert rows[1][-2:] == ["deleted", "town"]


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
