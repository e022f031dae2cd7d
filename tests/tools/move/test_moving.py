"""The promise: `timeline export` and `timeline import` move timelines and whole stores exactly, go
on after an interruption, and never leave half of something that looks whole.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

import timeline
from tests.disks import small_disk
from tests.engine.stores import rights
from tests.server.daemon import Daemon
from tests.tools.installed import PROGRAM, done, names, refused, run, same, start
from timeline.formats.export import ExportRecord, Header
from timeline.lsm.upkeep.expiry import EXPIRY_KEY
from timeline.options import MIB
from timeline_tools.move.remote import daemon_records
from timeline_tools.sources.rawwire import RawWire
from timeline_tools.sources.wire import Refused

SERIES = 60
SMALL = 50  # entries in each
BYTES = bytes(range(256))


def fill(path: Path, entries: int) -> Path:
    """A store of timelines and conversations of all kinds, `entries` in each timeline."""
    with timeline.open(path, search=False) as db:
        for number in range(SERIES):
            handle = db.timeline(f"room:{number:03}")
            handle.append_many([{"from": "ann", "n": str(each)} for each in range(entries)])
            handle.set_metadata({"title": f"房间 {number}"})
        odd = db.timeline(b"odd:\xff\x00\n")
        odd.append_many([{BYTES[:100]: BYTES}, [("n", "1"), ("n", "2")], {"": ""}])
        odd.append({"n": "behind a gap"}, seq=10)
        odd.set_metadata({b"\x80": BYTES})
        odd.set_retention(length=1_000, age_ms=10**12)
        db.timeline("room:001").trim(before=21)
        db.timeline("room:001").delete(30, 40, entries)
        db.timeline("room:002").trim(length=0)
        db.timeline("room:003").replace(5, {"edited": "yes"})
        im = db.messaging
        for number in range(20):
            im.create(f"g{number}", "ann", members=["bob", "carol"])
            for each in range(20):
                im.send(f"g{number}", "ann", {"text": f"{each}"}, key=f"k{each}")
            im.recall(f"g{number}", 3, "ann")
            im.read("bob", f"g{number}", 10)
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of some hundred thousand entries; not to be written to."""
    return fill(tmp_path_factory.mktemp("large") / "data", 4_000)


@pytest.fixture(scope="module")
def exported(large: Path) -> Path:
    """What `export` makes of it, straight."""
    path = large.with_name("exported")
    done("export", large, path)
    return path


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("small") / "data", SMALL)


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


@pytest.mark.parametrize("binary", [[], ["--binary"]])
def test_a_whole_store_comes_back_byte_for_byte(
    large: Path, exported: Path, tmp_path: Path, binary: list[str]
) -> None:
    done("export", large, tmp_path / "all", *binary)
    said = json.loads(done("import", tmp_path / "new", tmp_path / "all", "--json"))
    assert said["records"] > 200_000
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
    assert said["timelines"] == SERIES + 1
    assert said["skipped"] == 0
    again = done("import", tmp_path / "other", tmp_path / "odd")
    assert f"imported 0 entries of {SERIES + 1} timelines; {said['entries']:,} were there" in again
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
        assert other.timeline("room:002").append({"goes": "on"}) == SMALL + 1


def test_to_and_from_a_live_daemon(store: Path, daemon: Daemon, tmp_path: Path) -> None:
    at = ("--connect", f":{daemon.port}")
    done("export", store, tmp_path / "all", "--prefix", "")
    said = json.loads(done("import", *at, tmp_path / "all", "--json"))
    assert said["entries"] > SERIES * (SMALL - 5)
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


# --- interruptions -------------------------------------------------------------------------------


