"""A store of everything that can be moved, as large as a test wants it."""

from __future__ import annotations

from pathlib import Path

import timeline

TIMELINES = 60
ENTRIES = 50  # in each, where few do
BYTES = bytes(range(256))


def fill(path: Path, entries: int) -> Path:
    """A store of timelines, conversations and feeds of all kinds, `entries` in each timeline."""
    with timeline.open(path, search=False) as db:
        for number in range(TIMELINES):
            handle = db.timeline(f"room:{number:03}")
            handle.append_many([{"from": "ann", "n": str(each)} for each in range(entries)])
            handle.set_metadata({"title": f"房间 {number}"})
        odd = db.timeline(b"odd:\xff\x00\n")
        odd.append_many([{BYTES[:100]: BYTES}, [("n", "1"), ("n", "2")], {"": ""}])
        odd.append({"n": "behind a gap"}, seq=10)
        odd.set_metadata({b"\x80": BYTES})
        odd.set_retention(length=1_000, age_ms=10**12)
        db.timeline("room:001").trim(before=21)
        db.timeline("room:001").delete(30, 40, entries)
        db.timeline("room:002").trim(length=0)
        db.timeline("room:003").replace(5, {"edited": "yes"})
        im = db.messaging
        for number in range(20):
            im.create(f"g{number}", "ann", members=["bob", "carol"])
            for each in range(20):
                im.send(f"g{number}", "ann", {"text": f"{each}"}, key=f"k{each}")
            im.recall(f"g{number}", 3, "ann")
            im.read("bob", f"g{number}", 10)
        for number in range(10):
            db.feeds.publish(f"author{number}", {"text": "before"})
            db.feeds.follow("bob", [f"author{number}"])
            for each in range(10):
                db.feeds.publish(f"author{number}", {"text": f"{each}"}, key=f"k{each}")
            db.feeds.edit(f"author{number}", 3, "-", {"text": "edited"})
            db.feeds.delete(f"author{number}", 4)
    return path
