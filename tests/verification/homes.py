"""A store with feeds of every kind, what everybody reads in it, and raw writes to its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import timeline
from tests.verification.damage import change
from tests.verification.damages import gone, id_of
from timeline.embedded.database import Database
from timeline.formats import keys
from timeline.formats.feeds import (
    FOLLOW,
    decode_feed,
    decode_follow,
    decode_home,
    encode_feed,
    encode_follow,
    encode_home,
    feed_key,
    follow_key,
    home_key,
)
from timeline.options import Options

OPTIONS = Options(segment_entries=16, feed_diffusion_limit=5, feed_backfill=4, search=False)
USERS = ["ann", "bob", "cat", "dan", "eve", "fay", "gus", "star"]

Homes = dict[str, Any]


def fill(path: Path) -> None:
    """Feeds of every kind: `ann` is pushed, `star` pulled, `was` was pulled for a while."""
    with timeline.open(path, OPTIONS) as db:
        feeds = db.feeds
        for number in range(6):
            for author in ("ann", "star", "was"):
                feeds.publish(author, {"text": f"old {number}"}, key=f"k{number}")
        everybody = [user for user in USERS if user not in ("ann", "star")]
        for user in everybody[:3]:
            feeds.follow(user, ["ann"])
        publish(db, "first")
        for user in everybody:
            feeds.follow(user, ["star", "was"])
        publish(db, "second")
        for user in ("fay", "gus"):
            feeds.unfollow(user, ["star", "was"])
        publish(db, "third")
        for user in ("fay", "gus"):
            feeds.follow(user, ["star"])
        feeds.unfollow("cat", ["ann"])
        publish(db, "fourth")
        feeds.follow("cat", ["ann"])
        publish(db, "fifth")
        feeds.edit("ann", 8, "ann", {"text": "edited"})
        feeds.delete("was", 9, "-")
        feeds.delete("star", 9, "-")
        db.messaging.create("team", "ann", members=["bob"])
        db.messaging.send("team", "ann", {"text": "hello"})


def publish(db: Database, what: str) -> None:
    for number in range(3):
        for author in ("ann", "star", "was"):
            db.feeds.publish(author, {"text": f"{what} {number}"})


def homes(db: Database) -> Homes:
    """What everybody reads, and what is said of them and of whom they follow."""
    found: Homes = {}
    for user in USERS:
        found[user] = [(post.name, list(post.fields.items())) for post in db.feeds.home(user).posts]
        found[f"{user} follows"] = [each.user for each in db.feeds.following("ann", user).users]
        found[f"{user} is followed"] = [each.user for each in db.feeds.followers("ann", user).users]
        found[f"{user} counts"] = db.feeds.info("ann", user)
    return found


# --- raw writes -----------------------------------------------------------------------------------

Change = Callable[[Any], Any]


def feed(name: str, change_it: Change) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        key = feed_key(id_of(path, f"@feed:{name}"))
        change(path, "state", key, lambda value: encode_feed(change_it(decode_feed(value))))

    return do


def home(user: str, **changes: int) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        key = home_key(id_of(path, f"@home:{user}"))
        change(
            path, "state", key, lambda value: encode_home(decode_home(value)._replace(**changes))
        )

    return do


def follow(user: str, author: str, change_it: Change) -> Callable[[Path], object]:
    def do(path: Path) -> None:
        key = follow_key(id_of(path, f"@home:{user}"), id_of(path, f"@feed:{author}"))
        change(path, "state", key, lambda value: encode_follow(change_it(decode_follow(value))))

    return do


def without(family: bytes, user: str = "", author: str = "") -> Callable[[Path], object]:
    """The row of a feed, a home, a follow or a follower goes."""

    def do(path: Path) -> None:
        key = family
        if author and family != FOLLOW:
            key += keys.number(id_of(path, f"@feed:{author}"))
        if user:
            key += keys.number(id_of(path, f"@home:{user}"))
        if author and family == FOLLOW:
            key += keys.number(id_of(path, f"@feed:{author}"))
        change(path, "state", key, gone)

    return do
