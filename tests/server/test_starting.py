"""The promise: what keeps the daemon from serving is one line that says what to do, in the form of
the log, and a stop that comes meanwhile is heard.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest
import redis

import timeline
from tests import forked
from tests.ballast import fill
from tests.engine.stores import rights
from tests.server.daemon import Start
from timeline.engine.engine import Engine
from timeline.engine.store.directory import STORE_KEY
from timeline.formats.rows import FORMAT, StoreRow, encode_store
from timeline.storage.rocks import META
from timeline_server import daemon as program
from timeline_server.config.config import Configuration
from timeline_server.logs.logger import Logger
from timeline_server.sockets.descriptors import provide

NOBODY = 65_534


def refused(*words: str, user: int | None = None) -> str:
    """The sentence with which the daemon did not start."""
    if user is None:
        found = forked.run("timelined", "--port", "0", *words)
    else:
        found = subprocess.run(
            [sys.executable, "-m", "timeline_server", "--port", "0", *words],
            capture_output=True,
            timeout=60,
            check=False,
            user=user,
        )
    assert found.returncode == 1, found
    assert found.stdout == b""
    *logged, line = found.stderr.decode().splitlines()
    assert all(each.startswith("timestamp=") for each in logged)
    assert line.startswith("timelined: ")
    return line.removeprefix("timelined: ")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    with timeline.open(path, search=False) as db:
        db.timeline("t").append({"f": "v"})
    return path


def test_what_it_makes_is_its_users_alone(start: Start, tmp_path: Path) -> None:
    daemon = start(environment={"TIMELINED_BACKUP_DIRECTORY": str(tmp_path / "backups")})
    (tmp_path / "backups").mkdir(mode=0o700)
    with daemon.client() as client:
        client.xadd("t", {"f": "v"})
        client.execute_command("BACKUP", "monday")
    assert rights(daemon.data) == rights(tmp_path / "backups") == {}
    assert "others may read" not in daemon.log.read_text()


def test_a_store_that_others_may_read_is_told(start: Start, store: Path) -> None:
    for each in (store, *store.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    start().wait_for_log("others may read the store: chmod -R go=")


def test_a_taken_metrics_port_is_noticed_before_the_store_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = refused("--data", str(tmp_path / "data"), "--metrics-port", str(port))
    assert line == (
        f"port {port} of 127.0.0.1 is taken: stop what listens there, or choose another with "
        "--metrics-port (0 picks a free one)"
    )
    assert not (tmp_path / "data").exists()


def test_metrics_may_be_asked_from_elsewhere_though_clients_may_not(
    start: Start, tmp_path: Path
) -> None:
    daemon = start("--metrics-port", "0", "--metrics-host", "0.0.0.0")
    with daemon.client() as client:
        port = client.info("server")["metrics_port"]
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"timeline_lsn" in answer.read()


def test_a_store_of_a_newer_version_is_named(store: Path) -> None:
    with timeline.open(store, search=False) as db:
        storage = db.engine.store.storage
        batch = storage.batch()
        batch.put(META, STORE_KEY, encode_store(StoreRow(FORMAT + 1, 7)))
        storage.write(batch)
    line = refused("--data", str(store))
    assert line.startswith(
        f"{store} has format {FORMAT + 1}, this version reads 1 and {FORMAT}: use"
    )


def test_a_store_in_use_is_named(start: Start, tmp_path: Path) -> None:
    start()
    line = refused("--data", str(tmp_path / "data"))
    assert line.startswith(f"{tmp_path / 'data'} is in use by another process (pid ")


def test_a_directory_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").touch()
    line = refused("--data", str(tmp_path))
    assert line == (f"{tmp_path} is not empty and is no Timeline store: choose another directory")
    assert [each.name for each in tmp_path.iterdir()] == ["letter.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as somebody else")
def test_who_may_not_read_the_store_is_told(store: Path) -> None:
    try:
        subprocess.run([sys.executable, "-c", "import timeline"], user=NOBODY, check=True)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("the interpreter lies where only root may run it")
    for parent in store.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(0o755)
    store.chmod(0o700)
    line = refused("--data", str(store), user=NOBODY)
    assert (
        line == f"no permission to write to {store}: run as its owner, or choose another directory"
    )
    store.chmod(0o777)
    line = refused("--data", str(store), user=NOBODY)
    assert line == (
        f"no permission to write to {store}/rocks: run as its owner, or choose another directory"
    )
    (store / "rocks").chmod(0o777)
    for name in ("LOCK", "MARK"):
        line = refused("--data", str(store), user=NOBODY)
        assert line.startswith(
            f"{store}/{name} cannot be opened: permission denied: run as its owner"
        )
        (store / name).chmod(0o666)
    for file in (store / "rocks").iterdir():
        file.chmod(0o600 if file.name == "CURRENT" else 0o666)
    line = refused("--data", str(store), user=NOBODY)
    assert line.startswith(f"no permission for a file in {store}/rocks: run as its owner")
    (store / "rocks" / "CURRENT").chmod(0o666)
    line = refused("--data", str(store), user=NOBODY)
    assert line == f"{store}/log: permission denied: run as its owner"


@pytest.mark.parametrize("fsync", ["auto", "inline"])
def test_a_full_disk_is_named(small_disk: Path, store: Path, fsync: str) -> None:
    for path in (small_disk / "new", small_disk / "old"):
        if path.name == "old":
            shutil.copytree(store, path)
        ballast = fill(small_disk, 0)
        line = refused("--data", str(path), "--fsync", fsync)
        assert line.startswith(f"the disk of {path}"), line
        assert "is full: free some space" in line
        ballast.unlink()


def test_a_disk_that_cannot_be_written_is_named(small_disk: Path) -> None:
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    line = refused("--data", str(small_disk / "data"))
    assert line == f"{small_disk / 'data'} cannot hold a store: Read-only file system"


@pytest.mark.parametrize("victim", ["CURRENT", "MANIFEST", "sst"])
def test_damage_is_named_with_the_way_out(store: Path, victim: str) -> None:
    for file in (store / "rocks").iterdir():
        if victim in file.name:
            if victim == "CURRENT":
                file.write_bytes(b"garbage\n")
            else:
                file.unlink()
    line = refused("--data", str(store))
    assert line.startswith(f"{store}/rocks: ")
    assert line.endswith("restore a backup, or keep what can be kept with `timeline repair`")


def test_a_log_in_json_ends_in_json(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = ["--data", str(tmp_path / "file"), "--port", "0", "--log-format", "json"]
    found = subprocess.run(
        [sys.executable, "-m", "timeline_server", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 1
    last = json.loads(found.stderr.splitlines()[-1])
    assert (last["event"], last["level"]) == ("failed", "error")
    assert last["problem"].endswith("is no directory: name one for the store")


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_the_index_has_to_say_is_logged_like_the_rest(start: Start, form: str) -> None:
    """A directory that cannot be had: the indexer says so through Python's own logging."""
    daemon = start("--log-format", form, "--search-directory", "/proc/nowhere")
    daemon.stop()
    lines = daemon.log.read_text().splitlines()
    (line, *_) = [each for each in lines if "timeline.search" in each]
    assert "the search index failed and is opened again" in line
    for each in lines:
        if form == "json":
            json.loads(each)
        else:
            assert each.startswith("timestamp=")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_the_store_is_opened_is_heard(
    store: Path,
    loggers: None,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opening: Callable[[Configuration, Logger], Engine] = program.open_engine

    def interrupted(configuration: Configuration, log: Logger) -> Engine:
        os.kill(os.getpid(), number)
        return opening(configuration, log)

    monkeypatch.setattr(program, "open_engine", interrupted)
    assert program.main(["--data", str(store), "--port", "0"]) == 0
    said = capsys.readouterr()
    assert said.out == "", "it never said that it was ready"
    assert "Traceback" not in said.err
    with timeline.open(store, search=False) as db:
        assert db.timeline("t").head == 1


def limited(tmp_path: Path, limits: str) -> tuple[int, int, str]:
    """Open files and clients that a daemon may have which was started under `limits`, and what it
    logged.
    """
    program = f"{limits}; exec {sys.executable} -m timeline_server --data data --port 0"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True
        )
    with process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("ready on "), (tmp_path / "log").read_text()
        allowed, _ = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        with redis.Redis(port=int(ready.rpartition(":")[2])) as client:
            clients = int(client.config_get("maxclients")["maxclients"])
        process.terminate()
    assert process.returncode == 0
    return allowed, clients, (tmp_path / "log").read_text()


