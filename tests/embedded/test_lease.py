"""A store that is open says where, and one that nobody can reach any more is closed.

As with a file that was not closed: nothing is lost, a `ResourceWarning` says where it was opened,
and who opens it next need not wait for the end of the interpreter.
"""

from __future__ import annotations

import gc
import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import timeline
from tests.engine.others import opening
from timeline.embedded.database import Database
from timeline.errors import LockedError


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_second_opening_is_told_where_the_first_is(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", search=False):
        place = f"{__file__}:{line() - 1}"
        with pytest.raises(LockedError, match=f"is open in this process, since {place}: use what"):
            timeline.open(tmp_path / "store")


@pytest.mark.parametrize("search", [False, True])
def test_a_store_of_which_nothing_is_left_is_closed(tmp_path: Path, search: bool) -> None:
    path = tmp_path / "store"
    db = timeline.open(path, search=search)
    place = f"{__file__}:{line() - 1}"
    later = db.timeline("a").append_async({"n": "1"})
    with pytest.warns(ResourceWarning, match=f"the store {path}, opened at {place}, was not"):
        del db
    assert later.result(10) == 1
    with timeline.open(path, search=search) as again:
        assert again.timeline("a").head == 1
    assert opening(path) == "opened"


def test_one_in_a_circle_is_closed_for_who_opens_it_again(tmp_path: Path) -> None:
    class Application:
        def __init__(self) -> None:
            self.db = timeline.open(tmp_path, search=False)
            self.me = self

    gc.collect()
    gc.disable()
    try:
        Application()
        with pytest.warns(ResourceWarning), timeline.open(tmp_path, search=False) as db:
            db.timeline("a").append({"n": "1"})
    finally:
        gc.enable()


KEPT: dict[str, Callable[[Database], Any]] = {
    "timeline": lambda db: db.timeline("a"),
    "range": lambda db: (db.timeline("a"), db.timeline("a").range())[1],
    "transaction": lambda db: db.transaction(),
    "log": lambda db: db.log,
    "follow": lambda db: db.log.follow(timeout=0.0),
    "messaging": lambda db: db.messaging,
    "method": lambda db: db.messaging.sync,
    "names": lambda db: db.timelines(),
}


@pytest.mark.parametrize("kept", KEPT.values(), ids=KEPT)
def test_whatever_is_left_of_it_keeps_it_open(
    tmp_path: Path, kept: Callable[[Database], Any]
) -> None:
    db = timeline.open(tmp_path, search=False)
    engine = db.engine
    left = kept(db)
    del db
    gc.collect()
    with pytest.raises(LockedError, match="open in this process"):
        timeline.open(tmp_path)
    with pytest.warns(ResourceWarning):
        del left
    timeline.open(tmp_path, search=False).close()
    assert engine.closed


def test_it_goes_without_waiting_though_it_is_busy_on_the_thread_that_lets_go(
    tmp_path: Path,
) -> None:
    db = timeline.open(tmp_path, search=False)
    lock = db.engine.lock
    with pytest.warns(ResourceWarning), lock:
        del db
    opener = threading.Thread(target=lambda: timeline.open(tmp_path, search=False).close())
    opener.start()
    opener.join(10)
    assert not opener.is_alive()


def test_a_closed_store_warns_nobody(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    timeline.open(tmp_path, search=False).close()
    with timeline.open(tmp_path, read_only=True, search=False):
        pass
    gc.collect()
    assert [each for each in recwarn if each.category is ResourceWarning] == []


def test_one_that_cannot_be_used_is_not_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("timeline.embedded.database.Messaging", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            timeline.open(tmp_path, search=False)
    timeline.open(tmp_path, search=False).close()
