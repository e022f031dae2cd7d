"""Idempotency keys: a key holds for a window, and is there exactly if its message is."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL, Clock, fail_next_write
from timeline.embedded.database import Database
from timeline.errors import ConflictError
from timeline.formats.conversations import KEY, between
from timeline.log.ledger import LogFullError
from timeline.log.log import CommitLog
from timeline.options import DAY


def keys_kept(db: Database) -> int:
    engine = db.engine
    with engine.lock:
        return sum(1 for _ in engine.state.scan(*between(KEY)))


def send(db: Database, text: str, key: str, sender: str = "ann") -> str:
    return db.messaging.send("team", sender, {"text": text}, key=key).status


def test_a_key_holds_for_a_window_and_is_swept_after_two(tmp_path: Path, clock: Clock) -> None:
    options = replace(SMALL, retention_check_ms=1, fsync="inline")
    with timeline.open(tmp_path / "store", options) as db:
        db.messaging.create("team", "ann")
        for number in range(600):
            assert send(db, "hi", f"old{number}") == "stored"
        clock.now += DAY - 1
        assert send(db, "hi", "old599") == "duplicate"
        clock.now += 1
        assert send(db, "hi", "young") == "stored"
        assert send(db, "hi", "old0") == "duplicate", "a window is the least"
        with pytest.raises(ConflictError):
            send(db, "ho", "old0")
        clock.now += DAY
        assert send(db, "hi", "younger") == "stored"
        assert send(db, "hi", "old0") == "stored", "after two windows a key is free again"
        kept = keys_kept(db)
        assert kept > 600
        while keys_kept(db) > 3:
            db.engine.work()
            db.flush()
        assert keys_kept(db) == 3
        assert send(db, "hi", "young") == "duplicate"


def test_so_many_bytes_of_keys_end_a_generation_early(tmp_path: Path, clock: Clock) -> None:
    options = replace(
        SMALL, retention_check_ms=1, fsync="inline", idempotency_bytes=20_000, unsealed_bytes=10**6
    )
    path = tmp_path / "store"
    db = timeline.open(path, options)
    db.messaging.create("team", "ann")
    most = 0
    for number in range(3_000):
        assert send(db, "hi", f"key{number}") == "stored"
        assert send(db, "hi", f"key{number}") == "duplicate"
        if number % 100 == 0:
            while db.engine.work():
                db.flush()
            db.flush()
            most = max(most, keys_kept(db))
        if number == 1_500:
            db.close()
            db = timeline.open(path, options)
    assert most < 3 * 20_000 / 96, "two generations, and a little that a restart forgot"
    db.close()


def test_two_at_once_with_one_key_store_once(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store") as db:
        db.messaging.create("team", "ann")
        for number in range(30):
            barrier = threading.Barrier(4)
            found: list[tuple[int, str]] = []

            def race(key: str, barrier: threading.Barrier, found: list[tuple[int, str]]) -> None:
                barrier.wait()
                sent = db.messaging.send("team", "ann", {"text": "hi"}, key=key)
                found.append((sent.seq, sent.status))

            threads = [
                threading.Thread(target=race, args=(str(number), barrier, found)) for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(status for _, status in found) == ["duplicate"] * 3 + ["stored"]
            assert {seq for seq, _ in found} == {number + 1}


def test_a_failed_commit_leaves_neither_message_nor_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.ack("bob", "phone", im.conversations("bob").position)

        def fail(*_: object, **__: object) -> None:
            raise LogFullError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(CommitLog, "append", fail)
            with pytest.raises(timeline.errors.ReadOnlyError):
                im.send("team", "ann", {"text": "hi"}, key="k")
        monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
        db.engine.work()
        assert not db.engine.poisoned
        assert im.sync("bob", "phone").entries == []
        assert im.history("team", "bob") == []
        assert im.info("team").head == 0
        sent = im.send("team", "ann", {"text": "hi"}, key="k")
        assert (sent.seq, sent.status) == (1, "stored")


def test_an_uncertain_commit_turns_out_to_have_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with timeline.open(tmp_path / "store", fsync="inline") as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        with monkeypatch.context() as patch:
            fail_next_write(patch)
            with pytest.raises(timeline.errors.UncertainError):
                im.send("team", "ann", {"text": "hi"}, key="k")
        monkeypatch.setattr("timeline.engine.writecontrol._HEAL_SECONDS", 0.0)
        while db.engine.poisoned:  # the next file of the log may have to be made
            db.engine.work()
        sent = im.send("team", "ann", {"text": "hi"}, key="k")
        assert (sent.seq, sent.status) == (1, "duplicate")
        assert im.info("team").head == 1
