"""The promise: `timeline repair` makes a sound store from a damaged one, and says what is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.server.daemon import Daemon
from tests.tools.installed import PROGRAM, done, refused, run
from tests.verification.damage import change, flipped, put, state


def test_damage_is_found_mended_and_what_is_lost_listed(store: Path, tmp_path: Path) -> None:
    key = change(store, "segments", b"", flipped, 100)
    put(store, "state", b"nlonely", b"\0\0\0\0\0\0\x99\x99")
    ran = run("verify", store)
    assert ran.returncode == 1
    lines = ran.stdout.decode().splitlines()
    assert any("'lonely'" in line for line in lines)
    assert any(line.startswith("segments 'sensor:") and "damaged" in line for line in lines)
    assert "finding" in lines[-1]
    assert "timeline repair" in ran.stderr.decode()
    found = json.loads(run("verify", store, "--json").stdout)["findings"]
    assert {each["key"] for each in found} >= {key.hex()}

    out = done("repair", store, "--to", tmp_path / "new")
    assert any(line.startswith("lost: segments 'sensor:") for line in out.splitlines())
    assert done("verify", tmp_path / "new").startswith("sound: ")
    done("repair", store, "--in-place")
    assert done("verify", store).startswith("sound: ")
    assert (store / "rocks.damaged").is_dir()
    assert (store / "log.damaged").is_dir()


def test_repair_says_where_or_nothing_happens(store: Path, tmp_path: Path) -> None:
    assert "--to NEWDIR, or --in-place" in refused("repair", store, status=2)
    assert "exists already: name a new directory" in refused("repair", store, "--to", tmp_path)
    assert "is no Timeline store" in refused("repair", tmp_path, "--to", tmp_path / "new")


def test_a_live_store_is_not_repaired(daemon: Daemon, store: Path, tmp_path: Path) -> None:
    assert "in use by another process" in refused("repair", store, "--to", tmp_path / "new")
    assert "in use by another process" in refused("repair", store, "--in-place")
    assert not (tmp_path / "new").exists()


def test_ctrl_c_in_a_repair_leaves_nothing(store: Path, tmp_path: Path) -> None:
    before = state(store)
    process = subprocess.Popen(
        [PROGRAM, "repair", str(store), "--to", str(tmp_path / "new")],
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
