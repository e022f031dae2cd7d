"""The promise: what explains a count agrees with the count, and says what is behind."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import timeline
from tests.engine.stores import SMALL
from timeline.errors import NoPermissionError, NotFoundError, UsageError
from timeline.lsm.ranges import Extent

USERS = [f"user{number}" for number in range(4)]


@pytest.mark.parametrize("seed", range(6))
def test_unread_is_what_its_terms_say_and_what_is_told(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    with timeline.open(tmp_path / "store", SMALL, diffusion_limit=3) as db:
        im = db.messaging
        for name in ("one", "two"):
            im.create(name, USERS[0], members=USERS[1:3], history=draw.choice(("join", "all")))
        for _ in range(150):
            name, user = draw.choice(("one", "two")), draw.choice(USERS)
            head = db.timeline(f"@conv:{name}").head
            seq = draw.randint(1, max(1, head))
            step = draw.choice(("send", "send", "send", "recall", "read", "hide", "clear", "move"))
            try:
                if step == "send":
                    im.send(
                        name, user, {"text": "x"}, silent=draw.random() < 0.2,
                        mentions=draw.sample(USERS[:3], draw.choice((0, 0, 1))),
                    )  # fmt: skip
                elif step == "recall":
                    im.recall(name, seq)
                elif step == "read":
                    im.read(user, name, seq)
                elif step == "hide":
                    im.hide(user, name, seq)
                elif step == "clear" and draw.random() < 0.3:
                    im.clear(user, name, seq)
                elif step == "move":
                    im.join(name, users=[user])
                    if draw.random() < 0.5:
                        im.leave(name, users=[user])
            except (NoPermissionError, NotFoundError, UsageError):
                continue
            for each in USERS:
                check(db, each)


def check(db: timeline.Database, user: str) -> None:
    im = db.messaging
    try:
        facts = im.inspect_user(user)
    except NotFoundError:
        return
    for row in facts.conversations:
        assert row.unread == im.unread(user, row.id)
        assert row.unread == row.above - row.uncounted - row.hidden, row
    listed = {each.id: each for each in im.conversations(user).conversations}
    for row in facts.conversations:
        if row.id in listed:
            assert (listed[row.id].unread, listed[row.id].mentions) == (row.unread, row.mentions)
    extent = db.timeline(f"@user:{user}").extent()
    assert extent == Extent(
        facts.first, facts.head, facts.length, facts.created, facts.floor, facts.length
    )


def test_conversations_come_in_pages(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", SMALL) as db:
        im = db.messaging
        for number in range(7):
            im.create(f"c{number}", "ann")
        im.delete("c3")
        found: list[str] = []
        after = ""
        while True:
            page = im.inspect_user("ann", after=after, limit=3)
            found += [each.id for each in page.conversations]
            after = page.cursor
            if not after:
                break
        assert sorted(found) == ["c0", "c1", "c2", "c4", "c5", "c6"]
        with pytest.raises(UsageError):
            im.inspect_user("ann", after="x")


def test_it_says_which_conversations_are_part_of_the_total(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", SMALL) as db:
        im = db.messaging
        for name, setting in (("plain", None), ("off", "@listed"), ("muted", "@mute")):
            im.create(name, "ann", members=["bob"])
            im.send(name, "ann", {"text": "hi"})
            if setting:
                im.set("bob", name, {setting: "0" if setting == "@listed" else "1"})
        facts = im.inspect_user("bob").conversations
        assert {each.id for each in facts if each.listed} == {"plain", "muted"}
        counted = [each for each in facts if each.listed and not each.muted]
        assert im.unread("bob") == sum(each.unread for each in counted) == 1


def test_how_far_a_device_is_behind(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", SMALL) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"])
        im.ack("bob", "phone", im.conversations("bob").position)
        im.set_device("bob", "tablet", {"model": "flat"})
        for number in range(3):
            im.send("team", "ann", {"text": str(number)})
        db.timeline("other").append({"n": "1"})
        # The acknowledgement is a commit itself, and so is what the tablet was given.
        phone, tablet = im.inspect_user("bob").devices
        assert (phone.device, phone.behind, phone.commits) == ("phone", 3, 6)
        assert (tablet.acked, tablet.behind, tablet.commits) == ("", 0, 0)


def test_what_a_conversation_is_made_of(tmp_path: Path) -> None:
    with timeline.open(tmp_path / "store", SMALL, diffusion_limit=3) as db:
        im = db.messaging
        im.create("team", "ann", members=["bob"], meta={"title": "Us"})
        for number in range(6):
            im.send("team", "ann", {"text": str(number)}, silent=number == 4)
        im.recall("team", 1)
        im.recall("team", 5)
        facts = im.inspect_conversation("team")
        assert (facts.uncounted, facts.recalled, facts.silent) == (2, 2, 0), "a recall hides why"
        assert (facts.diffusion, facts.read_diffused, facts.state) == ("write", [], "whole")
        assert facts.metadata == {b"title": b"Us"}
        im.join("team", users=["carol", "dora", "emil"])
        facts = im.inspect_conversation("team")
        assert (facts.diffusion, facts.members) == ("read", 5)
        assert facts.read_diffused == [[7, 0]]
        with pytest.raises(NotFoundError):
            im.inspect_conversation("nothing")
