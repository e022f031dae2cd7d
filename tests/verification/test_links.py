"""The promise: `verify` finds each thing that can be wrong with replies, quotes, reposts and their
counts, and a repair makes all of it again from the posts.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

import timeline
from tests.engine.stores import copy_as_killed
from tests.verification.damage import put, spoil_one, state
from tests.verification.damages import check_mended, cut, one, without_row
from tests.verification.linkdamages import DAMAGES, Damage, post, without
from tests.verification.linked import OPTIONS, Rows, fill, rows
from timeline.formats import keys
from timeline.formats.posts import COUNTS, FAMILIES, REPOST
from timeline.verification import repair, verify


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("links") / "data"
    fill(path)
    return path


@pytest.fixture(scope="session")
def expected(filled: Path) -> Rows:
    return rows(filled)


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


def test_a_store_whose_posts_name_one_another_is_sound(
    store: Path, expected: Rows, tmp_path: Path
) -> None:
    assert len(expected) == 37
    before = state(store)
    assert verify(store).findings == []
    assert state(store) == before
    done = repair(store, tmp_path / "new")
    assert (done.found, done.left) == ([], [])
    assert rows(tmp_path / "new") == expected


def test_it_is_sound_when_killed(tmp_path: Path) -> None:
    """Nothing of it is sealed."""
    with timeline.open(tmp_path / "data", OPTIONS) as db:
        db.feeds.publish("ann", {"text": "hello"})
        db.feeds.publish("bob", {"text": "a reply"}, reply="ann/1")
        db.feeds.publish("bob", repost="ann/1")
        copy = copy_as_killed(db, tmp_path / "killed")
    assert verify(copy).findings == []


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_told_and_mended(
    damage: Damage, store: Path, expected: Rows, tmp_path: Path
) -> None:
    damage.do(store)
    check_mended(store, damage.words, tmp_path / "new")
    assert damage.other or rows(tmp_path / "new") == expected
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        sent = db.feeds.publish("ann", {"text": "later"}).seq
        assert db.feeds.publish("cat", {"text": "later"}).seq == 19
        db.feeds.publish("cat", {"text": "so"}, reply=f"ann/{sent}", repost="ann/22")
        db.feeds.publish("gus", repost="ann/3")
    assert verify(tmp_path / "new").findings == []


def texts(path: Path) -> list[str]:
    return [each.text for each in verify(path).findings]


def test_a_row_that_is_missing_is_told_of_once(store: Path) -> None:
    without(REPOST, "cat", 2)(store)
    assert texts(store) == [
        "'bob/2' reposts 'cat/2', and is not among its reposts",
        "the replies, reposts and quotes of 'cat/2' are 1, 0 and 0, and 1, 1 and 0 are noted",
    ]


def test_a_lost_name_costs_no_link(store: Path, expected: Rows, tmp_path: Path) -> None:
    """While the name of a feed is lost, no post is told of that names one of its posts."""
    one("state", b"n@feed:ann", cut)(store)
    assert not [each for each in texts(store) if "ann/" in each]
    done = repair(store, tmp_path / "new")
    assert not [each.text for each in done.found + done.mended if "ann/" in each.text]
    assert rows(tmp_path / "new") == expected


def test_a_feed_whose_names_are_lost_is_called_as_those_say_who_name_its_posts(
    store: Path, expected: Rows, tmp_path: Path
) -> None:
    for name in ("@feed:ann", "@feedevent:ann"):
        without_row(name)(store)
        put(store, "state", b"n" + name.encode(), None)
    done = repair(store, tmp_path / "new")
    assert done.left == []
    assert rows(tmp_path / "new") == expected
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert len(db.timeline("@feed:ann")) == 21
        assert len(db.timeline("@feedevent:ann")) == 1
        assert [name for name in db.timelines("@feed") if b"lost" in name] == []


def test_a_name_that_leads_nowhere_is_taken_out_of_its_post(store: Path, tmp_path: Path) -> None:
    """Else it would lead to whoever is called so later."""
    fields = (b"@time", b"7", b"@reply", b"zoe/3", b"@repost", b"ann/3", b"text", b"zoe/3")
    post("cat", 2, *fields)(store)
    post("cat", 5, b"@time", b"7", b"@repost", b"zoe/1")(store)
    post("cat", 6, b"@time", b"7", b"@repost", b"zoe/2")(store)
    done = repair(store, tmp_path / "new")
    assert [each.text for each in done.lost] == [
        "'cat/2' replies to 'zoe/3', which is not there",
        "'cat/5' reposts 'zoe/1', which is not there (one of 2 such reposts)",
    ]
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        found = {entry.seq: entry for entry in db.timeline("@feed:cat")}
        kept = [item for pair in found[2].fields.items() for item in pair]
        assert kept == [*fields[:2], *fields[4:]]
        assert not {5, 6} & set(found)
        for _ in range(3):
            db.feeds.publish("zoe", {"text": "hello"})
    assert verify(tmp_path / "new").findings == []


def test_of_two_reposts_the_one_in_the_row_stays(store: Path, tmp_path: Path) -> None:
    post("dan", 1, b"@repost", b"ann/3")(store)
    done = repair(store, tmp_path / "new")
    assert done.lost == []
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert [entry.seq for entry in db.timeline("@feed:dan")] == [2, 3, 4]


def test_a_number_that_was_named_is_not_given_out_again(store: Path, tmp_path: Path) -> None:
    post("cat", 2, b"@reply", b"ann/80", b"text", b"x")(store)
    assert repair(store, tmp_path / "new").left == []
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert db.feeds.publish("ann", {"text": "later"}).seq == 81


def test_reactions_that_lost_their_names_stay_with_those_who_have_them(
    store: Path, tmp_path: Path
) -> None:
    without(COUNTS, "ann", 3)(store)
    done = repair(store, tmp_path / "new")
    assert [(each.timeline, each.number) for each in done.lost] == [(b"@feed:ann", 3)]
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert list(db.feeds.reactors("ann", "ann", 3, "lost-0").users) == ["bob", "dan", "eve"]
        assert db.feeds.react("ann", 3, "bob", "lost-0", remove=True) == 2


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--damage-cases")))


SPOILT = [
    *(("state", family) for family in FAMILIES),
    ("state", keys.NAME + b"@feed"),
    ("state", keys.ROW),
    ("state", b"uA"),
    ("segments", b""),
    ("posts", b""),
]


def spoil(path: Path, random: Random) -> list[tuple[str, bytes, str]]:
    """One to eight raw writes to posts and to what leads to them; where, and what."""
    where: list[tuple[str, bytes, str]] = []
    for _ in range(random.choice([1, 1, 2, 4, 8])):
        family, prefix = random.choice(SPOILT)
        if family == "posts":
            where.append((family, named_anew(path, random), ""))
            continue
        done = spoil_one(path, random, family, prefix)
        if done is not None:
            where.append(done)
    return where


def named_anew(path: Path, random: Random) -> bytes:
    """A post names another than it did, and its rows stay."""
    author, seq = random.choice(["cat", "dan", "bob", "ann", "eve"]), random.randrange(1, 12)
    items = [b"@time", b"7"]
    for field in (b"@reply", b"@repost"):
        if random.random() < 0.6:
            name = random.choice([b"ann", b"cat", b"zoe", b"a/b"])
            items += (field, b"%b/%d" % (name, random.choice([1, 2, 3, 10, 30, 10**6])))
    items += random.choice([(), (b"text", b"x")])
    post(author, seq, *items)(path)
    return b"%b/%d" % (author.encode(), seq)


def test_whatever_is_spoilt_is_mended(seed: int, store: Path, tmp_path: Path) -> None:
    where = spoil(store, Random(seed))
    verify(store)
    done = repair(store, tmp_path / "new")
    assert done.left == [], where
    assert verify(tmp_path / "new").findings == [], where
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        for name in list(db.timelines("@feed:")):
            author = name.removeprefix(b"@feed:").decode()
            sent = db.feeds.publish(author, {"text": "on"}).seq
            named = f"{author}/{sent}"
            other = db.feeds.publish("gus", {"text": "so"}, reply=named, repost=named).seq
            db.feeds.publish("gus", repost=named)
            assert db.feeds.react(author, sent, "gus", "like") == 1
            db.feeds.delete("gus", other)
    assert verify(tmp_path / "new").findings == [], where
