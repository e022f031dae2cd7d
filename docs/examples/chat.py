"""A chat in one process: two users, of whom Bob has a phone and a laptop.

It shows how a device keeps up: it pulls what is new behind its cursor, shows it, and acknowledges
it. A new device lists the conversations first. Then come unread counts, reading, an edit, a recall
and a search.

    .venv/bin/python docs/examples/chat.py
"""

from __future__ import annotations

import tempfile

import timeline
from timeline.messaging.pages import SyncEntry


class Device:
    """One device of a user. A real one keeps what it is told, by conversation and number."""

    def __init__(self, db: timeline.Database, user: str, name: str) -> None:
        self.im = db.messaging
        self.user = user
        self.name = name

    def catch_up(self) -> None:
        more = True
        while more:
            page = self.im.sync(self.user, self.name)
            if page.resync:  # new, or away for too long: the list, then what follows it
                cursor = self.show_list()
            else:
                for entry in page.entries:
                    print(f"  {self.user}'s {self.name}: {described(entry)}")
                cursor = page.cursor
            self.im.ack(self.user, self.name, cursor)  # only now: what comes twice does no harm
            more = page.more or page.resync

    def show_list(self) -> str:
        """Show all conversations; return from where to sync."""
        page = self.im.conversations(self.user)
        position = page.position
        while True:
            for row in page.conversations:
                print(f"  {self.user}'s {self.name}: {row.id}, {row.unread} unread")
            if not page.cursor:
                return position
            page = self.im.conversations(self.user, after=page.cursor)


def described(entry: SyncEntry) -> str:
    if entry.kind in ("message", "edit"):
        text = entry.text("text", "(recalled)")  # a message comes as it is now
        return f"{entry.kind} {entry.seq} from {entry.text('@from')}: {text}"
    return f"{entry.kind} {entry.seq}"


def play(db: timeline.Database) -> None:
    im = db.messaging
    alice = Device(db, "alice", "phone")
    phone, laptop = Device(db, "bob", "phone"), Device(db, "bob", "laptop")

    print("Alice creates a group. Each device is new, so it lists what there is.")
    im.create("team", "alice", members=["bob"])
    for device in (alice, phone, laptop):
        device.catch_up()

    print("They talk. The key makes it safe to send again when an answer was lost.")
    im.send("team", "alice", {"text": "Lunch at noon?"}, key="a1")
    again = im.send("team", "alice", {"text": "Lunch at noon?"}, key="a1")
    print(f"  message {again.seq} is a {again.status}")
    print(f"  Bob has {im.unread('bob')} unread")
    phone.catch_up()

    print("Bob reads on the phone and answers. His laptop hears of both.")
    im.read("bob", "team", 1)
    im.send("team", "bob", {"text": "明天见"}, key="b1")
    print(f"  Bob has {im.unread('bob')} unread, Alice {im.unread('alice')}")
    laptop.catch_up()

    print("Alice corrects her message, Bob takes his back.")
    im.edit("team", 1, "alice", {"text": "Lunch at one?"})
    im.recall("team", 2, "bob")
    alice.catch_up()
    print(f"  Alice has {im.unread('alice')} unread")

    print("A search finds what is there now: message 2 (明天见) was recalled, so it is not found.")
    for query in ("lunch", "明天"):
        hits = im.search("bob", query, wait=4.0).hits
        print(f"  {query}: {', '.join(hit.snippet for hit in hits) or '(nothing found)'}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory, timeline.open(directory) as opened:
        play(opened)
