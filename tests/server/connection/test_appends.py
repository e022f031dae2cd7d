"""The promise: a pipeline of appends costs no more than its length, whatever is refused in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from timeline.errors import BusyError, TimelineError
from timeline_server.connection import appends
from timeline_server.connection.appends import Appends


class Refusing:
    """An engine, and its appender, that takes nothing, or nothing of the name `bad`, and counts
    what it is asked.
    """

    def __init__(self, problem: TimelineError) -> None:
        self.appender = self
        self.problem = problem
        self.asked = 0

    def append_run(self, names: Sequence[bytes], _: Sequence[Sequence[bytes]]) -> list[int]:
        self.asked += len(names)
        return []

    def append(self, name: bytes, _: Sequence[bytes]) -> int:
        self.asked += 1
        if name == b"bad":
            raise self.problem
        return 7


@pytest.mark.interpreted
@pytest.mark.parametrize("names", [[b"bad"], [b"good", b"bad"], [b"good"] * 9 + [b"bad"]])
def test_a_refused_pipeline_costs_no_more_than_its_length(
    names: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    tell: Callable[[list[bytes], int], bool] = appends.is_append

    def count(command: list[bytes], words: int) -> bool:
        nonlocal looks
        looks += 1
        return tell(command, words)

    monkeypatch.setattr(appends, "is_append", count)
    many = 6_000 // len(names)
    commands = [[b"XADD", name, b"*", b"f", b"v"] for name in names] * many
    engine = Refusing(BusyError("no room"))
    taker = Appends(engine)
    place = taken = 0
    while place < len(commands):
        done = len(taker.take(commands, place))
        taken += done
        place += done or 1  # what is refused is carried out by itself
    assert taken == sum(command[1] == b"good" for command in commands)
    assert engine.asked <= 3 * len(commands)
    assert looks <= 3 * len(commands)
