"""The promise: a pipeline of appends costs no more than its length, whatever is refused in it."""

from __future__ import annotations

from pathlib import Path

import pytest

import timeline
from timeline.formats.keys import LAST
from timeline_server.connection.appends import Appends


class Word(bytes):
    """One that counts how often it is looked at: for its hash, in a set or a dictionary."""

    looks = 0

    def __hash__(self) -> int:
        type(self).looks += 1
        return super().__hash__()


@pytest.mark.parametrize("names", [[b"bad"], [b"good", b"bad"], [b"good"] * 9 + [b"bad"]])
def test_a_refused_pipeline_costs_no_more_than_its_length(
    tmp_path: Path, names: list[bytes]
) -> None:
    class Verb(Word):
        """Looked at to tell what the command is."""

        def __eq__(self, other: object) -> bool:
            type(self).looks += 1
            return super().__eq__(other)

        __hash__ = Word.__hash__

    class Name(Word):
        """Looked at when it is appended to."""

    many = 6_000 // len(names)
    commands: list[list[bytes]] = [
        [Verb(b"XADD"), Name(name), b"*", b"f", b"v"] for name in names
    ] * many
    place = taken = 0
    with timeline.open(tmp_path / "store", fsync="inline", search=False) as db:
        db.timeline("good").append({"f": "v"})
        db.timeline("bad").append({"f": "v"}, seq=LAST)  # and so no more
        taker = Appends(db.engine)
        with db.engine.lock:
            while place < len(commands):
                done = len(taker.take(commands, place))
                taken += done
                place += done or 1  # what is refused is carried out by itself
    assert taken == sum(command[1] == b"good" for command in commands)
    assert len(commands) <= Verb.looks <= 4 * len(commands)  # comparisons
    assert len(commands) <= Name.looks <= 6 * len(commands)
