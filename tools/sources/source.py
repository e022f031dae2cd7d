"""What a verb can read, the same of a data directory and of a live daemon.

Rule: results are plain maps, lists and bytes, the same from both. A directory is opened read-only,
so reading changes nothing in it, and it may be in use. Long results are read a page at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, Protocol

from timeline.formats.keys import MAX

PAGE_ITEMS: Final = 1_000  # entries, commits or names that are read in one go

Facts = dict[str, Any]  # the answer of an INSPECT command


class TimelineSpan(NamedTuple):
    """A timeline as `ls` lists it."""

    name: bytes
    first: int
    head: int
    length: int


class Line(NamedTuple):
    """An entry to show. `time` is 0 for references of in-boxes, which have none."""

    id: str
    time: int
    fields: list[tuple[bytes, bytes]]


class Commit(NamedTuple):
    """A commit of the log. A change is a kind, the name of a timeline, and numbers."""

    lsn: int
    time: int
    changes: list[tuple[str, bytes, list[int]]]


class Found(NamedTuple):
    """A hit of a search. `snippet` is HTML, with the matches in `<b>`."""

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
    """A part of a timeline, by numbers (LSNs of an in-box) and times, all inclusive."""

    first: int = 0
    last: int = MAX
    since: int | None = None
    until: int | None = None


class Query(NamedTuple):
    """A search, of what `user` may see, or of everything if that is None."""

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
    def feeds(self, name: bytes, post: bytes | None) -> Facts: ...
    def timelines(self, prefix: bytes) -> Iterator[TimelineSpan]: ...
    def entries(
        self, name: bytes, bounds: Bounds, limit: int | None, *, reverse: bool
    ) -> Iterator[Line]:
        """Raises `NotFoundError` or `Refused` when it is called, not later."""

    def entries_after(self, places: Mapping[bytes, str]) -> dict[bytes, list[Line]]:
        """The next page of each timeline, after its id in `places`. Waits a moment for new ones."""

    def head(self) -> int:
        """The LSN of the last commit."""

    def log_start(self, after: int) -> int:
        """`after`, or the lowest LSN after which the log is still kept."""

    def log(self, after: int, limit: int) -> list[Commit]: ...
    def log_after(self, after: int) -> list[Commit]:
        """The next page of the log; waits as `entries_after` does."""

    def search(self, query: Query) -> Hits: ...
    def stats(self) -> dict[str, Mapping[str, object]]:
        """The figures of INFO, by section."""
