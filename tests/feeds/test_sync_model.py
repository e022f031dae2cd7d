"""Devices of readers against the homes that they mirror.

A Hypothesis state machine of the same users, who act as in `test_model`. Each has a device, which
keeps what it is told and reads its home anew when it is told to: after a follow, an unfollow, a
block, a mute or a setting. Whenever it has synced to the end, it must hold all that the home shows,
and nothing that was deleted or is of somebody who is not followed. No post is told of twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.engine.stores import abandon, copy_as_killed
from tests.feeds.acting import USERS, Acting, users
from timeline.embedded.feedpages import FeedSyncEntry

_ANEW = {"follow", "unfollow", "block", "mute", "set"}  # what makes a device read its home


@dataclass
class Mirror:
    """What a device holds, and up to where it was told."""

    cursor: str
    held: dict[str, str] = field(default_factory=dict)  # post → text
    told: set[str] = field(default_factory=set)
    since: int = 0  # how many posts there were when it last read the home
    notes: set[tuple[str, str]] = field(default_factory=set)


class Syncing(Acting):
    def __init__(self) -> None:
        super().__init__()
        self.options = replace(self.options, home_references=12, note_references=12)
        self.db.close()
        self.open()
        self.mirrors: dict[str, Mirror] = {}
        for user in USERS:
            self.mirrors[user] = Mirror("")
            self.read_home(user)

    def read_home(self, user: str) -> None:
        """As a device does that starts: the cursor is that of the first page."""
        mirror = self.mirrors[user]
        mirror.held = {}
        page = self.feeds.home(user, limit=5)
        mirror.cursor = page.position
        mirror.since = len(self.oracle.order)
        while True:
            mirror.held |= {post.name: post.text("text", "") for post in page.posts}
            if not page.cursor:
                return
            page = self.feeds.home(user, limit=5, after=page.cursor)

    @rule(user=users, limit=st.integers(1, 6))
    def sync(self, user: str, limit: int) -> None:
        mirror = self.mirrors[user]
        anew = False
        while True:
            page = self.feeds.sync(user, "phone", after=mirror.cursor, limit=limit)
            assert len(page.entries) <= limit
            if page.resync:
                self.read_home(user)
                break
            mirror.cursor = page.cursor
            for entry in page.entries:
                anew |= self.apply(user, mirror, entry)
            if not page.more:
                break
        if anew:
            self.read_home(user)
        self.check(user, mirror)

    def apply(self, user: str, mirror: Mirror, entry: FeedSyncEntry) -> bool:
        """Whether the home is to be read anew."""
        name = f"{entry.author}/{entry.seq}"
        if entry.kind == "post":
            assert name not in mirror.told
            mirror.told.add(name)
            mirror.held[name] = entry.text("text", "")
        elif entry.kind == "edit":
            mirror.held[name] = entry.text("text", "")
        elif entry.kind == "delete":
            mirror.held.pop(name, None)
        elif entry.kind == "react":
            own = {value.decode() for field, value in entry.fields if field == b"@reaction"}
            assert own == self.oracle.own(user, name)
        elif entry.kind == "note":
            assert entry.text("@kind") in {note.kind for note in self.oracle.notes(user)}
        return entry.kind in _ANEW

    def check(self, user: str, mirror: Mirror) -> None:
        for post in self.oracle.home(user, self.window):
            if not post.plain or self.oracle.order[post.name] > mirror.since:
                assert mirror.held[post.name] == post.text
        for name in mirror.held:
            author, _, _ = name.rpartition("/")
            assert author == user or (user, author) in self.oracle.follows
            assert self.oracle.find(name) is not None

    @rule(author=users, protected=st.booleans())
    def protect(self, author: str, protected: bool) -> None:
        """Nobody is told that what others repost of an author may be seen again."""
        super().protect(author, protected)
        for user in USERS:
            self.read_home(user)

    @rule(user=users)
    def go_on_from_what_was_acknowledged(self, user: str) -> None:
        mirror = self.mirrors[user]
        self.feeds.ack(user, "phone", mirror.cursor)
        page = self.feeds.sync(user, "phone", limit=3)
        assert page == self.feeds.sync(user, "other", after=mirror.cursor, limit=3)

    @rule()
    def seal(self) -> None:
        self.db.compact()

    @rule(limit=st.sampled_from([0, 1, 2, 500]))
    def restart_with_another_limit(self, limit: int) -> None:
        self.db.close()
        self.options = replace(self.options, feed_diffusion_limit=limit)
        self.open()

    @rule()
    def kill(self) -> None:
        self.generation += 1
        copy_as_killed(self.db, self.directory / str(self.generation))
        abandon(self.db)
        self.open()


def test_any_history_leaves_devices_with_what_their_homes_show(model_examples: int) -> None:
    run_state_machine_as_test(
        Syncing,
        settings=settings(
            max_examples=model_examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
