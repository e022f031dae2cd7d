"""What damage affects: what a range of keys that cannot be read may have held, in words for people.

Rule: it names timelines, conversations and users, never keys.

    it may have held entries of conversation team, timeline audit

It says where to look, and whether anything can be lost there. What is lost of each, the checks say
that miss it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from timeline.errors import CorruptError, shown
from timeline.formats import conversations, feeds, keys, notes, posts
from timeline.formats.names import CONVERSATIONS, EVENTS, FEED_EVENTS, FEEDS, HOMES, NOTES, USERS
from timeline.formats.rows import INBOX, decode_row
from timeline.storage.rocks import FORMER_LOG, INBOXES, META, PATCHES, SEGMENTS, STATE
from timeline.verification.snapshot.snapshot import Snapshot
from timeline.verification.snapshot.walk import LAST

_MOST_NAMED: Final = 5  # timelines, conversations or users
_DERIVED: Final = (FORMER_LOG, INBOXES)
_STATE: Final = {
    keys.AUDIENCE: "who gets which messages",
    keys.COUNT: "how many timelines there are",
    keys.DELETED: "names of deleted timelines",
    keys.DELETIONS: "names of deleted timelines",
    keys.META: "metadata",
    keys.NAME: "names",
    keys.RETENTION: "retentions",
    keys.ROW: "rows of timelines",
    conversations.CALLED: "mentions of everybody",
    conversations.CONVERSATION: "conversations",
    conversations.DEVICE: "devices",
    conversations.FLOOR: "deleted conversations",
    conversations.GENERATION: "idempotency keys",
    conversations.GRAVE: "deleted conversations",
    conversations.HIDDEN: "hidden messages",
    conversations.KEY: "idempotency keys",
    conversations.MEMBER: "memberships and read positions",
    conversations.MENTIONED: "mentions",
    conversations.PULLED: "memberships of large conversations",
    conversations.ROSTER: "lists of members",
    conversations.SETTINGS: "settings",
    conversations.UNCOUNTED: "recalled and silent messages",
    feeds.BLOCK: "lists of blocked users",
    feeds.FEED: "feeds",
    feeds.FIELDS: "what authors say of themselves",
    feeds.FOLLOW: "who follows whom",
    feeds.FOLLOWER: "lists of followers",
    feeds.HOME: "how many authors users follow, and how many users they block",
    feeds.REQUEST: "lists of requests to follow",
    feeds.TIE: "mutes, blocks and requests to follow",
    notes.GROUP: "notes of what others did",
    notes.SEEN: "what users have seen",
    posts.COUNTS: "how many replies, reposts, quotes and reactions posts have",
    posts.QUOTE: "lists of quotes",
    posts.REACTION: "reactions to posts",
    posts.REPLY: "lists of replies",
    posts.REPOST: "lists of reposts",
}
_CALLED: Final = {
    CONVERSATIONS: "conversation",
    EVENTS: "events of",
    USERS: "user",
    FEEDS: "feed",
    FEED_EVENTS: "events of feed",
    HOMES: "home of",
    NOTES: "notes of",
}


def may_lose(family: str) -> bool:
    """Whether content is gone for good when rows of a family are."""
    return family not in _DERIVED


def affected(snapshot: Snapshot, family: str, start: bytes, stop: bytes | None) -> str:
    """What the keys of `family` from `start` up to `stop` (None: to its end) may have held."""
    if family == FORMER_LOG:
        return "it may have held what followers of the log read; nothing sealed is lost with it"
    if family == META:
        return "it may have held what the store says of itself, and consumers of the log"
    if family == STATE:
        return f"it may have held {_listed(_kinds(start, stop or LAST))}"
    low, high = _id(start), _id(stop or LAST)
    if family == INBOXES:
        names = _names(snapshot, low, high, lambda kind: kind == INBOX)
        return (
            f"it may have held what reached {_listed(names)}; no message is lost with it and no "
            "post, and their devices start over"
        )
    assert family in (SEGMENTS, PATCHES)
    names = _names(snapshot, low, high, lambda kind: kind != INBOX)
    what = "entries" if family == SEGMENTS else "edits and deletions of entries"
    return f"it may have held {what} of {_listed(names)}"


def _id(key: bytes) -> int:
    return int.from_bytes(key[:8].ljust(8, b"\0"), "big")


def _names(snapshot: Snapshot, low: int, high: int, chosen: Callable[[int], bool]) -> Iterator[str]:
    """The timelines from id `low` to `high` of a chosen kind, as far as their rows can be read."""
    for key, value in snapshot.scan(keys.ROW):
        if not low <= _id(key[1:]) <= high:
            continue
        try:
            row = decode_row(value)
        except CorruptError:
            continue
        if chosen(row.kind):
            yield _called(row.name)


def _called(name: bytes) -> str:
    for prefix, what in _CALLED.items():
        if name.startswith(prefix):
            return f"{what} {shown(name[len(prefix) :])}"
    return f"timeline {shown(name)}"


def _kinds(start: bytes, stop: bytes) -> Iterator[str]:
    found = [
        what
        for prefix, what in sorted(_STATE.items())
        if prefix < stop and keys.successor(prefix) > start
    ]
    yield from dict.fromkeys(found)


def _listed(names: Iterator[str]) -> str:
    """The first names, and how many more there are."""
    found: list[str] = []
    more = 0
    for name in names:
        if len(found) < _MOST_NAMED:
            found.append(name)
        else:
            more += 1
    if not found:
        return "nothing that is still known"
    return ", ".join(found) + (f" and {more:,} more" if more else "")
