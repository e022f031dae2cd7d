"""The promise: `verify` finds each thing that can be wrong with notes and with what was seen, and a
repair leaves what is right.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

import timeline
from tests.engine.stores import copy_as_killed
from tests.verification.damage import change, pairs, put, spoil_one, state
from tests.verification.damages import (
    added,
    check_mended,
    cut,
    id_of,
    one,
    reference_to,
    row_of,
    without_row,
)
from timeline.embedded.database import Database
from timeline.formats import keys
from timeline.formats.notes import (
    FAMILIES,
    FOLLOWED,
    GROUP,
    REACTED,
    REPLIED,
    SEEN,
    Doer,
    GroupRow,
    SeenRow,
    decode_group,
    doers_of,
    encode_group,
    encode_seen,
    group_key,
    pack_doers,
    seen_key,
)
from timeline.options import Options
from timeline.verification import repair, verify

OPTIONS: Final = Options(search=False)
USERS: Final = ("ann", "bob", "cat", "dan", "eve")

Changed = Callable[[GroupRow], GroupRow]


def fill(path: Path) -> None:
    """Others follow ann, reply to her, quote, repost, mention her and react to her posts."""
    with timeline.open(path, OPTIONS) as db:
        feeds = db.feeds
        for user in ("ann", "bob", "cat", "dan"):
            feeds.publish(user, {"text": "x"})
        feeds.publish("ann", {"text": "y"})
        for user in ("bob", "cat"):
            feeds.follow(user, ["ann"])
            feeds.publish(user, {"text": "yes"}, reply="ann/1")
            feeds.publish(user, {"text": "look"}, repost="ann/1")
            feeds.publish(user, {}, repost="ann/2")
        for user in ("bob", "cat", "dan", "eve"):
            feeds.react("ann", 1, user, "like")
        feeds.publish("dan", {"text": "you"}, mentions=["ann", "bob"])
        feeds.seen("ann", feeds.notes("ann").position, notes=True)
        feeds.seen("bob", feeds.home("bob").position)
        feeds.react("ann", 2, "eve", "wow")


def answers(path: Path) -> dict[str, Any]:
    with timeline.open(path, OPTIONS) as db:
        return read(db)


def read(db: Database) -> dict[str, Any]:
    found: dict[str, Any] = {user: db.feeds.notes(user).notes for user in USERS}
    return found | {f"unseen of {user}": db.feeds.unseen(user) for user in USERS}


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notes") / "data"
    fill(path)
    return path


@pytest.fixture(scope="session")
def expected(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return answers(Path(shutil.copytree(filled, tmp_path_factory.mktemp("read") / "data")))


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


def test_a_store_with_notes_is_sound(store: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    assert [len(expected[user]) for user in USERS] == [7, 1, 0, 0, 0]
    before = state(store)
    assert verify(store).findings == []
    assert state(store) == before
    done = repair(store, tmp_path / "new")
    assert (done.found, done.left) == ([], [])
    assert answers(tmp_path / "new") == expected


def test_it_is_sound_when_killed(tmp_path: Path) -> None:
    """Nothing of it is sealed."""
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        db.feeds.publish("ann", {"text": "hello"})
        db.feeds.react("ann", 1, "bob", "like")
        db.feeds.seen("ann", db.feeds.notes("ann").position, notes=True)
        copy = copy_as_killed(db, tmp_path / "killed")
    assert verify(copy).findings == []


def test_what_its_author_may_not_hear_of_needs_no_in_box(tmp_path: Path) -> None:
    """A reply for others is kept for when it may be told, and was told to nobody."""
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        for user in ("ann", "cat"):
            db.feeds.publish(user, {"text": "hello"})
        reply = {"text": "psst"}
        db.feeds.publish("bob", reply, reply="cat/1", audience="named", mentions=["ann"])
        assert not list(db.timelines("@note:cat"))
        assert db.feeds.notes("cat").notes == []
    assert verify(tmp_path / "data").findings == []


def feed(path: Path) -> int:
    return id_of(path, "@feed:ann")


def group(seq: int, kind: int, changed: Changed) -> Callable[[Path], object]:
    """A group of ann's is another."""

    def do(path: Path) -> None:
        key = group_key(feed(path), seq, kind)
        change(path, "state", key, lambda value: encode_group(changed(decode_group(value))))

    return do


def another(seq: int, kind: int, reaction: bytes = b"") -> Callable[[Path], object]:
    """There is one group more."""

    def do(path: Path) -> None:
        doer = Doer(id_of(path, "@home:bob"), 0)
        row = GroupRow(1, 2, 3, reaction, pack_doers([doer]))
        put(path, "state", group_key(feed(path), seq, kind), encode_group(row))

    return do


def with_stranger(seq: int, kind: int, stranger: Doer) -> Callable[[Path], object]:
    def changed(row: GroupRow) -> GroupRow:
        return row._replace(newest=pack_doers([stranger, *doers_of(row.newest)]))

    return group(seq, kind, changed)


