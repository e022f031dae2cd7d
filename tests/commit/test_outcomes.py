"""The promise: callbacks of groups are called in order, each once, without the lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import pytest

from timeline.commit.group import Group
from timeline.commit.outcomes import Outcomes
from timeline.errors import ReadOnlyError, TimelineError
from timeline.formats.numbers import Lsn

SECONDS: Final = 10


class Told:
    """Groups that end, and what their callbacks hear."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.outcomes = Outcomes(self.lock)
        self.heard: list[int] = []

    def group(self, lsn: int) -> Group:
        group = Group(Lsn(lsn), 0)
        group.on_done(lambda group: self.heard.append(group.first))
        return group

    def finish(self, group: Group, error: TimelineError | None = None) -> None:
        with self.lock:
            self.outcomes.finish(group, error)


def test_groups_are_told_of_in_order_and_once() -> None:
    told = Told()
    for lsn in (1, 2, 3):
        told.finish(told.group(lsn))
    assert told.heard == [], "not by who holds the lock"
    told.outcomes.tell()
    told.outcomes.tell()
    assert told.heard == [1, 2, 3]


def test_a_group_carries_what_it_failed_with() -> None:
    told = Told()
    group = told.group(1)
    told.finish(group, ReadOnlyError("a failure"))
    assert group.done
    assert isinstance(group.error, ReadOnlyError)


def test_a_callback_that_is_added_while_others_are_called_comes_last() -> None:
    told = Told()
    group = told.group(1)
    group.on_done(lambda group: group.on_done(lambda _: told.heard.append(100)))
    group.on_done(lambda _: told.heard.append(2))
    told.finish(group)
    told.outcomes.tell()
    assert told.heard == [1, 2, 100]
    group.on_done(lambda _: told.heard.append(200))
    assert told.heard[-1] == 200, "all was told: it is called at once"


def test_the_newest_group_is_known_until_all_of_it_was_told() -> None:
    told = Told()
    group = told.group(1)
    assert told.outcomes.newest() is None
    told.finish(group)
    assert told.outcomes.newest() is group
    told.outcomes.tell()
    assert told.outcomes.newest() is None


def test_a_callback_that_raises_keeps_nobody_from_hearing() -> None:
    told = Told()

    def fail(_: Group) -> None:
        raise RuntimeError("a bug of a caller")

    group = Group(Lsn(1), 0)
    group.on_done(fail)
    group.on_done(lambda _: told.heard.append(1))
    told.finish(group)
    told.outcomes.tell()
    assert told.heard == [1]


def test_a_thread_that_is_to_end_lets_the_others_hear_first() -> None:
    told = Told()

    def interrupt(_: Group) -> None:
        raise KeyboardInterrupt

    group = Group(Lsn(1), 0)
    group.on_done(interrupt)
    told.finish(group)
    told.finish(told.group(2))
    with pytest.raises(KeyboardInterrupt):
        told.outcomes.tell()
    assert told.heard == [2]


def test_one_thread_at_a_time_tells_and_another_leaves_its_part_to_it() -> None:
    told = Told()
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: Group) -> None:
        begun.set()
        assert go_on.wait(SECONDS)

    first = Group(Lsn(1), 0)
    first.on_done(hold)
    told.finish(first)
    tell: Callable[[], None] = told.outcomes.tell
    thread = threading.Thread(target=tell)
    thread.start()
    assert begun.wait(SECONDS)
    told.finish(told.group(2))
    told.outcomes.tell()
    assert told.heard == []
    go_on.set()
    thread.join(SECONDS)
    assert told.heard == [2]
