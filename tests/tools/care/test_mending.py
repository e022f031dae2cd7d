"""The promise: the verbs that take care of a store work as a person runs them: on a store of real
size, on damaged copies of it, and on a live daemon. What they refuse is one line.
"""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

import timeline
from tests import forked
from tests.server.daemon import Daemon
from tests.verification.damage import change, flipped, put, state
from timeline.formats.rows import StoreRow, encode_store

COMMAND = str(Path(sys.executable).with_name("timeline"))


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    ran = forked.run("timeline", *arguments)
    return subprocess.CompletedProcess(
        ran.args, ran.returncode, ran.stdout.decode(), ran.stderr.decode()
    )


def done(*arguments: str | Path) -> str:
    ran = run(*arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refused(*arguments: str | Path, status: int = 1) -> str:
    """The one line that says why not."""
    ran = run(*arguments)
    assert ran.returncode == status
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    line = ran.stderr.strip().splitlines()[-1]
    assert line.startswith("Error: ")
    if status == 1:
        assert len(ran.stderr.strip().splitlines()) == 1
    return line


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred thousand entries in a few hundred timelines, and conversations."""
    path = tmp_path_factory.mktemp("large") / "data"
    with timeline.open(path) as db:
        for number in range(200):
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


# --- verify and repair ----------------------------------------------------------------------------


def test_a_sound_store_is_called_sound_and_is_left_as_it_is(store: Path) -> None:
    before = state(store)
    assert done("verify", store).startswith("sound: 200,970 entries, ")
    report = json.loads(done("verify", store, "--json", "--index", "whole"))
    assert (report["sound"], report["findings"]) == (True, [])
    assert report["documents"] == 200
    assert state(store) == before


def test_a_store_that_a_daemon_has_open_is_verified(daemon: Daemon, store: Path) -> None:
    assert done("verify", store).startswith("sound: ")


def test_damage_is_found_mended_and_what_is_lost_listed(store: Path, tmp_path: Path) -> None:
    key = change(store, "segments", b"", flipped, 100)
    put(store, "state", b"nlonely", b"\0\0\0\0\0\0\x99\x99")
    ran = run("verify", store)
    assert ran.returncode == 1
    lines = ran.stdout.splitlines()
    assert any("'lonely'" in line for line in lines)
    assert any(line.startswith("segments 'sensor:") and "damaged" in line for line in lines)
    assert "finding" in lines[-1]
    assert "timeline repair" in ran.stderr
    found = json.loads(run("verify", store, "--json").stdout)["findings"]
    assert {each["key"] for each in found} >= {key.hex()}

    out = done("repair", store, "--to", tmp_path / "new")
    assert any(line.startswith("lost: segments 'sensor:") for line in out.splitlines())
    assert done("verify", tmp_path / "new").startswith("sound: ")
    done("repair", store, "--in-place")
    assert done("verify", store).startswith("sound: ")
    assert (store / "rocks.damaged").is_dir()


def test_repair_says_where_or_nothing_happens(store: Path, tmp_path: Path) -> None:
    assert "--to NEWDIR, or --in-place" in refused("repair", store, status=2)
    assert "there already" in refused("repair", store, "--to", tmp_path)
    assert "is no Timeline store" in refused("repair", tmp_path, "--to", tmp_path / "new")


def test_a_live_store_is_not_repaired(daemon: Daemon, store: Path, tmp_path: Path) -> None:
    assert "in use by another process" in refused("repair", store, "--to", tmp_path / "new")
    assert "in use by another process" in refused("repair", store, "--in-place")
    assert not (tmp_path / "new").exists()


def test_ctrl_c_in_a_repair_leaves_nothing(store: Path, tmp_path: Path) -> None:
    before = state(store)
    process = subprocess.Popen(
        [COMMAND, "repair", str(store), "--to", str(tmp_path / "new")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while process.poll() is None and not (tmp_path / "new.repairing").exists():
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, problem = process.communicate(timeout=60)
    assert process.returncode == 130
    assert problem.strip().splitlines() == ["stopped"]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data"]
    assert state(store) == before


@pytest.mark.parametrize("verb", ["verify", "compact"])
def test_what_is_no_store_or_a_newer_one(verb: str, store: Path, tmp_path: Path) -> None:
    assert "is no Timeline store" in refused(verb, tmp_path)
    put(store, "default", b"store", encode_store(StoreRow(99, 7)))
    assert "has format 99" in refused(verb, store)


# --- compact, trim, retention ---------------------------------------------------------------------


def test_compacting_gains_what_it_said(store: Path) -> None:
    said = json.loads(done("compact", store, "--prefix", "small:", "--dry-run", "--json"))
    assert said["segments"] > said["after"] == 50
    did = json.loads(done("compact", store, "--prefix", "small:", "--json"))
    assert did["fewer"] == said["segments"] - said["after"]
    again = json.loads(done("compact", store, "--prefix", "small:", "--dry-run", "--json"))
    assert again["segments"] == again["after"] == 50
    assert "segments" in done("compact", store)
    assert done("verify", store).startswith("sound: ")


def test_trimming(store: Path) -> None:
    assert (
        done("trim", store, "sensor:1", "--before", "101", "--yes") == "100 entries were removed\n"
    )
    assert json.loads(done("trim", store, "sensor:1", "--length", "50", "--yes", "--json")) == {
        "timeline": "sensor:1",
        "removed": 850,
    }
    assert done("trim", store, "sensor:1", "--older-than", "30d") == "0 entries were removed\n"
    assert done("trim", store, "sensor:1", "--older-than", "0s", "-y").startswith("50 entries")
    assert "no timeline 'nothing'" in refused("trim", store, "nothing", "--before", "3")
    assert "`timeline retention`" in refused("trim", store, "@conv:c1", "--before", "3")
    assert "one of" in refused("trim", store, "sensor:1", status=2)
    assert "is no age" in refused("trim", store, "sensor:1", "--older-than", "soon", status=2)
    with timeline.open(store) as db:
        assert db.messaging.search("ann", "word", wait=30.0).total == 200
        assert db.messaging.messages.searchable.builds == 0, "the index went on from where it was"


def test_retention(store: Path) -> None:
    assert done("retention", store, "sensor:1") == "sensor:1: everything is kept\n"
    bounds = ("--max-age", "30d", "--max-bytes", "10gb")  # as timelined reads it
    assert done("retention", store, "sensor:1", *bounds) == "sensor:1: kept: for 30 d, 10.0 GiB\n"
    assert json.loads(
        done("retention", store, "sensor:1", "--max-length", "9", "--yes", "--json")
    ) == {
        "timeline": "sensor:1",
        "max_age_ms": 30 * 86_400_000,
        "max_length": 9,
        "max_bytes": 10 << 30,
        "beyond": 991,
    }
    assert done("retention", store, "sensor:1", "--none") == "sensor:1: everything is kept\n"
    assert done("retention", store, "@conv:c1", "--max-age", "1w").endswith("kept: for 7 d\n")
    assert "no timeline" in refused("retention", store, "nothing", "--max-age", "1d")
    assert "goes alone" in refused("retention", store, "x", "--none", "--max-age", "1d", status=2)


def test_the_same_on_a_daemon(daemon: Daemon) -> None:
    there = ("--connect", f"127.0.0.1:{daemon.port}")
    said = json.loads(done("compact", *there, "--prefix", "small:", "--dry-run", "--json"))
    did = json.loads(done("compact", *there, "--prefix", "small:", "--json"))
    assert did["fewer"] == said["segments"] - said["after"] > 0
    assert json.loads(done("compact", *there, "small:1", "--json"))["fewer"] == 0
    assert "segments" in done("compact", *there)
    assert (
        done("trim", *there, "sensor:1", "--before", "101", "--yes") == "100 entries were removed\n"
    )
    assert (
        done("trim", *there, "sensor:1", "--length", "50", "--yes") == "850 entries were removed\n"
    )
    assert done("trim", *there, "sensor:1", "--older-than", "1d") == "0 entries were removed\n"
    assert done("retention", *there, "sensor:1", "--max-length", "9", "--yes").endswith(
        "9 entries\n"
    )
    assert done("retention", *there, "sensor:1") == "sensor:1: kept: 9 entries\n"
    assert done("retention", *there, "sensor:1", "--none").endswith("everything is kept\n")
    for verb in ("compact", "trim", "retention"):
        extra = ("--before", "1") if verb == "trim" else ()
        assert "no timeline 'nothing'" in refused(verb, *there, "nothing", *extra)


@pytest.mark.parametrize("of", ["a directory", "a daemon"])
def test_nothing_goes_before_somebody_said_so(
    of: str, store: Path, request: pytest.FixtureRequest
) -> None:
    where = [str(store)]
    if of == "a daemon":
        daemon = request.getfixturevalue("daemon")
        where = ["--connect", f"127.0.0.1:{daemon.port}"]
    length = int(json.loads(done("inspect", *where, "sensor:2", "--json"))["length"])
    few = ("sensor:2", "--max-length", "10")
    for words in (("trim", *where, "sensor:2", "--length", "10"), ("retention", *where, *few)):
        said = f"{length - 10:,} entries of sensor:2 will be removed, for good: say --yes"
        assert said in refused(*words)
        assert said in refused(*words, "--json")
        assert done(*words, "--dry-run") == f"{length - 10:,} entries would be removed\n"
        assert json.loads(done(*words, "--dry-run", "--json"))["would_remove"] == length - 10
        if of == "a directory":
            answered, shown = on_terminal(words, "n")
            assert answered == 1
            assert f"{length - 10:,} entries of sensor:2 will be removed, for good. Go on?" in shown
            assert "nothing was changed" in shown
    assert done("retention", *where, "sensor:2") == "sensor:2: everything is kept\n"
    assert json.loads(done("inspect", *where, "sensor:2", "--json"))["length"] == length
    # Where nothing would go, nobody is asked.
    assert "0 entries" in done("trim", *where, "sensor:2", "--length", str(length))
    assert "kept" in done("retention", *where, "sensor:2", "--max-length", str(length))
    if of == "a directory":
        answered, shown = on_terminal(("trim", *where, "sensor:2", "--length", "10"), "y")
        assert (answered, f"{length - 10:,} entries were removed" in shown) == (0, True)


def on_terminal(words: Sequence[str], answer: str) -> tuple[int, str]:
    """The status and what it shows on a terminal, where the question is answered so."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    shown = b""
    with suppress(OSError):  # which is how it ends
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    return process.wait(), " ".join(shown.decode().split())


@pytest.mark.parametrize("verb", ["verify", "repair", "compact", "trim", "retention"])
def test_help_has_examples_that_parse(verb: str) -> None:
    text = done(verb, "--help")
    assert "Examples:" in text
    assert f"timeline {verb} data" in text


def test_a_store_in_use_is_named_with_what_to_do_instead(daemon: Daemon, store: Path) -> None:
    for verb, *rest in (
        ["compact"],
        ["trim", "x", "--before", "1"],
        ["retention", "x", "--none"],
        ["reindex"],
    ):
        problem = refused(verb, store, *rest)
        assert "in use by another process" in problem
        assert f"timeline {verb} --connect HOST:PORT" in problem
    assert "--connect" not in refused("repair", store, "--in-place"), "a daemon cannot do that"
