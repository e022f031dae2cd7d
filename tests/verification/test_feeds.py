"""The promise: `verify` finds each thing that can be wrong with feeds, and no repair takes a post
out of a home: what cannot be known to have been delivered is pulled.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

import timeline
from tests.engine.stores import copy_as_killed
from tests.verification.damage import change, flipped, pairs, put, spoil, state
from tests.verification.damages import (
    added,
    check_mended,
    cut,
    gone,
    id_of,
    nothing,
    one,
    row_like,
    row_of,
    swapped,
    without_row,
)
from tests.verification.homes import (
    OPTIONS,
    USERS,
    Change,
    Homes,
    feed,
    fill,
    follow,
    home,
    homes,
    publish,
    without,
)
from timeline.formats import keys
from timeline.formats.conversations import CONVERSATION, conversation_key
from timeline.formats.feeds import (
    FEED,
    FOLLOW,
    FOLLOWER,
    HOME,
    FeedRow,
    encode_feed,
    feed_key,
    follow_key,
    follower_key,
    home_key,
)
from timeline.formats.numbers import Seq, TimelineId
from timeline.formats.references import (
    decode_references,
    encode_reference,
    encode_references,
    packed_references,
)
from timeline.formats.rows import RAW, TimelineRow, encode_row, encode_spans
from timeline.formats.stretches import OPEN
from timeline.verification import repair, verify


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("feeds") / "data"
    fill(path)
    return path


@pytest.fixture(scope="session")
def expected(filled: Path) -> Homes:
    with timeline.open(filled, OPTIONS, read_only=True) as db:
        return homes(db)


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


class Damage(NamedTuple):
    """What is done to a store, and in which words it must be told of. `more` when the home of
    somebody may show posts of before they followed, of which it is no longer known how many.
    """

    words: str
    do: Callable[[Path], object]
    more: bool = False


def stretches(name: str, change_it: Change) -> Callable[[Path], object]:
    return feed(name, lambda row: row._replace(pulled=tuple(change_it(list(row.pulled)))))


def follower(author: str, user: str, lsn: int, value: bytes = b"") -> Callable[[Path], object]:
    """Another row says that somebody follows."""

    def do(path: Path) -> None:
        ids = id_of(path, f"@feed:{author}"), id_of(path, f"@home:{user}")
        put(path, "state", follower_key(ids[0], lsn, ids[1]), value)

    return do


def audience(author: str, user: str, value: bytes | None) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        ids = id_of(path, f"@feed:{author}"), id_of(path, f"@home:{user}")
        put(path, "state", keys.AUDIENCE + keys.pair(*ids), value)

    return do


def feed_row_of(name: str) -> Callable[[Path], object]:
    """A timeline of another kind has the row of a feed too."""

    def do(path: Path) -> None:
        row = FeedRow(0, 0, 0, 0, 0, id_of(path, "@feedevent:ann"), ())
        put(path, "state", feed_key(id_of(path, name)), encode_feed(row))

    return do


def conversation_row_of(name: str) -> Callable[[Path], object]:
    """A timeline of another kind has the row of a conversation too."""

    def do(path: Path) -> None:
        ((_, row),) = pairs(path, "state", CONVERSATION)
        put(path, "state", conversation_key(id_of(path, name)), row)

    return do


def timeline_of_nobody(name: str) -> Callable[[Path], object]:
    """Called like a timeline of somebody who has no others."""

    def do(path: Path) -> None:
        row = encode_row(TimelineRow(RAW, 0, 1, 0, 0, 0, name.encode()))
        timeline_id = keys.number(id_of(path, "@feedevent:was"))
        put(path, "state", b"t" + timeline_id, row)
        put(path, "state", b"n" + name.encode(), timeline_id)
        put(path, "state", b"n@feedevent:was", None)

    return do


def reference(user: str, target: str, seq: int, kind: int) -> Callable[[Path], object]:
    """The newest reference in a home leads elsewhere."""

    def do(path: Path) -> None:
        key, value = pairs(path, "inboxes", keys.number(id_of(path, f"@home:{user}")))[-1]
        *found, last = decode_references(packed_references(key, value))
        timeline_id = TimelineId(id_of(path, target))
        bad = last._replace(timeline_id=timeline_id, seq=Seq(seq), kind=kind)
        packed = [encode_reference(*each) for each in (*found, bad)]
        put(path, "inboxes", key, encode_references(key, packed))

    return do


def references(
    user: str, alter: Callable[[bytes], bytes | None], place: int
) -> Callable[[Path], object]:
    return lambda path: change(
        path, "inboxes", keys.number(id_of(path, f"@home:{user}")), alter, place
    )


def overlapping(found: list[Any]) -> list[Any]:
    return [found[0]._replace(last=found[0].last + 4), *found[1:]]


DAMAGES = {
    "feed cut": Damage("the row of this feed is damaged", one("state", FEED, cut)),
    "feed gone": Damage("the row of this feed is missing", without(FEED, author="ann")),
    "pulled feed gone": Damage("the row of this feed is missing", without(FEED, author="star")),
    "feed that was pulled gone": Damage("is missing", without(FEED, author="was")),
    "feeds gone": Damage("the row of this feed is missing", nothing("state", FEED)),
    "feeds swapped": Damage("are not there", swapped("state", FEED)),
    "feed of nobody": Damage("has no posts", added("state", feed_key(9_999), bytes(41))),
    "feed key": Damage("no number", added("state", FEED + b"x", bytes(41))),
    "feed of a user of conversations": Damage("this is no feed", feed_row_of("@user:bob")),
    "feed of a home": Damage("this is no feed", feed_row_of("@home:bob")),
    "conversation of a feed": Damage("this is no conversation", conversation_row_of("@feed:ann")),
    "conversation of a home": Damage("this is no conversation", conversation_row_of("@home:bob")),
    "feed of events": Damage("this is no feed", feed_row_of("@feedevent:ann")),
    "followers miscounted": Damage(
        "it has 3 followers, not 77", feed("ann", lambda row: row._replace(followers=77))
    ),
    "posts of nobody": Damage("its name leads to nothing", one("state", b"n@feed:ann", gone)),
    "row of posts gone": Damage("it has no row", without_row("@feed:ann")),
    "row of a feed without posts": Damage("it has no row", without_row("@feed:star")),
    "events gone": Damage("its events", without_row("@feedevent:ann")),
    "events without a name": Damage("leads to nothing", one("state", b"n@feedevent:ann", gone)),
    "events of nobody": Damage("the events of no feed", timeline_of_nobody("@feedevent:zoe")),
    "events of another": Damage("are not there", feed("ann", lambda row: row._replace(events=1))),
    "home cut": Damage("the row of a home is damaged", one("state", HOME, cut)),
    "home gone": Damage("follow 3 authors, which is not noted", without(HOME, user="bob")),
    "home miscounted": Damage("follow 3 authors, and 9", home("bob", following=9)),
    "home of nobody": Damage("no home", added("state", home_key(9_999), bytes(17))),
    "row of a home gone": Damage("it has no row", without_row("@home:bob")),
    "name of a home gone": Damage("leads to nothing", one("state", b"n@home:bob", gone)),
    "row of a home is another's": Damage(
        "is called '@feed:ann'", row_like("@home:bob", "@feed:ann")
    ),
    "row of a feed is another's": Damage(
        "is called '@home:bob'", row_like("@feed:ann", "@home:bob")
    ),
    "kind of a home": Damage("its kind does not fit", row_of("@home:bob", kind=RAW)),
    "follow cut": Damage("the row of a follow is damaged", one("state", FOLLOW, cut), more=True),
    "follow of nobody": Damage(
        "one of the two is not there", added("state", follow_key(9_999, 1), bytes(41))
    ),
    "follow of no feed": Damage(
        "one of the two is not there", added("state", follow_key(7, 9_999), bytes(41))
    ),
    "follow key": Damage("no follow", added("state", FOLLOW + b"x", bytes(41))),
    "follow from beyond the head": Damage(
        "above the head",
        follow("bob", "ann", lambda row: row._replace(first=900, head=900)),
        more=True,
    ),
    "first of a follow": Damage(
        "not what it may",
        follow("bob", "ann", lambda row: row._replace(first=row.head + 2)),
        more=True,
    ),
    "newest of a follow ahead": Damage(
        "commit", follow("bob", "ann", lambda row: row._replace(newest=row.lsn + 1))
    ),
    "newest of a follow behind": Damage(
        "commit", follow("bob", "ann", lambda row: row._replace(newest=1))
    ),
    "head of a follow behind": Damage(
        "was not delivered", follow("eve", "was", lambda row: row._replace(head=row.head - 2))
    ),
    "a follow to come": Damage(
        "above the last one", follow("bob", "ann", lambda row: row._replace(lsn=9_999))
    ),
    "follower gone": Damage("is not among its followers", without(FOLLOWER, author="ann")),
    "followers gone": Damage("is not among its followers", nothing("state", FOLLOWER)),
    "follower twice": Damage("follows by another commit", follower("ann", "bob", 3)),
    "follower with a value": Damage("holds nothing", follower("ann", "bob", 3, b"x")),
    "follower of nothing": Damage(
        "one of the two is not there", added("state", follower_key(9_999, 3, 1), b"")
    ),
    "follower key": Damage("damaged", added("state", FOLLOWER + b"x", b"")),
    "audience of a follower gone": Damage("is not delivered", audience("ann", "bob", None)),
    "audience of a stranger": Damage(
        "although they do not follow", audience("ann", "gus", encode_spans([(3, OPEN)]))
    ),
    "audience of a pulled feed": Damage(
        "although it is read-diffused", audience("star", "bob", encode_spans([(3, OPEN)]))
    ),
    "audience cut": Damage("a row of membership", audience("ann", "bob", b"x")),
    "stretches overlap": Damage("out of order", stretches("star", overlapping)),
    "stretches swapped": Damage("out of order", stretches("star", lambda found: found[::-1])),
    "stretch gone": Damage("was not delivered", stretches("was", lambda _: [])),
    "open stretch gone": Damage("is not delivered", stretches("star", lambda found: found[:1])),
    "stretch beyond the head": Damage(
        "beyond the head",
        stretches("was", lambda found: [found[0]._replace(last=900, ended=found[0].ended)]),
    ),
    "stretch beyond the events": Damage(
        "beyond the head", stretches("was", lambda found: [found[0]._replace(last_event=900)])
    ),
    "events of a stretch": Damage(
        "out of order",
        stretches("star", lambda found: [found[0]._replace(first_event=0), *found[1:]]),
    ),
    "stretch that ended too early": Damage(
        "ended", stretches("was", lambda found: [found[0]._replace(ended=3)])
    ),
    "stretch that ended too late": Damage(
        "ended", stretches("was", lambda found: [found[0]._replace(ended=9_999)])
    ),
    "references gone": Damage("was not delivered", references("bob", gone, -1)),
    "references flipped": Damage("damaged", references("bob", flipped, -1)),
    "reference to no post": Damage("which ends at", reference("bob", "@feed:ann", 900, 32)),
    "reference to a message": Damage("which is no feed", reference("bob", "@conv:team", 1, 32)),
    "reference to an event": Damage("which is no feed", reference("bob", "@feedevent:ann", 1, 33)),
    "reference of no kind": Damage("which there is not", reference("bob", "@feed:ann", 9, 60)),
    "message in a home": Damage("is no conversation", reference("bob", "@feed:ann", 9, 1)),
}


def test_a_store_with_feeds_is_sound(store: Path, expected: Homes, tmp_path: Path) -> None:
    before = state(store)
    assert verify(store).findings == []
    assert state(store) == before
    done = repair(store, tmp_path / "new")
    assert done.found == []
    assert done.left == []
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert homes(db) == expected


def test_a_store_with_feeds_is_sound_when_killed(tmp_path: Path) -> None:
    """Nothing of it is sealed."""
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        for user in ("bob", "cat"):
            db.feeds.publish(user, {"text": "hello"})
        db.feeds.follow("bob", ["cat"])
        db.feeds.publish("cat", {"text": "again"})
        copy = copy_as_killed(db, tmp_path / "killed")
    assert verify(copy).findings == []


def _like(expected: Any, found: Any, damage: Damage) -> object:  # noqa: ANN401
    """What was found, if nothing is missing in it and it may hold more."""
    if not damage.more or not isinstance(expected, list):
        return expected
    return found if [each for each in found if each in expected] == expected else expected


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_told_and_mended_and_no_home_loses_a_post(
    damage: Damage, store: Path, expected: Homes, tmp_path: Path
) -> None:
    damage.do(store)
    check_mended(store, damage.words, tmp_path / "new")
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        found = homes(db)
        assert {name: _like(each, found[name], damage) for name, each in expected.items()} == found
        publish(db, "later")
        for user in USERS:
            authors = {each.user for each in db.feeds.following("ann", user).users} | {user}
            new = 3 * len(authors & {"ann", "star", "was"})
            assert len(db.feeds.home(user).posts) == len(found[user]) + new
    assert verify(tmp_path / "new").findings == []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--damage-cases")))


SPOILT = [
    ("state", FEED),
    ("state", HOME),
    ("state", FOLLOW),
    ("state", FOLLOWER),
    ("state", keys.AUDIENCE),
    ("state", keys.NAME),
    ("state", keys.ROW),
    ("inboxes", b""),
    ("segments", b""),
]


def test_whatever_is_spoilt_is_mended(seed: int, store: Path, tmp_path: Path) -> None:
    where = spoil(store, Random(seed), SPOILT)
    verify(store)
    done = repair(store, tmp_path / "new")
    assert done.left == [], where
    assert verify(tmp_path / "new").findings == [], where
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        for name in list(db.timelines("@home:")):
            user = name.removeprefix(b"@home:")
            followed = {each.user for each in db.feeds.following(user, user).users}
            found = [(each.author, each.seq) for each in db.feeds.home(user).posts]
            assert len(set(found)) == len(found), where
            assert {author for author, _ in found} <= followed | {user.decode()}, where
            for author in followed:
                sent = db.feeds.publish(author, {"text": "on"})
                assert db.feeds.home(user).posts[0].name == f"{author}/{sent.seq}", where
                other = followed - {author}
                assert db.feeds.unfollow(user, [author]) == 1, where
                assert {each.user for each in db.feeds.following(user, user).users} == other
                assert db.feeds.follow(user, [author]).followed == 1, where
    assert verify(tmp_path / "new").findings == [], where


def test_a_feed_whose_names_are_lost_keeps_its_posts_events_and_followers(
    store: Path, tmp_path: Path
) -> None:
    author = f"lost-{id_of(store, '@feed:ann')}"
    for name in ("@feed:ann", "@feedevent:ann"):
        without_row(name)(store)
    for key in (b"n@feed:ann", b"n@feedevent:ann"):
        put(store, "state", key, None)
    done = repair(store, tmp_path / "new")
    assert done.left == []
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert list(db.timelines("lost")) == []
        assert len(db.feeds.profile(author, author).posts) == 21
        assert len(db.timeline(f"@feedevent:{author}")) == 1
        assert {each.user for each in db.feeds.followers(author, author).users} == {
            "bob",
            "cat",
            "dan",
        }


def test_the_row_of_a_feed_and_the_name_of_its_events_are_known_from_its_posts(
    store: Path, expected: Homes, tmp_path: Path
) -> None:
    without(FEED, author="ann")(store)
    without_row("@feedevent:ann")(store)
    put(store, "state", b"n@feedevent:ann", None)
    done = repair(store, tmp_path / "new")
    assert done.left == []
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert homes(db) == expected
        assert len(db.timeline("@feedevent:ann")) == 1
        assert list(db.timelines("lost")) == []


@pytest.mark.parametrize("family", [FEED, HOME, FOLLOW, FOLLOWER])
def test_rows_that_are_cut_are_found_whichever_they_are(
    family: bytes, store: Path, tmp_path: Path
) -> None:
    for place in range(len(pairs(store, "state", family))):
        change(store, "state", family, lambda value: value[:-1] or b"x", place)
    assert not verify(store).sound
    assert repair(store, tmp_path / "new").left == []
    assert verify(tmp_path / "new").findings == []
