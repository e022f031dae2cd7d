"""Groups that are told late: others were applied, and sealed, meanwhile.

The engine's thread goes on while the loop is busy. The promise stays: a stream is given exactly
what a page from where it began holds, in order, whenever the loop comes to a group.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import hiredis
import pytest

import timeline
from tests.messaging.delivery.test_watching import LIMIT, TOWN, Step, Watched
from tests.messaging.test_expiry import Line, Turns
from timeline.commit.group import Group
from timeline.embedded.database import Database
from timeline.errors import TimelineError
from timeline.fanout import Position
from timeline.formats.numbers import NO_LSN
from timeline.messaging.delivery import watching
from timeline_server.subscriptions.push import Push
from timeline_server.subscriptions.subscriber import STREAM

PLACES = [b"one", b"two", b"three"]
USERS = TOWN[:8]


class Late(Watched):
    """A store with a stream for every user, whose groups are told of when `tell` is called."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.turns = Turns()
        loop: Any = self.turns
        self.push = Push(loop, self.engine, self.messages, db.feeds.feeds)
        self.untold: deque[Group] = deque()
        self.lines: dict[bytes, Line] = {}
        self.begun = Position(NO_LSN, 0)

    def subscribe(self, users: list[bytes]) -> None:
        self.watch(users)
        self.begun = self.messages.reader.now
        for user, inbox in self.inboxes.items():
            connection: Any = Line()
            self.lines[user] = connection
            with self.engine.lock:
                self.push.add(connection, user, b"phone", inbox, STREAM, self.begun)
        self.turns.run()

    def apply(self, *steps: Step) -> None:
        """Commit each step on its own, all in one group, and tell nobody of it yet."""
        with self.engine.lock:
            for step in steps:
                draft = self.engine.begin()
                try:
                    step(draft)
                except TimelineError:
                    continue
                draft.commit()
            group = self.engine.group
        if group.commits:
            self.engine.flush()
            self.untold.append(group)

    def tell(self) -> None:
        """Tell of the first group that nobody was told of."""
        with self.engine.lock:
            self.push.tell(self.messages.watch.tell(self.untold.popleft()))

    def tell_all(self) -> None:
        while self.untold:
            self.tell()
            self.turns.run()
        self.turns.run()

    def given(self, user: bytes) -> list[tuple[str, bytes, int]]:
        reader = hiredis.Reader()
        for frame in self.lines[user].frames:
            reader.feed(frame)
        found = []
        while (frame := reader.gets()) is not False:
            _, _, _, kind, conversation, entry_id, _ = frame
            found.append((kind.decode(), conversation, int(entry_id.split(b"-")[0])))
        return found

    def check_streams(self) -> None:
        """That each was given what there is, in order, and nothing twice."""
        for user in self.inboxes:
            assert self.given(user) == [each[:3] for each in self.page(user, self.begun)], user


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Late]:
    path = tmp_path / "store"
    with timeline.open(path, fsync="inline", diffusion_limit=LIMIT, audience_cache=2) as db:
        yield Late(db)


def test_who_left_before_a_message_was_told_of_is_given_it(late: Late) -> None:
    """What sealing has forgotten of their membership is what would have told."""
    for place in (b"town", b"village"):
        late.db.messaging.create(place, "mayor", members=USERS[:2])
    late.subscribe([b"mayor", *USERS[:2]])
    late.apply(late.send(b"town", b"mayor"))
    late.apply(late.send(b"village", b"mayor"))
    late.apply(late.leave(b"town", USERS[0]))
    late.engine.seal()
    late.apply(late.send(b"village", b"mayor"))  # the members of the town are forgotten for these
    late.tell_all()
    late.check_streams()


def test_who_comes_and_goes_and_sends_in_a_large_group(late: Late) -> None:
    """What they send brings their membership to mind, as it is by then."""
    late.db.messaging.create("town", "mayor", members=USERS)
    late.db.messaging.create("village", "mayor", members=USERS[:1])
    late.subscribe([b"mayor", *USERS])
    late.apply(late.send(b"town", USERS[0]))
    late.apply(late.send(b"village", b"mayor"))
    late.apply(late.leave(b"town", USERS[0]))
    late.tell_all()
    late.check_streams()


def test_a_switch_of_diffusion_that_was_not_told_of(late: Late) -> None:
    late.db.messaging.create("town", "mayor", members=USERS[:4])
    late.db.messaging.create("village", "mayor", members=USERS[:4])
    late.subscribe([b"mayor", *USERS])
    late.apply(late.send(b"town", b"mayor"))
    late.apply(late.send(b"village", b"mayor"))
    late.apply(late.join(b"town", *USERS))
    late.engine.seal()
    late.tell_all()
    late.check_streams()


@pytest.mark.parametrize("seed", range(12))
def test_streams_are_given_what_there_is_whenever_they_are_told(
    late: Late, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random = Random(seed)
    if seed % 3 == 2:
        monkeypatch.setattr(watching, "_MOST_UNNOTED", 3)
    for place in PLACES:
        late.db.messaging.create(place, "mayor", members=USERS[:4])
    late.group(*(late.join(place, *USERS) for place in PLACES))
    late.group(*(late.leave(place, *USERS[4:]) for place in PLACES))
    late.subscribe([b"mayor", *USERS])
    for _ in range(300):
        chance = random.random()
        if chance < 0.45:
            late.apply(*(_step(late, random) for _ in range(random.randint(1, 3))))
        elif chance < 0.55:
            late.engine.seal()
        elif chance < 0.75 and late.untold:
            late.tell()
        elif chance < 0.85:
            late.tell_all()
        else:
            late.turns.run()
    late.tell_all()
    late.check_streams()


def _step(late: Late, random: Random) -> Step:
    place, user = random.choice(PLACES), random.choice(USERS)
    several = random.sample(USERS, random.choice((1, 1, 1, 4)))
    chance = random.random()
    if chance < 0.15:
        return late.join(place, *several)
    if chance < 0.3:
        return late.leave(place, *several)
    return late.send(place, user)
