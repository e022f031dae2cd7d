"""A store in which users mute, block and ask one another, and what they see of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import timeline
from tests.verification.damage import change, pairs
from tests.verification.damages import id_of
from tests.verification.homes import OPTIONS, Change
from timeline.embedded.database import Database
from timeline.errors import NoPermissionError, NotFoundError
from timeline.formats.feeds import (
    BLOCK,
    FIELDS,
    REQUEST,
    TIE,
    TieRow,
    decode_tie,
    encode_tie,
    listed_key,
    tie_key,
)

USERS = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "new", "pro"]
FAMILIES = (TIE, REQUEST, BLOCK, FIELDS)

Rows = dict[bytes, bytes]


class Answers(NamedTuple):
    """What there is between users, by name: relations without blocks, blocks, lists of users, and
    what is read of an author.
    """

    relations: dict[str, tuple[bool, ...]]
    blocks: set[str]
    lists: dict[str, list[str]]
    authors: dict[str, Any]


def fill(path: Path) -> None:
    """Ann blocks four users, of whom one blocks her and one has neither posts nor a home before.
    Three ask to follow `pro`, who is protected. Fay only mutes, and follows nobody.
    """
    with timeline.open(path, OPTIONS) as db:
        feeds = db.feeds
        db.messaging.create("team", "ann", members=["new"])
        for user in USERS:
            if user not in ("fay", "new"):
                for number in range(4):
                    feeds.publish(user, {"text": f"{user} {number}"})
        feeds.follow("bob", ["ann", "cat", "eve"])
        feeds.follow("ann", ["bob", "gus"])
        feeds.follow("gus", ["ann"])
        feeds.follow("cat", ["pro"])
        feeds.set("pro", "pro", {"@protected": "1", "@pin": "2", "name": "Pro"})
        feeds.set("ann", "ann", {"@pin": "3", "name": "Ann", "site": "x"})
        feeds.set("eve", "pro", {"@mute": "1"})
        for user in ("dan", "eve", "gus"):
            feeds.follow(user, ["pro"])
        feeds.block("ann", ["gus", "eve", "new", "dan"])
        feeds.block("eve", ["ann"])
        feeds.set("bob", "gus", {"@mute": "1"})
        feeds.block("gus", ["bob"])
        feeds.set("bob", "cat", {"@mute": "1", "@reposts": "0"})
        feeds.set("fay", "ann", {"@mute": "1"})
        feeds.block("dan", ["bob"])
        feeds.unblock("dan", ["bob"])
        for user in ("ann", "pro", "cat"):
            feeds.publish(user, {"text": "later"})


def answers(db: Database) -> Answers:
    feeds = db.feeds
    found = Answers({}, set(), {}, {})
    for user in USERS:
        for other, relation in zip(USERS, feeds.relation(user, USERS), strict=True):
            found.relations[f"{user} {other}"] = relation[:-1]
            if relation.blocked:
                found.blocks.add(f"{user} {other}")
        for ask in (feeds.blocked, feeds.requests):
            page = ask(user)
            found.lists[f"{user} {ask.__name__}"] = sorted(each.user for each in page.users)
            assert page.total == len(page.users)
        found.lists[f"{user} home"] = names_of(db, user)
        for other in USERS:
            try:
                info = feeds.info(user, other)
                profile = [post.name for post in feeds.profile(user, other).posts]
            except (NoPermissionError, NotFoundError) as error:
                found.authors[f"{user} {other}"] = str(error)
                continue
            unblocked = info.relation._replace(blocked=False)
            found.authors[f"{user} {other}"] = (info._replace(relation=unblocked), profile)
    return found


def names_of(db: Database, user: str) -> list[str]:
    return [post.name for post in db.feeds.home(user).posts]


def rows(path: Path) -> Rows:
    return {key: value for family in FAMILIES for key, value in pairs(path, "state", family)}


def ids(path: Path, user: str, author: str) -> tuple[int, int]:
    return id_of(path, f"@home:{user}"), id_of(path, f"@feed:{author}")


def key_of(path: Path, user: str, author: str) -> bytes:
    return tie_key(*ids(path, user, author))


def tie_of(path: Path, user: str, author: str) -> TieRow:
    key = key_of(path, user, author)
    return decode_tie(dict(pairs(path, "state", key))[key])


def place_of(path: Path, family: bytes, user: str, author: str, lsn: int = 0) -> bytes:
    """The key of a row in the list of blocks or of requests; that of the tie without a commit."""
    home, feed = ids(path, user, author)
    lsn = lsn or tie_of(path, user, author).lsn
    if family == BLOCK:
        return listed_key(family, home, lsn, feed)
    return listed_key(family, feed, lsn, home)


def change_tie(path: Path, user: str, author: str, changed: Change) -> None:
    key = key_of(path, user, author)
    change(path, "state", key, lambda value: encode_tie(changed(decode_tie(value))))
