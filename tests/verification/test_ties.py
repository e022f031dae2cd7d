"""The promise: `verify` finds each thing that can be wrong with mutes, blocks, requests to follow
and fields of authors, and no repair loses a block: when in doubt, somebody is blocked.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

import timeline
from tests.engine.stores import copy_as_killed
from tests.verification.damage import change, pairs, put, spoil, state
from tests.verification.damages import (
    added,
    check_mended,
    cut,
    gone,
    id_of,
    nothing,
    one,
    row_of,
    without_row,
)
from tests.verification.homes import OPTIONS, feed, home, without
from tests.verification.tied import (
    FAMILIES,
    USERS,
    Answers,
    Rows,
    answers,
    change_tie,
    fill,
    ids,
    key_of,
    place_of,
    rows,
)
from timeline.formats import keys
from timeline.formats.conversations import encode_settings
from timeline.formats.feeds import (
    BLOCK,
    BLOCKED,
    BLOCKS,
    FEED,
    FIELDS,
    FOLLOW,
    FOLLOWER,
    HOME,
    MUTED,
    REQUEST,
    REQUESTED,
    TIE,
    FollowRow,
    TieRow,
    decode_tie,
    encode_follow,
    encode_tie,
    fields_key,
    follow_key,
    follower_key,
    tie_key,
)
from timeline.formats.rows import RAW
from timeline.verification import repair, verify

Do = Callable[[Path], object]


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ties") / "data"
    fill(path)
    return path


@pytest.fixture(scope="session")
def expected(filled: Path) -> Answers:
    with timeline.open(filled, OPTIONS, read_only=True) as db:
        return answers(db)


@pytest.fixture(scope="session")
def sound(filled: Path) -> Rows:
    return rows(filled)


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


class Damage(NamedTuple):
    """What is done to a store, and in which words it must be told of. `other` where more is blocked
    afterwards than before, or a mute or fields are lost.
    """

    words: str
    do: Do
    other: bool = False


def tie(user: str, author: str, **changes: int) -> Do:
    """What a user has with an author is something else."""
    return lambda path: change_tie(path, user, author, lambda row: row._replace(**changes))


def new_tie(user: str, author: str, *row: int) -> Do:
    return lambda path: put(path, "state", key_of(path, user, author), encode_tie(TieRow(*row)))


def without_tie(user: str, author: str) -> Do:
    return lambda path: put(path, "state", key_of(path, user, author), None)


def place(family: bytes, user: str, author: str, lsn: int = 0, value: bytes | None = b"") -> Do:
    """A row in the list of blocks or of requests."""
    return lambda path: put(path, "state", place_of(path, family, user, author, lsn), value)


def unlisted(user: str, other: str) -> Do:
    """A block is not in its list."""
    return place(BLOCK, user, other, value=None)


def moved(family: bytes, user: str, author: str, lsn: int) -> Do:
    """A row in a list is of another commit."""

    def do(path: Path) -> None:
        place(family, user, author, value=None)(path)
        place(family, user, author, lsn)(path)

    return do


def followed(user: str, author: str) -> Do:
    """A user follows an author whom they may not."""

    def do(path: Path) -> None:
        home_id, feed_id = ids(path, user, author)
        row = encode_follow(FollowRow(0, 1, 4, 4, 20, 20))
        put(path, "state", follow_key(home_id, feed_id), row)
        put(path, "state", follower_key(feed_id, 20, home_id), b"")

    return do


def follower(user: str, author: str) -> Do:
    def do(path: Path) -> None:
        home_id, feed_id = ids(path, user, author)
        put(path, "state", follower_key(feed_id, 20, home_id), b"")

    return do


def with_themselves(path: Path) -> None:
    new_tie("ann", "ann", MUTED, 0, 0)(path)


def lists_themselves(path: Path) -> None:
    place(BLOCK, "ann", "ann", 7)(path)


def fields(author: str, value: bytes | None) -> Do:
    return lambda path: put(path, "state", fields_key(id_of(path, f"@feed:{author}")), value)


def together(*each: Do) -> Do:
    def do(path: Path) -> None:
        for one_of_them in each:
            one_of_them(path)

    return do


def lost(name: str) -> Do:
    """Neither name nor row of a timeline is left."""

    def do(path: Path) -> None:
        without_row(name)(path)
        put(path, "state", b"n" + name.encode(), None)

    return do


MUTE = encode_tie(TieRow(MUTED, 0, 0))

DAMAGES = {
    "tie cut": Damage("what a reader has with an author is damaged", one("state", TIE, cut), True),
    "every tie cut": Damage(
        "what a reader has with an author is damaged",
        lambda path: [
            change(path, "state", TIE, cut, at) for at in range(len(pairs(path, "state", TIE)))
        ],
        other=True,
    ),
    "ties gone": Damage("is missing", nothing("state", TIE), other=True),
    "tie key": Damage("this key is of no tie", added("state", TIE + b"x", bytes(17))),
    "tie of nobody": Damage(
        "one of the two is not there",
        added("state", tie_key(9_999, 1), MUTE),
    ),
    "tie of no feed": Damage(
        "one of the two is not there",
        added("state", tie_key(7, 9_999), MUTE),
    ),
    "tie with oneself": Damage("with themselves", with_themselves),
    "tie without a flag": Damage(
        "they neither mute nor block the author", new_tie("cat", "bob", 0, 0, 0)
    ),
    "flags that there are not": Damage(
        "is nothing that there is", tie("fay", "ann", flags=MUTED | 64)
    ),
    "mute with a commit": Damage("are said to since 9", tie("fay", "ann", lsn=9, since=9)),
    "mute with a time": Damage("are said to since 0", tie("fay", "ann", since=9)),
    # One side of a block, or one of its rows.
    "block gone": Damage("does not say so", tie("ann", "gus", flags=0, lsn=0, since=0)),
    "tie of a block gone": Damage(
        "'@home:ann': a block is between them and the author", without_tie("ann", "gus")
    ),
    "being blocked gone": Damage("does not say so", without_tie("new", "ann")),
    "being blocked gone from a mute": Damage("does not say so", tie("bob", "gus", flags=MUTED)),
    "one of two blocks gone": Damage("does not say so", tie("eve", "ann", flags=BLOCKED, lsn=0)),
    "only the list says who is blocked": Damage(
        "blocks the author by the list, and what they have with the author is missing",
        together(without_tie("ann", "gus"), without_tie("gus", "ann")),
    ),
    "only the list says so, and they are muted": Damage(
        "blocks the author by the list, and what they have with the author does not say so",
        together(
            tie("ann", "gus", flags=MUTED, lsn=0, since=0),
            without_tie("gus", "ann"),
        ),
        other=True,
    ),
    "only who is blocked says so": Damage(
        "does not say so",
        together(unlisted("ann", "gus"), without_tie("ann", "gus")),
    ),
    "only who blocks says so": Damage(
        "does not say so",
        together(unlisted("ann", "gus"), without_tie("gus", "ann")),
    ),
    "a block that one side does not know": Damage(
        "a block is between them and the author", new_tie("cat", "bob", BLOCKS, 9, 9), other=True
    ),
    "a block of a user that they do not know": Damage(
        "a block is between them and the author", new_tie("cat", "bob", BLOCKED, 0, 0), other=True
    ),
    "a block that only the list knows": Damage(
        "blocks the author by the list", place(BLOCK, "cat", "bob", 9), other=True
    ),
    "block to come": Damage("since commit 9999", tie("ann", "gus", lsn=9_999)),
    "block since nothing": Damage("since commit 0", tie("ann", "gus", lsn=0)),
    "block and list to come": Damage(
        "since commit 9999",
        together(unlisted("ann", "gus"), tie("ann", "gus", lsn=9_999)),
    ),
    "block of another commit": Damage("by commit 3, and the list says", tie("ann", "gus", lsn=3)),
    "list of blocks gone": Damage("is not in the list of those", nothing("state", BLOCK)),
    "block not in the list": Damage(
        "'@home:ann' blocks the author, and is not in the list",
        unlisted("ann", "gus"),
    ),
    "block in the list twice": Damage("and the list says 3", place(BLOCK, "ann", "gus", 3)),
    "block in the list at another commit": Damage(
        "and the list says 3", moved(BLOCK, "ann", "gus", 3)
    ),
    "block in the list to come": Damage(
        "and the list says 9999", moved(BLOCK, "ann", "gus", 9_999)
    ),
    "place of a block with a value": Damage(
        "the row in which '@home:ann' blocks the author is damaged",
        one("state", BLOCK, lambda _: b"x"),
    ),
    "block of nobody": Damage(
        "one of the two is not there", added("state", BLOCK + bytes(24), b"")
    ),
    "key of a block": Damage("a list of users is damaged", added("state", BLOCK + b"x", b"")),
    "block of oneself in the list": Damage("with themselves", lists_themselves),
    "who is blocked follows": Damage(
        "'@home:gus' follows it, although one of the two blocks the other", followed("gus", "ann")
    ),
    "who blocks follows": Damage(
        "'@home:ann' follows it, although one of the two blocks the other", followed("ann", "gus")
    ),
    "who is blocked is among the followers": Damage(
        "'@home:gus' is among its followers, although one of the two blocks", follower("gus", "ann")
    ),
    "who is blocked follows and does not know": Damage(
        "does not say so", together(followed("gus", "ann"), without_tie("gus", "ann"))
    ),
    "who is blocked asks": Damage(
        "they ask to follow the author, although one of the two blocks the other",
        together(
            tie("gus", "ann", flags=BLOCKED | REQUESTED, lsn=9, since=9),
            place(REQUEST, "gus", "ann", 9),
        ),
    ),
    "who is blocked is among the requests": Damage(
        "by the list, and what they have with the author does not say so",
        place(REQUEST, "gus", "ann", 9),
    ),
    # The homes and feeds that a block takes.
    "home of who is blocked gone": Damage("one of the two would not notice", lost("@home:new")),
    "feed of who is blocked gone": Damage(
        "one of the two would not notice", together(lost("@feed:new"), lost("@feedevent:new"))
    ),
    "home of who blocks gone": Damage("one of the two would not notice", lost("@home:ann"), True),
    "row of a home gone": Damage("it has no row", without_row("@home:new")),
    "row of the home of who asks gone": Damage("it has no row", without_row("@home:dan")),
    "home that only requests name": Damage(
        "it has no row",
        together(
            lambda path: put(path, "state", HOME + keys.number(id_of(path, "@home:eve")), None),
            *(without_tie("eve", each) for each in ("pro", "ann")),
            lambda path: nothing("state", BLOCK + keys.number(id_of(path, "@home:eve")))(path),
            without_row("@home:eve"),
        ),
        other=True,
    ),
    "kind of a home": Damage("its kind does not fit", row_of("@home:new", kind=RAW)),
    "row of a feed gone": Damage("the row of this feed is missing", without(FEED, author="gus")),
    # Requests.
    "tie of a request gone": Damage(
        "'@home:dan' asks to follow the author by the list, and what they have with the author is "
        "missing",
        without_tie("dan", "pro"),
    ),
    "tie of a request and of a mute gone": Damage(
        "asks to follow the author by the list", without_tie("eve", "pro"), other=True
    ),
    "request not in the list": Damage(
        "'@home:dan' asks to follow the author, and is not in the list",
        place(REQUEST, "dan", "pro", value=None),
    ),
    "list of requests gone": Damage("is not in the list of those", nothing("state", REQUEST)),
    "in the list and did not ask": Damage(
        "by the list, and what they have with the author does not say so",
        place(REQUEST, "fay", "ann", 9),
    ),
    "request of who follows": Damage(
        "they ask to follow the author, and follow them already",
        together(new_tie("cat", "pro", REQUESTED, 9, 9), place(REQUEST, "cat", "pro", 9)),
    ),
    "place of a request of who follows": Damage("by the list", place(REQUEST, "cat", "pro", 9)),
    "place of a request to come": Damage("by the list", place(REQUEST, "bob", "pro", 9_999)),
    "request twice": Damage("and the list says 3", place(REQUEST, "dan", "pro", 3)),
    "request of another commit": Damage("the list says", tie("dan", "pro", lsn=3)),
    "request to come": Damage("since commit 9999", tie("dan", "pro", lsn=9_999)),
    "request with a value": Damage(
        "asks to follow the author is damaged: it holds nothing else",
        one("state", REQUEST, lambda _: b"x"),
    ),
    "request of nobody": Damage(
        "one of the two is not there", added("state", REQUEST + bytes(24), b"")
    ),
    "key of a request": Damage("a list of users is damaged", added("state", REQUEST + b"x", b"")),
    "requests miscounted": Damage(
        "3 ask to follow it, not 9", feed("pro", lambda row: row._replace(requests=9))
    ),
    # Homes.
    "home that has ties, and does not say so": Damage(
        "they mute or block somebody, or ask to follow them, which is not noted",
        home("ann", flags=0),
    ),
    "home that has nothing but ties gone": Damage("which is not noted", without(HOME, user="fay")),
    "home that has nothing but blocks gone": Damage(
        "they block 1 users, which is not noted", without(HOME, user="gus")
    ),
    "homes gone": Damage("they block 4 users, which is not noted", nothing("state", HOME)),
    "blocks miscounted": Damage("they block 4 users, and 9 is noted", home("ann", blocked=9)),
    "home cut": Damage("the row of a home is damaged", one("state", HOME, cut)),
    # What authors say.
    "pinned beyond the head": Damage(
        "post 900 is pinned, and is not there",
        feed("pro", lambda row: row._replace(pinned=900)),
        other=True,
    ),
    "fields cut": Damage("the fields of the author", one("state", FIELDS, cut), other=True),
    "fields flipped": Damage(
        "the fields of the author", fields("pro", b"*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"), other=True
    ),
    "fields of nothing": Damage("says nothing of themselves", fields("cat", encode_settings([]))),
    "empty fields": Damage("says nothing of themselves", fields("cat", b"")),
    "fields of no feed": Damage(
        "of no feed that is there", added("state", fields_key(9_999), encode_settings([b"a", b"b"]))
    ),
    "key of fields": Damage(
        "of no feed that is there", added("state", FIELDS + b"x", encode_settings([b"a", b"b"]))
    ),
}


def test_a_store_with_ties_is_sound(
    store: Path, expected: Answers, sound: Rows, tmp_path: Path
) -> None:
    before = state(store)
    assert verify(store).findings == []
    assert state(store) == before
    done = repair(store, tmp_path / "new")
    assert done.found == []
    assert done.left == []
    assert rows(tmp_path / "new") == sound
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert answers(db) == expected


def test_a_store_with_ties_is_sound_when_killed(tmp_path: Path) -> None:
    """Nothing of it is sealed."""
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        feeds = db.feeds
        for user in ("ann", "bob", "cat"):
            feeds.publish(user, {"text": "hello"})
        feeds.follow("bob", ["ann"])
        feeds.set("cat", "cat", {"@protected": "1", "@pin": "1"})
        feeds.follow("ann", ["cat"])
        feeds.block("ann", ["bob"])
        copy = copy_as_killed(db, tmp_path / "one")
        feeds.unblock("ann", ["bob"])
        feeds.answer("cat", "ann", accept=True)
        feeds.delete("cat", 1)
        other = copy_as_killed(db, tmp_path / "other")
    assert verify(copy).findings == []
    assert verify(other).findings == []


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_told_and_mended_and_no_block_is_lost(
    damage: Damage, store: Path, expected: Answers, tmp_path: Path
) -> None:
    damage.do(store)
    check_mended(store, damage.words, tmp_path / "new")
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        found = answers(db)
        assert found.blocks >= expected.blocks
        if not damage.other:
            assert found == expected
        unblock_all(db, found)
    assert verify(tmp_path / "new").findings == []


def unblock_all(db: timeline.Database, found: Answers) -> None:
    """Whatever is blocked keeps the two from each other, until it is unblocked."""
    feeds = db.feeds
    for pair in found.blocks:
        user, other = pair.split(" ")
        for one_of, another in ((user, other), (other, user)):
            assert isinstance(found.authors[f"{one_of} {another}"], str), "an error"
            assert not feeds.relation(one_of, [another])[0].following
    for user in USERS:
        for each in feeds.blocked(user).users:  # one may have lost their name
            assert feeds.unblock(user, [each.user]) == 1
    for user in USERS:
        assert feeds.blocked(user).total == 0
        for other in set(USERS) - {user, "fay"}:
            feeds.info(user, other)
        for each in feeds.requests(user).users:
            feeds.answer(user, each.user, accept=True)
            assert feeds.relation(each.user, [user])[0].following
        assert feeds.requests(user).total == 0


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--damage-cases")))


SPOILT = [
    *(("state", family) for family in FAMILIES),
    ("state", HOME),
    ("state", FEED),
    ("state", FOLLOW),
    ("state", FOLLOWER),
    ("state", keys.NAME + b"@"),
    ("state", keys.ROW),
    ("segments", b""),
]


def test_whatever_is_spoilt_is_mended(
    seed: int, store: Path, expected: Answers, tmp_path: Path
) -> None:
    where = spoil(store, Random(seed), SPOILT)
    verify(store)
    done = repair(store, tmp_path / "new")
    assert done.left == [], where
    assert verify(tmp_path / "new").findings == [], where
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        found = answers(db)
        if all(key[:2] in (*FAMILIES, HOME) for _, key, _ in where) and len(where) == 1:
            assert found.blocks >= expected.blocks, where
        unblock_all(db, found)
    assert verify(tmp_path / "new").findings == [], where


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_that_are_cut_or_longer_are_found_whichever_they_are(
    family: bytes, store: Path, expected: Answers, tmp_path: Path
) -> None:
    for at in range(len(pairs(store, "state", family))):
        change(store, "state", family, lambda value: value[:-1] or b"x", at)
    assert not verify(store).sound
    done = repair(store, tmp_path / "new")
    assert done.left == []
    assert verify(tmp_path / "new").findings == []
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert answers(db).blocks >= expected.blocks


def test_a_lost_tie_is_made_again_of_its_commit(store: Path, sound: Rows, tmp_path: Path) -> None:
    for user, author in (("ann", "gus"), ("dan", "pro")):
        without_tie(user, author)(store)
    done = repair(store, tmp_path / "new")
    assert done.left == []
    assert len(done.lost) == 2, "a mute may have been lost"
    found = rows(tmp_path / "new")
    assert found.keys() == sound.keys()
    for key, value in found.items():
        if key[:2] == TIE:
            row, before = decode_tie(value), decode_tie(sound[key])
            assert row._replace(since=0) == before._replace(since=0)
            assert abs(row.since - before.since) < 60_000, "about"


def test_a_feed_whose_row_is_lost_is_protected_if_somebody_asked(
    store: Path, expected: Answers, tmp_path: Path
) -> None:
    without(FEED, author="pro")(store)
    done = repair(store, tmp_path / "new")
    assert done.left == []
    assert [each.text for each in done.lost] == [
        "the row of this feed is missing: whether it was protected, and what was pinned, is lost"
    ]
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert db.feeds.info("dan", "pro").protected
        assert db.feeds.requests("pro").total == 3
        assert answers(db).blocks == expected.blocks


def test_a_pinned_post_that_cannot_be_read_is_pinned_no_more(store: Path, tmp_path: Path) -> None:
    change(store, "segments", keys.number(id_of(store, "@feed:pro")), gone)
    done = repair(store, tmp_path / "new")
    assert done.left == []
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert db.feeds.profile("pro", "pro").posts == []
        db.feeds.publish("pro", {"text": "again"})
    assert verify(tmp_path / "new").findings == []
