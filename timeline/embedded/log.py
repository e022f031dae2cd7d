"""The commit log as embedders see it: follow it, and keep a place in it by name.

Rule: commits come once they are durable. A position that the log no longer holds raises
`TrimmedError`, never a gap. A call that waits does so as any other (`devices.waiting`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from timeline.devices.waiting import LOG, Waiters
from timeline.embedded.calls import arguments
from timeline.embedded.calls.lease import Lease
from timeline.embedded.calls.reading import Reading
from timeline.errors import ClosedError
from timeline.formats.given import Value, encode_name
from timeline.lsm.log import LogCommit, consumer_name

_PAGE_COMMITS: Final = 1_000  # commits that `read` gives, where no number is said
_FOLLOWED_COMMITS: Final = 256  # commits that `follow` reads at a time


class LogView:
    """The commit log for embedders: follow it, and keep a place in it by name."""

    def __init__(self, lease: Lease, waiters: Waiters) -> None:
        self._lease = lease
        self._engine = lease.engine
        self._waiters = waiters

    @property
    def head(self) -> int:
        """LSN of the last commit."""
        return self._engine.applied

    def read(self, *, after: int = 0, limit: int = _PAGE_COMMITS) -> list[LogCommit]:
        """At most `limit` commits above LSN `after`. Raises `TrimmedError`, and `UsageError` for an
        LSN above the last one.
        """
        reached, count = arguments.sequence(after, "after"), arguments.page(limit)
        with Reading(self._engine):
            self._engine.log.check_given_out(reached)
            return self._engine.view.commits(reached, count)

    def follow(self, *, after: int = 0, timeout: float | None = None) -> Iterator[LogCommit]:
        """Commits above LSN `after` as they become durable, for ever.

        With `timeout` (seconds) it ends when nothing came for that long, and always when the store
        is closed. Raises `TrimmedError`, and `UsageError` for an LSN above the last one.
        """
        engine = self._engine
        reached = arguments.sequence(after, "after")
        if timeout is not None:
            arguments.seconds(timeout, "timeout")
        engine.log.check_given_out(reached)

        def read() -> list[LogCommit] | None:
            with engine.lock:
                return (
                    engine.view.commits(reached, _FOLLOWED_COMMITS)
                    if engine.applied > reached
                    else None
                )

        while True:
            try:
                commits = self._waiters.block(LOG, read, timeout)
            except ClosedError:
                if engine.closed or self._waiters.closed:
                    return
                raise
            if commits is None:
                return
            for commit in commits:
                reached = commit.lsn
                yield commit

    def checkpoint(self, name: Value) -> int:
        """The LSN that consumer `name` has reached. Raises `NotFoundError`."""
        with Reading(self._engine):
            return self._engine.log.checkpoint(encode_name(name))

    def move(self, name: Value, lsn: int | None) -> None:
        """Say that consumer `name` has dealt with everything up to `lsn`; None forgets it."""
        reached = None if lsn is None else arguments.sequence(lsn, "lsn")
        self._engine.move_checkpoint(consumer_name(encode_name(name)), reached)

    def checkpoints(self) -> dict[bytes, int]:
        with Reading(self._engine):
            return self._engine.log.checkpoints()
