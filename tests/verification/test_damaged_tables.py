"""The promise: whatever a table of RocksDB has lost, each answer is right or an error.

A small store with something of everything lies in several tables. A place of one of them is
damaged: a bit turned over, 16 bytes of noise, 4 KiB of nothing. The copy refuses to open, or every
question of the public API is answered as the undamaged store answers it, or with `CorruptError`.
`--damage-cases` tries more places.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rocksdict import Cache

import timeline
from tests.engine.stores import abandon
from tests.verification.damage import pairs, put
from tests.verification.reads import plain, questions
from timeline.embedded.database import Database
from timeline.errors import CorruptError, TimelineError
from timeline.options import Options
from timeline.verification import repair, verify

OPTIONS = Options(
    segment_entries=16,
    diffusion_limit=8,
    receipts_limit=20,
    feed_diffusion_limit=3,
    feed_backfill=5,
    search=False,
    fsync="inline",
    compact_after=10**6,
    write_buffer_bytes=2**22,
)
USERS = ["ann", "bob", "cat", "dan", "user3"]
TIMELINES = ["audit", "many0", "many5"]
CONVERSATIONS = ["team", "crowd", "late", "@direct:3:ann:bob"]
PHASES = 3

Damage = Callable[[bytearray, int, random.Random], None]


def flip(content: bytearray, at: int, draw: random.Random) -> None:
    content[at] ^= 1 << draw.randrange(8)


def noise(content: bytearray, at: int, draw: random.Random) -> None:
    content[at : at + 16] = draw.randbytes(len(content[at : at + 16]))


def nothing(content: bytearray, at: int, _: random.Random) -> None:
    content[at : at + 4096] = bytes(len(content[at : at + 4096]))


KINDS: tuple[Damage, ...] = (flip, noise, nothing)


def fill(path: Path) -> None:
    """Written in phases, each in tables of its own."""
    with timeline.open(path, OPTIONS) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob", "cat"], meta={"title": "Team"})
        im.create("crowd", "ann", members=[f"user{n}" for n in range(12)])
        im.create("late", "ann", members=["bob"])
        im.direct("ann", "bob")
        for user in USERS:
            im.set_user_meta(user, {"name": user})
            im.ack(user, "phone", im.conversations(user).position)
        db.log.move("reader", 0)
        db.timeline("audit").set_metadata({"owner": "ann"})
    for phase in range(PHASES):
        with timeline.open(path, OPTIONS) as db:
            write_phase(db, phase)
            db.engine.seal()
            db.flush()


def write_phase(db: Database, phase: int) -> None:
    im, audit = db.messaging, db.timeline("audit")
    draw = random.Random(phase)
    audit.append_many([{"n": str(n), "pad": draw.randbytes(60).hex()} for n in range(60)])
    for number in range(6):
        db.timeline(f"many{number}").append_many([{"v": f"{number} {n}"} for n in range(6)])
    for number in range(20):
        pad = draw.randbytes(20).hex()
        im.send("team", "ann", {"text": f"{phase} {number} {pad}"}, mentions=["bob"])
        im.send("crowd", "ann", {"text": f"news {number} {pad}"}, key=f"{phase}-{number}")
        im.send("@direct:3:ann:bob", "ann", {"text": f"{number} {pad}"})
        im.send("late", "bob", {"text": f"{number} {pad}"})
    im.send("team", "bob", {"text": "everyone"}, mention_all=True)
    im.edit("team", 4 + 20 * phase, "ann", {"text": "edited"})
    im.recall("team", 5 + 20 * phase, "ann")
    im.hide("bob", "team", 6 + 20 * phase)
    im.set("bob", "team", {"@pin": "1", "draft": f"so {phase}"})
    im.read("bob", "team", 10 + 20 * phase)
    write_feeds(db, phase)
    if phase == 1:
        im.leave("team", users=["cat"])
        im.join("late", users=["cat", "dan"])
        im.clear("ann", "team", 3)
        audit.trim(before=9)
    audit.delete(30 + 40 * phase)
    audit.replace(31 + 40 * phase, {"n": "changed"})


def write_feeds(db: Database, phase: int) -> None:
    """Posts of `bob` are delivered, those of `ann` are pulled."""
    feeds = db.feeds
    pad = random.Random(phase).randbytes(60).hex()
    for number in range(8):
        feeds.publish("ann", {"text": f"{number} {pad}"})
        feeds.publish("bob", {"text": f"{number} {pad}"})
    for user in ("bob", "cat", "dan", "user3"):
        feeds.follow(user, ["ann"])
    feeds.follow(["cat", "dan", "user3"][phase], ["bob"])
    feeds.edit("bob", 2 + 8 * phase, "bob", {"text": "edited"})
    feeds.delete("ann", 3 + 8 * phase)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "store"
    fill(path)
    return path


@pytest.fixture(scope="module")
def answers(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What the undamaged store answers."""
    path = Path(shutil.copytree(filled, tmp_path_factory.mktemp("answers") / "store"))
    with timeline.open(path, OPTIONS) as db:
        return {name: answer(ask) for name, ask in every_question(db).items()}


