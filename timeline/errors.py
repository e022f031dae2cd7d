"""The errors of Timeline: one tree, the same over the wire and in Python.

Rule: every error that a caller can meet is a `TimelineError`. Its `code` is the first word of the
reply on the wire. Its text says what to do. `retryable` says whether the same call may succeed
later, unchanged.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final

_REASONS: Final = {
    errno.EACCES: "permission denied: run as its owner",
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the quota of disk space is used up: free some space",
    errno.EFBIG: "the limit of file sizes is reached: raise it (`ulimit -f`, LimitFSIZE)",
}


def printable(value: bytes) -> str:
    """A value for one line of text: what is not UTF-8, or not printable, is escaped."""
    text = value.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def shown(name: bytes) -> str:
    """A name in quotes, as errors show it."""
    return f"'{printable(name)}'"


def reason(error: OSError) -> str:
    """Why the system refused, and what to do about it where that is known."""
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)


class TimelineError(Exception):
    """Anything that Timeline refuses or reports."""

    code: ClassVar[str] = "ERR"
    retryable: ClassVar[bool] = False


class UsageError(TimelineError, ValueError):
    """The call itself is wrong; nothing was changed."""


class SequenceError(UsageError):
    """An explicit sequence number is not above the head of its timeline."""


class WrongTypeError(TimelineError):
    """The timeline exists and is of another kind."""

    code = "WRONGTYPE"


class NoPermissionError(TimelineError):
    """The caller may not do this."""

    code = "NOPERM"


class NotFoundError(TimelineError, LookupError):
    """What was named does not exist."""

    code = "NOTFOUND"


class ExistsError(TimelineError):
    """What was to be made exists already."""

    code = "EXISTS"


class ConflictError(TimelineError):
    """The idempotency key was used with other content."""

    code = "CONFLICT"


class TooLargeError(TimelineError):
    """A value is above its limit; nothing was stored."""

    code = "TOOLARGE"


class BusyError(TimelineError):
    """A queue is full: nothing was done; try again later."""

    code = "BUSY"
    retryable = True


class ReadOnlyError(TimelineError):
    """The disk is full or a flush failed: nothing was done; reads go on."""

    code = "READONLY"
    retryable = True


class UncertainError(TimelineError):
    """The flush failed on its way: what was written may or may not be stored."""

    code = "UNCERTAIN"
    retryable = True


class TrimmedError(TimelineError):
    """The position asked for is no longer kept: read the store itself and go on from there."""

    code = "TRIMMED"


class CorruptError(TimelineError):
    """Stored bytes are not those that were written. The text names the place."""

    code = "CORRUPT"


class IndexLagError(TimelineError):
    """The search index has not come as far as the search asks; it catches up by itself."""

    code = "INDEXLAG"
    retryable = True


class LockedError(TimelineError):
    """Another process, or another opening in this one, holds the directory."""


class ClosedError(TimelineError):
    """The engine was closed, or belongs to the parent of a forked process."""


class FormatVersionError(TimelineError):
    """The directory is no store, or was written by a version this one cannot read."""


class StorageError(TimelineError):
    """RocksDB or the system below it refused, for a reason that has no better name."""


class StallError(BusyError):
    """RocksDB asked for a pause (write stall); nothing was written."""