@pytest.mark.skipif(
    0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 11_000, reason="the system allows fewer"
)
def test_as_many_files_are_allowed_as_clients_may_need(tmp_path: Path) -> None:
    allowed, clients, log = limited(tmp_path, "ulimit -S -n 256")
    assert clients == 10_000
    assert allowed > 10_500
    assert "open files" not in log


def test_with_fewer_files_there_are_fewer_clients(tmp_path: Path) -> None:
    allowed, clients, log = limited(tmp_path, "ulimit -n 256")
    assert (allowed, clients) == (256, 64)
    (line,) = [each for each in log.splitlines() if "open files" in each]
    assert "raise LimitNOFILE" in line
    assert "maxclients=64 limit=256" in line


@pytest.mark.parametrize(
    ("limit", "clients"),
    [(64, -80), (256, 64), (1_024, 640), (4_096, 3_456), (resource.RLIM_INFINITY, 10_000)],
)
def test_how_many_clients_some_files_are_enough_for(
    monkeypatch: pytest.MonkeyPatch, limit: int, clients: int
) -> None:
    """As docs/operations.md says."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert provide(10_000)[0] == clients


def test_too_few_files_for_a_client_are_told(tmp_path: Path) -> None:
    program = f"ulimit -n 128; exec {sys.executable} -m timeline_server --data data --port 0"
    ran = subprocess.run(
        ["bash", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("timelined: 128 open files are too few for a store and a client")
    assert not (tmp_path / "data").exists()
