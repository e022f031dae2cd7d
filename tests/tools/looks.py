"""A store of real shape, and `timeline` called in this process."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

import timeline
from timeline_tools.main import main

ROOMS, ENTRIES = 100, 3_000
LARGE, FEW = 10, 300  # the first rooms have ENTRIES each, all others FEW
TOTAL = LARGE * ENTRIES + (ROOMS - LARGE) * FEW
BINARY = b"bin\xff"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def printed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def documents(*arguments: str) -> list[Any]:
    """What `--json` prints, one document or one a line."""
    text = printed(*arguments, "--json")
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in text.splitlines()]


def fill(db: timeline.Database) -> None:
    """57,000 entries in a hundred timelines, ten of which are long, a team with all that makes
    counting hard, and a user with an in-box of several pages.
    """
    for room in range(ROOMS):
        text = f"a quite ordinary message in room {room}"
        length = ENTRIES if room < LARGE else FEW
        entries = [{"n": str(number), "text": text} for number in range(length)]
        db.timeline(f"room:{room:03}").append_many(entries)
    db.timeline("room:000").trim(before=11)
    db.timeline("room:000").set_metadata({"owner": "alice"})
    db.timeline("room:000").set_retention(length=5_000)
    db.timeline(BINARY).append({b"\xff": b"\x00\n\x1b[31m\"q'", b"plain": "已添加".encode()})
    im = db.messaging
    im.create("team", "ann", members=["bob", "carol"], meta={"title": "Us"})
    for number in range(8):
        im.send("team", "ann", {"text": f"nine o'clock & <b>{number}</b>"}, silent=number == 2)
    im.recall("team", 2)
    im.recall("team", 7)
    im.read("bob", "team", 1)
    im.hide("bob", "team", 4, 5)
    im.send("team", "ann", {"text": "bob, come"}, mentions=["bob"])
    im.ack("bob", "phone", im.conversations("bob").position)
    im.send("team", "ann", {"text": "已添加为好友"})
    im.create("busy", "ann", members=["bob"])
    for _ in range(3):
        with db.engine.lock:  # in-boxes of several pages, quickly
            draft = db.engine.begin()
            messages = draft.find(b"@conv:busy")
            inbox = draft.find(b"@user:carol")
            assert messages is not None
            assert inbox is not None
            for _ in range(500):
                draft.notify([inbox.id], messages, 0, 8)
            draft.commit()
        db.flush()
    im.set("bob", "busy", {"@mute": "1"})
    for author in ("zoe", "yan"):
        db.feeds.publish(author, {"text": "before"})
    db.feeds.follow("xia", ["zoe", "yan"])
    for number in range(20):
        db.feeds.publish("zoe", {"text": f"post {number}"})
    db.feeds.edit("zoe", 3, "zoe", {"text": "another"})
    im.search("ann", "nine", wait=20.0)


def refused(*arguments: str) -> str:
    """The one line with which a call is refused, status 1."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line
