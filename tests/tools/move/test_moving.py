"""The promise: `timeline export` and `timeline import` move timelines and whole stores exactly,
through files and pipes, to and from directories and daemons.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path
from typing import cast

import pytest

import timeline
from tests.server.daemon import Daemon
from tests.tools.installed import PROGRAM, done, names, refused, run, same, start
from tests.tools.move.stores import ENTRIES, TIMELINES
from timeline.formats.export import ExportRecord, Header
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline_tools.move.remote import daemon_records
from timeline_tools.sources.rawwire import RawWire
from timeline_tools.sources.wire import Refused


@pytest.mark.parametrize("binary", [[], ["--binary"]])
def test_a_whole_store_comes_back_byte_for_byte(
    large: Path, exported: Path, tmp_path: Path, binary: list[str]
) -> None:
    done("export", large, tmp_path / "all", *binary)
    said = json.loads(done("import", tmp_path / "new", tmp_path / "all", "--json"))
    assert said["records"] > 70_000
    done("export", tmp_path / "new", tmp_path / "two.jsonl")
    assert same(exported, tmp_path / "two.jsonl")
    assert names(tmp_path) == ["all", "new", "two.jsonl"]


def committed(path: Path) -> list[object]:
    """The records of an export but the row that says when in-boxes were looked at, and the end."""
    records = [json.loads(line) for line in path.read_bytes().splitlines()[:-1]]
    return [each for each in records if each.get("key") != b64encode(EXPIRY_KEY).decode()]


def test_beside_a_daemon_it_is_the_same(filled: Path, tmp_path: Path) -> None:
    shutil.copytree(filled, tmp_path / "data")
    daemon = Daemon(tmp_path / "data", "--search", "false")
    with daemon.client() as client:
        client.xadd("room:000", {"n": "not sealed yet"})
        client.execute_command("CONV.SEND", "g1", "ann", "*", "text", "nor is this")
        client.execute_command("CONV.JOIN", "g1", "ann", "dave")
        client.execute_command("CONV.LEAVE", "g2", "carol", "carol")
    done("export", tmp_path / "data", tmp_path / "beside")
    assert daemon.stop() == 0
    done("export", tmp_path / "data", tmp_path / "after")
    assert committed(tmp_path / "beside") == committed(tmp_path / "after")
    done("import", tmp_path / "new", tmp_path / "beside")
    assert done("verify", tmp_path / "new").startswith("sound: ")


def test_through_a_pipe(large: Path, tmp_path: Path) -> None:
    exporting = start("export", large, "-")
    importing = subprocess.run(
        [PROGRAM, "import", str(tmp_path / "new"), "-"],
        stdin=exporting.stdout,
        capture_output=True,
        timeout=100,
        check=False,
    )
    _, problem = exporting.communicate()
    assert (exporting.returncode, problem) == (0, b"")
    assert importing.returncode == 0, importing.stderr
    everything = ("--kind", "all")
    assert done("ls", tmp_path / "new", *everything) == done("ls", large, *everything)


def test_a_reader_of_a_pipe_may_have_enough(large: Path) -> None:
    with start("export", large, "-") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b'{"export"')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_raw_timelines_are_added_to_a_store_that_is_there(store: Path, tmp_path: Path) -> None:
    done("export", store, tmp_path / "odd", "--prefix", "")
    with timeline.open(tmp_path / "other") as db:
        db.timeline("own").append({"n": "1"})
    said = json.loads(done("import", tmp_path / "other", tmp_path / "odd", "--json"))
    assert said["timelines"] == TIMELINES + 1
    assert said["skipped"] == 0
    again = done("import", tmp_path / "other", tmp_path / "odd")
    assert (
        f"imported 0 entries of {TIMELINES + 1} timelines; {said['entries']:,} were there" in again
    )
    with timeline.open(store) as db, timeline.open(tmp_path / "other") as other:
        assert list(other.timelines()) == sorted([*db.timelines(), b"own"])
        for name in db.timelines():
            here, there = db.timeline(name), other.timeline(name)
            assert content(here) == content(there)
            assert here.extent()[:3] == there.extent()[:3]
            assert here.metadata() == there.metadata()
        with other.engine.lock:
            odd = other.engine.view.find(b"odd:\xff\x00\n")
            assert odd is not None
            assert other.engine.view.retention(odd) == (10**12, 1_000, 0)


def content(handle: timeline.TimelineHandle) -> list[tuple[int, list[tuple[bytes, bytes]]]]:
    return [(entry.seq, list(entry.fields)) for entry in handle]


def test_raw_timelines_alone_into_a_new_store_keep_their_times(store: Path, tmp_path: Path) -> None:
    done("export", store, tmp_path / "rooms", "--prefix", "room:00")
    done("import", tmp_path / "new", tmp_path / "rooms")
    with timeline.open(store) as db, timeline.open(tmp_path / "new") as other:
        assert list(other.timelines()) == list(db.timelines("room:00"))
        assert other.engine.view.count == 10
        for name in other.timelines():
            assert list(other.timeline(name)) == list(db.timeline(name)), "times are compared too"
            assert other.timeline(name).extent() == db.timeline(name).extent()
        assert other.timeline("room:002").append({"goes": "on"}) == ENTRIES + 1


def test_to_and_from_a_live_daemon(store: Path, daemon: Daemon, tmp_path: Path) -> None:
    at = ("--connect", f":{daemon.port}")
    done("export", store, tmp_path / "all", "--prefix", "")
    said = json.loads(done("import", *at, tmp_path / "all", "--json"))
    assert said["entries"] > TIMELINES * (ENTRIES - 5)
    assert json.loads(done("import", *at, tmp_path / "all", "--json"))["entries"] == 0
    done("export", *at, tmp_path / "rooms", "--prefix", "room:00", "--binary")
    whole = run("export", *at, tmp_path / "back")
    assert b"conversations and users are not in it" in whole.stderr
    done("import", tmp_path / "new", tmp_path / "back")
    with timeline.open(store) as db, timeline.open(tmp_path / "new") as other:
        for name in db.timelines():
            here, there = db.timeline(name), other.timeline(name)
            assert content(here) == content(there)
            if len(here):  # over the wire an empty timeline cannot be made
                assert here.extent()[:3] == there.extent()[:3]
                assert here.metadata() == there.metadata()


def test_other_content_under_the_same_numbers_is_refused(store: Path, tmp_path: Path) -> None:
    done("export", store, tmp_path / "rooms", "--prefix", "room:005")
    with timeline.open(tmp_path / "other") as db:
        db.timeline("room:005").append({"n": "mine"})
    problem = refused("import", tmp_path / "other", tmp_path / "rooms")
    assert "'room:005' has another entry 1" in problem
    with timeline.open(tmp_path / "other") as db:
        assert len(db.timeline("room:005")) == 1


def test_a_file_made_by_hand_is_added(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "timeline/formats/FORMAT.md").read_text("utf-8")
    lines = page.partition("may be as short as\n\n")[2].partition("\n\n")[0]
    for number in (1, 2):  # without numbers nothing tells that it was there
        done("import", tmp_path / "data", "-", stdin=lines.encode() + b"\n")
        with timeline.open(tmp_path / "data") as db:
            entries = list(db.timeline("audit"))
            assert [entry.seq for entry in entries] == list(range(1, number + 1))
            assert list(entries[0].fields) == [(b"who", b"alice"), (b"what", b"login")]


def test_a_file_with_a_name_of_the_stores_own_is_refused(daemon: Daemon, tmp_path: Path) -> None:
    lines = b'{"export": 1}\n{"timeline": "@x"}\n{"fields": ["a", "b"]}\n'
    timeline.open(tmp_path / "data").close()
    for where in ([tmp_path / "data"], ["--connect", f":{daemon.port}"]):
        assert "'@x' cannot be imported" in refused("import", *where, "-", stdin=lines)


def test_large_entries_over_the_wire(daemon: Daemon, tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data") as db:
        for number in range(80):
            db.timeline("large").append({"n": str(number) + "x" * 1_000_000})
    done("export", tmp_path / "data", tmp_path / "all", "--prefix", "l")
    at = ("--connect", f":{daemon.port}")
    assert json.loads(done("import", *at, tmp_path / "all", "--json"))["entries"] == 80
    done("export", *at, tmp_path / "back")
    done("import", tmp_path / "new", tmp_path / "back")
    with timeline.open(tmp_path / "data") as db, timeline.open(tmp_path / "new") as other:
        assert content(db.timeline("large")) == content(other.timeline("large"))


class Refusing:
    """A daemon with one timeline, of which it does not tell."""

    def __init__(self, why: str) -> None:
        self.why = why

    def ask(self, *_: object) -> list[object]:
        return [b"timelines", [b"audit"], b"cursor", b""]

    def ask_all(self, _: object) -> list[object]:
        raise Refused(self.why)


def test_only_what_was_deleted_meanwhile_is_left_out() -> None:
    def found(why: str) -> list[ExportRecord]:
        return list(daemon_records(cast(RawWire, Refusing(why)), b""))

    assert found("NOTFOUND there is no timeline 'audit'") == [Header()]
    with pytest.raises(Refused, match="a block"):
        found("CORRUPT a block is damaged")


def test_what_a_daemon_refuses_half_way_is_not_skipped_later(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "data") as db:
        db.timeline("a").append_many([{"n": "x" * (5_000 if n == 5 else 1)} for n in range(10)])
    done("export", tmp_path / "data", tmp_path / "all", "--prefix", "a")
    small = Daemon(tmp_path / "live", "--entry-bytes", "1k")
    assert "TOOLARGE" in refused("import", "--connect", f":{small.port}", tmp_path / "all")
    small.stop()
    done("import", tmp_path / "live", tmp_path / "all")
    with timeline.open(tmp_path / "data") as db, timeline.open(tmp_path / "live") as other:
        assert content(db.timeline("a")) == content(other.timeline("a"))