def seen(name: str, row: SeenRow) -> Callable[[Path], object]:
    return lambda path: put(path, "state", seen_key(id_of(path, name)), encode_seen(row))


# What is done, the words in which it is told of, and whether the notes are the same afterwards.
DAMAGES: Final[dict[str, tuple[Callable[[Path], object], str, bool]]] = {
    "key of a group": (added("state", GROUP + b"x", b"x"), "what others did to a post", True),
    "kind of a group": (another(1, 99 + REACTED), "of kind 163, which there is not", True),
    "group of no feed": (
        added("state", group_key(999, 1, REPLIED), b"x"), "feed 999, which is not there", True,
    ),
    "group of no post": (another(77, REPLIED), "post 77 of '@feed:ann', which ends at 2", True),
    "group of no author": (another(0, REPLIED), "or the reverse", True),
    "follow of a post": (another(1, FOLLOWED), "or the reverse", True),
    "reaction without a name": (another(2, REACTED + 5), "only a note of a reaction", True),
    "reply with a reaction": (another(2, REPLIED, b"like"), "only a note of a reaction", True),
    "value of a group": (one("state", GROUP, cut), "what others did to a post is damaged", False),
    "told by no commit": (
        group(1, REPLIED, lambda row: row._replace(lsn=10**6)), "told by commit 1000000", False,
    ),
    "a stranger likes": (with_stranger(1, REACTED, Doer(777, 0)), "1 of those who did", True),
    "a post likes": (with_stranger(1, REACTED, Doer(3, 1)), "1 of those who did", True),
    "a stranger replies": (with_stranger(1, REPLIED, Doer(777, 1)), "1 of those who did", True),
    "a reply is no post": (with_stranger(1, REPLIED, Doer(1, 0)), "1 of those who did", True),
    "too many": (
        group(1, REACTED, lambda row: row._replace(newest=row.newest * 9)), "too many", True,
    ),
    "seen by nobody": (added("state", seen_key(999), encode_seen(SeenRow(1, 1))), "no home", True),
    "seen by a feed": (seen("@feed:ann", SeenRow(1, 1)), "no home that is there", True),
    "key of seen": (added("state", SEEN + b"x", b"x"), "no home that is there", True),
    "value of seen": (one("state", SEEN, cut), "what a user has seen is damaged", False),
    "the future was seen": (seen("@home:eve", SeenRow(0, 10**6)), "what commit 1000000", True),
    "row of an in-box": (without_row("@note:ann"), "row", True),
    "name of an in-box": (one("state", keys.NAME + b"@note:ann", cut), "leads nowhere", True),
    "kind of an in-box": (row_of("@note:ann", kind=0), "its kind does not fit", True),
    "row of a home": (without_row("@home:bob"), "row", True),
    "name of a feed": (one("state", keys.NAME + b"@feed:ann", cut), "leads nowhere", True),
}  # fmt: skip


@pytest.mark.parametrize(("do", "words", "same"), DAMAGES.values(), ids=DAMAGES)
def test_damage_is_told_and_mended(
    do: Callable[[Path], object],
    words: str,
    *,
    same: bool,
    store: Path,
    expected: dict[str, Any],
    tmp_path: Path,
) -> None:
    do(store)
    check_mended(store, words, tmp_path / "new")
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert (read(db) == expected) is same
        db.feeds.publish("eve", {"text": "later"}, reply="ann/1")
        assert db.feeds.notes("ann", kinds=["reply"]).notes[0].users[0] == "eve"
    assert verify(tmp_path / "new").findings == []


@pytest.mark.parametrize("kind", [50, 63, REACTED + 32, 200])
def test_a_reference_of_no_kind_is_told_of(store: Path, tmp_path: Path, kind: int) -> None:
    reference_to(feed(store), 1, kind)(store)
    check_mended(store, f"of kind {kind}, which there is not", tmp_path / "new")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--damage-cases")))


SPOILT: Final = [
    *(("state", family) for family in FAMILIES),
    ("state", keys.NAME + b"@note"),
    ("state", keys.ROW),
    ("state", b"uA"),
    ("inboxes", b""),
]


def test_whatever_is_spoilt_is_mended(store: Path, tmp_path: Path, seed: int) -> None:
    """And whoever asks gets an answer."""
    random = Random(seed)
    for _ in range(random.choice([1, 1, 2, 4, 8])):
        spoil_one(store, random, *random.choice(SPOILT))
    repair(store, tmp_path / "new")
    assert verify(tmp_path / "new").findings == []
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        for user in ("ann", "bob"):
            if pairs(tmp_path / "data", "state", keys.NAME + f"@feed:{user}".encode()):
                db.feeds.publish(user, {"text": "x"})
                db.feeds.notes(user)
                db.feeds.unseen(user)
