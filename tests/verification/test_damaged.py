"""The promise: `verify` finds damage of every kind and says where, without changing a byte;
`repair` makes a sound store of what is left, and says what is lost.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

import timeline
from tests.verification.damage import fill, flipped, log_files, pairs, put, state
from tests.verification.damages import DAMAGES, Damage, row_of
from timeline.embedded.database import Database
from timeline.errors import CorruptError
from timeline.storage.rocks import FAMILIES
from timeline.verification import repair, verify


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--damage-cases")))


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filled") / "data"
    fill(path)
    return path


@pytest.fixture
def store(filled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(filled, tmp_path / "data"))


def test_a_sound_store_has_no_findings_and_is_left_as_it_is(store: Path) -> None:
    before = state(store)
    report = verify(store, index="whole")
    assert report.findings == []
    assert report.sound
    assert report.documents == 60 + 42, "messages and posts"
    assert state(store) == before


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_found_and_mended(damage: Damage, store: Path, tmp_path: Path) -> None:
    damage.do(store)
    before = state(store)
    report = verify(store, index="whole")
    assert not report.sound
    assert not damage.family or damage.family in {each.family for each in report.findings}
    assert all(each.text and "timeline-verify" not in each.text for each in report.findings)
    assert not [each.text for each in report.findings if "b'@" in each.text], "as Python has it"
    done = repair(store, tmp_path / "repaired")
    assert state(store) == before, "neither changes a byte of the damaged store"
    assert done.left == []
    assert verify(tmp_path / "repaired").findings == []
    with timeline.open(tmp_path / "repaired", create=False) as db:
        for name in db.timelines():
            assert list(db.timeline(name)) is not None
        for user in ("ann", "bob"):
            if f"@user:{user}".encode() in set(db.timelines("@user:")):
                db.messaging.conversations(user)
                assert db.messaging.sync(user, "new").resync
        db.timeline("audit").append({"goes": "on"})
    assert verify(tmp_path / "repaired").findings == []


def spoil(path: Path, random: Random) -> list[tuple[str, bytes]]:
    """One to twenty raw writes to any rows, or to the log; where."""
    where: list[tuple[str, bytes]] = []
    for _ in range(random.choice([1, 1, 2, 5, 20])):
        family = random.choice([*FAMILIES, "state", "state", "log"])
        if family == "log":
            where.append((family, spoil_log(path, random)))
            continue
        found = pairs(path, family)
        if not found:
            continue
        key, value = random.choice(found)
        other, swapped_in = random.choice(found)
        at = random.randrange(len(value) + 1)
        kind = random.choice(["flip", "remove", "swap", "random", "cut"])
        if kind == "swap":
            put(path, family, other, value)
        put(
            path,
            family,
            key,
            {
                "flip": value[:at] + flipped(value[at:]) if value[at:] else None,
                "remove": None,
                "swap": swapped_in,
                "random": random.randbytes(at),
                "cut": value[:at],
            }[kind],
        )
        where.append((family, key))
    return where


def spoil_log(path: Path, random: Random) -> bytes:
    """Overwrite a few bytes of a file of the log that are used; which."""
    (file,) = log_files(path)
    content = bytearray(file.read_bytes())
    at = random.randrange(len(content.rstrip(b"\0")))
    noise = random.randbytes(random.choice([1, 1, 8, 700]))
    content[at : at + len(noise)] = noise
    file.write_bytes(content)
    return f"{len(noise)} at {at}".encode()


def test_whatever_is_spoilt_is_mended(seed: int, store: Path, tmp_path: Path) -> None:
    where = spoil(store, Random(seed))
    verify(store)
    done = repair(store, tmp_path / "new")
    assert done.left == [], where
    assert verify(tmp_path / "new").findings == [], where
    with timeline.open(tmp_path / "new", create=False, search=False) as db:
        for name in [*db.timelines(), *db.timelines("@conv:"), *db.timelines("@event:")]:
            assert len(list(db.timeline(name))) == len(db.timeline(name)), where
        for name in list(db.timelines("@conv:")):
            db.messaging.send(name.removeprefix(b"@conv:"), "@system", {"text": "on"})
        for name in list(db.timelines("@user:")):
            user = name.removeprefix(b"@user:")
            db.messaging.conversations(user)
            db.messaging.sync(user, "new")
        read_feeds(db)
    assert verify(tmp_path / "new").findings == [], where


def read_feeds(db: Database) -> None:
    """All feeds and homes, to their ends; and publish a post in each."""
    for name in list(db.timelines("@feed:")):
        author = name.removeprefix(b"@feed:")
        sent = db.feeds.publish(author, {"text": "on"})
        assert db.feeds.profile(author, author).posts[0].seq == sent.seq
        for reader in db.feeds.followers(author, author).users:
            posts = db.feeds.home(reader.user).posts
            assert any((each.author, each.seq) == (author.decode(), sent.seq) for each in posts)
    for name in list(db.timelines("@home:")):
        user = name.removeprefix(b"@home:")
        followed = {each.user for each in db.feeds.following(user, user).users} | {user.decode()}
        found = [(each.author, each.seq) for each in db.feeds.home(user, limit=1_000).posts]
        assert len(set(found)) == len(found)
        assert {author for author, _ in found} <= followed


def test_an_index_that_may_not_be_read_is_told(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("timeline.verification.checks.index.os.access", lambda *_: False)
    (finding,) = verify(store).findings
    assert finding.family == "index"
    assert "may not be read by this user" in finding.text


def test_a_row_that_promises_too_much_stops_nobody_but_its_readers(store: Path) -> None:
    """Retention comes upon it by itself."""
    row_of("audit", floor=5_000)(store)
    with timeline.open(store, fsync="inline", retention_check_ms=1) as db:
        for _ in range(20):
            db.engine.work()
        db.timeline("other").append({"v": "new"})
        with pytest.raises(CorruptError, match="'audit' has fewer entries"):
            db.timeline("audit").trim(length=1_000)