def begun_is(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists() and path.stat().st_size > 0


def interrupt(process: subprocess.Popen[bytes], begun: Path) -> str:
    """Press Ctrl-C once `begun` holds something; what was said."""
    try:
        while process.poll() is None and not begun_is(begun):
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, said
    return " ".join(said.decode().split()) + "\n"  # it is broken into lines where a path is long


def test_an_export_is_its_makers_alone(exported: Path) -> None:
    assert rights(exported) == {}


def test_an_export_goes_on_after_ctrl_c(large: Path, exported: Path, tmp_path: Path) -> None:
    said = interrupt(start("export", large, tmp_path / "all"), tmp_path / "all.part")
    assert "is kept" in said
    assert said.endswith("stopped\n")
    assert names(tmp_path) == ["all.part"]
    assert json.loads(done("export", large, tmp_path / "all", "--json"))["resumed"] > 0
    assert (tmp_path / "all").read_bytes() == exported.read_bytes()


@pytest.mark.parametrize("binary", [[], ["--binary"]])
def test_an_export_goes_on_behind_the_last_whole_record(
    store: Path, tmp_path: Path, binary: list[str]
) -> None:
    done("export", store, tmp_path / "straight", *binary)
    whole = (tmp_path / "straight").read_bytes()
    for cut in (0, 5, 300, len(whole) // 2, len(whole) - 3):
        (tmp_path / "all.part").write_bytes(whole[:cut])
        done("export", store, tmp_path / "all", *binary, "--overwrite")
        assert (tmp_path / "all").read_bytes() == whole
    with timeline.open(store) as db:
        db.timeline("room:000").append({"n": "later"})
    (tmp_path / "all.part").write_bytes(whole[: len(whole) // 2])
    again = done("export", store, tmp_path / "all", *binary, "--overwrite", "--json")
    assert json.loads(again)["resumed"] == 0


def test_an_export_overwrites_a_file_only_when_told_to(
    store: Path, daemon: Daemon, tmp_path: Path
) -> None:
    file = tmp_path / "all"
    for where in ([store], ["--connect", f":{daemon.port}"]):
        file.write_text("the only copy")
        assert "is there already: name another file, or say --overwrite" in refused(
            "export", *where, file
        )
        assert file.read_text() == "the only copy"
        done("export", *where, file, "--overwrite")
        assert file.read_bytes().startswith(b'{"export"')
    assert names(tmp_path) == ["all", "data", "live", "live.log"]


@pytest.mark.parametrize("binary", [[], ["--binary"]])
def test_an_export_leaves_a_file_alone_that_lies_where_it_keeps_its_own(
    store: Path, tmp_path: Path, binary: list[str]
) -> None:
    part = tmp_path / "all.part"
    for content in (b"the only copy", b'{"exported": 3}\n', b"TIMELINE\n", b"\0" * 20):
        part.write_bytes(content)
        problem = refused("export", store, tmp_path / "all", *binary, "--overwrite")
        assert f"'{part}' is no export that was interrupted" in problem
        assert part.read_bytes() == content
    part.unlink()
    os.mkfifo(part)
    assert "is no export that" in refused("export", store, tmp_path / "all", *binary)
    assert part.is_fifo()
    assert names(tmp_path) == ["all.part", "data"]


def test_a_device_is_never_replaced_by_an_export(store: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for more in ([], ["--overwrite"]):
        assert "is no file: name one" in refused("export", store, tmp_path / "pipe", *more)
    assert (tmp_path / "pipe").is_fifo()


def test_an_import_goes_on_after_ctrl_c(exported: Path, tmp_path: Path) -> None:
    said = interrupt(
        start("import", tmp_path / "new", exported), tmp_path / ".new.partial" / "rocks"
    )
    assert "is kept" in said
    assert names(tmp_path) == [".new.partial"]
    done("import", tmp_path / "new", exported)
    assert names(tmp_path) == ["new"]
    done("export", tmp_path / "new", tmp_path / "again")
    assert same(exported, tmp_path / "again")


# --- damage and mistakes -------------------------------------------------------------------------


@pytest.mark.parametrize("binary", [[], ["--binary"]])
def test_a_damaged_export_makes_no_store(store: Path, tmp_path: Path, binary: list[str]) -> None:
    done("export", store, tmp_path / "all", *binary)
    whole = (tmp_path / "all").read_bytes()
    middle = len(whole) // 2
    end = whole.rindex(b'{"end"')
    damages = {
        "cut off": whole[:middle],
        "": whole[:end],
        "damaged|no record|out of order": whole[:middle] + whole[middle + 1 :],
        "damaged|no record|out of": whole[:middle] + b"\xff" + whole[middle + 1 :],
        "no header|cut off": whole[whole.index(b"\n") + 1 :] if not binary else b"",
    }
    for problems, content in damages.items():
        (tmp_path / "bad").write_bytes(content)
        said = refused("import", tmp_path / "new", tmp_path / "bad")
        assert any(problem in said for problem in problems.split("|")), said
        assert names(tmp_path) == ["all", "bad", "data"]


def test_what_is_said_of_mistakes(store: Path, daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "later").write_text('{"export": 2, "exact": true, "whole": true}\n')
    done("export", store, tmp_path / "all")
    new = tmp_path / "new"
    text = tmp_path / "text"
    assert f"{text} is no export: no record of an export: 'hello'" in refused("import", new, text)
    assert "version 2" in refused("import", new, tmp_path / "later")
    assert "No such file" in refused("import", new, tmp_path / "none")
    assert "new directory" in refused("import", store, tmp_path / "all")
    assert "new directory" in refused("import", "--connect", f":{daemon.port}", tmp_path / "all")
    assert "No such file" in refused("export", store, tmp_path / "none" / "e")
    assert "begins with 'x'" in refused("export", store, tmp_path / "e", "--prefix", "x")
    at = ("--connect", f":{daemon.port}")
    assert "begins with 'x'" in refused("export", *at, tmp_path / "e", "--prefix", "x")
    assert "whole store" in refused("export", *at, "e", "--prefix", "@conv:", status=2)
    assert "name one FILE" in refused("import", new, "a", "b", status=2)
    for name in ("backup", "bench", "export", "import", "restore"):
        assert "Examples:" in done(name, "--help")
    assert names(tmp_path) == ["all", "data", "later", "live", "live.log", "text"]


def test_a_full_disk(large: Path, exported: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", MIB) as disk:
        assert "No space left" in refused("export", large, disk / "e")
        assert names(disk) == []
        assert refused("import", disk / "new", exported).endswith(
            "/rocks is full: free some space\n"
        )
        assert names(disk) == []
