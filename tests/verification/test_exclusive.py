"""The files of a store are taken by one process at a time, without opening the store."""

from __future__ import annotations

from pathlib import Path

import pytest

import timeline
from timeline.errors import LockedError
from timeline.verification.snapshot.exclusive import held, rocks_held


def test_a_store_that_is_held_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "store"
    timeline.open(path, search=False).close()
    with held(path), rocks_held(path), pytest.raises(LockedError):
        timeline.open(path, search=False)
    timeline.open(path, search=False).close()


def test_a_store_that_is_open_is_not_held(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with (
        timeline.open(path, search=False),
        pytest.raises(LockedError, match="open in this process"),
        held(path),
    ):
        pytest.fail("it was held")
