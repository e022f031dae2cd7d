"""The promise: a sound store has no findings, whatever was done to it before, whether it is closed,
was killed, or is open at the moment; and repair changes no answer of it.

The state machines of the engine, of conversations and of feeds go through their histories, and the
store is verified in passing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

import timeline
from tests.engine import test_model as engine_model
from tests.engine.stores import Clock, copy_as_killed
from tests.feeds import test_model as feeds_model
from tests.messaging import test_model as messaging_model
from tests.verification.damage import state
from timeline.verification import repair, verify
from timeline.verification.checks import references


def sound(path: Path) -> None:
    report = verify(path)
    assert report.findings == []


@pytest.mark.parametrize("others", [0, 1])
def test_a_mention_that_an_edit_took_back_leaves_nothing_behind(
    tmp_path: Path, others: int
) -> None:
    """The last one, or one of several."""
    path = tmp_path / "store"
    with timeline.open(path, search=False) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        for _ in range(others):
            im.send("team", "ann", {"text": "bob, all"}, mentions=["bob"], mention_all=True)
        sent = im.send("team", "ann", {"text": "all, bob"}, mentions=["bob"], mention_all=True)
        im.edit("team", sent.seq, "ann", {"text": "nobody"})
        (row,) = im.conversations("bob").conversations
        assert row.mentions == others
    sound(path)


def test_what_in_boxes_have_forgotten_by_age_is_not_missed(tmp_path: Path) -> None:
    """Nor is what lies in the log only, and is as old."""
    path = tmp_path / "store"
    with (
        Clock().installed() as clock,
        timeline.open(
            path, search=False, fsync="inline", inbox_age_ms=1_000, retention_check_ms=1
        ) as db,
    ):
        db.messaging.create("team", "ann", members=["bob"])
        db.feeds.publish("zoe", {"text": "before"})
        db.feeds.follow("bob", ["zoe"])
        for _ in range(3):
            db.messaging.send("team", "ann", {"text": "hello"})
            db.feeds.publish("zoe", {"text": "hello"})
            db.engine.seal()
            clock.now += 2_000
        db.engine.store.expiry._next_round = 0.0
        while db.engine.work():
            pass
        assert db.engine.view.inboxes.floor > 0
        sound(copy_as_killed(db, tmp_path / "killed"))
    sound(path)


def test_a_moved_checkpoint_may_be_younger_than_the_commit_that_follows(tmp_path: Path) -> None:
    """Which was begun before it, and took its time then."""
    path = tmp_path / "store"
    with Clock().installed() as clock, timeline.open(path, search=False, fsync="inline") as db:
        db.timeline("a").append({"n": "1"})
        clock.now += 2
        db.log.move("reader", 1)
        clock.now -= 1
        db.timeline("a").append({"n": "2"})
        sound(copy_as_killed(db, tmp_path / "killed"))
    sound(path)


def test_an_index_is_looked_at_without_a_file_beside_it(tmp_path: Path) -> None:
    """Tantivy takes a lock, a file, where it reads; a store may have come without its own."""
    path = tmp_path / "store"
    with timeline.open(path) as db:
        db.messaging.create("team", "ann")
        db.messaging.send("team", "ann", {"text": "hello"})
        db.search("hello", wait=20)
    for lock in path.glob("index/*/*.lock"):
        lock.unlink()
    before = state(path)
    assert verify(path).documents == 1
    assert state(path) == before


class _Verified(RuleBasedStateMachine):
    @rule()
    def verify_as_it_is(self) -> None:
        sound(self.db.engine.path)  # type: ignore[attr-defined]

    @rule()
    def verify_as_killed(self) -> None:
        self.generation: int
        copy = self.directory / f"killed {self.generation}"  # type: ignore[attr-defined]
        if not copy.exists():
            copy_as_killed(self.db, copy)  # type: ignore[attr-defined]
            sound(copy)

    @rule()
    def verify_as_closed(self) -> None:
        self.db.close()  # type: ignore[attr-defined]
        sound(self.db.engine.path)  # type: ignore[attr-defined]
        self.open()  # type: ignore[attr-defined]

    @rule()
    def repair_as_killed(self) -> None:
        """What is whole is kept whole: the store goes on as its own repaired copy."""
        self.generation += 1
        target = self.directory / str(self.generation)  # type: ignore[attr-defined]
        self.db.close()  # type: ignore[attr-defined]
        done = repair(self.db.engine.path, target)  # type: ignore[attr-defined]
        assert done.found == []
        assert done.left == []
        sound(target)
        self.open()  # type: ignore[attr-defined]


class Engine(_Verified, engine_model.Machine):
    def __init__(self) -> None:
        super().__init__()
        patch = self.stack.enter_context(pytest.MonkeyPatch.context())
        # In the engine's own model references are of any kind and lead to any number.
        patch.setattr(references, "misleading", lambda *_: "")


class Messaging(_Verified, messaging_model.Machine):
    repair_as_killed = None  # type: ignore[assignment]  # it tells devices to begin anew


class Feeds(_Verified, feeds_model.Machine):
    pass


def run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            phases=[Phase.generate],
            stateful_step_count=50,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(0)
def test_any_operations_on_timelines_leave_a_sound_store(model_examples: int) -> None:
    run(Engine, max(1, model_examples // 12))


@pytest.mark.timeout(0)
def test_any_history_of_conversations_leaves_a_sound_store(model_examples: int) -> None:
    run(Messaging, max(1, model_examples // 12))


@pytest.mark.timeout(0)
def test_any_history_of_feeds_leaves_a_sound_store(model_examples: int) -> None:
    run(Feeds, max(1, model_examples // 12))
