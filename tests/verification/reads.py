"""Everything that the public API tells of a store, as questions that can be asked again.

Rule: an answer is plain data, so that the same question put to a damaged copy can be held against
it. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from functools import partial
from typing import Any

from timeline.embedded.database import Database
from timeline.entry import Entry

Questions = dict[str, Callable[[], object]]


def plain(found: Any) -> Any:  # noqa: ANN401  whatever the API gives
    """The same without objects, which are told apart by identity."""
    if isinstance(found, Entry):
        return found.seq, found.time, list(found.fields.items())
    if is_dataclass(found) and not isinstance(found, type):
        return {name: plain(value) for name, value in asdict(found).items()}
    if isinstance(found, dict):
        return [(plain(key), plain(value)) for key, value in found.items()]
    if isinstance(found, (str, bytes, int, float)) or found is None:
        return found
    try:
        return [plain(each) for each in found]
    except TypeError:
        return repr(found)


def questions(
    db: Database, timelines: list[str], conversations: list[str], users: list[str]
) -> Questions:
    """One for each thing that can be asked, by its name."""
    asked: Questions = {
        "names": lambda: list(db.timelines()),
        "own names": lambda: list(db.timelines("@")),
        "log": lambda: db.log.read(limit=10**6),
        "consumers": db.log.checkpoints,
    }
    for name in timelines:
        handle = db.timeline(name)
        asked |= {
            f"{name} range": partial(_list, handle.range),
            f"{name} back": partial(_list, partial(handle.range, reverse=True)),
            f"{name} middle": partial(_list, partial(handle.range, first=7, last=60, limit=20)),
            f"{name} extent": handle.extent,
            f"{name} first": handle.first,
            f"{name} latest": handle.latest,
            f"{name} metadata": handle.metadata,
            f"{name} retention": handle.retention,
        }
    for conversation in conversations:
        asked |= _of_conversation(db, conversation, users)
    for user in users:
        asked |= _of_user(db, user) | _of_feeds(db, user)
    return asked


def _list(read: Callable[..., Any]) -> list[object]:
    return list(read())


def _of_conversation(db: Database, conversation: str, users: list[str]) -> Questions:
    im = db.messaging
    asked: Questions = {
        f"{conversation} members": partial(im.members, conversation),
        f"{conversation} info": partial(im.info, conversation),
        f"{conversation} meta": partial(im.meta, conversation),
        f"{conversation} events": partial(im.events, conversation),
    }
    for seq in (1, 12):
        asked[f"{conversation} receipts {seq}"] = partial(im.receipts, conversation, seq)
    for actor in ("-", *users):
        history = partial(im.history, conversation, actor)
        asked |= {
            f"{conversation} history {actor}": history,
            f"{conversation} back {actor}": partial(history, reverse=True),
            f"{conversation} newest {actor}": partial(history, reverse=True, limit=3),
            f"{conversation} oldest {actor}": partial(history, limit=3),
            f"{conversation} events {actor}": partial(im.events, conversation, actor),
        }
    return asked


def _of_user(db: Database, user: str) -> Questions:
    im = db.messaging

    def synced() -> list[object]:
        """Every page behind what the device acknowledged."""
        found: list[object] = []
        after: str | None = None
        while True:
            page = im.sync(user, "phone", after=after, limit=10)
            found.append(page)
            if not page.more:
                return found
            after = page.cursor

    return {
        f"{user} sync": synced,
        f"{user} conversations": partial(im.conversations, user),
        f"{user} unread": partial(im.unread, user),
        f"{user} devices": partial(im.devices, user),
        f"{user} meta": partial(im.user_meta, user),
    }


def _of_feeds(db: Database, user: str) -> Questions:
    feeds = db.feeds

    def home() -> list[object]:
        """Every page."""
        found: list[object] = []
        page = feeds.home(user, limit=10)
        while page.cursor:
            found += page.posts
            page = feeds.home(user, after=page.cursor, limit=10)
        return [*found, *page.posts]

    return {
        f"{user} home": home,
        f"{user} profile": partial(feeds.profile, user, user),
        f"{user} followers": partial(feeds.followers, user, user),
        f"{user} following": partial(feeds.following, user, user),
        f"{user} as an author": partial(feeds.info, user, user),
        f"{user} requests": partial(feeds.requests, user),
        f"{user} blocked": partial(feeds.blocked, user),
        f"{user} relations": partial(feeds.relation, user, ["zoe", "star", "bob", "xia"]),
    }
