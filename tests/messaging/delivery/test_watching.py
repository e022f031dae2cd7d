"""Watching: what each group of commits means to whoever waits, held against what a page shows.

The promise: who is not told to look for himself is told of exactly the messages that his next page
holds, whatever else happened in the same group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

import timeline
from timeline.commit.draft import Draft
from timeline.embedded.database import Database
from timeline.errors import TimelineError
from timeline.fanout import Position
from timeline.formats.numbers import Lsn
from timeline.messaging.access.access import find_conversation
from timeline.messaging.access.names import conversation_of
from timeline.messaging.conversations import bulk, lifecycle, membership, sending, userstate
from timeline.messaging.delivery.watching import News

Step = Callable[[Draft], object]

LIMIT = 5
TOWN = [b"citizen%d" % number for number in range(9)]


class Watched:
    """A store in which every user is waited for; `group` commits and says what that meant."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.engine, self.messages = db.engine, db.messaging.messages
        self.options = db.engine.options
        self.inboxes: dict[bytes, int] = {}

    def watch(self, users: list[bytes]) -> None:
        with self.engine.lock:
            for user in users:
                found = self.engine.view.find(b"@user:" + user)
                if found is not None and user not in self.inboxes:
                    self.inboxes[user] = found.id
                    self.messages.watch.add(found.id)

    def group(self, *steps: Step, tell: bool = True) -> News:
        """Commit each step on its own, all in one group; refused ones leave no trace."""
        told: list[News] = []
        with self.engine.lock:
            done = False
            for step in steps:
                draft = self.engine.begin()
                try:
                    step(draft)
                except TimelineError:
                    continue
                group = draft.commit().group
                if tell and not done and self.engine.group.commits:
                    group.on_done(lambda each: told.append(self.messages.watch.tell(each)))
                    done = True
        self.engine.flush()
        return told[0] if told else News(set(), [])

    def join(self, conversation: bytes, *users: bytes) -> Step:
        return lambda draft: bulk.join(conversation, b"-", users, self.options).step(draft)

    def leave(self, conversation: bytes, *users: bytes) -> Step:
        return lambda draft: bulk.leave(conversation, b"-", users, self.options).step(draft)

    def names(self, inboxes: set[int]) -> set[bytes]:
        return {user for user, inbox in self.inboxes.items() if inbox in inboxes}

    def page(self, user: bytes, after: Position) -> list[tuple[str, bytes, int, Position]]:
        with self.engine.lock:
            found, _, more = self.messages.reader.page(self.inboxes[user], after, 1_000)
        assert not more
        return [(told.kind, told.source, told.seq, told.position) for told in found]

    def check(self, news: News, before: Position) -> None:
        """That whoever need not look is told of exactly what there is."""
        for user, inbox in self.inboxes.items():
            if inbox in news.look:
                continue
            told = [
                (
                    "message",
                    conversation_of(each.conversation),
                    each.seq,
                    Position(Lsn(each.lsn), 0),
                )
                for each in news.fresh
                if inbox in each.inboxes
            ]
            page = self.page(user, before)
            assert [each[:3] for each in page] == [each[:3] for each in told]
            assert all(mine[3].lsn <= his[3].lsn for his, mine in zip(told, page, strict=True))

    def send(self, conversation: bytes, sender: bytes, **options: object) -> Step:
        return lambda draft: sending.send(
            draft,
            conversation,
            sender,
            [b"text", b"x"],
            keys=self.messages.keys,
            options=self.options,
            **options,  # type: ignore[arg-type]
        )


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with timeline.open(tmp_path / "store", fsync="inline", diffusion_limit=LIMIT) as db:
        yield Watched(db)


def test_a_join_or_a_leave_in_a_large_group_concerns_those_it_reaches(watched: Watched) -> None:
    im = watched.db.messaging
    im.create("town", "mayor", members=TOWN)
    im.create("village", "mayor", members=["newcomer"])
    watched.watch([b"mayor", b"newcomer", *TOWN])
    news = watched.group(watched.join(b"town", b"newcomer"), watched.send(b"town", b"mayor"))
    assert watched.names(news.look) == {b"mayor", b"newcomer"}
    (fresh,) = news.fresh
    assert watched.names(set(fresh.inboxes)) >= set(TOWN)
    news = watched.group(watched.leave(b"town", b"newcomer"), watched.send(b"town", b"mayor"))
    assert watched.names(news.look) == {b"mayor", b"newcomer"}
    (fresh,) = news.fresh
    assert watched.names(set(fresh.inboxes)) == {b"mayor", *TOWN}


def test_who_is_told_of_messages_is_one_object_until_somebody_comes_or_goes(
    watched: Watched,
) -> None:
    """So that messages to the same many are known to be that without a look at each of them."""
    watched.db.messaging.create("town", "mayor", members=TOWN)
    watched.watch([b"mayor", *TOWN])
    one, two = (watched.group(watched.send(b"town", b"mayor")).fresh[0] for _ in range(2))
    assert one.inboxes is two.inboxes


