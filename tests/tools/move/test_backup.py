"""The promise: `timeline backup` and `timeline restore` move a store whole, stopped or live, and
leave nothing half done.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

import timeline
from tests.disks import small_disk
from tests.server.daemon import Daemon
from tests.tools.installed import done, names, refused, run
from timeline.engine.store.directory import STORE_KEY
from timeline.formats.rows import FORMAT, StoreRow, encode_store
from timeline.options import MIB, Options
from timeline.storage.rocks import META, Storage


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "data"
    with timeline.open(path) as db:
        db.timeline("audit").append_many([{"n": str(n)} for n in range(50_000)])
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.send("team", "ann", {"text": "hi"})
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


@pytest.fixture
def daemon(store: Path, tmp_path: Path) -> Iterator[Daemon]:
    running = Daemon(store, "--backup-directory", str(tmp_path / "backups"))
    yield running
    running.stop()


def test_of_a_stopped_store(store: Path, tmp_path: Path) -> None:
    said = done("backup", store, tmp_path / "b")
    assert said.startswith(f"backed up to {tmp_path}/b: ")
    said = done("restore", tmp_path / "b", tmp_path / "r")
    assert "devices resync" in said
    assert done("ls", tmp_path / "r", "--kind", "all") == done("ls", store, "--kind", "all")


def test_of_a_live_daemon(daemon: Daemon, tmp_path: Path) -> None:
    at = f"{daemon.host}:{daemon.port}"
    said = json.loads(done("backup", "--connect", at, "monday", "--json"))
    assert said["path"] == str(tmp_path / "backups" / "monday")
    with daemon.client() as client:
        client.xadd("audit", {"n": "later"})
        assert client.execute_command("BACKUP", "in/a/folder")[b"lsn"] == said["lsn"] + 1
    restored = json.loads(done("restore", said["path"], tmp_path / "r", "--json"))
    assert restored["lsn"] == said["lsn"]
    (row,) = [line.split() for line in done("ls", tmp_path / "r").splitlines()[1:2]]
    assert row[:3] == ["1", "50,000", "50,000"]


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("..", "inside"),
        ("../other", "inside"),
        ("a/../../other", "inside"),
        ("/etc/timeline", "inside"),
        ("", "inside"),
        (".", "inside"),
        ("link/b", "inside"),
        ("there", "not empty"),
    ],
)
def test_a_client_names_no_path_elsewhere(
    daemon: Daemon, tmp_path: Path, path: str, problem: str
) -> None:
    (tmp_path / "backups" / "there" / "is").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "backups" / "link").symlink_to(tmp_path / "other")
    assert problem in refused("backup", "--connect", f":{daemon.port}", path)
    assert names(tmp_path / "other") == []
    assert names(tmp_path / "backups") == ["link", "there"]


def test_a_path_that_cannot_be_and_a_place_that_cannot(daemon: Daemon, tmp_path: Path) -> None:
    with daemon.client() as client:
        with pytest.raises(redis.ResponseError, match="without a zero byte"):
            client.execute_command("BACKUP", b"a\x00b")
        with pytest.raises(redis.ResponseError, match=r"EXECABORT|outside MULTI"):
            client.pipeline().execute_command("BACKUP", "b").execute()
        name = b"\xff" * 10
        assert client.execute_command("BACKUP", name)[b"path"].endswith(name)
        with pytest.raises(redis.ResponseError, match="File name too long"):
            client.execute_command("BACKUP", "n" * 300)
        assert client.ping()


def test_a_daemon_that_may_not_says_what_it_takes(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "data")
    try:
        assert "--backup-directory" in refused("backup", "--connect", f":{daemon.port}", "b")
    finally:
        assert daemon.stop() == 0


def test_what_cannot_be_backed_up_or_restored(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "no Timeline store" in refused("backup", tmp_path / "empty", tmp_path / "b")
    assert "does not exist" in refused("backup", tmp_path / "none", tmp_path / "b", status=2)
    assert "in use" in refused("backup", tmp_path / "data", tmp_path / "b")
    assert "is no backup" in refused("restore", tmp_path / "empty", tmp_path / "b")
    assert "is a store, no backup" in refused("restore", tmp_path / "data", tmp_path / "b")
    assert names(tmp_path) == ["data", "data.log", "empty"]


def test_a_store_of_a_later_version(store: Path, tmp_path: Path) -> None:
    storage = Storage(store / "rocks", Options())
    batch = storage.batch()
    batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT + 1, 1)))
    storage.write(batch)
    storage.close()
    assert f"format {FORMAT + 1}" in refused("backup", store, tmp_path / "b")
    assert f"format {FORMAT + 1}" in refused("export", store, tmp_path / "e")
    assert names(tmp_path) == ["data"]


def test_a_full_disk(store: Path, tmp_path: Path) -> None:
    with timeline.open(store) as db:
        db.timeline("large").append_many([{"n": n.to_bytes(4, "big") * 40} for n in range(50_000)])
    done("backup", store, tmp_path / "b")
    with small_disk(tmp_path / "disk", MIB) as disk:
        assert "the disk is full: free some space" in refused("backup", store, disk / "b")
        assert names(disk) == []
        assert "the disk is full: free some space" in refused("restore", tmp_path / "b", disk / "r")
        assert names(disk) == []
    done("backup", store, tmp_path / "b2")


def test_a_backup_is_verified_where_it_lies(store: Path, tmp_path: Path) -> None:
    done("backup", store, tmp_path / "monday")
    assert done("verify", tmp_path / "monday").startswith("sound: ")
    damaged = min((tmp_path / "monday" / "files").glob("*.sst"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    ran = run("verify", tmp_path / "monday")
    assert ran.returncode == 1
    assert f"{damaged} is not what it was" in ran.stdout.decode()
    assert "use another backup" in ran.stderr.decode()
    said = refused("repair", tmp_path / "monday", "--to", tmp_path / "new")
    assert "is a backup: make a store of it with `timeline restore`" in said