@pytest.fixture(autouse=True)
def no_shared_block_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one store have one identity to RocksDB, whose cache would hide the damage."""
    monkeypatch.setattr("timeline.storage.rocks.block_cache", Cache)


def every_question(db: Database) -> dict[str, Callable[[], object]]:
    return questions(db, TIMELINES, CONVERSATIONS, USERS)


def answer(ask: Callable[[], object]) -> object:
    """What is said, or how it is refused: who was never a member is, for one."""
    try:
        return plain(ask())
    except TimelineError as error:
        return type(error)


def interrogate(db: Database, answers: dict[str, object], where: str) -> int:
    """Ask everything; how much of it was answered by `CorruptError`."""
    damaged = 0
    for name, ask in every_question(db).items():
        found = answer(ask)
        if found is CorruptError:
            damaged += 1
        else:
            assert found == answers[name], f"{name} is another: {where}"
    return damaged


@pytest.mark.timeout(0)
@pytest.mark.parametrize("read_only", [False, True])
def test_whatever_is_damaged_every_answer_is_right_or_an_error(
    filled: Path,
    answers: dict[str, object],
    tmp_path: Path,
    damage_cases: int,
    read_only: bool,
) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    tables = sorted((filled / "rocks").glob("*.sst"))
    cases = damage_cases // 4 if read_only else damage_cases
    told = 0
    for number in range(20 * cases):
        if number >= cases and told:
            break  # few cases may all hit what nobody reads: then there are some more
        table, kind = tables[number % len(tables)], draw.choice(KINDS)
        path = Path(shutil.copytree(filled, tmp_path / "copy"))
        content = bytearray(table.read_bytes())
        at = draw.randrange(len(content))
        kind(content, at, draw)
        (path / "rocks" / table.name).write_bytes(content)
        where = f"{kind.__name__} at {at} of {table.name}, seed {seed}"
        try:
            db = timeline.open(path, OPTIONS, read_only=read_only)
        except CorruptError:
            told += 1
        else:
            told += bool(interrogate(db, answers, where))
            abandon(db)
        shutil.rmtree(path)
    assert told, f"no damage was met at all: seed {seed}"


@pytest.mark.parametrize("conversation", ["team", "late"])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_a_row_that_is_lost_without_a_word_is_missed_where_it_was(
    filled: Path, answers: dict[str, object], tmp_path: Path, conversation: str, place: int
) -> None:
    """Whatever made RocksDB forget it: messages have no holes, so that one in them is damage."""
    path = Path(shutil.copytree(filled, tmp_path / "copy"))
    name = b"n@conv:" + conversation.encode()
    timeline_id = dict(pairs(path, "state", name))[name]
    segments = [key for key, _ in pairs(path, "segments", timeline_id)]
    put(path, "segments", segments[place - (place < 0)], None)  # the head is the last one's
    with timeline.open(path, OPTIONS) as db:
        assert interrogate(db, answers, f"segment {place} of {conversation} is gone")
        with pytest.raises(CorruptError, match=f"@conv:{conversation}.*has gone from the disk"):
            db.messaging.history(conversation)
        with pytest.raises(CorruptError, match="has gone from the disk"):
            db.messaging.history(conversation, reverse=True)


def entries_of(db: Database) -> dict[bytes, dict[int, object]]:
    """Every entry of every timeline, by name and number."""
    return {
        name: {entry.seq: list(entry.fields.items()) for entry in db.timeline(name)}
        for prefix in ("", "@conv:", "@event:", "@feed:", "@feedevent:")
        for name in db.timelines(prefix)
    }


@pytest.mark.timeout(0)
def test_whatever_table_is_lost_what_is_repaired_is_sound_and_holds_the_rest(
    filled: Path, tmp_path: Path, damage_cases: int
) -> None:
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    tables = sorted((filled / "rocks").glob("*.sst"))
    with timeline.open(filled, OPTIONS, read_only=True) as db:
        whole, head = entries_of(db), db.log.head
    for _ in range(damage_cases // 4):
        table, other = draw.sample(tables, 2)
        contents = {"missing": None, "empty": b"", "another's": other.read_bytes()}
        kind = draw.choice(list(contents))
        where = f"{table.name} is {kind}, seed {seed}"
        path = Path(shutil.copytree(filled, tmp_path / "copy"))
        damaged = path / "rocks" / table.name
        damaged.unlink()
        content = contents[kind]
        if content is not None:
            damaged.write_bytes(content)
        done = repair(path, tmp_path / "new")
        assert done.left == [], where
        assert verify(tmp_path / "new").findings == [], where
        told = {each.timeline for each in done.lost}
        with timeline.open(tmp_path / "new", OPTIONS) as db:
            assert db.log.head == head, where
            kept = entries_of(db)
        for name, found in whole.items():
            lost = found.keys() - kept.get(name, {}).keys()
            # An edit that is lost leaves what was there before; its loss is of another family.
            assert not lost or name in told or name not in kept, f"{name!r} {lost}: {where}"
        shutil.rmtree(path)
        shutil.rmtree(tmp_path / "new")


def tables_of(path: Path, family: str) -> list[Path]:
    """RocksDB writes down in each table whose it is."""
    tables = sorted((path / "rocks").glob("*.sst"))
    return [each for each in tables if family.encode() in each.read_bytes()[-2_000:]]


def test_damage_is_told_by_whom_it_concerns(filled: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(filled, tmp_path / "copy"))
    table = tables_of(path, "segments")[0]
    content = bytearray(table.read_bytes())
    content[100] ^= 1
    table.write_bytes(content)
    (told,) = (each for each in verify(path).findings if each.family == "files")
    assert told.lost
    assert "entries of " in told.text
    assert "conversation '" in told.text


def test_in_boxes_that_are_lost_are_made_again_and_nobody_loses_a_message(
    filled: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copytree(filled, tmp_path / "copy"))
    for table in tables_of(path, "inboxes"):
        table.write_bytes(table.read_bytes()[:-300])
    done = repair(path, tmp_path / "new")
    assert done.lost == []
    (told,) = (each for each in done.remade if each.family == "files")
    assert "what reached user 'ann', user 'bob'" in told.text
    assert "no message is lost" in told.text
    assert "\n" not in told.text
    with timeline.open(filled, OPTIONS, read_only=True) as whole:
        expected = entries_of(whole)
    with timeline.open(tmp_path / "new", OPTIONS) as db:
        assert entries_of(db) == expected
        assert db.messaging.sync("bob", "phone").resync
