"""The promise: a verb that cannot do what was asked says so in one line and a status, and changes
nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import copy_as_killed
from tests.server.daemon import Daemon
from tests.tools.looks import printed, refused, run
from timeline.engine.store.directory import STORE_KEY
from timeline.formats.rows import FORMAT, StoreRow, encode_store
from timeline.storage.rocks import META, SEGMENTS

HUGE = "99999999999999999999999"


def test_what_is_not_there_is_one_line(where: list[str]) -> None:
    assert "no timeline 'team': did you mean '@conv:team'?" in refused("cat", *where, "team")
    assert "no timeline" in refused("tail", *where, "nothing")
    assert "no timeline" in refused("inspect", *where, "nothing")
    assert "no segment" in refused("inspect", *where, "room:001", "--segment", "9999")
    assert "no conversation 'nothing'" in refused("conversation", *where, "nothing")
    assert "no such user" in refused("user", *where, "nobody")
    assert "no times" in refused("cat", *where, "@user:bob", "--since", "1h")
    assert "no longer holds" in refused("cat", *where, "--log", "--from", "1")
    assert "no word in this query" in refused("search", *where, "!!!")


@pytest.mark.parametrize("verb", ["inspect", "ls", "stats"])
def test_what_is_no_store_is_one_line_and_is_left_alone(tmp_path: Path, verb: str) -> None:
    assert "is no Timeline store" in refused(verb, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_store_of_a_newer_version_is_named(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        storage = db.engine.store.storage
        batch = storage.batch()
        batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT + 1, 7)))
        storage.write(batch)
    assert f"has format {FORMAT + 1}" in refused("ls", str(tmp_path / "data"))


def test_damage_is_one_line_and_a_damaged_segment_is_shown(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        db.timeline("audit").append_many([{"n": str(number)} for number in range(600)])
        db.engine.seal()
        storage = db.engine.store.storage
        (key, value), *_ = storage.scan(SEGMENTS, b"", b"\xff" * 17)
        batch = storage.batch()
        batch.put(SEGMENTS, key, value[:-9] + b"\0" + value[-8:])
        storage.write(batch)
    where = str(tmp_path / "data")
    assert "damaged" in refused("cat", where, "audit")
    assert len(printed("cat", where, "audit", "--from", "257").splitlines()) == 600 - 256
    result = run("inspect", where, "audit", "--segment", "1", "--hex")
    assert result.exit_code == 1
    assert "wrong: the segment of timeline" in result.output
    assert "00000000  01 00" in result.output


def test_a_log_without_its_end_is_one_line(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data", search=False) as db:
        for number in range(20):
            db.timeline("audit").append({"n": str(number)})
        copy_as_killed(db, tmp_path / "cut")
    (file,) = (tmp_path / "cut" / "log").glob("*.log")
    content = file.read_bytes()
    end = len(content.rstrip(b"\0"))
    file.write_bytes(content[: end - 200].ljust(len(content), b"\0"))
    assert "were acknowledged" in refused("ls", str(tmp_path / "cut"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["cat"], "name a DIRECTORY"),
        (["cat", "{}"], "name a timeline, or --log"),
        (["cat", "{}", "a", "--log"], "--log takes no name"),
        (["cat", "{}", "--log", "--reverse"], "the log is read forwards"),
        (["cat", "{}", "a", "--since", "yesterday"], "is no time"),
        (["cat", "{}", "--log", "--events"], "leave --log out"),
        (["ls", "{}", "--limit", HUGE], "--limit"),
        (["inspect", "{}", "--segment", "1"], "name it"),
        (["inspect", "{}", "a", "--segment", HUGE], "--segment"),
        (["retention", "{}", "a", "--max-age", f"{HUGE}d"], "more than can be counted"),
        (["retention", "{}", "a", "--max-bytes", f"{HUGE}GiB"], "more than can be counted"),
        (["retention", "{}", "a", "--max-length", HUGE], "--max-length"),
        (["trim", "{}", "a", "--older-than", f"{HUGE}d"], "more than can be counted"),
        (["export", "{0}", "{0}"], "is a directory: name a file"),
        (["inspect", "{}", "a", "--hex"], "--segment"),
        (["search", "{}", "x", "--sender", "ann"], "--sender goes with --user"),
        (["search", "{}", "x", "--user", "ann", "--timeline", "a"], "leave --timeline out"),
        (["top"], "--connect"),
        (["ls", "nowhere"], "does not exist"),
    ],
)
def test_a_mistake_in_the_call_is_told(stopped: Path, arguments: list[str], problem: str) -> None:
    result = run(*(each.format(stopped) for each in arguments))
    assert result.exit_code == 2
    assert problem in result.stderr


def test_no_daemon_and_no_room_for_temporary_files(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no daemon answers" in refused("top", "--connect", "127.0.0.1:1")
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert "set TMPDIR" in refused("ls", str(stopped))


def test_an_index_of_other_fields_is_named(stopped: Path, tmp_path: Path) -> None:
    file = tmp_path / "timelined.toml"
    file.write_text('search_fields = ["body"]')
    assert "holds no index of the fields body" in refused(
        "search", str(stopped), "nine", "--config", str(file)
    )


def test_why_there_is_no_index_to_search_is_told(stopped: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(stopped, tmp_path / "data"))
    (meta,) = store.glob("index/generation-*/meta.json")
    meta.write_text("{")
    assert f"the index in {meta.parent} is damaged" in refused("search", str(store), "nine")
    assert "is damaged" in run("inspect", str(store)).stdout
    found = run("verify", str(store))
    assert (found.exit_code, "timeline reindex" in found.stderr) == (1, True)
    shutil.rmtree(store / "index")
    assert "holds no index: name where it is (search_directory)" in refused(
        "search", str(store), "nine"
    )


def test_a_directory_that_may_not_be_looked_into_is_not_called_absent(tmp_path: Path) -> None:
    store = tmp_path / "closed" / "store"
    store.mkdir(parents=True)
    user = os.geteuid()
    store.parent.chmod(0)
    try:
        if user == 0:  # who may look anywhere
            os.seteuid(65_534)
        for words in (["verify", str(store)], ["restore", str(store), "new"]):
            assert "no permission to look into" in run(*words).stderr
    finally:
        os.seteuid(user)
        store.parent.chmod(0o700)


@pytest.mark.parametrize("verb", ["retention", "cat", "tail", "inspect", "compact", "trim"])
def test_a_conversation_named_as_a_timeline_is_told_apart(
    stopped: Path, daemon: Daemon, verb: str
) -> None:
    more = ["--length", "1"] if verb == "trim" else []
    for where in ([str(stopped)], ["--connect", f"127.0.0.1:{daemon.port}"]):
        said = refused(verb, *where, "team", *more)
        assert "no timeline 'team': did you mean '@conv:team'?" in said


def test_who_trims_a_conversation_is_told_how(stopped: Path) -> None:
    said = refused("trim", str(stopped), "@conv:team", "--length", "1", "--dry-run")
    assert "messages of a conversation are removed by `timeline retention`" in said
