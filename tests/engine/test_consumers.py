"""The promise of consumers of the log: a move that was answered survives a kill. A new consumer
survives a power cut too: the log would be let go without it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import timeline
from tests.engine.stores import SMALL, copy_as_killed

OPTIONS = replace(SMALL, fsync="inline", unsealed_bytes=2**20, log_file_bytes=4_096)
TOO_MUCH = [{"v": "x" * 1_000}] * 5  # for what a file of the log has left


def test_moves_of_several_openings_survive_kills_and_a_log_that_goes_on_in_another_file(
    tmp_path: Path,
) -> None:
    with timeline.open(tmp_path / "0", OPTIONS) as db:
        db.timeline("a").append({"v": "1"})
        db.engine.seal()
        db.engine.store.flush()
        db.log.move("one", 1)
        copy_as_killed(db, tmp_path / "1")
    with timeline.open(tmp_path / "1", OPTIONS) as db:
        db.log.move("other", 0)
        db.timeline("a").append_many(TOO_MUCH)
        copy_as_killed(db, tmp_path / "2")
    with timeline.open(tmp_path / "2", OPTIONS) as db:
        assert db.log.checkpoints() == {b"one": 1, b"other": 0}
