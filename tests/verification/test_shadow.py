"""A shadow shows the files of a store, and takes what is written beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from timeline.verification.snapshot.shadow import Shadow


@pytest.fixture
def rocks(tmp_path: Path) -> Path:
    path = tmp_path / "rocks"
    path.mkdir()
    for name in ("1.sst", "2.log", "IDENTITY", "LOCK", "LOG", "LOG.old.1"):
        (path / name).write_text(name)
    return path


def test_files_are_shown_but_for_the_lock_and_logs_for_people(rocks: Path) -> None:
    shadow = Shadow(rocks)
    assert sorted(file.name for file in shadow.path.iterdir()) == ["1.sst", "2.log", "IDENTITY"]
    assert (shadow.path / "1.sst").read_text() == "1.sst"
    shadow.close()
    assert not shadow.path.exists()


def test_what_an_opening_writes_leaves_the_store_as_it_is(rocks: Path) -> None:
    shadow = Shadow(rocks)
    (shadow.path / "IDENTITY").write_text("another")
    (shadow.path / "LOCK").write_text("taken")
    shadow.close()
    assert (rocks / "IDENTITY").read_text() == "IDENTITY"
    assert (rocks / "LOCK").read_text() == "LOCK"


def test_errors_name_the_files_of_the_store(rocks: Path) -> None:
    shadow = Shadow(rocks)
    assert shadow.unveiled(f"{shadow.path}/1.sst is damaged ") == f"{rocks}/1.sst is damaged"
    shadow.close()


def test_a_log_that_its_owner_removed_is_noticed(rocks: Path) -> None:
    shadow = Shadow(rocks)
    assert shadow.dangling() == []
    (rocks / "2.log").unlink()
    assert shadow.dangling() == ["2.log"]
    shadow.close()
