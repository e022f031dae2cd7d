"""Where a verb looks: the same reads of a data directory or of a live daemon.

Rule: a verb says what it wants once, and is given plain maps, lists and bytes whichever it was
given. A directory is opened read only, so looking at it changes nothing, and it may be in use. What
has no end is read a page at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from timeline.formats.keys import MAX

PAGE_ITEMS: Final = 1_000  # entries, commits or names that are read at once

Facts = dict[str, Any]  # what INSPECT tells, by its names


class Listed(NamedTuple):
    name: bytes
    first: int
    head: int
    length: int


class Line(NamedTuple):
    """An entry as it is shown. `time` is 0 where it is not known: references of in-boxes."""

    id: str
    time: int
    fields: list[tuple[bytes, bytes]]


class Commit(NamedTuple):
    """A commit of the log; a change is its kind, the name of a timeline, and numbers."""

    lsn: int
    time: int
    changes: list[tuple[str, bytes, list[int]]]


class Found(NamedTuple):
    """A hit; the matches in `snippet`, which is HTML, are between `<b>` and `</b>`."""

    where: bytes
    id: str
    fields: list[tuple[bytes, bytes]]
    snippet: str


class Hits(NamedTuple):
    total: int
    exact: bool
    hits: list[Found]
    cursor: str


class Bounds(NamedTuple):
    """What of a timeline: numbers (LSNs of an in-box) and times, all inclusive."""

    first: int = 0
    last: int = MAX
    since: int | None = None
    until: int | None = None


class Query(NamedTuple):
    """What is searched for; by a `user`, or with None by who may see everything."""

    text: str
    user: bytes | None = None
    conversation: bytes | None = None
    sender: bytes | None = None
    timelines: tuple[bytes, ...] = ()
    since: int | None = None
    until: int | None = None
    limit: int = 20
    after: str = ""
    wait: float = 0.0


class Source(Protocol):
    def store(self) -> Facts: ...
    def timeline(self, name: bytes) -> Facts: ...
    def segment(self, name: bytes, number: int) -> Facts: ...
    def conversation(self, name: bytes) -> Facts: ...
    def members(self, name: bytes, limit: int) -> list[tuple[str, str, int]]:
        """User, role and time of joining, admins first."""

    def user(self, name: bytes) -> Facts: ...
    def timelines(self, prefix: bytes) -> Iterator[Listed]: ...
    def entries(
        self, name: bytes, bounds: Bounds, limit: int | None, *, reverse: bool
    ) -> Iterator[Line]:
        """Raises, before the first, `NotFoundError` or what the daemon says."""

    def entries_after(self, places: Mapping[bytes, str]) -> dict[bytes, list[Line]]:
        """A page of the entries of each timeline behind an id, where there are some; waits a moment
        for some where there are none.
        """

    def head(self) -> int:
        """The LSN of the last commit."""

    def log_start(self, after: int) -> int:
        """`after`, or the lowest LSN behind which the log is still kept."""

    def log(self, after: int, limit: int) -> list[Commit]: ...
    def log_after(self, after: int) -> list[Commit]:
        """As `entries_after`, of the log."""

    def search(self, query: Query) -> Hits: ...
    def stats(self) -> dict[str, Mapping[str, object]]:
        """The figures of INFO, by section."""