def test_a_switch_of_diffusion_unsettles_everybody(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leave in parts: the group shrinks below the limit before the event that tells of it."""
    monkeypatch.setattr(bulk, "_COMMIT_MEMBERS", 3)
    watched.db.messaging.create("town", "mayor", members=TOWN)
    watched.watch([b"mayor", *TOWN])
    before = watched.messages.reader.now
    leave = bulk.leave(b"town", b"-", TOWN[:7], watched.options)
    news = watched.group(watched.send(b"town", b"mayor"), leave.step, leave.step)
    watched.check(news, before)


def test_what_was_untold_is_not_held_against_what_comes(watched: Watched) -> None:
    """After healing: the group has become large again, and nobody said so."""
    watched.db.messaging.create("town", "mayor", members=TOWN)
    watched.watch([b"mayor", *TOWN])
    watched.group(watched.leave(b"town", *TOWN[3:]))
    watched.group(watched.join(b"town", *TOWN[3:]), tell=False)
    assert len(watched.group(watched.send(b"town", b"mayor")).look) == 1 + len(TOWN)
    before = watched.messages.reader.now
    news = watched.group(watched.send(b"town", b"mayor"))
    assert news.fresh
    watched.check(news, before)


def test_who_is_dismissed_behind_a_message_is_not_left_out_of_it(watched: Watched) -> None:
    watched.db.messaging.create("town", "mayor", members=TOWN)
    watched.watch([b"mayor", *TOWN])
    before = watched.messages.reader.now

    def dismiss(draft: Draft) -> None:
        town = find_conversation(draft, b"town")
        assert town is not None
        membership.dismiss(draft, town, TOWN[:1], watched.options)

    watched.check(watched.group(watched.send(b"town", b"mayor"), dismiss), before)


@pytest.mark.parametrize("seed", range(6))
def test_whoever_need_not_look_is_told_of_exactly_what_there_is(
    watched: Watched, seed: int
) -> None:
    random = Random(seed)
    places = [b"one", b"two", b"three"]
    users = TOWN[:8]
    for place in places:
        watched.db.messaging.create(place, users[0], members=users[1:4])
    watched.group(*(watched.join(place, *users) for place in places))
    watched.group(*(watched.leave(place, *users[4:]) for place in places))
    watched.watch(users)
    assert len(watched.inboxes) == len(users)
    looked = 0
    for _ in range(150):
        before = watched.messages.reader.now
        news = watched.group(
            *(_step(watched, random, places, users) for _ in range(random.randint(1, 4)))
        )
        watched.check(news, before)
        looked += len(news.look)
    assert looked < 150 * len(users)


def _step(watched: Watched, random: Random, places: list[bytes], users: list[bytes]) -> Step:
    place, user = random.choice(places), random.choice(users)
    several = random.sample(users, random.randint(1, 5))
    options = watched.options
    with watched.engine.lock:
        found = watched.engine.view.find(b"@conv:" + place)
        head = 0 if found is None else watched.messages.view.extent(found).head
    seq = random.randint(1, head + 1)
    steps: dict[str, Step] = {
        "join": watched.join(place, *several),
        "leave": watched.leave(place, *several),
        "role": lambda draft: membership.set_role(
            draft, place, b"-", user, random.choice([b"admin", b"reader", b"member"])
        ),
        "mention": watched.send(place, user, mentions=several),
        "edit": lambda draft: sending.edit(draft, place, seq, b"-", [b"text", b"y"], options),
        "recall": lambda draft: sending.recall(draft, place, seq, b"-", options),
        "read": lambda draft: userstate.read(draft, user, place, seq),
        "hide": lambda draft: userstate.hide(draft, user, place, [seq]),
        "clear": lambda draft: userstate.clear(draft, user, place, seq),
        "set": lambda draft: userstate.set_fields(draft, user, place, [b"@mute", b"1"]),
        "meta": lambda draft: lifecycle.set_metadata(
            draft, place, b"-", [b"title", b"%d" % random.randrange(9)]
        ),
        "delete": lifecycle.Deletion(place, b"-").step,
        "create": lambda draft: lifecycle.create(
            place,
            b"-",
            kind=0,
            history=random.randrange(2),
            binary=False,
            members=several,
            fields=[],
            options=options,
        ).step(draft),
        "send": watched.send(place, b"@system"),
    }
    names = [*steps, *["send"] * 10, *["join", "leave"] * 2]
    first = steps[random.choice(names)]
    if random.random() < 0.8:
        return first
    second = watched.send(random.choice(places), b"@system")

    def both(draft: Draft) -> None:  # one commit
        first(draft)
        second(draft)

    return both
