"""The promise: nothing is written into an index that was closed, though somebody still has it."""

from __future__ import annotations

import threading
from pathlib import Path

import timeline
from tests.engine.stores import state_of


def looks() -> int:
    """How often threads of tantivy have slept, which they do between two looks at an index."""
    slept = 0
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("thread-tantivy"):
            status = (task / "status").read_text()
            slept += int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
    return slept


def test_a_closed_index_stays_as_it_is(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        db.messaging.create("team", "ann")
        db.messaging.send("team", "ann", {"text": "hello"})
        assert db.search("hello", wait=20).hits
    for lock in tmp_path.rglob(".tantivy*.lock"):
        lock.unlink()
    before, looked = state_of(tmp_path), looks()
    pause = threading.Event()
    while looked and looks() < looked + 2:  # the first may have begun before
        pause.wait(0.01)
    assert state_of(tmp_path) == before
