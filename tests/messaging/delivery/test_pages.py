"""The promise: a page says what its entries say one at a time, however many it has.

A page is read timeline by timeline, and its entries put in order; one at a time there is nothing to
put together. Both ways must give the same, from every position.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from random import Random

import pytest

import timeline
from timeline.devices.updates import Update, Updates
from timeline.embedded.database import Database
from timeline.errors import TimelineError
from timeline.fanout import Position
from timeline.formats.conversations import EDIT
from timeline.formats.numbers import Lsn
from timeline.messaging.access.access import find_conversation, find_user, member_of
from timeline.messaging.access.visibility import Visibility

USERS = ["ann", "bob", "cat", "dan"]
NAMES = ["one", "two", "three", "large"]  # the last is read-diffused at times
BEGIN = Position(Lsn(0), 0)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    with timeline.open(
        tmp_path / "store", fsync="inline", search=False, diffusion_limit=4, segment_entries=16
    ) as opened:
        yield opened


def do_something(db: Database, chance: Random) -> None:
    im, name, user = db.messaging, chance.choice(NAMES), chance.choice(USERS)
    seq = chance.randint(1, 30)
    match chance.choice(["send"] * 9 + ["edit"] * 3 + ["join"] * 2 + ["other"] * 3):
        case "send":
            im.send(name, user, {"text": "x" * chance.randrange(90)}, silent=chance.random() < 0.1)
        case "edit":
            im.edit(name, seq, user, {"text": f"edited {chance.random()}"})
        case "join":
            if chance.random() < 0.4:
                im.leave(name, users=[user])
            else:
                im.join(name, users=[user, "far", "away"] if name == "large" else [user])
        case _:
            match chance.randrange(8):
                case 0:
                    im.recall(name, seq, user)
                case 1:
                    im.hide(user, name, seq, seq + 1, seq + 5)
                case 2:
                    im.clear(user, name, seq // 2)
                case 3:
                    im.read(user, name, seq)
                case 4:
                    im.set(user, name, {"@pin": "1", "colour": str(seq)})
                case 5:
                    im.set_meta(name, user, {"title": str(seq)})
                case 6:
                    db.engine.seal()
                case _ if chance.random() < 0.1:
                    im.delete(name)
                    im.create(name, members=USERS[:2])


def page(
    db: Database, user: str, after: Position, count: int, most: int
) -> tuple[Updates, Position, bool]:
    with db.engine.lock:
        inbox = find_user(db.engine.view, user.encode()).id
        return db.messaging.messages.reader.page(inbox, after, count, most)


def without_repeated_edits(updates: list[Update]) -> list[Update]:
    def edited(update: Update) -> tuple[bytes, int] | None:
        return (update.source, update.seq) if update.kind_number == EDIT else None

    later = [[edited(each) for each in updates[at + 1 :]] for at in range(len(updates))]
    return [
        each
        for each, after in zip(updates, later, strict=True)
        if edited(each) is None or edited(each) not in after
    ]


def check_visibility(db: Database, chance: Random) -> None:
    """That a stretch said to be shown as a whole is shown message by message."""
    whole = 0
    with db.engine.lock:
        view = db.engine.view
        for name, user in product(NAMES, USERS):
            conversation = find_conversation(view, name.encode())
            inbox = view.find(b"@user:" + user.encode())
            if conversation is None or inbox is None:
                continue
            member = member_of(view, inbox.id, conversation.id)
            if member is None:
                continue
            seen = Visibility(view, conversation, inbox.id, member)
            for _ in range(20):
                low = chance.randint(1, 60)
                high = low + chance.randint(0, 9)
                if seen.shows_all(low, high):
                    whole += 1
                    assert all(map(seen.shows, range(low, high + 1)))
    assert whole > 10


@pytest.mark.parametrize("seed", range(6))
def test_pages_of_any_size_say_what_single_entries_say(db: Database, seed: int) -> None:
    chance = Random(seed)
    for name in NAMES:
        db.messaging.create(name, members=USERS[: chance.randint(2, 4)], history="all")
    for _ in range(300):
        try:
            do_something(db, chance)
        except TimelineError:
            continue
    check_visibility(db, chance)
    for user in USERS:
        singles: list[Update] = []
        position, more = BEGIN, True
        while more:
            found, position, more = page(db, user, position, 1, 1 << 20)
            assert len(found) <= 1
            singles += found
        assert len(singles) > 10
        for _ in range(12):
            at = chance.randrange(len(singles))
            after = singles[at - 1].position if at else BEGIN
            count = chance.choice([2, 3, 7, 40, 70, 500])
            found, position, more = page(db, user, after, count, chance.choice([500, 1 << 20]))
            passed = [each for each in singles[at:] if each.position <= position]
            assert list(found) == without_repeated_edits(passed)
            assert len(passed) <= count
            assert more or len(passed) == len(singles) - at
            assert len(found) == len(list(found))
