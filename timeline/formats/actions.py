"""Kinds of references in a home besides those to posts: what its owner did, for their devices.

Rule: such a reference says what was done and to whom, not with what result. Whoever reads it is
told what is so now.

    follow, unfollow, request, block, mute, set    timeline: the feed of the author, number 0
    seen                                           timeline: the home itself, number 0
    react                                          timeline and number of the post
"""

from __future__ import annotations

from typing import Final

FOLLOW: Final = 35
UNFOLLOW: Final = 36
REQUEST: Final = 37
BLOCK: Final = 38
MUTE: Final = 39
SET: Final = 46
SEEN: Final = 47
REACT: Final = 48
NOTE: Final = 49  # of no reference: a device is told of one in the in-box of notes by this name
KINDS: Final = {
    FOLLOW: "follow",
    UNFOLLOW: "unfollow",
    REQUEST: "request",
    BLOCK: "block",
    MUTE: "mute",
    SET: "set",
    SEEN: "seen",
    REACT: "react",
}
