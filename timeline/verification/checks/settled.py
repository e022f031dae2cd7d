"""Whether a store has settled: whether everything has its name.

Rule: while a repair can still bring a feed or a home back, nothing that is of it is removed. To
know that takes other checks, so it is asked only where something is missing, and only once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

from timeline.verification.checks.conversations import check_conversations
from timeline.verification.checks.feeds import check_feeds
from timeline.verification.checks.names import check_names
from timeline.verification.snapshot.findings import Finding
from timeline.verification.snapshot.snapshot import Snapshot

Check = Callable[[Snapshot], Iterator[Finding]]
OF_FEEDS: tuple[Check, ...] = (check_names, check_feeds)
OF_USERS: tuple[Check, ...] = (check_names, check_conversations, check_feeds)


class Settled:
    """Callable: whether the checks find nothing, so that what is not there now never will be."""

    def __init__(self, snapshot: Snapshot, checks: tuple[Check, ...]) -> None:
        self._snapshot = snapshot
        self._checks = checks
        self._known: bool | None = None

    def __call__(self) -> bool:
        if self._known is None:
            wrong = chain.from_iterable(each(self._snapshot) for each in self._checks)
            self._known = next(wrong, None) is None
        return self._known
