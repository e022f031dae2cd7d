"""The promise: where there is no room, a verb refuses in one line. Nothing half made stays, and
what was there is unchanged.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
from pathlib import Path

import pytest

import timeline
from tests.tools.installed import PROGRAM, done, names
from timeline.options import KIB, MIB

ENTRIES = 3_000
LIMITS = [16 * KIB, 128 * KIB, 600 * KIB, MIB, 2 * MIB]  # of a file; the store is of 3 MiB


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "store"
    draw = random.Random(5)
    with timeline.open(path, search=False) as db:
        for room in range(3):
            entries = [{"body": draw.randbytes(1_000)} for _ in range(ENTRIES // 3)]
            db.timeline(f"room:{room}").append_many(entries)
    return path


def limited(limit: int, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run where no file may be larger than `limit`."""
    return subprocess.run(
        [PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )


def kept(path: Path) -> int:
    with timeline.open(path, read_only=True, search=False) as db:
        return sum(len(db.timeline(f"room:{room}")) for room in range(3))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("verb", ["backup", "repair", "export", "import", "restore"])
def test_what_has_no_room_is_refused_and_leaves_nothing(
    store: Path, tmp_path: Path, verb: str, limit: int
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    target.mkdir()
    if verb == "import":
        done("export", store, source)
    elif verb == "restore":
        done("backup", store, source)
    calls: dict[str, list[str | Path]] = {
        "backup": ["backup", store, target / "new"],
        "export": ["export", store, target / "new"],
        "import": ["import", target / "new", source],
        "repair": ["repair", store, "--to", target / "new"],
        "restore": ["restore", source, target / "new"],
    }
    ran = limited(limit, *calls[verb])
    if verb == "backup" and ran.returncode == 0:
        return  # files that are linked need no room
    assert ran.returncode == 1, ran.stdout
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert not names(target)
    assert kept(store) == ENTRIES


@pytest.mark.parametrize("limit", LIMITS)
def test_a_repair_in_place_that_has_no_room_leaves_the_store(
    store: Path, tmp_path: Path, limit: int
) -> None:
    done("restore", backed_up(store, tmp_path), tmp_path / "store")
    ran = limited(limit, "repair", tmp_path / "store", "--in-place")
    assert ran.returncode == 1, ran.stdout
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert names(tmp_path / "store") == ["LOCK", "MARK", "log", "rocks"]
    assert kept(tmp_path / "store") == ENTRIES


def backed_up(store: Path, place: Path) -> Path:
    done("backup", store, place / "backup")
    return place / "backup"


@pytest.mark.parametrize("free", [128 * KIB, MIB, 2 * MIB])
def test_a_repair_on_a_full_disk_is_refused(store: Path, small_disk: Path, free: int) -> None:
    done("restore", backed_up(store, small_disk), small_disk / "store")
    with (small_disk / "ballast").open("wb") as ballast:
        room = os.statvfs(small_disk)
        os.posix_fallocate(ballast.fileno(), 0, room.f_bavail * room.f_bsize - free)
    for words in (["--to", small_disk / "new"], ["--in-place"]):
        ran = subprocess.run(
            [PROGRAM, "repair", small_disk / "store", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 1, ran.stdout
        assert ran.stderr.endswith("/rocks is full: free some space\n")
        assert "No space left" not in ran.stderr, "which says the same once more"
        assert names(small_disk) == ["backup", "ballast", "store"]
        assert names(small_disk / "store") == ["LOCK", "MARK", "log", "rocks"]
    assert kept(small_disk / "store") == ENTRIES
