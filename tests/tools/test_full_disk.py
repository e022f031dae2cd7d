"""The promise: where there is no room, a verb refuses in one line. Nothing half made stays, and
what was there is unchanged.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

import timeline
from tests.tools.installed import Ran, done, names, run
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


@pytest.fixture(scope="module")
def exported(store: Path) -> Path:
    done("export", store, store.with_name("exported"))
    return store.with_name("exported")


@pytest.fixture(scope="module")
def backed_up(store: Path) -> Path:
    done("backup", store, store.with_name("backup"))
    return store.with_name("backup")


def check_refused(ran: Ran) -> str:
    """What it says in one line."""
    said = ran.stderr.decode()
    assert ran.returncode == 1, ran.stdout
    assert len(said.splitlines()) == 1, said
    return said


def kept(path: Path) -> int:
    with timeline.open(path, read_only=True, search=False) as db:
        return sum(len(db.timeline(f"room:{room}")) for room in range(3))


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("verb", ["backup", "repair", "export", "import", "restore"])
def test_what_has_no_room_is_refused_and_leaves_nothing(
    store: Path, exported: Path, backed_up: Path, tmp_path: Path, verb: str, limit: int
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    calls: dict[str, list[str | Path]] = {
        "backup": ["backup", store, target / "new"],
        "export": ["export", store, target / "new"],
        "import": ["import", target / "new", exported],
        "repair": ["repair", store, "--to", target / "new"],
        "restore": ["restore", backed_up, target / "new"],
    }
    ran = run(*calls[verb], largest=limit)
    if verb == "backup" and ran.returncode == 0:
        return  # files that are linked need no room
    check_refused(ran)
    assert not names(target)
    assert kept(store) == ENTRIES


@pytest.mark.parametrize("limit", LIMITS)
def test_a_repair_in_place_that_has_no_room_leaves_the_store(
    backed_up: Path, tmp_path: Path, limit: int
) -> None:
    done("restore", backed_up, tmp_path / "store")
    check_refused(run("repair", tmp_path / "store", "--in-place", largest=limit))
    assert names(tmp_path / "store") == ["LOCK", "MARK", "log", "rocks"]
    assert kept(tmp_path / "store") == ENTRIES


@pytest.mark.parametrize("free", [128 * KIB, MIB, 2 * MIB])
def test_a_repair_on_a_full_disk_is_refused(backed_up: Path, small_disk: Path, free: int) -> None:
    done("restore", backed_up, small_disk / "store")
    with (small_disk / "ballast").open("wb") as ballast:
        room = os.statvfs(small_disk)
        os.posix_fallocate(ballast.fileno(), 0, room.f_bavail * room.f_bsize - free)
    for words in (["--to", small_disk / "new"], ["--in-place"]):
        said = check_refused(run("repair", small_disk / "store", *words))
        assert said.endswith("/rocks is full: free some space\n")
        assert "No space left" not in said, "which says the same once more"
        assert names(small_disk) == ["ballast", "store"]
        assert names(small_disk / "store") == ["LOCK", "MARK", "log", "rocks"]
    assert kept(small_disk / "store") == ENTRIES
