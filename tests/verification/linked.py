"""A store in which posts name one another and have reactions, and the rows that say so."""

from __future__ import annotations

from pathlib import Path

import timeline
from tests.verification.damage import pairs
from timeline.commit.draft import Draft
from timeline.embedded.database import Database
from timeline.feeds.frame import Frame
from timeline.feeds.publishing import publish
from timeline.formats.posts import FAMILIES
from timeline.options import Options

OPTIONS = Options(segment_entries=8, search=False)

Rows = dict[bytes, bytes]


def fill(path: Path) -> None:
    """`ann/3` has replies, quotes and reposts, and so has a reply to it. `ann/9` had some, and
    `ann/10` is gone.
    """
    with timeline.open(path, OPTIONS) as db:
        feeds = db.feeds
        for number in range(1, 21):
            feeds.publish("ann", {"text": f"post {number}"})
        feeds.publish("a/b", {"text": "with a slash"})
        feeds.publish("eve", {"text": "names nobody, says @reply ann/3"})
        for number in range(1, 11):
            feeds.publish("cat", {"text": f"reply {number}"}, reply=f"ann/{number % 4 + 1}")
        feeds.follow("bob", ["ann", "cat"])
        feeds.publish("dan", {"text": "to a reply"}, reply="cat/2")
        feeds.publish("dan", {"text": "a quote"}, repost="ann/3")
        feeds.publish("dan", {"text": "a reply and a quote"}, reply="ann/3", repost="a/b/1")
        for user in ("dan", "bob", "ann", "eve"):
            feeds.publish(user, repost="ann/3")
        feeds.publish("bob", repost="cat/2")
        feeds.publish("ann", {"text": "to themselves"}, reply="ann/3")
        gone = feeds.publish("eve", {"text": "soon gone"}, reply="ann/9", repost="ann/9").seq
        feeds.delete("eve", gone)
        feeds.delete("eve", feeds.publish("eve", repost="ann/9").seq)
        feeds.publish("eve", {"text": "of what is gone soon"}, reply="ann/10", repost="ann/10")
        for user in ("bob", "dan", "eve"):
            feeds.react("ann", 3, user, "like")
            feeds.react("ann", 10, user, "like")
        feeds.react("ann", 3, "dan", "wow")
        feeds.react("ann", 9, "dan", "wow")
        feeds.react("ann", 9, "dan", "wow", remove=True)
        feeds.react("ann", 12, "gus", "like")  # who does nothing else
        feeds.delete("ann", 10)
        feeds.edit("cat", 4, "cat", {"text": "edited"})
        publish_together(db)
        for number in range(8):
            feeds.publish("cat", {"text": f"behind them {number}"})


def publish_together(db: Database) -> None:
    """A reply and a quote in one commit: the second has an ordinal."""
    keys = db.messaging.messages.keys

    def work(draft: Draft) -> None:
        for frame in (Frame(reply=b"ann/6"), Frame(repost=b"ann/6")):
            publish(
                draft, b"fay", [b"text", b"x"], keys=keys, options=db.engine.options, frame=frame
            )

    db.engine.commit(work)


def rows(path: Path) -> Rows:
    """Who names a post in a closed store, and who reacted to it; and the counts."""
    return {key: value for family in FAMILIES for key, value in pairs(path, "state", family)}
