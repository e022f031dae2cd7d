"""Posts as readers get them: who published them, their number, their fields as they are now.

Rule: the fields stay in stored form together with the id, so that a reply copies it as it is.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from timeline.engine.view import View
from timeline.entry import Fields
from timeline.errors import TooLargeError, UsageError, shown
from timeline.feeds.access import find_feed, find_post
from timeline.formats.entries import decode_items
from timeline.identity import check_user

PAGE_BYTES: Final = 4 << 20  # of posts, after which a page ends
_MOST_POSTS: Final = 100  # that one command asks for by name
_NAME: Final = re.compile(rb"(.+)/([1-9][0-9]{0,18})", re.DOTALL)


class Post(NamedTuple):
    """Post `seq` of `author`. `payload` is the stored form of an entry with that number."""

    author: bytes
    seq: int
    payload: bytes

    @property
    def kind(self) -> str:
        return "post"

    @property
    def fields(self) -> Fields:
        return Fields(decode_items(self.payload))


def split_post(name: bytes) -> tuple[bytes, int]:
    """(author, number) of a post, which is written `author/number`. Raises `UsageError`."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"a post is written author/number, as in ann/17, not {shown(name)}")
    return check_user(match[1]), int(match[2])


def get(
    view: View, viewer: bytes, names: list[bytes], most_bytes: int = 64 << 20
) -> list[Post | None]:
    """The posts of these names; None for what is not there. Raises `UsageError`, or
    `TooLargeError`.
    """
    check_user(viewer)
    if len(names) > _MOST_POSTS:
        raise UsageError(f"one command asks for at most {_MOST_POSTS} posts")
    found: list[Post | None] = []
    size = 0
    for author, seq in map(split_post, names):
        feed = find_feed(view, author)
        payload = None if feed is None else find_post(view, feed, seq)
        found.append(None if payload is None else Post(author, seq, payload))
        size += len(payload or b"")
        if size > most_bytes:
            raise TooLargeError(f"these posts exceed {most_bytes} bytes: ask for fewer at a time")
    return found
