"""The promise: a directory or file appears whole or not at all, and is its owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from crc32c import crc32c

from timeline.errors import ExistsError, LockedError, StorageError
from timeline.storage.files import (
    checksum,
    copy,
    link,
    new_directory,
    partial_of,
    seclude,
    write_durably,
)


def test_a_directory_has_its_name_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new"
    with new_directory(target) as made:
        (made / "file").write_bytes(b"x")
        assert not target.exists()
    assert (target / "file").read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def interrupt(target: Path, error: type[BaseException], *, resume: bool = False) -> None:
    """Begin to make a directory with a file, and fail."""
    with new_directory(target, resume=resume) as made:
        (made / "file").write_bytes(b"x")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    expected = StorageError if error is OSError else error
    with pytest.raises(expected):
        interrupt(tmp_path / "new", error)
    assert list(tmp_path.iterdir()) == []


def test_what_was_interrupted_is_gone_on_with_where_that_is_wanted(tmp_path: Path) -> None:
    target = tmp_path / "new"
    with pytest.raises(KeyboardInterrupt):
        interrupt(target, KeyboardInterrupt, resume=True)
    with new_directory(target, resume=True) as made:
        assert (made / "file").exists()
    assert (target / "file").exists()


def test_what_a_killed_process_left_is_not_taken_over(tmp_path: Path) -> None:
    target = tmp_path / "new"
    partial_of(target).mkdir()
    (partial_of(target) / "old").write_bytes(b"x")
    with new_directory(target):
        pass
    assert list(target.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_bytes(b"x")
    with pytest.raises(ExistsError), new_directory(tmp_path / "full"):
        pass
    with (
        new_directory(tmp_path / "new"),
        pytest.raises(LockedError),
        new_directory(tmp_path / "new"),
    ):
        pass


def test_a_copy_and_a_checksum_agree_and_say_how_far_they_are(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    write_durably(tmp_path / "one", content)
    moved: list[int] = []
    assert copy(tmp_path / "one", tmp_path / "two", moved.append) == crc32c(content)
    assert checksum(tmp_path / "two", moved.append) == crc32c(content)
    assert moved == [1 << 20] * 6
    with pytest.raises(FileExistsError):
        write_durably(tmp_path / "one", b"")
    assert link(tmp_path / "one", tmp_path / "three")
    assert not link(tmp_path / "one", tmp_path / "three")


def test_others_lose_their_rights_only_where_they_may_not_enter(tmp_path: Path) -> None:
    for name, mode in (("mine", 0o700), ("ours", 0o750)):
        directory = tmp_path / name
        directory.mkdir()
        write_durably(directory / "file", b"")
        (directory / "file").chmod(0o644)
        directory.chmod(mode)
        seclude(directory)
    modes = [stat.S_IMODE((tmp_path / name / "file").stat().st_mode) for name in ("mine", "ours")]
    assert modes == [0o600, 0o644]
