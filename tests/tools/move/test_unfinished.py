"""The promise: `timeline export` and `timeline import` go on after an interruption. When they are
interrupted, fail or meet damage, they never leave half of something that looks whole.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

import timeline
from tests.disks import small_disk
from tests.engine.stores import rights
from tests.server.daemon import Daemon
from tests.tools.installed import done, names, refused, same, start
from timeline.options import MIB


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
        assert "the disk is full: free some space" in refused("export", large, disk / "e")
        assert names(disk) == []
        assert refused("import", disk / "new", exported).endswith(
            "/rocks is full: free some space\n"
        )
        assert names(disk) == []
