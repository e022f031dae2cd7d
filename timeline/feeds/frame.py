"""What is said of a post besides its fields: who sees it, what it answers, whom it names.

Responsibility: check that, and turn it into the fields of the store that hold it.

Rule: most posts have no frame at all, and cost nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from timeline.errors import TooLargeError, UsageError, shown
from timeline.feeds.posts import split_post
from timeline.formats.posts import EVERYBODY, FOLLOWERS, NAMED
from timeline.identity import check_id, check_user

_MOST_MENTIONS: Final = 64
_MOST_TAGS: Final = 32
AUDIENCES: Final = {b"everybody": EVERYBODY, b"followers": FOLLOWERS, b"named": NAMED}


class Frame(NamedTuple):
    """Who may see a post, which post it replies to, which it reposts or quotes (each
    `author/number`, or nothing), whom it mentions, its tags. Nobody gets a note of a silent one.
    """

    audience: bytes = EVERYBODY
    reply: bytes = b""
    repost: bytes = b""
    mentions: Sequence[bytes] = ()
    tags: Sequence[bytes] = ()
    silent: bool = False


def audience_of(word: bytes) -> bytes:
    """Who may see a post, as it is stored. Raises `UsageError`."""
    found = AUDIENCES.get(word)
    if found is None:
        words = b", ".join(AUDIENCES).decode()
        raise UsageError(f"a post is for one of {words}, not for {shown(word)}")
    return found


def checked(frame: Frame) -> Frame:
    """The frame with each mention and tag once. Raises `UsageError`, `TooLargeError`."""
    frame = frame._replace(
        mentions=list(dict.fromkeys(frame.mentions)), tags=list(dict.fromkeys(frame.tags))
    )
    if len(frame.mentions) > _MOST_MENTIONS:
        raise TooLargeError(f"a post mentions at most {_MOST_MENTIONS} users")
    if len(frame.tags) > _MOST_TAGS:
        raise TooLargeError(f"a post has at most {_MOST_TAGS} tags")
    for user in frame.mentions:
        check_user(user)
    for tag in frame.tags:
        check_id(tag, "tag")
    if frame.audience == NAMED and not frame.mentions:
        raise UsageError("a post for those whom it names mentions somebody")
    for name in (frame.reply, frame.repost):
        if name:
            split_post(name)
    return frame


def parts_of(frame: Frame) -> tuple[Sequence[bytes], ...]:
    """What of a frame makes a post another one under the same key."""
    audience, reply, repost, mentions, tags, _ = frame
    said = audience or reply or repost or mentions or tags
    return ([audience, reply, repost], mentions, tags) if said else ()


def stored(frame: Frame) -> list[bytes]:
    """The fields that hold a frame."""
    once = ((b"@for", frame.audience), (b"@reply", frame.reply), (b"@repost", frame.repost))
    items = [item for field, value in once if value for item in (field, value)]
    for user in frame.mentions:
        items += (b"@mentions", user)
    for tag in frame.tags:
        items += (b"@tags", tag)
    return items
