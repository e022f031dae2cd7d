"""Watches: whether a timeline is still as a client saw it, for WATCH.

Rule: whatever changes a timeline changes its mark: an entry appended or deleted, a trim (also by
retention), a new head, new metadata or retention, its deletion, and another timeline made under its
name. The mark of a name without a timeline changes when a timeline of that name was made and
deleted again. The engine remembers such names for a while. After that, the name counts as changed.

A mark is taken of what is staged, as a write sees it. The reply to WATCH leaves when that is
applied. So the client then reads what was marked, or something newer, and EXEC notices that.
"""

from __future__ import annotations

from typing import NamedTuple

from timeline.commit.dropped import DroppedNames
from timeline.engine.view import View
from timeline.lsm.ranges import Extent


class Mark(NamedTuple):
    id: int  # of the timeline, 0 where there is none
    extent: Extent | None
    described: int  # a hash of its metadata and retention
    drops: int  # timelines deleted until then, of whatever name


def mark(view: View, dropped: DroppedNames, name: bytes) -> Mark:
    """What there is under a name now."""
    timeline = view.find(name)
    if timeline is None:
        return Mark(0, None, 0, dropped.count)
    described = hash((tuple(view.metadata(timeline).items()), view.retention(timeline)))
    return Mark(timeline.id, view.extent(timeline), described, dropped.count)


def changed(view: View, dropped: DroppedNames, name: bytes, then: Mark) -> bool:
    """Whether the name, or what is under it, has changed since."""
    now = mark(view, dropped, name)
    return now[:3] != then[:3] or (not now.id and dropped.holds_since(name, then.drops))
